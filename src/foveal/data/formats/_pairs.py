"""Which annotation file is whose: `labels/train/7.txt` of `images/train/7.jpg`, `7.xml` of the `7.jpg` beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from foveal.data.dataset import SPLITS, UNSPLIT
from foveal.data.formats import listed, split_of

__all__ = ["Mate", "Mates", "folders_said", "shared_end", "split_by_folders", "stem_of"]


Mate = tuple[str | None, str]  # a picture's path, or why an annotation file has none


class Mates:
    """Finds the picture that an annotation file belongs to.

    A file of the picture's own stem (`7.txt`, `7.xml` of `7.jpg`) comes first, then one of its whole name
    (`7.jpg.txt`), then one that says itself whose it is: a copied file often still names the picture of the first.
    """

    def __init__(self, pictures: Iterable[str]) -> None:
        self.by_stem: dict[str, list[str]] = {}
        self.by_name: dict[str, list[str]] = {}
        for path in pictures:
            self.by_stem.setdefault(stem_of(path), []).append(path)
            self.by_name.setdefault(path.rpartition("/")[2], []).append(path)
        self.doubted = set[str]()  # pictures that several files claim, none of them by its own name

    def of_all(self, annotations: Sequence[str], named: Mapping[str, str] | None = None) -> dict[str, Mate]:
        """The picture of each annotation file, no picture twice.

        Args: named: what files say themselves of their picture, a path or a name; it also decides between pictures
              of one stem.
        """
        says = {file: re.sub(r"[\\/]+", "/", name) for file, name in (named or {}).items()}
        found, owners = dict[str, Mate](), dict[str, str]()
        for index in (self.by_stem, self.by_name):
            own = {f: _nearest(f, index[stem_of(f)], says.get(f, "")) for f in annotations
                   if f not in found and stem_of(f) in index}  # fmt: skip
            for file in sorted(own, key=lambda f: -_alike(f, own[f][0] or "")):  # of two, the one that lies nearer
                picture = own[file][0]
                owner = owners.setdefault(picture, file) if picture is not None else file
                found[file] = own[file] if owner == file else (None, f"is of {picture}, as is {owner}")
        claims = dict[str, list[str]]()
        for file in annotations:
            if file not in found:
                found[file] = self._claimed(file, says.get(file, ""))
                if (picture := found[file][0]) is not None:
                    claims.setdefault(picture, []).append(file)
        for picture, files in claims.items():
            self._settle(picture, files, owners.get(picture), found)
        return found

    def _settle(self, picture: str, files: list[str], owner: str | None, found: dict[str, Mate]) -> None:
        """Of files that name a picture as theirs, only one can be right, and none where it has a file of its own."""
        if owner is None and len(files) == 1:
            return
        if owner is None:
            self.doubted.add(picture)
        for file in files:
            other = owner or next(f for f in files if f != file)
            found[file] = None, f"is of {picture} by what it says, as is {other}{' by its name' if owner else ''}"

    def _claimed(self, file: str, named: str) -> Mate:
        for candidates in (self.by_name.get(named.rpartition("/")[2]), self.by_stem.get(stem_of(named))):
            if candidates and named:
                return _nearest(file, candidates, named)
        return None, "no picture of that name"


def _nearest(annotation: str, candidates: Sequence[str], named: str) -> Mate:
    if len(candidates) == 1:
        return candidates[0], ""
    ranked = [((_alike(annotation, c), shared_end(c, named)), c) for c in candidates]
    best = max(rank for rank, _ in ranked)
    first = [c for rank, c in ranked if rank == best]
    return (first[0], "") if len(first) == 1 else (None, f"may be of several pictures ({listed(first)})")


def shared_end(a: str, b: str) -> int:
    """How many of their last parts two paths have in common."""
    return _equal(a.split("/")[::-1], b.split("/")[::-1])


def _alike(a: str, b: str) -> int:
    """How many folders two paths share, counted from both ends."""
    left, right = a.split("/")[:-1], b.split("/")[:-1]
    if left == right:
        return 1 + 2 * len(left)
    return _equal(left, right) + _equal(left[::-1], right[::-1])


def _equal(left: list[str], right: list[str]) -> int:
    """How many parts are equal before the first that are not."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def stem_of(path: str) -> str:
    """`a/b.c.jpg` -> `b.c`."""
    return os.path.splitext(path.rpartition("/")[2])[0]


def split_by_folders(path: str) -> int:
    """The split that a path's folders tell, the innermost first; a year behind the word does not count.

    >>> split_by_folders("images/train2017/7.jpg"), split_by_folders("valid/images/7.jpg"), split_by_folders("7.jpg")
    (0, 1, -1)
    """
    found = (split_of(folder.rstrip("0123456789_-")) for folder in reversed(path.split("/")[:-1]))
    return next((split for split in found if split != UNSPLIT), UNSPLIT)


def folders_said(splits: Iterable[int]) -> str:
    """How a data set's folders split it, as the report tells it."""
    named = [SPLITS[s] for s in sorted(set(splits)) if s != UNSPLIT]
    return f"folders of {' and '.join(named)}" if named else ""
