"""`foveal`: one command, and what goes wrong is one sentence on stderr and an exit code.

Exit codes: 0 done; 2 refused, nothing was changed; 3 stopped midway for a reason outside, the last good state stands;
1 a fault of foveal's own; 130 and 143 stopped by SIGINT and SIGTERM; 141 nobody reads what is printed any more.
Signals are heeded before anything else is imported, which takes a while.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, NoReturn

from foveal.cli.signals import Signals
from foveal.errors import FovealError, Interrupted, Stopped, shown

__all__ = ["run"]

FAULT, REFUSED, STOPPED, INTERRUPTED, NO_READER = 1, 2, 3, 130, 141


def run() -> NoReturn:
    """The entry point of the installed command."""
    signals = Signals()
    try:
        signals.heed()
        code = _whole()
        signals.done()
    except Stopped as stop:  # on the way into the command, or out of it
        code = _tell(stop, str(stop), stop.exit_code, debug=False)
    sys.exit(code)


def _whole() -> int:
    from foveal.machine import prepare_threads

    prepare_threads(os.environ)  # PyTorch's threads read it when it is imported, which the commands do
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the work
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments, debug = _without_debug(sys.argv[1:])
    if not debug:
        _hush()
    return _run(arguments or ["--help"], debug)


def _hush() -> None:
    """What libraries say to those who call them is for --debug; what is older of foveal's own names stays heard."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what PyTorch's C++ prints, such as that NNPACK is not there
    plain = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DeprecationWarning):
            plain(message, category, *where, **more)

    warnings.showwarning = show


def _run(arguments: list[str], debug: bool) -> int:
    """The exit code of one command; every error becomes its sentence."""
    try:
        from foveal.cli.app import called

        result = called(arguments)
        sys.stdout.flush()
        return result
    except (BrokenPipeError, SystemExit) as error:  # `foveal predict … | head`: the reader has seen enough
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise  # typer itself leaves by SystemExit when a print finds no reader
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - so that the last flush finds a reader
        return NO_READER
    except BaseException as error:  # noqa: BLE001 - a fault of ours is told in one sentence as well
        sentence, code = _told(_stop_behind(error) or error)
        return _tell(error, sentence, code, debug)


def _stop_behind(error: BaseException | None) -> Stopped | None:
    """The stop that compiled code turned into an error of its own, as imports do."""
    while error is not None and not isinstance(error, Stopped | Interrupted):
        error = error.__cause__ or error.__context__
    return error if isinstance(error, Stopped) else None


def _told(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    if isinstance(error, FovealError | Stopped):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped.", INTERRUPTED
    if isinstance(error, MemoryError):
        return "out of memory; try a smaller --batch or --size.", STOPPED
    if isinstance(error, OSError):
        place = f"{shown(error.filename)}: " if isinstance(error.filename, str) else ""
        return f"{place}{error.strerror or error} (--debug shows the traceback).", STOPPED
    from foveal.cli.app import usage

    if wrong := usage(error):
        return wrong, REFUSED
    what = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
    return f"a bug in foveal: {what} (--debug shows the traceback).", FAULT


def _tell(error: BaseException, sentence: str, code: int, debug: bool) -> int:
    from foveal.cli import console

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
