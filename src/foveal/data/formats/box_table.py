"""A CSV or TSV file with a row a box: `path,x1,y1,x2,y2,label`, or `filename,xmin,ymin,xmax,ymax,class`.

Corners are continuous pixels of the picture as it is shown: a box from 0 to the width covers all of it. A row whose
coordinates are empty names a picture without objects. Columns that may follow: `split`; `width` and `height` of the
picture; `crowd` and `difficult` (1 or 0). `_box_columns.py` tells the other ways to write a box.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, listed, split_of
from foveal.data.formats._box_columns import Layout, head_of, is_of_boxes, layout_of
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found, number_of
from foveal.data.formats._found_pictures import ADDRESS, Finder, Match
from foveal.data.formats._nearby import Nearby
from foveal.data.formats._pairs import split_by_folders
from foveal.data.formats.table import PATH, Columns, picture_file, read_rows
from foveal.errors import BadData, did_you_mean, shown
from foveal.files.pictures import is_picture_name

__all__ = ["FORMAT", "read_box_tables"]

OTHERS: Columns = {
    "split": ("split", "subset", "set"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "crowd": ("crowd", "iscrowd", "isgroupof"),
    "difficult": ("difficult",),
}
PICTURE = tuple(dict.fromkeys((*PATH, "image_path", "imageid", "image_id", "image_name", "img")))
LABEL = ("label", "class", "name", "target", "labelname", "label_name", "class_name", "category", "category_name")
BUCKETS = ("gs://", "s3://")
YES, NO = ("1", "true", "yes"), ("0", "false", "no", "")
Rows = list[tuple[int, dict[str, str]]]


def _columns(layout: Layout) -> Columns:
    others = OTHERS if layout.sizes else OTHERS | {side: OTHERS[side][1:] for side in ("width", "height")}
    return {"path": PICTURE, **layout.columns, "label": LABEL, **others}


def _pictures(path: Path, rows: Rows) -> dict[str, Match]:
    """The picture of each path: as it is written, else by its end."""
    found, as_written = dict[str, Match](), Nearby(path.parent, ())
    for _, row in rows:
        written = row["path"]
        if not written or written in found:
            continue
        if ADDRESS.match(written):  # of a bucket: a copy of it lies here, or nothing does
            web = f"{shown(written)[:80]}: foveal does not download pictures; save them first"
            found[written] = Match(None, "" if written.startswith(BUCKETS) else web)
        else:
            picture, why = picture_file(path.parent, written, as_written)
            found[written] = Match(picture, "" if why.endswith("not found") else why)
    finder = Finder(lambda: Place(path.parent).files, lambda _: False)
    nowhere = [written for written, match in found.items() if match.path is None and not match.reason]
    return found | finder.by_ends(nowhere, {match.path for match in found.values() if match.path is not None})


class _Reader:
    """Takes row after row; a picture is added when it is first named."""

    def __init__(
        self, path: Path, layout: Layout, pictures: dict[str, Match], found: Found, of: dict[str, str],
        called: str, split: int,
    ) -> None:  # fmt: skip
        self.path, self.layout, self.pictures, self.found, self.of = path, layout, pictures, found, of
        self.called, self.split = f"{called} " * bool(called), split
        self.home = os.path.dirname(called)
        self.index = dict[str, int]()
        self.begun = dict[str, int]()  # the line that named a picture first
        self.empty = dict[int, int]()  # pictures that a line says nothing is on
        self.seen = dict[tuple[object, ...], int]()

    def take(self, line: int, row: dict[str, str]) -> None:
        if not row["path"]:
            return self.found.skip("row", self._at(line), "has no path")
        match = self.pictures[row["path"]]
        if match.path is None:
            return self.found.skip("row", self._at(line), match.reason)
        on = self._picture(line, match, row)
        if not any(row[column] for column in self.layout.columns):
            self.empty.setdefault(on, line)
        else:
            self._box(line, on, row)

    def _at(self, line: int) -> str:
        return f"{self.called}line {line}"

    def _picture(self, line: int, match: Match, row: dict[str, str]) -> int:
        split, picture = self._split(line, row), os.path.join(self.home, str(match.path))
        if picture not in self.index:
            sides = [int(number_of(row.get(side, "")) or 0) for side in ("width", "height")]
            self.index[picture] = self.found.add_picture(picture, split, (sides[0], sides[1]))
            self.begun[picture], self.of[picture] = line, self.called
            if not match.exact:
                self.found.assume(
                    "picture is not where its row says and is found by its name",
                    "pictures are not where their rows say and are found by their names",
                    f"{row['path'][:200]} is {picture}",
                )
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
        return split_of(word) if word else self.split

    def _box(self, line: int, on: int, row: dict[str, str]) -> None:
        written = self.layout.numbers(row)
        if len(written) != 4:
            return self.found.lose(on, line, f"its box has {len(written)} numbers, not four")
        values = [number_of(text) for _, text in written]
        for (name, text), value in zip(written, values, strict=True):
            if value is None:
                wrong = f'{name} is "{shown(text)[:40]}", not a number' if text else f"has no {name}"
                return self.found.lose(on, line, wrong)
        corners = self.layout.corners([value or 0.0 for value in values])
        if isinstance(corners, str):
            return self.found.lose(on, line, corners)
        if not row["label"]:
            return self.found.lose(on, line, "has no label")
        for mark in ("crowd", "difficult"):
            if row.get(mark, "").lower() not in YES + NO:
                return self.found.lose(on, line, f'{mark} is "{shown(row[mark])[:40]}"; write 1 or 0')
        before = self.seen.setdefault((on, corners, row["label"]), line)
        if before != line:
            return self.found.skip("row", self._at(line), f"repeats line {before}")
        crowd, difficult = (row.get(mark, "").lower() in YES for mark in ("crowd", "difficult"))
        self.found.add_box(on, line, corners, row["label"], crowd, difficult)
        return None

    def contradicted(self) -> None:
        """Tell of lines that say a picture shows nothing where others have boxes on it."""
        boxed = set(self.found.on)
        for on, line in self.empty.items():
            if on in boxed:
                reason = f"says nothing is on {self.found.paths[on]}, other lines have boxes there"
                self.found.skip("row", self._at(line), reason)


def _read(place: Place, asked: Asked) -> Dataset:
    return read_box_tables(place, {"": UNSPLIT}, asked)


def read_box_tables(place: Place, tables: Mapping[str, int], asked: Asked) -> Dataset:
    """One data set of tables that write their boxes alike.

    Args:   place, the folder of several tables, or the one; tables: their paths below it ("" for the place itself),
            each with the split of rows that do not say theirs.
    Raises: BadData when no picture can be used, and where the tables' columns differ.
    """
    paths = {called: place.path / called if called else place.path for called in tables}
    layout = layout_of(next(iter(paths.values())))
    rows = {called: list(read_rows(path, _columns(layout), frozenset(OTHERS))) for called, path in paths.items()}
    plain = [_plain(layout, row) for several in rows.values() for _, row in several]
    layout = layout.decided(plain, place.path)
    of = dict[str, str]()  # the table that names a picture
    root = place.path.parent if place.is_file else place.path
    found = Found(root, lambda path, line: f"{of[path]}line {line}", sided=layout.sided)
    for called, path in paths.items():
        reader = _Reader(path, layout, _pictures(path, rows[called]), found, of, called, tables[called])
        for line, row in rows[called]:
            reader.take(line, row)
        reader.contradicted()
    if layout.note:
        found.notes.append(layout.note)
    if not place.is_file:
        rest = [path for path in place.files if is_picture_name(path) and path not in of]
        found.unlabelled([(path, split_by_folders(path)) for path in rest], asked)
    if not found.paths:
        skipped = [row for several in found.rows.values() for row in several]
        why = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise BadData(f"{shown(place.path)} names no usable picture{why}; paths are relative to its folder.")
    how = 'its column "split"' if any(split != UNSPLIT for split in found.splits) else ""
    if how and len(tables) > 1:
        how = f"tables of {listed([os.path.dirname(called) or called for called in tables])}"
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "box table", how))


def _plain(layout: Layout, row: dict[str, str]) -> list[float]:
    values = [number_of(text) for _, text in layout.numbers(row)]
    return [value for value in values if value is not None]


def _detect(place: Place) -> bool:
    if not place.is_file or os.path.splitext(place.path)[1].lower() not in (".csv", ".tsv", ".tab"):
        return False
    return is_of_boxes(head_of(place.path))


FORMAT = Format("box table", _detect, _read)
