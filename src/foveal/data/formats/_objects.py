"""The column `objects` of a metadata table: boxes and what they are called, a list each.

Source: Hugging Face Datasets, "Create an image dataset", object detection: bbox as COCO has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Place, listed, split_of
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found
from foveal.data.formats._nearby import Nearby
from foveal.data.formats._pairs import split_by_folders
from foveal.data.formats._rows import SPLIT, picture_file
from foveal.data.formats._sheets import PATH, Sheet, columns_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name

__all__ = ["read_objects"]

NAMES = ("categories", "category", "labels", "label", "class", "classes", "category_id")


def read_objects(sheets: Mapping[str, Sheet], place: Place, asked: Asked, split_in: Callable[[str], int]) -> Dataset:
    """The data set of tables with boxes. Raises: BadData for a column `objects` that is not understood."""
    found = Found(place.path, lambda path, number: f"box {number} of {path}", sided=True)
    taken = set[str]()
    for file, sheet in sheets.items():
        home, folder = os.path.dirname(file), sheet.path.parent
        if "objects" not in sheet.header:
            raise BadData(
                f'{shown(sheet.path)} has no column "objects", and others have; it has {listed(sheet.header)}.'
            )
        nearby, at = Nearby(folder), sheet.header.index("objects")
        paths = sheet.texts(columns_of(sheet.header, PATH)[0])
        words = sheet.texts(columns_of(sheet.header, SPLIT)[0]) if columns_of(sheet.header, SPLIT) else []
        for i, (line, values) in enumerate(sheet.rows):
            path, why = picture_file(folder, paths[i], nearby) if paths[i] else (None, "has no path")
            where = f"{file} line {line}"
            path = None if path is None else os.path.normpath(f"{home}/{path}") if home else path
            if path is None or path in taken:
                found.skip("row", where, why if path is None else f"repeats {shown(path)}")
                continue
            taken.add(path)
            split = split_of(words[i]) if words else split_in(file)
            on = found.add_picture(path, split_by_folders(path) if split == UNSPLIT else split)
            _take(found, on, values[at], f"{shown(sheet.path)}, line {line}")
        found.notes += nearby.notes(shown(sheet.path.name))
    found.unlabelled(
        [(path, split_by_folders(path)) for path in place.files if is_picture_name(path) and path not in taken], asked
    )
    told = any(split != UNSPLIT for split in found.splits)
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "metadata", "folders" if told else ""))


def _take(found: Found, on: int, objects: Any, where: str) -> None:
    """Add the boxes of one picture: a dict of lists, or a list of dicts."""
    if objects is None:
        return
    if isinstance(objects, list) and all(isinstance(one, dict) for one in objects):
        objects = {key: [one.get(key) for one in objects] for key in {key for one in objects for key in one}}
    if not isinstance(objects, dict):
        raise BadData(f'{where}: "objects" must hold lists of bbox and categories.')
    name = next((key for key in NAMES if isinstance(objects.get(key), list)), None)
    boxes = objects.get("bbox", [])
    names = objects[name] if name else []
    if not isinstance(boxes, list) or len(names) != len(boxes):
        raise BadData(f'{where}: "objects" must hold a list "bbox", and a list "categories" of the same length.')
    for number, (box, label) in enumerate(zip(boxes, names, strict=True), 1):
        plain = isinstance(box, list) and len(box) == 4
        if not plain or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
            found.lose(on, number, "its bbox is not four numbers")
        elif not isinstance(label, int | str) or not str(label).strip():
            found.lose(on, number, "has no category")
        else:
            x, y, width, height = (float(v) for v in box)
            found.add_box(on, number, (x, y, x + width, y + height), str(label).strip())
