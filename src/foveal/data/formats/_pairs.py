"""Which annotation file is whose: `labels/train/7.txt` of `images/train/7.jpg`, `7.xml` of the `7.jpg` beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from foveal.data.dataset import SPLITS, UNSPLIT
from foveal.data.formats import listed, split_of

__all__ = ["Mates", "folders_said", "split_by_folders", "stem_of"]


class Mates:
    """Finds the picture that an annotation file belongs to: one of its name, in the folder most like its own."""

    def __init__(self, pictures: Iterable[str]) -> None:
        self.by_stem: dict[str, list[str]] = {}
        self.by_name: dict[str, list[str]] = {}
        for path in pictures:
            self.by_stem.setdefault(stem_of(path), []).append(path)
            self.by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def of(self, annotation: str, named: str = "") -> tuple[str | None, str]:
        """The picture's path, or None and why there is none.

        Args: annotation: the file's path. named: what it says itself of its picture's name; it decides between
              pictures of one stem, and where the file's own name is no picture's.
        """
        named = re.split(r"[\\/]", named)[-1]
        beside = self.by_stem.get(stem_of(annotation), [])
        for candidates in (beside, self.by_name.get(named, []), self.by_stem.get(stem_of(named), [])):
            if candidates:
                return _nearest(annotation, candidates, named)
        return None, "no picture of that name"


def _nearest(annotation: str, candidates: Sequence[str], named: str) -> tuple[str | None, str]:
    if len(candidates) == 1:
        return candidates[0], ""
    ranked = [(_alike(annotation, c), c.rpartition("/")[2] == named, c) for c in candidates]
    best = max(rank[:2] for rank in ranked)
    first = [c for *rank, c in ranked if tuple(rank) == best]
    return (first[0], "") if len(first) == 1 else (None, f"may be of several pictures ({listed(first)})")


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
