"""ImageSets/Main: the lists of a Pascal VOC folder that split it, as the challenge and as CVAT write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foveal.data.dataset import UNSPLIT
from foveal.data.formats import Place, split_of
from foveal.data.formats._pairs import stem_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import read_bytes

__all__ = ["Lists", "lists_of"]

LIST_MAX_BYTES = 256 << 20
LIST = re.compile(r"(?:(.*)/)?ImageSets/Main/([^/]+)\.txt", re.IGNORECASE)
MARK = re.compile(r"\s+-?[01]$")  # behind a picture's name: whether a class is there
TRAIN = 0


@dataclass(frozen=True)
class Lists:
    """The split of each picture, by the folder that holds the lists and the picture's stem."""

    homes: tuple[str, ...]
    splits: dict[tuple[str, str], int]

    def __bool__(self) -> bool:
        return bool(self.splits)

    def split(self, path: str) -> int:
        """Of a picture or its annotation; UNSPLIT where no list names it."""
        stem = stem_of(path)
        return next((self.splits[home, stem] for home in self.homes
                     if path.startswith(home) and (home, stem) in self.splits), UNSPLIT)  # fmt: skip


def lists_of(place: Place, notes: list[str]) -> Lists:
    """The lists below a folder; what train and val do not name of trainval is train, and so are subsets of other names.

    Raises: BadData for a picture in two lists.
    """
    splits, homes = dict[tuple[str, str], int](), dict[str, None]()
    named = [(match, file) for file in place.files if (match := LIST.fullmatch(file))]
    known = [(match, file) for match, file in named if split_of(match[2]) != UNSPLIT]
    whole = [(match, file) for match, file in named if match[2].lower() == "trainval"]
    for match, file in known:
        home = f"{match[1]}/" if match[1] else ""
        homes[home] = None
        for stem in _stems(place.path / file):
            if splits.setdefault((home, stem), split_of(match[2])) != split_of(match[2]):
                raise BadData(f"{shown(file)}: {shown(stem)} is in another list as well; keep it in one.")
    others = [(match, file) for match, file in named if (match, file) not in known + whole]
    custom = [(match, file) for match, file in others if not _of_a_class(place.path / file)]
    for match, file in [*whole, *(custom if known else [])]:
        home = f"{match[1]}/" if match[1] else ""
        homes[home] = None
        new = [stem for stem in _stems(place.path / file) if splits.setdefault((home, stem), TRAIN) == TRAIN]
        if (match, file) in custom and new:
            notes.append(f"{shown(file)} is named as no split: its pictures ({len(new)}) are train.")
    return Lists(tuple(homes), splits)


def _of_a_class(path: Path) -> bool:
    """Whether a list tells of each picture if a class is there (`cat_train.txt`): no subset."""
    return any(MARK.search(line) for line in _lines(path)[:20])


def _stems(path: Path) -> Iterator[str]:
    """What each line names, without a mark, quotes, folders and a picture's ending."""
    for line in _lines(path):
        if name := MARK.sub("", line).strip().strip('"'):
            yield stem_of(name) if is_picture_name(name) else os.path.basename(name)


def _lines(path: Path) -> list[str]:
    raw = read_bytes(path, limit=LIST_MAX_BYTES, what="list of pictures", error=BadData)
    return [line.rstrip() for line in raw.decode("utf-8-sig", "replace").splitlines()]
