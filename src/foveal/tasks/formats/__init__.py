"""What answers are written as: a file here for each format, and its line in `FORMATS`.

A format knows no kind of answer: it asks `foveal.tasks.answers.Answer` for rows, lines and plain values. It is fed one
prediction after another and writes as they come, so that a million pictures need no more memory than a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TextIO

from foveal.errors import BadRecipe, did_you_mean, shown

if TYPE_CHECKING:
    from foveal.tasks.answers import Answer, Prediction

__all__ = ["FORMATS", "Format", "Writer", "format_of", "writer_for"]

USUAL, TEXTS = "table", ("", ".txt")


@dataclass(frozen=True)
class Format:
    """Where a format is."""

    module: str  # has a `Writer`; imported when it is asked for
    suffix: str = ""  # of files that are written so unless one says otherwise


FORMATS = {
    "table": Format("foveal.tasks.formats.table"),
    "csv": Format("foveal.tasks.formats.csv", ".csv"),
    "json": Format("foveal.tasks.formats.json", ".json"),
    "coco": Format("foveal.tasks.formats.coco"),
}


class Writer:
    """One file on its way: `begin`, then `add` for each picture, then `end`."""

    ANSWERS: ClassVar[tuple[type[Answer], ...] | None] = None  # the only ones that it can write, where there are such
    MODELS: ClassVar[str] = ""  # and whose those are: "detectors"

    def __init__(self, out: TextIO, answer: type[Answer], top: int) -> None:
        """Args: answer, the kind that every prediction has; top, how many answers a picture were asked for."""
        self.out = out
        self.answer = answer
        self.top = top

    def begin(self) -> None:
        """Write what stands before the first picture."""

    def add(self, prediction: Prediction) -> int:
        """Write what a picture gets. Returns: how many rows that is."""
        raise NotImplementedError

    def end(self) -> None:
        """Write what stands behind the last picture."""


def format_of(path: Path | None) -> str:
    """The format that a file's name asks for; a table where it has no ending, or that of a text.

    Raises: BadRecipe for another ending: a file called answers.xlsx must not be text.
    """
    suffix = path.suffix.lower() if path is not None else ""
    if suffix in TEXTS:
        return USUAL
    written = {one.suffix: name for name, one in FORMATS.items() if one.suffix}
    if suffix not in written:
        names = " or ".join(f"{name.upper()} ({ending})" for ending, name in written.items())
        raise BadRecipe(f"{shown(str(path))}: no {shown(suffix)} is written; give {names}, or say --format as well.")
    return written[suffix]


def writer_for(name: str, answer: type[Answer]) -> type[Writer]:
    """The writer of a format. Raises: BadRecipe for one that there is not, or that cannot tell such answers."""
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise BadRecipe(f'no such format: "{shown(name)}" (formats: {known}){did_you_mean(name, FORMATS)}')
    writer: type[Writer] = import_module(FORMATS[name].module).Writer
    if writer.ANSWERS is not None and not issubclass(answer, writer.ANSWERS):
        raise BadRecipe(f"the format {name} is for {writer.MODELS}, and this model is none.")
    return writer
