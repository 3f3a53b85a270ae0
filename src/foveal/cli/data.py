"""`foveal data`: what is done with pictures before anything is learnt from them."""

from __future__ import annotations

import typer

from foveal.cli.data_check import check
from foveal.cli.data_convert import convert

__all__ = ["COMMANDS", "data"]

COMMANDS = (check, convert)

data = typer.Typer(name="data", rich_markup_mode=None, pretty_exceptions_enable=False, suggest_commands=False)
for command in COMMANDS:
    data.command(short_help=(command.__doc__ or "").split("\n")[0])(command)


@data.callback()
def main() -> None:
    """Check a data set, or convert it to another format. What is yours is never changed.

    \b
    Examples:
      foveal data check flowers/                           wrong labels, copies, broken files: a page
      foveal data convert flowers/ flowers-csv/ --to csv

    `foveal data COMMAND --help` tells more about each.
    """
