"""Masks that are pictures themselves: known by their looks, and refused, for their folders are no classes.

`images/7.jpg` with `masks/7.png` (or `labels/`, `SegmentationClass/`, …), and `7.jpg` with `7_mask.png` beside it.
"""

from __future__ import annotations

import re

from foveal.data.dataset import Dataset
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._pairs import stem_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name

__all__ = ["FORMAT"]

OF_PICTURES = re.compile(r"images?|imgs?|jpegimages|pictures?|photos?|inputs?|rgb|leftimg8bit", re.IGNORECASE)
OF_MASKS = re.compile(
    r"masks?|labels?|annotations?|segmentation\w*|segmentations?|seg|gt|gtfine|ground_?truth|targets?", re.IGNORECASE
)
ONLY_MASKS = re.compile(r"(^|/)Segmentation(Class|Object)/", re.IGNORECASE)  # VOC's own words, whatever lies beside
MASK = re.compile(r"(?<=.)[ _-](masks?|seg(mentation)?|gt|label(s|ids)?)([ _-]\d+)?$", re.IGNORECASE)
SHARE = 0.5  # of the masks, that must be of a picture; and of the pictures that have one


Pair = tuple[str, str]  # a picture and its mask


def _pair(place: Place) -> Pair | None:
    """One of those where half of the pictures have a mask."""
    pictures = [file for file in place.files if is_picture_name(file)]
    only = [("a picture", file) for file in pictures if ONLY_MASKS.search(file)]
    return _in_trees(place, pictures) or _beside(pictures) or next(iter(only), None)


def _in_trees(place: Place, pictures: list[str]) -> Pair | None:
    """`images/7.jpg` and `masks/7.png`."""
    words = {part for folder in place.by_folder for part in folder.split("/")}
    if not any(map(OF_PICTURES.fullmatch, words)) or not any(map(OF_MASKS.fullmatch, words)):
        return None
    trees, masks = dict[tuple[str, ...], str](), list[tuple[tuple[str, ...], str]]()
    for file in pictures:
        stem, parts = stem_of(file), file.split("/")[:-1]
        trees.update({_key(parts, i, stem): file for i, part in enumerate(parts) if OF_PICTURES.fullmatch(part)})
        masks += [(_key(parts, i, MASK.sub("", stem)), file) for i, p in enumerate(parts) if OF_MASKS.fullmatch(p)]
    pairs = [(trees[key], file) for key, file in masks if key in trees]
    enough = len(pairs) >= SHARE * max(len(masks), len(set(trees.values())))
    return pairs[0] if pairs and enough else None


def _beside(pictures: list[str]) -> Pair | None:
    """`7.jpg` and `7_mask.png`."""
    if not any(MASK.search(stem_of(file)) for file in pictures):
        return None
    beside = {(file.rpartition("/")[0], stem_of(file)): file for file in pictures}
    twins = [(beside.get((folder, MASK.sub("", stem)), ""), file) for (folder, stem), file in beside.items()
             if MASK.search(stem)]  # fmt: skip
    twins = [pair for pair in twins if pair[0]]
    enough = len({picture for picture, _ in twins}) >= SHARE * (len(pictures) - len(twins))
    return twins[0] if twins and enough else None


def _key(parts: list[str], at: int, stem: str) -> tuple[str, ...]:
    return (*parts[:at], "", *parts[at + 1 :], stem)


def _detect(place: Place) -> bool:
    return not place.is_file and place.has_pictures and _pair(place) is not None


def _read(place: Place, _: Asked) -> Dataset:
    picture, mask = _pair(place) or ("", "")
    raise BadData(
        f"{shown(place.path)} holds masks as pictures ({shown(mask)} of {shown(picture)}), which foveal does not "
        f"train on; write them as COCO JSON, whose masks it takes as boxes, or give a folder without them."
    )


FORMAT = Format("pictures of masks", _detect, _read)
