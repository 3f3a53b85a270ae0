"""COCO JSON: `images`, `annotations` and `categories` of a whole data set, or of one split, in one file.

Source: Lin et al. 2014, arXiv:1405.0312, and the format's page, cocodataset.org/#format-data: a box is
[x, y, width, height] in continuous pixels, category ids may have gaps, `iscrowd` marks a box around many. Masks are not
read. A file's name tells its split (`instances_train2017.json`, `train.json`), else its folder does
(`valid/_annotations.coco.json`); pictures lie beside the file, in `images/`, or in a folder named as the split.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, listed, relative, split_in
from foveal.data.formats._boxes import Found, dataset_of
from foveal.data.formats._json import read_json
from foveal.data.formats._pairs import split_by_folders
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

__all__ = ["FORMAT"]

JSON_MAX_BYTES = 2 << 30  # COCO's own training file has 450 MB, LVIS's 1.1 GB
PEEKED_BYTES = 1 << 16
KEYS = ("images", "annotations", "categories")
KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
NAMED = re.compile(r"(instances.*|.*annotations.*|.*coco.*)\.json", re.IGNORECASE)
NOT_BOXES = re.compile(r"(captions|person_keypoints|panoptic|stuff|image_info)_.*\.json", re.IGNORECASE)
Entry = Mapping[str, Any]


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    files = _chosen(place)
    found = Found(root, lambda path, number: f"annotation {number} of {path}")
    shelf, classes, taken = _Shelf(root), dict[str, None](), dict[str, str]()
    splits = {file: _split(file) for file in files}
    if len(files) > 1 and UNSPLIT in splits.values():
        raise BadData(f"{shown(place.path)} holds {len(files)} COCO files that name no split ({listed(files)}); "
                      f"give the one you mean.")  # fmt: skip
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        for file in files:
            content = read_json(root / file, JSON_MAX_BYTES, "COCO file", without="segmentation")
            one = _One(found, shelf, file, splits[file], taken)
            classes.update(dict.fromkeys(one.take(content, root / file)))
            advance(1)
    if not place.is_file:
        rest = [path for path in place.files if is_picture_name(path) and path not in taken]
        found.unlabelled([(path, split_by_folders(path)) for path in rest], asked)
    told = [SPLITS[split] for split in sorted(set(splits.values())) if split != UNSPLIT]
    how = f"files of {' and '.join(told)}" if told else ""
    if found.paths:
        root, found.paths = _common(root, found.paths)
        found.root = root
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "COCO JSON", how), tuple(classes))


class _One:
    """One file's pictures and boxes, added to what was found."""

    def __init__(self, found: Found, shelf: _Shelf, file: str, split: int, taken: dict[str, str]) -> None:
        self.found, self.shelf, self.file, self.split, self.taken = found, shelf, file, split, taken
        self.index: dict[int, int] = {}  # of each picture's id
        self.gone: set[int] = set()  # ids of pictures that are not there
        self.names: dict[int, str] = {}  # of each category's id

    def take(self, content: Any, path: Path) -> list[str]:
        """Add all of it; returns the classes in the order of their ids. Raises: BadData when it is not COCO."""
        if not isinstance(content, dict):
            raise BadData(f"{shown(path)} is no COCO file: it holds no object with {', '.join(KEYS)}.")
        for key in KEYS:
            if not isinstance(content.get(key), list):
                what = "is no list" if key in content else "is missing"
                raise BadData(f'{shown(path)} is no COCO file: "{key}" {what}.')
        for entry in content["categories"]:
            self._category(entry, path)
        for position, entry in enumerate(content["images"]):
            self._image(entry, position, path)
        for position, entry in enumerate(content["annotations"]):
            self._annotation(entry if isinstance(entry, dict) else {}, position)
        return [self.names[number] for number in sorted(self.names)]

    def _category(self, entry: Any, path: Path) -> None:
        number, name = _id(entry, "id"), entry.get("name") if isinstance(entry, dict) else None
        if number is None or not isinstance(name, str) or not name.strip():
            raise BadData(f"{shown(path)}, categories: each needs a whole number as id and a name.")
        if number in self.names:
            raise BadData(f"{shown(path)}, categories: id {number} appears twice.")
        name = unicodedata.normalize("NFC", _whole(name.strip()))
        if name in self.names.values():
            self.found.notes.append(f'Two categories are called "{shown(name)}" and are taken as one class.')
        self.names[number] = name

    def _image(self, entry: Any, position: int, path: Path) -> None:
        number = _id(entry, "id")
        if number is None:
            self.found.skip("picture", f"{self.file}, image {position + 1}", "its id is no whole number")
            return
        if number in self.index or number in self.gone:
            raise BadData(f"{shown(path)}, images: id {number} appears twice.")
        picture, why = self.shelf.find(entry.get("file_name"), self.file)
        if picture is None or picture in self.taken:
            reason = why if picture is None else f"{shown(picture)} is already in {shown(self.taken[picture])}"
            self.gone.add(number)
            self.found.skip("without picture", f"image {number}", reason)
            return
        self.taken[picture] = self.file
        width, height = _id(entry, "width") or 0, _id(entry, "height") or 0
        self.index[number] = self.found.add_picture(picture, self.split, (max(width, 0), max(height, 0)))

    def _annotation(self, entry: Entry, position: int) -> None:
        number = _id(entry, "id")
        number = position + 1 if number is None else number
        image, category = _id(entry, "image_id"), _id(entry, "category_id")
        on = self.index.get(image) if image is not None else None
        if on is None:
            if image not in self.gone:  # else the picture itself is a row
                reason = f"no picture with id {shown(repr(entry.get('image_id')))[:40]}"
                self.found.skip("without picture", f"annotation {number}", reason)
        elif category is None or category not in self.names:
            self.found.lose(on, number, f"no category with id {shown(repr(entry.get('category_id')))[:40]}")
        elif isinstance(corners := _corners(entry.get("bbox")), str):
            self.found.lose(on, number, corners)
        else:
            self.found.add_box(on, number, corners, self.names[category], crowd=entry.get("iscrowd") in (1, True))


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON can hold and no file can."""
    return "".join(shown(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def _id(entry: Any, key: str) -> int | None:
    """A whole number; text that looks like one is none."""
    value = entry.get(key) if isinstance(entry, dict) else None
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value if whole else None


def _corners(bbox: Any) -> tuple[float, float, float, float] | str:
    """x1, y1, x2, y2, or what is wrong."""
    if bbox is None:
        return "has no bbox"
    plain = isinstance(bbox, list) and len(bbox) == 4
    if not plain or not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e15 for v in bbox):
        return "its bbox is not four numbers"
    x, y, width, height = bbox
    if width < 0 or height < 0:
        return "width or height below zero"
    return float(x), float(y), float(x + width), float(y + height)


class _Shelf:
    """Where the pictures of a file may lie; the folder that held the last one is asked first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.last: dict[str, str] = {}

    def find(self, written: Any, file: str) -> tuple[str | None, str]:
        """The picture's path relative to the root, or why there is none."""
        if not isinstance(written, str) or not written.strip():
            return None, "has no file_name"
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", written):
            return None, f"{shown(written)[:80]}: foveal does not download pictures; save them first"
        name = relative(written)
        if name.startswith(("../", "/")) or name == ".." or re.match(r"[A-Za-z]:", name):
            return None, f"{shown(written)[:200]} leads out of the folder"
        folders = _folders(file)
        for folder in dict.fromkeys((self.last.get(file, folders[0]), *folders)):
            for candidate in dict.fromkeys((name, name.rpartition("/")[2])):
                path = os.path.normpath(f"{folder}/{candidate}")
                if self._is_file(path):
                    self.last[file] = folder
                    return PurePosixPath(path).as_posix(), ""
        return None, f"file {shown(written)[:200]} not found"

    def _is_file(self, path: str) -> bool:
        try:
            return os.path.isfile(self.root / path)
        except ValueError:  # no possible file name
            return False


