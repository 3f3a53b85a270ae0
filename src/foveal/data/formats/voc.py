"""Pascal VOC: one XML file a picture, wherever it lies: `Annotations/` and `JPEGImages/`, or beside the pictures.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit, section 4 (annotation).
`ImageSets/Main/{train,val,trainval,test}.txt` split, else folders do. Pixels count from 1 there and both ends belong
to the box, so that xmin 1 and xmax 4 cover 0 to 4. Tools that write the same files but count from 0 give themselves
away by a box that begins at 0: where a data set has one, all its coordinates are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._boxes import Found, dataset_of, number_of
from foveal.data.formats._pairs import Mates, folders_said, split_by_folders, stem_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular, read_all, read_bytes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["FORMAT"]

XML_MAX_BYTES = 8 << 20  # an annotation is a few kilobytes
DEPTH_MAX = 32  # VOC's own files are four deep
LIST_MAX_BYTES = 256 << 20
PEEKED, PEEKED_BYTES = 20, 4096  # files looked into to know the format, and how far
CORNERS = ("xmin", "ymin", "xmax", "ymax")
LIST = re.compile(r"(?:(.*)/)?ImageSets/Main/(train|val|test|trainval)\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class _Object:
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class _Annotation:
    filename: str
    size: tuple[int, int]  # width, height; 0: not told
    objects: tuple[_Object | str, ...]  # what is wrong with one that cannot be used


def _read(place: Place, asked: Asked) -> Dataset:
    files = [file for file in place.files if _is_xml(file)]
    pictures = [file for file in place.files if is_picture_name(file)]
    lists = _lists(place)
    found = Found(place.path, lambda path, number: f"box {number} of {path}")
    mates, taken = Mates(pictures), dict[str, str]()
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        for file in files:
            _take(found, place.path, file, mates, taken, lists)
            advance(1)
    rest = [(path, lists.split(path) if lists else split_by_folders(path)) for path in pictures if path not in taken]
    found.unlabelled([(path, split) for path, split in rest if not lists or split != UNSPLIT], asked)
    _count_from(found)
    how = "ImageSets/Main" if lists else folders_said(found.splits)
    return dataset_of(found, asked, Origin(asked.source, str(place.path), "Pascal VOC", how))


def _take(found: Found, root: Path, file: str, mates: Mates, taken: dict[str, str], lists: _Lists) -> None:
    """Add what one file says."""
    read = _annotation(root / file)
    picture, why = mates.of(file, "" if isinstance(read, str) else read.filename)
    if picture is not None and picture in taken:
        found.skip("annotation", file, f"is of {picture}, as is {taken[picture]}")
        return
    if picture is not None:
        taken[picture] = file
    if isinstance(read, str):
        found.skip("annotation", file, read)
    elif picture is None:
        found.skip("without picture", file, why)
    elif lists and lists.split(file) == UNSPLIT:
        found.skip("picture", picture, "is in no list of ImageSets/Main")
    else:
        on = found.add_picture(picture, lists.split(file) if lists else split_by_folders(picture), read.size)
        for number, thing in enumerate(read.objects, 1):
            if isinstance(thing, str):
                found.lose(on, number, thing)
            else:
                found.add_box(on, number, thing.corners, thing.name, difficult=thing.difficult)


def _count_from(found: Found) -> None:
    """Decide, and say, what the first pixel is called."""
    if any(0 <= low < 1 for corners in found.corners for low in corners[:2]):
        found.notes.append("A box begins at 0: coordinates are taken as they are, not as VOC's, which count from 1.")
    else:
        found.first = 1.0


def _annotation(path: Path) -> _Annotation | str:
    """What an XML file says, or why it cannot be used."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException, DTDForbidden

    try:
        data = read_all(path, XML_MAX_BYTES)
    except Unreadable as unreadable:
        return unreadable.reason
    if not data.strip():
        return "is empty"
    if b"\0" in data[:4] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is UTF-16 or UTF-32; save it as UTF-8"
    try:
        root = _parsed(data)
    except DTDForbidden:
        return "has a DOCTYPE, which foveal does not read"
    except (DefusedXmlException, _TooDeep, ParseError, ValueError, LookupError) as error:
        return "is too deeply nested" if isinstance(error, _TooDeep) else "is no whole XML file"
    if root.tag != "annotation":
        return f"is no Pascal VOC annotation (it begins with <{shown(str(root.tag))[:40]}>)"
    size = root.find("size")
    sides = [number_of(_text(size, side)) or 0 for side in ("width", "height")] if size is not None else [0, 0]
    objects = tuple(_object(element) for element in root.findall("object"))
    return _Annotation(_text(root, "filename"), (int(sides[0]), int(sides[1])), objects)


