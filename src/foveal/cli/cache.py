"""`foveal cache`: what is kept between trainings, and how to be rid of it."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from foveal.cli._options import one_of
from foveal.errors import BadRecipe

__all__ = ["cache"]

ACTIONS = ("list", "clear")


def cache(
    action: Annotated[
        str, typer.Argument(metavar="[list|clear]", help="List the cached pixel stores, or delete them.")
    ] = "list",
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY…]", help="Only these, by the keys that `list` shows.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List or clear the pixel stores: decoded pictures, cached so that a second training starts at once.

    \b
    Examples:
      foveal cache
      foveal cache clear 3f9a6c --yes
      foveal cache clear --yes

    Deleted stores are rebuilt from your pictures when needed; the pictures themselves are never changed.
    """
    if one_of("foveal cache", action, ACTIONS) == "clear":
        _clear(keys or None, yes)
    else:
        _list(keys or [], as_json)


def _list(keys: list[str], as_json: bool) -> None:
    from dataclasses import asdict

    from foveal.cli import _texts
    from foveal.data.store import list_stores
    from foveal.files.safely import in_bytes

    stores = [info for info in list_stores() if not keys or info.key.startswith(tuple(keys))]
    if as_json:
        print(_texts.json_text([asdict(info) for info in stores]))
        return
    rows = [[info.key, in_bytes(info.bytes), str(info.pictures), _day(info.last_used), info.source] for info in stores]
    if rows:
        print(_texts.table(["key", "size", "pictures", "last used", "source"], rows))
    print(f"{_stores(len(stores))}, {in_bytes(sum(info.bytes for info in stores))}")


def _clear(keys: list[str] | None, yes: bool) -> None:
    from foveal.data.store import clear_stores, list_stores
    from foveal.files.safely import in_bytes

    chosen = [info for info in list_stores() if keys is None or info.key.startswith(tuple(keys))]
    if chosen and not yes and not _asked(len(chosen), in_bytes(sum(info.bytes for info in chosen))):
        print("nothing was deleted")
        return
    freed = clear_stores(keys)
    print(f"{_stores(len(chosen))} deleted, {in_bytes(freed)} freed")


def _asked(count: int, size: str) -> bool:
    """Whether the person at the terminal says yes; where there is none, --yes is asked for."""
    if not sys.stdin.isatty():
        raise BadRecipe(f"this deletes {_stores(count)} ({size}); add --yes to confirm.")
    return typer.confirm(f"Delete {_stores(count)} ({size})?", err=True)


def _stores(count: int) -> str:
    return "1 pixel store" if count == 1 else f"{count} pixel stores"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