def _folders(file: str) -> list[str]:
    """Where the pictures of a file are looked for, relative to the root: beside it, around it, beside its folder."""
    home, stem = os.path.dirname(file) or ".", PurePosixPath(file).stem
    word = re.sub(r"^(instances|annotations)_|[_.]?(annotations|coco).*$", "", stem)
    inside = [".", "images", "JPEGImages", "data", "imgs", *([word, f"images/{word}"] if word else [])]
    around = [f"{home}/..", *(f"{home}/../{folder}" for folder in inside[1:])]
    return [*(f"{home}/{folder}" for folder in inside), *around]


def _common(root: Path, paths: list[str]) -> tuple[Path, list[str]]:
    """The folder above all pictures, where some lie beside the file's folder, and the paths from there."""
    if not any(path.startswith("../") for path in paths):
        return root, paths
    inside = [path.removeprefix("../") if path.startswith("../") else f"{root.name}/{path}" for path in paths]
    return root.parent, inside


def _split(file: str) -> int:
    """What the file's name tells, else its folder."""
    split = split_in(PurePosixPath(file).name)
    return split_by_folders(file) if split == UNSPLIT else split


def _chosen(place: Place) -> list[str]:
    """The files to read: those that name a split, where some do; else all."""
    if place.is_file:
        return [place.path.name]
    files = _candidates(place)
    boxes = [file for file in files if not NOT_BOXES.fullmatch(PurePosixPath(file).name)]
    split = [file for file in boxes or files if _split(file) != UNSPLIT]
    return split or boxes or files


def _candidates(place: Place) -> list[str]:
    return [file for file in place.files if file.lower().endswith(".json") and _looks_so(place, file)]


def _looks_so(place: Place, file: str) -> bool:
    """Two of the three lists are in the file's head or tail; one is enough in a file called as COCO calls them."""
    try:
        with open_regular(place.path / file) as opened:
            head = opened.read(PEEKED_BYTES)
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - PEEKED_BYTES))
            seen = set(KEY.findall(head + b"\n" + opened.read(PEEKED_BYTES)))
    except (Unreadable, OSError):
        return False
    if not NAMED.fullmatch(PurePosixPath(file).name):
        return len(seen) > 1
    return bool(seen) or not _in_class_folders(place)


def _in_class_folders(place: Place) -> bool:
    """Whether pictures lie in several folders that are no splits: then a file beside them is of another kind."""
    pictures = (file for file in place.files if is_picture_name(file))
    folders = {os.path.dirname(file) for file in pictures if split_by_folders(file) == UNSPLIT}
    return len(folders) > 1


def _detect(place: Place) -> bool:
    if place.is_file:
        return place.path.suffix.lower() == ".json"
    return place.has_pictures and bool(_candidates(place))


FORMAT = Format("COCO JSON", _detect, _read)
