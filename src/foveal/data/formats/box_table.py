"""A CSV or TSV file with a row a box: `path,x1,y1,x2,y2,label`, or `filename,xmin,ymin,xmax,ymax,class`.

Corners are continuous pixels of the picture as it is shown: a box from 0 to the width covers all of it. A row whose
coordinates are empty names a picture without objects. Columns that may follow: `split`; `width` and `height` of the
picture; `crowd` and `difficult` (1 or 0).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, split_of
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found, number_of
from foveal.data.formats.table import PATH, Columns, picture_file, read_rows
from foveal.errors import BadData, did_you_mean, shown
from foveal.files.safely import Unreadable, open_regular

__all__ = ["FORMAT"]

CORNERS: Columns = {
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
}
OTHERS: Columns = {
    "split": ("split", "subset"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "crowd": ("crowd", "iscrowd"),
    "difficult": ("difficult",),
}
COLUMNS: Columns = {"path": (*PATH, "image_path"), **CORNERS, "label": ("label", "class", "name", "target"), **OTHERS}
PEEKED_BYTES = 1 << 16
YES, NO = ("1", "true", "yes"), ("0", "false", "no", "")


class _Reader:
    """Takes row after row; a picture is added when it is first named."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = Found(path.parent, lambda _, line: f"line {line}")
        self.index = dict[str, int]()
        self.begun = dict[str, int]()  # the line that named a picture first
        self.empty = dict[int, int]()  # pictures that a line says nothing is on
        self.seen = dict[tuple[object, ...], int]()

    def take(self, line: int, row: dict[str, str]) -> None:
        if not row["path"]:
            return self.found.skip("row", f"line {line}", "has no path")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", row["path"]):
            reason = f"{shown(row['path'])[:80]}: foveal does not download pictures; save them first"
            return self.found.skip("row", f"line {line}", reason)
        picture, why = picture_file(self.path.parent, row["path"])
        if picture is None:
            return self.found.skip("row", f"line {line}", why)
        on = self._picture(line, picture, row)
        if not any(row[corner] for corner in CORNERS):
            self.empty.setdefault(on, line)
        else:
            self._box(line, on, row)

    def _picture(self, line: int, picture: str, row: dict[str, str]) -> int:
        split = self._split(line, row)
        if picture not in self.index:
            sides = [int(number_of(row.get(side, "")) or 0) for side in ("width", "height")]
            self.index[picture] = self.found.add_picture(picture, split, (sides[0], sides[1]))
            self.begun[picture] = line
        on = self.index[picture]
        if self.found.splits[on] != split:
            raise BadData(f"{shown(self.path)}, line {line}: {shown(picture)} has another split than in line "
                          f"{self.begun[picture]}; a picture is in one.")  # fmt: skip
        return on

    def _split(self, line: int, row: dict[str, str]) -> int:
        word = row.get("split", "")
        if word and split_of(word) == UNSPLIT:
            raise BadData(f'{shown(self.path)}, line {line}: split "{shown(word)}" is none of {", ".join(SPLITS)}'
                          f"{did_you_mean(word, SPLITS)}")  # fmt: skip
        return split_of(word) if word else UNSPLIT

    def _box(self, line: int, on: int, row: dict[str, str]) -> None:
        values = [number_of(row[corner]) for corner in CORNERS]
        for corner, value in zip(CORNERS, values, strict=True):
            if value is None:
                wrong = f'{corner} is "{shown(row[corner])[:40]}", not a number' if row[corner] else f"has no {corner}"
                return self.found.lose(on, line, wrong)
        if not row["label"]:
            return self.found.lose(on, line, "has no label")
        for mark in ("crowd", "difficult"):
            if row.get(mark, "").lower() not in YES + NO:
                return self.found.lose(on, line, f'{mark} is "{shown(row[mark])[:40]}"; write 1 or 0')
        x1, y1, x2, y2 = (value or 0.0 for value in values)
        before = self.seen.setdefault((on, x1, y1, x2, y2, row["label"]), line)
        if before != line:
            return self.found.skip("row", f"line {line}", f"repeats line {before}")
        crowd, difficult = (row.get(mark, "").lower() in YES for mark in ("crowd", "difficult"))
        self.found.add_box(on, line, (x1, y1, x2, y2), row["label"], crowd, difficult)
        return None

    def contradicted(self) -> None:
        """Tell of lines that say a picture shows nothing where others have boxes on it."""
        boxed = set(self.found.on)
        for on, line in self.empty.items():
            if on in boxed:
                reason = f"says nothing is on {self.found.paths[on]}, other lines have boxes there"
                self.found.skip("row", f"line {line}", reason)


def _read(place: Place, asked: Asked) -> Dataset:
    reader = _Reader(place.path)
    for line, row in read_rows(place.path, COLUMNS, frozenset(OTHERS)):
        reader.take(line, row)
    reader.contradicted()
    found = reader.found
    if not found.paths:
        rows = [row for several in found.rows.values() for row in several]
        why = f" ({rows[0].name}: {rows[0].reason})" if rows else ""
        raise BadData(f"{shown(place.path)} names no usable picture{why}; paths are relative to its folder.")
    how = 'its column "split"' if any(split != UNSPLIT for split in found.splits) else ""
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "box table", how))


def _detect(place: Place) -> bool:
    """A table whose header has the four corners, or most of them: a misspelt one is told, not passed over."""
    if not place.is_file or os.path.splitext(place.path)[1].lower() not in (".csv", ".tsv", ".tab"):
        return False
    try:
        with open_regular(place.path) as file:
            head = file.read(PEEKED_BYTES)
    except (Unreadable, OSError):
        return False
    first = head.decode("utf-8-sig", "replace").lstrip("\r\n").split("\n", 1)[0]
    named = {name.strip().strip('"').lower() for name in re.split(r"[,;\t]", first)}
    return sum(bool(named & set(names)) for names in CORNERS.values()) > 2


FORMAT = Format("box table", _detect, _read)
