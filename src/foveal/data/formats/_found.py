"""What a reader of boxes comes upon: pictures, the boxes that are said to be on them, what is left out or assumed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foveal.data.dataset import UNSPLIT, Skipped
from foveal.data.formats import Asked
from foveal.errors import shown

__all__ = ["Found", "Kind", "Shows", "many", "number_of"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
Kind = Literal["box", "picture", "annotation", "without annotation", "without picture", "row"]
MANY: dict[Kind, tuple[str, str]] = {  # one of them, and several
    "box": ("box", "boxes"),
    "picture": ("picture", "pictures"),
    "annotation": ("annotation file", "annotation files"),
    "without annotation": ("picture without annotation", "pictures without annotation"),
    "without picture": ("annotation without its picture", "annotations without their picture"),
    "row": ("row", "rows"),
}


@dataclass(frozen=True)
class Shows:
    """An annotation that says what a picture shows, and not where."""

    on: int  # the picture
    number: int
    name: str


@dataclass
class Found:
    """What a source says, as a reader comes upon it: pictures, and the boxes that are said to be on them."""

    root: Path
    where: Callable[[str, int], str]  # (a picture's path, a box's number) -> what people call the box
    shares: bool = False  # coordinates are shares of the picture's width and height, not pixels
    first: float = 0.0  # what the first pixel is called; where it is 1, both ends of a box lie inside it
    as_voc: bool = False  # pixels count from 1 unless the boxes themselves speak against it
    decimals: str = ""  # the first box that is written with a decimal point, where that tells how pixels are counted
    sided: bool = False  # boxes are written as a corner, a width and a height
    paths: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)  # width and height that the source tells; 0: none
    on: list[int] = field(default_factory=list)  # the picture of each box
    numbers: list[int] = field(default_factory=list)
    corners: list[tuple[float, float, float, float]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    labels: list[Shows] = field(default_factory=list)  # annotations that have a class and no box
    lost: set[int] = field(default_factory=set)  # pictures with a box that could not be read
    rows: dict[Kind, list[Skipped]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    assumed: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # places, by the words for one and several

    def add_picture(self, path: str, split: int = UNSPLIT, size: tuple[int, int] = (0, 0)) -> int:
        """Its index. `size`: width and height as the source has them."""
        self.paths.append(path)
        self.splits.append(split)
        self.written.append(size)
        return len(self.paths) - 1

    def add_box(
        self, on: int, number: int, corners: tuple[float, float, float, float], name: str,
        crowd: bool = False, difficult: bool = False,
    ) -> None:  # fmt: skip
        """One object: x1, y1, x2, y2 as they are written, and the class."""
        self.on.append(on)
        self.numbers.append(number)
        self.corners.append(corners)
        self.names.append(name)
        self.crowd.append(crowd)
        self.difficult.append(difficult)

    def told(self) -> tuple[list[str], list[Skipped]]:
        """The notes, and all rows."""
        notes = [*self.notes, *self.assumptions()]
        for kind, rows in self.rows.items():
            first = "first: " if len(rows) > 1 else ""
            notes.append(f"{many(len(rows), kind)} skipped ({first}{shown(rows[0].name)}: {rows[0].reason}).")
        return notes, [row for rows in self.rows.values() for row in rows]

    def skip(self, kind: Kind, name: str, reason: str) -> None:
        """Leave something out, as a row."""
        self.rows.setdefault(kind, []).append(Skipped(name, reason))

    def lose(self, on: int, number: int, reason: str) -> None:
        """Leave out a box that cannot be read."""
        self.lost.add(on)
        self.skip("box", self.where(self.paths[on], number), reason)

    def assume(self, one: str, several: str, place: str) -> None:
        """Count what is read in a way of its own: "polygon taken as the box round it", "polygons taken as …"."""
        self.assumed.setdefault((one, several), []).append(place)

    def assumptions(self) -> list[str]:
        """What was counted so, a sentence each."""
        told = []
        for (one, several), places in self.assumed.items():
            first = "first: " if len(places) > 1 else ""
            told.append(f"{len(places)} {several if len(places) > 1 else one} ({first}{shown(places[0])}).")
        return told

    def unlabelled(self, paths: Iterable[tuple[str, int]], asked: Asked, reason: str = "has no annotation") -> None:
        """Pictures (and their splits) of which nothing is said: rows, or examples of nothing where that is asked."""
        several = list(paths)
        for path, split in several:
            if asked.unlabelled == "background":
                self.add_picture(path, split)
            else:
                self.skip("without annotation", path, reason)
        if several and asked.unlabelled == "background":
            self.notes.append(f"{many(len(several), 'without annotation')} taken as empty (background).")


def number_of(text: str) -> float | None:
    """A coordinate as people write it, with a decimal point; None for anything else ("12,5", "nan", "1_000").

    >>> number_of(" 12.50"), number_of("12,5"), number_of("nan")
    (12.5, None, None)
    """
    text = text.strip()
    return float(text) if len(text) <= 64 and NUMBER.fullmatch(text) else None


def many(n: int, kind: Kind) -> str:
    """`1 box`, `2 boxes`."""
    return f"{n} {MANY[kind][n != 1]}"
