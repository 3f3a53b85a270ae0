"""CVAT for images 1.1: one XML file of all pictures, with boxes, polygons, masks, and what else can be drawn.

Source: docs.cvat.ai, "CVAT for images". Coordinates are continuous pixels from 0; a rotated box turns clockwise about
its middle; a mask's runs go along rows, beginning with what is not set. A picture's `subset` is its split. Polygons,
ellipses, masks and rotated boxes become the boxes round them; lines and points have no area, tags no place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, split_of
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found, number_of
from foveal.data.formats._found_pictures import Finder
from foveal.data.formats._masks import WRONG_RUNS, round_points, runs_box
from foveal.data.formats._pairs import folders_said, split_by_folders
from foveal.data.formats._shapes import Corners, add_shape, rotated, round_ellipse
from foveal.data.formats._xml import BadXml, tree_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["FORMAT"]

XML_MAX_BYTES = 256 << 20
PEEKED_BYTES = 4096
FILES_MAX = 100  # of tasks; more are a file a picture, and not CVAT's
SIDE_MAX = 1 << 20
TRAIN = 0
NO_AREA = ("polyline", "points", "skeleton", "cuboid")


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    files = [place.path.name] if place.is_file else _candidates(place)
    pictures = [path for path in (Place(root) if place.is_file else place).files if is_picture_name(path)]
    found = Found(root, lambda path, number: f"shape {number} of {path}")
    images = [(file, image) for file in files for image in _images(root / file)]
    everything = set(pictures)
    finder = Finder(lambda: pictures, lambda path: path in everything, str(root))
    folders = list(dict.fromkeys(folder for file in files for folder in _folders(file)))
    matches = finder.all_of([image.get("name", "") for _, image in images], folders)
    subsets = _subsets(found, [image for _, image in images])
    taken = dict[str, str]()
    for file, image in images:
        name, number = image.get("name", ""), f"image {shown(image.get('id', ''))[:40]}"
        match = matches[name]
        if match.path is None:
            found.skip("without picture", number, match.reason or f"file {shown(name)[:200]} not found")
        elif taken.setdefault(match.path, f"{number} of {file}") != f"{number} of {file}":
            found.skip("without picture", number, f"{match.path} is already {taken[match.path]}")
        else:
            split = subsets.get(image.get("subset", ""), UNSPLIT) if subsets else split_by_folders(match.path)
            _take(found, match.path, split, image)
    if not found.corners and any(image.find("tag") is not None for _, image in images):
        raise BadData(f"{shown(place.path)} holds tags, a class a picture, and no shapes; export from CVAT as "
                      f"ImageNet, which is class folders.")  # fmt: skip
    if not place.is_file:
        rest = [path for path in pictures if path not in taken]
        found.unlabelled([(path, split_by_folders(path)) for path in rest], asked, "is not in the file")
    how = "subsets" if subsets else folders_said(found.splits)
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "CVAT XML", how))


def _folders(file: str) -> list[str]:
    """Where names may begin: beside the file, and in the folder of pictures there."""
    home = file.rpartition("/")[0]
    return [f"{home}/{folder}".strip("/") or "." for folder in ("", "images", "data")]


def _subsets(found: Found, images: list[Element]) -> Mapping[str, int]:
    """The split of each subset; none where no subset is called as a split."""
    words = dict.fromkeys(image.get("subset", "") for image in images)
    known = {word: split_of(word) for word in words}
    if not any(split != UNSPLIT for split in known.values()):
        return {}
    for word, split in known.items():
        if split == UNSPLIT and word:
            count = sum(image.get("subset", "") == word for image in images)
            found.notes.append(f'Subset "{shown(word)[:80]}" is named as no split: its pictures ({count}) are train.')
            known[word] = TRAIN
    return known


def _images(path: Path) -> list[Element]:
    """The pictures' elements of a file. Raises: BadData where it is no such file."""
    try:
        root = tree_of(path, XML_MAX_BYTES)
    except BadXml as bad:
        raise BadData(f"{shown(path)} {bad}.") from None
    if root.tag == "annotation":
        raise BadData(f"{shown(path)} is the annotation of one picture; give the folder that holds all of them.")
    if root.tag != "annotations" or root.find("track") is not None:
        what = "is of a video" if root.tag == "annotations" else "is no file of CVAT"
        raise BadData(f'{shown(path)} {what}; export as "CVAT for images 1.1".')
    return root.findall("image")


