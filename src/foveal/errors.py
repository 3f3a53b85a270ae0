"""What users are told when something cannot be done: one sentence that names the thing and the way out.

Every error that foveal raises on purpose is a `FovealError`. Its text is the sentence; the command line prints it
alone (`--debug` adds the traceback) and leaves with the error's exit code: 2 when the input was refused and nothing
was changed, 3 when work stopped midway for a reason outside and the last good state stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "BadData",
    "BadModel",
    "BadPicture",
    "BadRecipe",
    "Busy",
    "FovealError",
    "Interrupted",
    "Missing",
    "NoSpace",
    "NotFinite",
    "NotWritable",
    "Stopped",
    "brief",
    "check_kind",
    "did_you_mean",
    "kind_of",
    "leaving",
    "shown",
]


class FovealError(Exception):
    """A refusal or a stop, told in one sentence.

    >>> try:
    ...     foveal.load("runs/nowhere")
    ... except foveal.FovealError as error:
    ...     print(error)
    runs/nowhere does not exist...
    """

    exit_code = 2


class BadPicture(FovealError):
    """A picture that cannot be used; becomes a row of the result, and the rest goes on."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{shown(path)} {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[BadPicture], tuple[str, str]]:
        return BadPicture, (self.path, self.reason)


class BadData(FovealError):
    """A data set that cannot be read or cannot be learnt from."""


class BadModel(FovealError):
    """A model or checkpoint file that is damaged, foreign or does not fit its network."""


class BadRecipe(FovealError):
    """A setting that does not exist, has the wrong type, or contradicts another."""


class Missing(FovealError):
    """A file, folder, name or device that is not there."""


class NotWritable(FovealError):
    """An output place that cannot be written to."""


class Busy(FovealError):
    """A run that another process is writing."""


class NoSpace(FovealError):
    """The disk (or a quota, or a device) refused a write midway; the last good state stands."""

    exit_code = 3


class NotFinite(FovealError):
    """The loss or a weight became infinite or NaN; the last good checkpoint stands."""

    exit_code = 3


class Interrupted(FovealError):
    """A signal asked the work to stop, and what was reached is saved; 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, sentence: str, exit_code: int = 130) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        return Interrupted, (str(self), self.exit_code)


class Stopped(BaseException):
    """A signal asked the command to stop: raised wherever it just was, and no Exception, so that nobody on its way
    takes it for one of their own. Its sentence tells what is left behind."""

    def __init__(self, signal: str, exit_code: int) -> None:
        super().__init__(signal)
        self.signal = signal
        self.exit_code = exit_code
        self.left = ""

    def __str__(self) -> str:
        return f"Stopped by {self.signal}; {self.left or 'nothing was saved.'}"


@contextmanager
def leaving(what: Callable[[], str]) -> Iterator[None]:
    """Within the block: what a stop leaves behind, as the end of its sentence. The inmost that knows has it."""
    try:
        yield
    except Stopped as stop:
        stop.left = stop.left or what()
        raise


def shown(name: str | Path) -> str:
    """A name from outside, safe to print: control characters, bidirectional overrides and undecodable bytes escaped.

    >>> shown("a\\nb.png")
    'a\\\\nb.png'
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(name))


def brief(text: str, longest: int = 60) -> str:
    """A text of at most so many letters: the middle of a longer one is left out.

    >>> brief("a class with a rather long name", 15)
    'a class…ng name'
    """
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[: longest - 1 - half]}…{text[len(text) - half :]}"


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python carries a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


def kind_of(value: object) -> str:
    """What was handed over in place of what is wanted, in words.

    >>> kind_of(None), kind_of(3), kind_of([3])
    ('None', 'an int', 'a list')
    """
    if value is None:
        return "None"
    kind = "array" if hasattr(value, "__array__") else type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def check_kind(value: object, kinds: Any, wanted: str, error: type[FovealError]) -> None:
    """Raises: the error, where a value is of none of these types. Args: wanted, the first half of its sentence."""
    if not isinstance(value, kinds):
        raise error(f"{wanted}; got {kind_of(value)}.")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` with the nearest known word, or nothing when none is near.

    >>> did_you_mean("resnet-18", ["resnet18", "lenet5"])
    '; did you mean "resnet18"?'
    """
    near = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{shown(near[0])}"?' if near else ""