class _TooDeep(Exception):
    pass


def _parsed(data: bytes) -> Element:
    """The tree of a file that declares nothing and is not nested for its own sake."""
    from xml.etree.ElementTree import TreeBuilder

    from defusedxml.ElementTree import XMLParser

    class Shallow(TreeBuilder):
        depth = 0

        def start(self, tag: str, attrs: dict[str, str], /) -> Element:
            self.depth += 1
            if self.depth > DEPTH_MAX:
                raise _TooDeep
            return super().start(tag, attrs)

        def end(self, tag: str, /) -> Element:
            self.depth -= 1
            return super().end(tag)

    parser = XMLParser(target=Shallow(), forbid_dtd=True)
    parser.feed(data)
    root: Element = parser.close()
    return root


def _object(element: Element) -> _Object | str:
    """What an <object> says of itself, its <part>s left aside."""
    name, box = _text(element, "name"), element.find("bndbox")
    if not name:
        return "has no name"
    if box is None:
        return "has no bndbox"
    values = []
    for corner in CORNERS:
        text = _text(box, corner)
        if (value := number_of(text)) is None:
            return f'{corner} is "{shown(text)[:40]}", not a number' if text else f"has no {corner}"
        values.append(value)
    return _Object(name, (values[0], values[1], values[2], values[3]), _text(element, "difficult") == "1")


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


@dataclass(frozen=True)
class _Lists:
    """ImageSets/Main: the split of each picture, by the folder that holds the lists and the file's stem."""

    homes: tuple[str, ...]
    splits: dict[tuple[str, str], int]

    def __bool__(self) -> bool:
        return bool(self.splits)

    def split(self, path: str) -> int:
        stem = stem_of(path)
        return next((self.splits[home, stem] for home in self.homes
                     if path.startswith(home) and (home, stem) in self.splits), UNSPLIT)  # fmt: skip


def _lists(place: Place) -> _Lists:
    """The lists below a folder; what train and val do not name of trainval is train. Raises: BadData."""
    splits, homes = dict[tuple[str, str], int](), dict[str, None]()
    named = [(match, file) for file in place.files if (match := LIST.fullmatch(file))]
    for match, file in sorted(named, key=lambda pair: pair[0][2].lower() == "trainval"):
        home, word = f"{match[1]}/" if match[1] else "", match[2].lower()
        homes[home] = None
        for stem in _stems(place.path / file):
            split = SPLITS.index("train" if word == "trainval" else word)
            if word == "trainval":
                splits.setdefault((home, stem), split)
            elif splits.setdefault((home, stem), split) != split:
                raise BadData(f"{shown(file)}: {shown(stem)} is in another list as well; keep it in one.")
    return _Lists(tuple(homes), splits)


def _stems(path: Path) -> Iterator[str]:
    """The first word of each line; a second one says whether a class is there."""
    raw = read_bytes(path, limit=LIST_MAX_BYTES, what="list of pictures", error=BadData)
    for line in raw.decode("utf-8-sig", "replace").splitlines():
        if words := line.split():
            yield words[0]


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
    return any("/annotations/" in f"/{file.lower()}" for file in files) or (
        2 * sum(stem_of(file) in stems for file in pictures) >= len(pictures)
    )


def _looks_so(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(PEEKED_BYTES).replace(b"\0", b"")
    except (Unreadable, OSError):
        return False
    return b"<annotation" in head or b"<!DOCTYPE" in head


FORMAT = Format("Pascal VOC", _detect, _read)
