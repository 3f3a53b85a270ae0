"""Pascal VOC: one XML file a picture, wherever it lies: `Annotations/` and `JPEGImages/`, or beside the pictures.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit, section 4 (annotation).
`ImageSets/Main/{train,val,trainval,test}.txt` split, else folders do. Pixels count from 1 there and both ends belong
to the box, so that xmin 1 and xmax 4 cover 0 to 4. Tools that write the same files but count from 0 give themselves
away by a box that begins at 0, or by decimals: where a data set has one, all its coordinates are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found, number_of
from foveal.data.formats._pairs import Mate, Mates, folders_said, split_by_folders, stem_of
from foveal.data.formats._voc_lists import Lists, lists_of
from foveal.data.formats._xml import BadXml, tree_of
from foveal.errors import shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["FORMAT"]

XML_MAX_BYTES = 8 << 20  # an annotation is a few kilobytes
PEEKED, PEEKED_BYTES = 20, 4096  # files looked into to know the format, and how far
CORNERS = ("xmin", "ymin", "xmax", "ymax")
OF_MASKS = re.compile(r"(^|/)Segmentation(Class|Object)[A-Za-z]*/", re.IGNORECASE)
OWN = re.compile(r"The VOC\d{4} Database", re.IGNORECASE)
OWN_DECIMALS = 0.05  # of the boxes: VOC2012 itself has a few, left by whoever drew them


@dataclass(frozen=True)
class _Object:
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    decimals: bool  # a corner is written with a decimal point


@dataclass(frozen=True)
class _Annotation:
    named: str  # the picture's path or name, as the file has it
    size: tuple[int, int]  # width, height; 0: not told
    objects: tuple[_Object | str, ...]  # what is wrong with one that cannot be used
    own: bool  # says that it is of the challenge itself


def _read(place: Place, asked: Asked) -> Dataset:
    files = [file for file in place.files if _is_xml(file)]
    pictures = [file for file in place.files if is_picture_name(file)]
    masks = [file for file in pictures if OF_MASKS.search(file)]
    mates = Mates(sorted(set(pictures) - set(masks)))
    found = Found(place.path, lambda path, number: f"box {number} of {path}", as_voc=True)
    lists = lists_of(place, found.notes)
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        read = dict[str, _Annotation | str]()
        for file in files:
            read[file] = _annotation(place.path / file)
            advance(1)
    told = {file: what.named for file, what in read.items() if not isinstance(what, str)}
    paired = mates.of_all(files, told)
    for file in files:
        _take(found, file, read[file], paired[file], lists)
    _told_otherwise(found, mates, paired, told)
    for picture in sorted(mates.doubted):
        found.skip("picture", picture, "several annotation files name it")
    known = {picture for picture, _ in paired.values()} | mates.doubted | set(masks)
    rest = [(path, lists.split(path) if lists else split_by_folders(path)) for path in pictures if path not in known]
    found.unlabelled([(path, split) for path, split in rest if not lists or split != UNSPLIT], asked)
    for mask in masks:
        found.assume("picture of masks is not read", "pictures of masks are not read", mask)
    _tell_decimals(found, read, paired)
    how = "ImageSets/Main" if lists else folders_said(found.splits)
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "Pascal VOC", how))


def _take(found: Found, file: str, read: _Annotation | str, mate: Mate, lists: Lists) -> None:
    """Add what one file says."""
    picture, why = mate
    if picture is None:
        found.skip("annotation" if isinstance(read, str) or " as " in why else "without picture", file, why)
    elif isinstance(read, str):
        found.skip("annotation", file, read)
    elif lists and lists.split(file) == UNSPLIT:
        found.skip("picture", picture, "is in no list of ImageSets/Main")
    else:
        on = found.add_picture(picture, lists.split(file) if lists else split_by_folders(picture), read.size)
        for number, thing in enumerate(read.objects, 1):
            if isinstance(thing, str):
                found.lose(on, number, thing)
            else:
                found.add_box(on, number, thing.corners, thing.name, difficult=thing.difficult)


def _told_otherwise(found: Found, mates: Mates, paired: Mapping[str, Mate], told: Mapping[str, str]) -> None:
    """Count files that name another picture that is there: copied ones, whose own name decides."""
    for file, named in told.items():
        picture, other = paired[file][0], re.split(r"[\\/]", named)[-1]
        if picture is not None and stem_of(picture) != stem_of(other) and other in mates.by_name:
            found.assume(
                "annotation file names another picture than the one of its own name, which decides",
                "annotation files name another picture than the one of their own name, which decides", file,
            )  # fmt: skip


def _tell_decimals(found: Found, read: Mapping[str, _Annotation | str], paired: Mapping[str, Mate]) -> None:
    """Say which box is the first with decimals, unless the few that have some are of VOC's own files."""
    with_some, all_own = list[str](), True
    for file, what in read.items():
        picture = paired[file][0]
        if picture is None or isinstance(what, str):
            continue
        for number, thing in enumerate(what.objects, 1):
            if isinstance(thing, _Object) and thing.decimals:
                with_some.append(found.where(picture, number))
                all_own &= what.own
    if with_some and not (all_own and len(with_some) <= OWN_DECIMALS * len(found.corners)):
        found.decimals = with_some[0]


