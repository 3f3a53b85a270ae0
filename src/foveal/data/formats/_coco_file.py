"""One file of COCO: its categories, pictures and annotations, added to what is found."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foveal.data.formats._found import Found, Shows
from foveal.data.formats._found_pictures import Finder
from foveal.data.formats._masks import Mask, mask_of
from foveal.errors import BadData, shown

__all__ = ["NO_BOX", "CocoFile", "Shared", "lighter"]

KEYS = ("images", "annotations", "categories")
NO_BOX = "has no bbox"
Entry = Mapping[str, Any]
Id = int | str  # as it is written: "1" is not 1
Corners = tuple[float, float, float, float]


def lighter(entry: dict[str, Any]) -> dict[str, Any]:
    """An annotation whose mask is the box round it, or what is wrong with it: masks are most of a file."""
    if "segmentation" in entry:
        written = entry["segmentation"]
        needed = isinstance(written, dict) or isinstance(_corners(entry.get("bbox")), str) or _flat(entry["bbox"])
        entry["segmentation"] = mask_of(written) if needed else None
    return entry


def _flat(bbox: Any) -> bool:
    return not (bbox[2] and bbox[3])


@dataclass
class _Image:
    """A picture's entry."""

    number: Id
    written: str
    size: tuple[int, int]
    split: int
    file: str
    boxes: list[tuple[int, Corners | str, str, bool]] = field(default_factory=list)  # kept until the picture is found


class Shared:
    """What the files of one data set share: which pictures are taken, and those that are looked for at the end."""

    def __init__(self, found: Found, finder: Finder) -> None:
        self.found, self.finder = found, finder
        self.taken: dict[str, str] = {}  # the file of each picture
        self.nowhere: list[_Image] = []

    def finish(self) -> None:
        """Find what does not lie where the files say; tell of what stays away."""
        ends = self.finder.by_ends([image.written for image in self.nowhere], self.taken)
        often = Counter(image.written for image in self.nowhere)
        for image in self.nowhere:
            match = ends[image.written]
            if match.path is None or often[image.written] > 1:
                reason = match.reason or f"{shown(image.written)[:200]} has {often[image.written]} entries"
                self.found.skip("without picture", f"image {image.number}", reason)
                continue
            self.taken[match.path] = image.file
            self.found.assume(
                "picture is not where its entry says and is found by its name",
                "pictures are not where their entries say and are found by their names",
                f"{image.written[:200]} is {match.path}",
            )
            on = self.found.add_picture(match.path, image.split, image.size)
            for number, corners, name, crowd in image.boxes:
                add(self.found, on, number, corners, name, crowd)


def add(found: Found, on: int, number: int, corners: Corners | str, name: str, crowd: bool) -> None:
    """A box, a class without one, or why it is neither."""
    if corners == NO_BOX and name:
        found.labels.append(Shows(on, number, name))
    elif isinstance(corners, str):
        found.lose(on, number, corners)
    else:
        found.add_box(on, number, corners, name, crowd)


