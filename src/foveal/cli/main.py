"""`foveal`: the commands, in the order of the work. What goes wrong is one sentence on stderr and an exit code.

Exit codes: 0 done; 2 refused, nothing was changed; 3 stopped midway for a reason outside, the last good state stands;
1 a fault of foveal's own; 130 and 143 stopped by SIGINT and SIGTERM; 141 nobody reads what is printed any more.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from foveal import __version__
from foveal.cli import console
from foveal.cli.cache import cache
from foveal.cli.data import data
from foveal.cli.doctor import doctor
from foveal.cli.evaluate import evaluate
from foveal.cli.networks import networks
from foveal.cli.predict import predict
from foveal.cli.train import train
from foveal.errors import FovealError, did_you_mean, shown
from foveal.machine import prepare_threads

__all__ = ["app", "run"]

FAULT, REFUSED, STOPPED, NO_READER = 1, 2, 3, 141

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
app.add_typer(data, name="data", short_help="Look at a data set, or write it in another form.")


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"foveal {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train, open up and ship convolutional networks for pictures.

    \b
    Examples:
      foveal train flowers/                  a folder of pictures -> a trained model and a report
      foveal train digits                    the same with built-in data, in half a minute
      foveal predict runs/flowers-resnet18-1 photo.jpg
      foveal evaluate runs/flowers-resnet18-1 more-flowers/

    `foveal COMMAND --help` tells more about each.
    """


def run() -> NoReturn:
    """The entry point of the installed command."""
    prepare_threads(os.environ)  # PyTorch's threads read it when it is imported, which the commands do
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the work
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments, debug = _without_debug(sys.argv[1:])
    code = _run(arguments or ["--help"], debug)
    sys.exit(code)


def _run(arguments: list[str], debug: bool) -> int:
    """The exit code of one command; every error becomes its sentence."""
    try:
        _check_command(arguments)
        result = app(arguments, prog_name="foveal", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit) as error:  # `foveal predict … | head`: the reader has seen enough
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # typer itself leaves by SystemExit when a print finds no reader
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - so that the last flush finds a reader
        return NO_READER
    except typer.TyperException as error:
        return _tell(error, _usage(error), REFUSED, debug)
    except FovealError as error:
        return _tell(error, str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _tell(error, "stopped.", 128 + signal.SIGINT, debug)
    except MemoryError as error:
        return _tell(error, "out of memory; a smaller --batch or --size needs less.", STOPPED, debug)
    except OSError as error:
        place = f"{shown(error.filename)}: " if isinstance(error.filename, str) else ""
        return _tell(error, f"{place}{error.strerror or error} (--debug shows where).", STOPPED, debug)
    except Exception as error:  # noqa: BLE001 - a fault of ours is told in one sentence as well
        what = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        return _tell(error, f"a fault of foveal's own: {what} (--debug shows where).", FAULT, debug)


def _tell(error: BaseException, sentence: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        console.error("".join(traceback.format_exception(error)))
    console.error(sentence)
    return code


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """`--debug` is understood wherever it stands, before or after the command; behind `--` it is a file's name."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"]
    return kept + arguments[end:], len(kept) < end


def _check_command(arguments: list[str]) -> None:
    word = next((a for a in arguments if not a.startswith("-")), None)
    known = [c.callback.__name__ for c in app.registered_commands if c.callback]
    known += [str(group.name) for group in app.registered_groups]
    if word is not None and word not in known:
        near = did_you_mean(word, known) or f" (commands: {', '.join(known)})"
        raise FovealError(f'foveal has no command "{shown(word)}"{near}')


def _usage(error: typer.TyperException) -> str:
    """What was wrong with the command line, in one sentence that names the command and its help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "foveal"
    option = getattr(error, "option_name", None)
    near = getattr(error, "possibilities", None)
    if option and near is not None:
        sentence = f'no option "{option}"' + (f'; did you mean "{near[0]}"?' if near else "")
    else:
        text = " ".join(error.format_message().split())
        sentence = text[:1].lower() + text[1:].rstrip(".")
    return f"{command}: {sentence} ({command} --help)"
