"""`foveal cache`: what is kept between trainings, and how to be rid of it."""

from __future__ import annotations

from typing import Annotated

import typer

from foveal.cli import console
from foveal.cli._options import one_of

__all__ = ["cache"]

ACTIONS = ("list", "clear")


def cache(
    action: Annotated[str, typer.Argument(metavar="[list|clear]", help="List what is kept, or delete it.")] = "list",
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY…]", help="Only these; as `list` shows them.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List or clear the pixel stores: decoded pictures, kept so that a second training starts at once.

    \b
    Examples:
      foveal cache
      foveal cache clear 3f9a6c --yes
      foveal cache clear --yes

    Whatever is deleted here is made anew from your pictures when it is needed; they are never touched.
    """
    if one_of("foveal cache", action, ACTIONS) == "clear":
        _clear(keys or [], yes)
    else:
        _list(keys or [], as_json)