class CocoFile:
    """One file's pictures and boxes."""

    def __init__(self, shared: Shared, file: str, split: int, folders: Sequence[str]) -> None:
        self.shared, self.found = shared, shared.found
        self.file, self.split, self.folders = file, split, folders
        self.index: dict[Id, int] = {}  # of each picture that is there, by its id
        self.later: dict[Id, _Image] = {}  # pictures that are looked for when all files are read
        self.gone: set[Id] = set()  # ids of pictures that are not used
        self.names: dict[Id, str] = {}  # of each category's id

    def take(self, content: Any, path: Path) -> list[str]:
        """Add all of it; returns the classes in the order of their ids. Raises: BadData when it is not COCO."""
        if not isinstance(content, dict):
            raise BadData(f"{shown(path)} is not a COCO file: it holds no object with {', '.join(KEYS)}.")
        for key in KEYS:
            if not isinstance(content.get(key), list):
                what = "is no list" if key in content else "is missing"
                raise BadData(f'{shown(path)} is not a COCO file: "{key}" {what}.')
        for entry in content["categories"]:
            self._category(entry, path)
        notes = [entry if isinstance(entry, dict) else {} for entry in content["annotations"]]
        self._images(content["images"], notes, path)
        for position, entry in enumerate(notes):
            self._annotation(entry, position)
        return [self.names[number] for number in sorted(self.names, key=_in_order)]

    def _category(self, entry: Any, path: Path) -> None:
        number, name = _id(entry, "id"), entry.get("name") if isinstance(entry, dict) else None
        if number is None or not isinstance(name, str) or not name.strip():
            raise BadData(
                f"{shown(path)}, categories: each needs a whole number as id and a name (a text will do as id)."
            )
        if number in self.names:
            raise BadData(f"{shown(path)}, categories: id {shown(str(number))[:40]} appears twice.")
        name = unicodedata.normalize("NFC", _whole(name.strip()))
        if name in self.names.values():
            self.found.notes.append(f'Two categories are called "{shown(name)}" and are taken as one class.')
        self.names[number] = name

    def _images(self, entries: Sequence[Any], notes: Sequence[Entry], path: Path) -> None:
        """Find the picture of each entry; of several entries for one picture, the one with annotations counts."""
        here: dict[str, list[_Image]] = {}
        for position, entry in enumerate(entries):
            number = _id(entry, "id")
            if number is None:
                reason = "its id is neither a whole number nor a text"
                self.found.skip("picture", f"{self.file}, image {position + 1}", reason)
                continue
            if number in self.index or number in self.gone or number in self.later:
                raise BadData(f"{shown(path)}, images: id {shown(str(number))[:40]} appears twice.")
            self.gone.add(number)  # until its picture is found
            self._image(entry, number, here)
        several = {image.number for images in here.values() if len(images) > 1 for image in images}
        annotated = {_id(entry, "image_id") for entry in notes} & several if several else set()
        for picture, images in here.items():
            self._place(picture, images, [i for i in images if i.number in annotated] or images[:1])

    def _image(self, entry: Any, number: Id, here: dict[str, list[_Image]]) -> None:
        written = next((entry[key] for key in ("file_name", "coco_url", "flickr_url") if entry.get(key)), None)
        if not isinstance(written, str) or not written.strip():
            self.found.skip("without picture", f"image {number}", "has no file_name")
            return
        sides = [side if isinstance(side := _id(entry, key), int) else 0 for key in ("width", "height")]
        image = _Image(number, written, (max(sides[0], 0), max(sides[1], 0)), self.split, self.file)
        match = self.shared.finder.as_written(written, self.folders)
        if match.path is not None:
            here.setdefault(match.path, []).append(image)
        elif match.reason:
            self.found.skip("without picture", f"image {number}", match.reason)
        else:
            self.gone.discard(number)
            self.later[number] = image
            self.shared.nowhere.append(image)

    def _place(self, picture: str, images: list[_Image], annotated: list[_Image]) -> None:
        """Add a picture; its entries are rows but for the one that has annotations."""
        before = self.shared.taken.get(picture)
        chosen = annotated[0] if before is None and len(annotated) == 1 else None
        for image in images:
            if image is chosen:
                continue
            other = next((i.number for i in annotated if i is not image), None)
            if before is not None:
                reason = f"is already in {shown(before)}"
            elif chosen is None:
                reason = f"is also of image {other}, with other annotations; both are skipped"
            else:
                reason = f"is also of image {other}, which has its annotations"
            self.found.skip("without picture", f"image {image.number}", f"{shown(picture)} {reason}")
        self.shared.taken.setdefault(picture, self.file)
        if chosen is not None:
            self.gone.discard(chosen.number)
            self.index[chosen.number] = self.found.add_picture(picture, self.split, chosen.size)

    def _annotation(self, entry: Entry, position: int) -> None:
        number = _id(entry, "id")
        number = number if isinstance(number, int) else position + 1
        image, category = _id(entry, "image_id"), _id(entry, "category_id")
        if image is None or (image not in self.index and image not in self.later):
            if image not in self.gone:  # else the picture itself is a row
                reason = f"no picture with id {shown(repr(entry.get('image_id')))[:40]}"
                self.found.skip("without picture", f"annotation {number}", reason)
                if (on := self.index.get(_respelt(image))) is not None:  # most likely its own: no example of nothing
                    self.found.lost.add(on)
            return
        if category is None or category not in self.names:
            name, corners = "", self._no_category(entry)
        else:
            name, corners = self.names[category], self._corners(entry, image, number)
        crowd = entry.get("iscrowd") in (1, True)
        if image in self.later:
            self.later[image].boxes.append((number, corners, name, crowd))
        else:
            add(self.found, self.index[image], number, corners, name, crowd)

    def _no_category(self, entry: Entry) -> Corners | str:
        return f"no category with id {shown(repr(entry.get('category_id')))[:40]}"

    def _corners(self, entry: Entry, image: Id, number: int) -> Corners | str:
        """The box, else the box round the mask; or what is wrong with them."""
        mask = entry.get("segmentation")
        mask = mask if isinstance(mask, Mask) else None
        if mask is not None and mask.wrong and mask.size is not None and mask.kind == "mask":
            return mask.wrong
        corners = _corners(entry.get("bbox"))
        if mask is None or not (isinstance(corners, str) or _flat(entry["bbox"])):
            return corners
        if mask.corners is None:
            return mask.wrong
        size = self.later[image].size if image in self.later else self.found.written[self.index[image]]
        if mask.size is not None and all(size) and mask.size != size:
            return f"its mask has {mask.size[0]} × {mask.size[1]} pixels, its picture {size[0]} × {size[1]}"
        of = self.later[image].written if image in self.later else self.found.paths[self.index[image]]
        place = f"annotation {number} of {of[:200]}"
        self.found.assume(f"{mask.kind} without a box taken as the box round it",
                          f"{mask.kind}s without boxes taken as the boxes round them", place)  # fmt: skip
        return mask.corners


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON can hold and no file can."""
    return "".join(shown(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def _id(entry: Any, key: str) -> Id | None:
    """A whole number, or a text, as it is written."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, str):
        return value if 0 < len(value) <= 200 else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62 else None


def _respelt(number: Id | None) -> Id:
    """The same id as a text where it is a number, and the reverse."""
    text = isinstance(number, str) and number.isascii() and number.isdigit()
    return int(number or 0) if text else str(number)


def _in_order(number: Id) -> tuple[bool, int, str]:
    """Numbers first, texts of digits by their value."""
    if isinstance(number, int):
        return False, number, ""
    return True, int(number) if number.isascii() and number.isdigit() else 1 << 63, number


def _corners(bbox: Any) -> Corners | str:
    """x1, y1, x2, y2, or what is wrong."""
    if bbox in (None, []):
        return NO_BOX
    plain = isinstance(bbox, list) and len(bbox) == 4
    if not plain or not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e15 for v in bbox):
        return "its bbox is not four numbers"
    x, y, width, height = bbox
    if width < 0 or height < 0:
        return "width or height below zero"
    return float(x), float(y), float(x + width), float(y + height)
