"""Lists of pictures beside YOLO's label files: a line a picture, by a path that often is another machine's.

Darknet and CVAT write `train.txt`, `Validation.txt`, …, each named as its split, and name them in `obj.data`; CVAT puts
the pictures of a subset in `obj_<subset>_data`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from foveal.data.dataset import UNSPLIT
from foveal.data.formats import split_of
from foveal.data.formats._found_pictures import Finder
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import read_bytes

__all__ = ["CVAT", "Listed", "listed_in", "lists_beside"]

LIST_MAX_BYTES = 256 << 20
PEEKED_LINES = 20
CVAT = re.compile(r"(?:^|/)obj_(.+)_data/", re.IGNORECASE)
TRAIN = 0


@dataclass
class Listed:
    """The split of each picture that lists name."""

    told_by: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lists_beside(root: Path, tops: Sequence[str], files: Sequence[str]) -> Listed:
    """The splits of lists that are named as one, and of CVAT's subsets. Raises: BadData for a picture in two."""
    found, used = Listed(), []
    texts = [file for file in tops if file.lower().endswith(".txt")]
    subsets = {match[1].lower() for file in files if (match := CVAT.search(file))}
    named = [(file, _subset(file)) for file in texts if split_of(_subset(file)) != UNSPLIT]
    named += [(file, word) for file, word in _darknet(root, tops) if file in texts and file not in dict(named)]
    custom = [(file, _subset(file)) for file in texts if PurePosixPath(file).stem.lower() in subsets]
    custom = [pair for pair in custom if pair not in named]
    lists = [(file, word) for file, word in named + custom if _is_list(root / file)]
    if not any(split_of(word) != UNSPLIT for _, word in lists):
        return _of_folders(files)
    for file, word in lists:
        split = split_of(word)
        one = listed_in(root, file, files)
        found.notes += one.notes
        if split == UNSPLIT:
            split = TRAIN
            found.notes += (f"{shown(file)} is named as no split: its pictures ({len(one.splits)}) are train.",)
        for picture in one.splits:
            if found.splits.setdefault(picture, split) != split:
                raise BadData(f"{shown(root / file)}: {shown(picture)} is in another list as well; keep it in one.")
        used.append(file)
    found.told_by = ", ".join(used)
    return found


def _darknet(root: Path, tops: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The lists that Darknet's `.data` file names, and the splits that it calls them."""
    names = {PurePosixPath(file).name: file for file in tops}
    for file in tops:
        for line in _lines(root / file) if file.endswith(".data") else ():
            key, _, value = line.partition("=")
            if split_of(key) != UNSPLIT and (list_of := names.get(PurePosixPath(value.strip()).name)):
                yield list_of, key.strip()


def _of_folders(files: Sequence[str]) -> Listed:
    """What CVAT's folders tell where lists are not there."""
    inside = [(file, match[1]) for file in files if is_picture_name(file) and (match := CVAT.search(file))]
    splits = {file: split_of(word) for file, word in inside}
    if not any(split > TRAIN for split in splits.values()):
        return Listed()
    custom = sorted({word for _, word in inside if split_of(word) == UNSPLIT})
    notes = tuple(f"obj_{shown(word)}_data is named as no split: its pictures are train." for word in custom)
    return Listed("folders", {file: max(split, TRAIN) for file, split in splits.items()}, notes)


def listed_in(root: Path, file: str, files: Sequence[str]) -> Listed:
    """The pictures that a list names, relative to the root; what is not here is told."""
    lines = list(dict.fromkeys(_lines(root / file)))
    pictures = set(files)
    home = str(PurePosixPath(file).parent)
    finder = Finder(lambda: files, lambda path: path in pictures, str(root))
    matches = finder.all_of(lines, [home, "."] if home != "." else ["."])
    found = {match.path: UNSPLIT for match in matches.values() if match.path is not None}
    gone = [line for line in lines if matches[line].path is None]
    notes = [f"{shown(file)} names {len(gone)} of {len(lines)} pictures that are not here "
             f"(first: {matches[gone[0]].reason})."] if gone else []  # fmt: skip
    return Listed(file, found, tuple(notes))


def _subset(file: str) -> str:
    return PurePosixPath(file).stem.rstrip("0123456789_-")


def _is_list(path: Path) -> bool:
    """Whether a text names pictures."""
    lines = [line for line, _ in zip(_lines(path), range(PEEKED_LINES), strict=False)]
    return bool(lines) and all(is_picture_name(line.replace("\\", "/")) for line in lines)


def _lines(path: Path) -> Iterator[str]:
    raw = read_bytes(path, limit=LIST_MAX_BYTES, what="list of pictures", error=BadData)
    for line in raw.decode("utf-8-sig", "replace").splitlines():
        if line.strip() and "\0" not in line:
            yield line.strip()
