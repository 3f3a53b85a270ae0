"""COCO JSON: `images`, `annotations` and `categories` of a whole data set, or of one split, in one file.

Source: Lin et al. 2014, arXiv:1405.0312, and the format's page, cocodataset.org/#format-data: a box is
[x, y, width, height] in continuous pixels, category ids may have gaps, `iscrowd` marks a box around many. Where there
is a mask and no box, the box round the mask is taken. A file's name tells its split (`instances_train2017.json`,
`train.json`), else its folder does (`valid/_annotations.coco.json`); pictures lie beside the file, in `images/`, or in
a folder named as the split.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, labelme, listed, split_in
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._coco_file import NO_BOX, CocoFile, Shared, lighter
from foveal.data.formats._coco_labels import labelled
from foveal.data.formats._found import Found
from foveal.data.formats._found_pictures import Finder
from foveal.data.formats._json import read_json
from foveal.data.formats._pairs import split_by_folders
from foveal.data.formats.label_studio import is_of_tasks
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular

__all__ = ["FORMAT"]

JSON_MAX_BYTES = 2 << 30  # COCO's own training file has 450 MB, LVIS's 1.1 GB
PEEKED_BYTES = 1 << 16
KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
NAMED = re.compile(r"(instances.*|.*annotations.*|.*coco.*)\.json", re.IGNORECASE)
SUBSET = re.compile(r"instances_.+\.json", re.IGNORECASE)  # CVAT: instances_<subset>.json, however it is called
OF_ANNOTATIONS = re.compile(r"annotations?|labels?|json|coco", re.IGNORECASE)
NOT_BOXES = re.compile(r"(captions|person_keypoints|panoptic|stuff|image_info)_.*\.json", re.IGNORECASE)
TRAIN = 0


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    found = Found(root, lambda path, number: f"annotation {number} of {path}", sided=True)
    splits = _splits(place, found)
    finder = Finder(lambda: _below(place, root, list(splits)), lambda path: _is_file(root, path), str(root))
    shared, classes = Shared(found, finder), dict[str, None]()
    with asked.progress.task("reading annotations", len(splits), "files") as advance:
        for file, split in splits.items():
            content = read_json(root / file, JSON_MAX_BYTES, "COCO file", lighter)
            one = CocoFile(shared, file, split, _folders(place, file))
            classes.update(dict.fromkeys(one.take(content, root / file)))
            advance(1)
    shared.finish()
    if not place.is_file:
        rest = [path for path in place.files if is_picture_name(path) and path not in shared.taken]
        found.unlabelled([(path, split_by_folders(path)) for path in rest], asked)
    told = [SPLITS[split] for split in sorted(set(splits.values())) if split != UNSPLIT]
    how = f"files of {' and '.join(told)}" if told else ""
    if found.paths:
        root, found.paths = _common(root, found.paths)
        found.root = root
    origin = Origin(asked.source, str(place.path), "COCO JSON", how)
    if found.labels and not found.corners:
        return labelled(found, asked, origin, tuple(classes))
    for label in found.labels:  # among annotations that have boxes
        found.lose(label.on, label.number, NO_BOX)
    return dataset_of(found, asked, origin, tuple(classes))


def _splits(place: Place, found: Found) -> dict[str, int]:
    """The files to read, and the split of each. Raises: BadData where several name none."""
    files = {file: _split(file) for file in _chosen(place)}
    known = {file: split for file, split in files.items() if split != UNSPLIT}
    other = [file for file in files if file not in known]
    if len(files) > 1 and other and not known:
        raise BadData(f"{shown(place.path)} holds {len(files)} COCO files that name no split ({listed(other)}); "
                      f"give the one you mean.")  # fmt: skip
    if not known:
        return files
    for file in other:  # after those that say whose pictures are held out
        if SUBSET.fullmatch(PurePosixPath(file).name):
            known[file] = TRAIN
            found.notes.append(f"{shown(file)} is named as no split: its pictures are train.")
        else:
            found.notes.append(f"{shown(file)} is named as no split, as others are, and is not read.")
    return known


def _below(place: Place, root: Path, files: list[str]) -> list[str]:
    """Pictures that may be meant: below the folder, and in those that pictures are looked for in beside it."""
    inside = list(Place(root).files) if place.is_file else list(place.files)
    for folder in dict.fromkeys(folder for file in files for folder in _folders(place, file)):
        if folder.startswith("../"):
            inside += [f"{folder}/{path}" for path in Place(root / folder).files]
    return inside


def _is_file(root: Path, path: str) -> bool:
    try:
        return os.path.isfile(root / path)
    except ValueError:  # no possible file name
        return False


def _folders(place: Place, file: str) -> list[str]:
    """Where the pictures of a file are looked for: beside it, around it, beside its folder, in one of its name.

    Relative to the root, and only what lies below the source; a file alone in `annotations/` has its pictures beside.
    """
    home, stem = os.path.dirname(file) or ".", PurePosixPath(file).stem
    word = re.sub(r"^(instances|annotations)_|[_.]?(annotations|coco).*$", "", stem)
    inside = [".", "images", "JPEGImages", "data", "imgs", *([word, f"images/{word}"] if word else [])]
    around = [f"{home}/..", *(f"{home}/../{folder}" for folder in inside[1:])]
    named = [] if place.is_file else [folder for folder in place.by_folder if folder.rpartition("/")[2] == word]
    found = dict.fromkeys(map(os.path.normpath, [*(f"{home}/{folder}" for folder in inside), *around, *named]))
    root = place.path.parent if place.is_file else place.path
    beside = place.is_file and OF_ANNOTATIONS.fullmatch(root.name)
    return [folder for folder in found if (beside or not folder.startswith("..")) and os.path.isdir(root / folder)]


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
    """The files that hold boxes, or may."""
    if place.is_file:
        return [place.path.name]
    files = _candidates(place)
    boxes = [file for file in files if not NOT_BOXES.fullmatch(PurePosixPath(file).name)]
    return boxes or files


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
        return place.path.suffix.lower() == ".json" and not (labelme.looks_so(place.path) or is_of_tasks(place.path))
    return place.has_pictures and bool(_candidates(place))


FORMAT = Format("COCO JSON", _detect, _read)