def _take(found: Found, picture: str, split: int, image: Element) -> None:
    """Add a picture with what was drawn on it."""
    sides = [int(number_of(image.get(side, "")) or 0) for side in ("width", "height")]
    on = found.add_picture(picture, split, (max(sides[0], 0), max(sides[1], 0)))
    for number, shape in enumerate(image, 1):
        if shape.tag == "tag":
            found.assume("tag on a whole picture is not read", "tags on whole pictures are not read", picture)
            continue
        label = shape.get("label", "").strip()
        if not label:
            found.lose(on, number, "has no label")
            continue
        turn = number_of(shape.get("rotation", "0")) or 0.0
        drawn = ("rotated box" if turn else "") if shape.tag == "box" else shape.tag
        add_shape(found, on, number, drawn, _corners(shape, turn), label)


def _corners(shape: Element, turn: float) -> Corners | str:
    """The box round a shape, or what is wrong with it."""
    if shape.tag in NO_AREA:
        return (
            f"is a {shape.tag}, which has no area"
            if shape.tag != "cuboid"
            else "is a cuboid, which foveal does not read"
        )
    if shape.tag == "polygon":
        values = [number_of(text) for text in shape.get("points", "").replace(";", ",").split(",")]
        flat = [value for value in values if value is not None]
        if len(flat) != len(values) or len(flat) < 6 or len(flat) % 2:
            return "its polygon is not three points or more"
        return round_points(flat)
    if shape.tag == "mask":
        return _of_mask(shape)
    keys = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}.get(str(shape.tag))
    if keys is None:
        return f"is a {shown(str(shape.tag))[:40]}, which foveal does not read"
    numbers = [number_of(shape.get(key, "")) for key in keys]
    for key, value in zip(keys, numbers, strict=True):
        if value is None:
            return f'{key} is "{shown(shape.get(key, ""))[:40]}", not a number'
    a, b, c, d = (value or 0.0 for value in numbers)
    if shape.tag == "ellipse":
        return round_ellipse(a, b, c, d, turn)
    return rotated((a, b, c, d), turn) if turn else (a, b, c, d)


def _of_mask(shape: Element) -> Corners | str:
    """The box round a mask, whose runs are of a window of the picture."""
    place = [number_of(shape.get(key, "")) for key in ("left", "top", "width", "height")]
    whole = [int(value) for value in place if value is not None and value >= 0 and value == int(value)]
    words = shape.get("rle", "").replace(",", " ").split()
    if len(whole) != 4 or not 0 < whole[2] <= SIDE_MAX or not 0 < whole[3] <= SIDE_MAX:
        return "its mask has no place"
    left, top, width, height = whole
    if not words or not all(word.isascii() and word.isdigit() and len(word) < 13 for word in words):
        return WRONG_RUNS
    runs = np.array([int(word) for word in words], np.int64)
    if runs.max() > width * height or runs.sum() != width * height:
        return WRONG_RUNS
    box = runs_box(runs, width, along_rows=True)
    return "its mask is empty" if box is None else (box[0] + left, box[1] + top, box[2] + left, box[3] + top)


def _candidates(place: Place) -> list[str]:
    return [file for file in place.files if file.lower().endswith(".xml") and _looks_so(place.path / file)]


def _looks_so(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(PEEKED_BYTES)
    except (Unreadable, OSError):
        return False
    return b"<annotations>" in head or b"<annotations " in head


def _detect(place: Place) -> bool:
    """One XML file of all pictures, or a folder that holds one."""
    if place.is_file:
        return place.path.suffix.lower() == ".xml"
    files = [file for file in place.files if file.lower().endswith(".xml")]
    return place.has_pictures and 0 < len(files) <= FILES_MAX and any(_looks_so(place.path / file) for file in files)


FORMAT = Format("CVAT XML", _detect, _read)
