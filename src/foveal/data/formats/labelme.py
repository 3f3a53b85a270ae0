"""labelme's JSON: a file a picture, beside it, with the shapes that were drawn; X-AnyLabeling writes the same.

A rectangle is two opposite corners, a circle its middle and a point on it; polygons and masks become the boxes round
them. Lines and points have no area. `imageData`, the picture once more, is not looked at.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.data.dataset import Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found
from foveal.data.formats._json import read_json
from foveal.data.formats._masks import round_points
from foveal.data.formats._pairs import Mates, folders_said, split_by_folders, stem_of
from foveal.data.formats._shapes import Corners, add_shape, flat_points
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

__all__ = ["FORMAT", "looks_so"]

JSON_MAX_BYTES = 256 << 20  # the picture's own bytes may be in it
PEEKED, PEEKED_BYTES = 20, 1 << 14  # files looked into to know the format, and how far from either end
NO_AREA = ("line", "linestrip", "point", "points")


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    inside = Place(root) if place.is_file else place
    files = [place.path.name] if place.is_file else [file for file in place.files if _is_json(file)]
    pictures = [file for file in inside.files if is_picture_name(file)]
    found = Found(root, lambda path, number: f"shape {number} of {path}")
    read = dict[str, Mapping[str, Any] | str]()
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        for file in files:
            read[file] = _content(root / file)
            advance(1)
    if place.is_file and isinstance(wrong := read[files[0]], str):
        raise BadData(f"{shown(place.path)} {wrong}.")
    named = {file: str(what.get("imagePath") or "") for file, what in read.items() if not isinstance(what, str)}
    mates = Mates(pictures)
    paired = mates.of_all(files, named)
    for file in files:
        _take(found, file, read[file], *paired[file])
    known = {picture for picture, _ in paired.values()} | mates.doubted
    if not place.is_file:
        found.unlabelled([(path, split_by_folders(path)) for path in pictures if path not in known], asked)
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "labelme", folders_said(found.splits)))


def _take(found: Found, file: str, read: Mapping[str, Any] | str, picture: str | None, why: str) -> None:
    """Add what one file says."""
    if isinstance(read, str):
        found.skip("annotation", file, read)
    elif picture is None:
        found.skip("annotation" if ", as is " in why else "without picture", file, why)
    else:
        sides = [read.get(key) for key in ("imageWidth", "imageHeight")]
        width, height = (side if isinstance(side, int) and side > 0 else 0 for side in sides)
        on = found.add_picture(picture, split_by_folders(picture), (width, height))
        if any(value is True for value in _mapping(read.get("flags")).values()):
            found.assume("picture has flags, which are not read", "pictures have flags, which are not read", file)
        for number, shape in enumerate(read["shapes"], 1):
            _shape(found, on, number, _mapping(shape))


def _shape(found: Found, on: int, number: int, shape: Mapping[str, Any]) -> None:
    label, kind = shape.get("label"), str(shape.get("shape_type") or "polygon")
    if not isinstance(label, str) or not label.strip():
        return found.lose(on, number, "has no label")
    corners = _corners(kind, shape.get("points"))
    drawn = "" if kind == "rectangle" else "rotated box" if kind in ("rotation", "oriented_rectangle") else kind
    marks = {"difficult": shape.get("difficult") is True}
    return add_shape(found, on, number, drawn, corners, label.strip(), **marks)


def _corners(kind: str, written: Any) -> Corners | str:
    """The box round a shape, or what is wrong with it."""
    points = flat_points(written)
    if kind in NO_AREA:
        return f"is a {shown(kind)}, which has no area"
    if points is None:
        return "its points are not pairs of numbers"
    if kind == "circle":
        if len(points) != 4:
            return "a circle needs its middle and a point on it"
        x, y, radius = points[0], points[1], math.dist(points[:2], points[2:])
        return x - radius, y - radius, x + radius, y + radius
    least = {"rectangle": 2, "mask": 2, "polygon": 3, "rotation": 4, "oriented_rectangle": 4}.get(kind)
    if least is None:
        return f"is a {shown(kind)[:40]}, which foveal does not read"
    return round_points(points) if len(points) >= 2 * least else f"has {len(points) // 2} of {least} points"


def _content(path: Path) -> Mapping[str, Any] | str:
    """What a file says, or why it cannot be used."""
    try:
        content = read_json(path, JSON_MAX_BYTES, "labelme file", _lighter)
    except BadData as bad:
        return str(bad).removeprefix(f"labelme file {shown(path)} ").rstrip(".")
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return "is not a labelme file: it has no list of shapes"
    return content


def _lighter(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("imageData", None)
    entry.pop("mask", None)  # its points are the corners of the box round it
    return entry


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_json(file: str) -> bool:
    return file.lower().endswith(".json")


def _detect(place: Place) -> bool:
    """JSON files with shapes, with the names of at least half of the pictures, or one such file."""
    if place.is_file:
        return _is_json(place.path.name) and looks_so(place.path)
    files = [file for file in place.files if _is_json(file)]
    pictures = {stem_of(file) for file in place.files if is_picture_name(file)}
    if not files or not pictures or not any(looks_so(place.path / f) for f in files[:: max(1, len(files) // PEEKED)]):
        return False
    return 2 * len(pictures & {os.path.splitext(stem_of(file))[0] for file in files} | pictures & {
        stem_of(file) for file in files}) >= min(len(pictures), len(files))  # fmt: skip


def looks_so(path: Path) -> bool:
    """Whether a file's head or tail has what labelme writes: the picture's bytes may stand between."""
    try:
        with open_regular(path) as file:
            head = file.read(PEEKED_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - PEEKED_BYTES))
            seen = head + file.read(PEEKED_BYTES)
    except (Unreadable, OSError):
        return False
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{" and b'"shapes"' in seen and (
        b'"imagePath"' in seen or b'"shape_type"' in seen or b'"imageHeight"' in seen)  # fmt: skip


FORMAT = Format("labelme", _detect, _read)