def _annotation(path: Path) -> _Annotation | str:
    """What an XML file says, or why it cannot be used."""
    try:
        root = tree_of(path, XML_MAX_BYTES)
    except BadXml as bad:
        return str(bad)
    if root.tag != "annotation":
        return f"is not a Pascal VOC annotation (it begins with <{shown(str(root.tag))[:40]}>)"
    size = root.find("size")
    sides = [number_of(_text(size, side)) or 0 for side in ("width", "height")] if size is not None else [0, 0]
    objects = tuple(_object(element) for element in root.findall("object"))
    own = OWN.fullmatch(_text(root, "source/database")) is not None
    return _Annotation(_named(root), (int(sides[0]), int(sides[1])), objects, own)


def _named(root: Element) -> str:
    """The picture that a file says it is of: by its path where that ends in the file's name, else folder and name."""
    path, folder, name = (_text(root, tag) for tag in ("path", "folder", "filename"))
    if path and (not name or re.split(r"[\\/]", path)[-1] == name):
        return path
    return f"{folder}/{name}" if folder and name else name


def _object(element: Element) -> _Object | str:
    """What an <object> says of itself, its <part>s left aside."""
    name, box = _text(element, "name"), element.find("bndbox")
    if not name:
        return "has no name"
    if box is None:
        return "has no bndbox"
    values, decimals = [], False
    for corner in CORNERS:
        text = _text(box, corner)
        if (value := number_of(text)) is None:
            return f'{corner} is "{shown(text)[:40]}", not a number' if text else f"has no {corner}"
        values.append(value)
        decimals |= "." in text
    return _Object(name, (values[0], values[1], values[2], values[3]), _text(element, "difficult") == "1",
                   decimals)  # fmt: skip


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _is_xml(file: str) -> bool:
    return file.lower().endswith(".xml")


def _detect(place: Place) -> bool:
    """XML annotations in a folder called so, or with the names of at least half of the pictures."""
    files = [file for file in place.files if _is_xml(file)]
    if place.is_file or not files or not place.has_pictures:
        return False
    step = max(1, len(files) // PEEKED)
    if not any(_looks_so(place.path / file) for file in files[::step]):
        return False
    stems = {stem_of(file) for file in files}
    pictures = [file for file in place.files if is_picture_name(file)]
    mates = sum(stem_of(file) in stems or file.rpartition("/")[2] in stems for file in pictures)
    return any("/annotations/" in f"/{file.lower()}" for file in files) or 2 * mates >= len(pictures)


def _looks_so(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(PEEKED_BYTES).replace(b"\0", b"")
    except (Unreadable, OSError):
        return False
    return re.search(rb"<annotation[\s>/]", head) is not None or b"<!DOCTYPE" in head


FORMAT = Format("Pascal VOC", _detect, _read)
