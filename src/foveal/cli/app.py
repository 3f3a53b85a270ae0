"""The commands of `foveal`, in the order of the work."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from foveal import __version__
from foveal.cli._elsewhere import meant
from foveal.cli.cache import cache
from foveal.cli.data import data
from foveal.cli.doctor import doctor
from foveal.cli.evaluate import evaluate
from foveal.cli.networks import networks
from foveal.cli.predict import predict
from foveal.cli.train import train
from foveal.errors import FovealError, did_you_mean, shown

__all__ = ["app", "called", "usage"]

# Plain help: Rich's panels would cost every `--help` a tenth of a second and come out as boxes in a log.
app = typer.Typer(
    name="foveal",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    suggest_commands=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in (train, predict, evaluate, networks, cache, doctor):
    app.command(short_help=(command.__doc__ or "").split("\n")[0])(command)
app.add_typer(data, name="data", short_help="Check a data set, or convert it to another format.")


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback when something fails.")] = False,
) -> None:
    """Train, explain and deploy convolutional networks for pictures.

    \b
    Examples:
      foveal train flowers/                  a folder of pictures -> a trained model and a report
      foveal train digits                    the same on built-in data, within a minute
      foveal predict runs/flowers-resnet18-1 photo.jpg
      foveal evaluate runs/flowers-resnet18-1 more-flowers/

    `foveal COMMAND --help` explains each command.
    """


def called(arguments: list[str]) -> int:
    """Carry a command out. Returns: its exit code. Raises: what went wrong."""
    _check_command(arguments)
    _check_addresses(arguments)
    try:
        result = app(arguments, prog_name="foveal", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else 0


def usage(error: BaseException) -> str:
    """What was wrong with the command line, in one sentence that names the command and its help; "" where it was right.

    Args: error, that ended the command.
    """
    return _usage(error) if isinstance(error, typer.TyperException) else ""


def _check_command(arguments: list[str]) -> None:
    word = next((a for a in arguments if not a.startswith("-")), None)
    known = [c.callback.__name__ for c in app.registered_commands if c.callback]
    known += [str(group.name) for group in app.registered_groups]
    if word is not None and word not in known:
        near = did_you_mean(word, known) or f" (commands: {', '.join(known)})"
        raise FovealError(f'foveal has no command "{shown(word)}"{near}')


def _check_addresses(arguments: list[str]) -> None:
    """Raises: FovealError for an address where a path is due: as a path it would lose a slash, or be made a folder."""
    for word in arguments:
        typed = word.partition("=")[2] if word.startswith("--") else word
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", typed):
            raise FovealError(
                f"{shown(typed)}: foveal does not open web addresses; download the file and give its path."
            )


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "foveal"
    option = getattr(error, "option_name", None)
    near = getattr(error, "possibilities", None)
    if option and command == "foveal train" and (word := meant(option)):
        sentence = f'no option "{shown(option)}"; did you mean "{word}"?'
    elif option and near is not None:
        sentence = f'no option "{option}"' + (f'; did you mean "{near[0]}"?' if near else "")
    else:
        text = " ".join(error.format_message().split())
        sentence = text[:1].lower() + text[1:].rstrip(".")
    return f"{command}: {sentence} ({command} --help)"
