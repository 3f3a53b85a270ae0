"""Where a picture lies that a table names without its ending, or by the path of another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from foveal.data.formats import listed, relative
from foveal.errors import shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import walk

__all__ = ["Nearby", "without_ending"]


def without_ending(path: str) -> str:
    """The path without the ending that makes it a picture's; other dots belong to the name.

    >>> without_ending("a/b.JPG"), without_ending("v1.2")
    ('a/b', 'v1.2')
    """
    return os.path.splitext(path)[0] if is_picture_name(path) else path


class Nearby:
    """The pictures below a table's folder, listed when a row first asks for them, or those of a list."""

    def __init__(self, folder: Path, paths: Sequence[str] | None = None) -> None:
        self.folder, self.paths = folder, paths
        self.found: list[tuple[str, str]] = []  # (as written, where it is) of what is not where it is written
        self._by_name: dict[str, list[str]] | None = None  # by the last part of the path, with and without its ending

    def find(self, written: str) -> tuple[str | None, str]:
        """The one picture that is meant, relative to the folder; else None, and the reason if there are several.

        A path without its ending is the picture of that stem in that folder, or below it the one whose path ends so.
        A path of another machine (absolute, or with `..`) is the picture whose path ends most like it.
        """
        name = relative(written)
        parts = [part for part in name.split("/") if part not in ("", "..", ".")]
        if not parts:
            return None, ""
        foreign = name.startswith(("/", "../")) or re.match(r"[A-Za-z]:", name) is not None
        candidates = self._listed().get(parts[-1], [])
        if not is_picture_name(name) and name in map(without_ending, candidates):  # in the very folder
            candidates = [path for path in candidates if without_ending(path) == name]
        else:
            alike = [_alike(parts, path) for path in candidates]
            least = 1 if foreign else len(parts)
            candidates = [c for c, n in zip(candidates, alike, strict=True) if n == max(alike) and n >= least]
        if len(candidates) > 1:
            return None, f"may be {listed(candidates)}"
        if not candidates:
            return None, ""
        self.found.append((written, candidates[0]))
        return candidates[0], ""

    def notes(self, table: str) -> list[str]:
        """What is to be said of pictures that are not where they are written."""
        groups = {
            "without their ending": [f for f in self.found if not is_picture_name(f[0])],
            "where they do not lie, and are found below its folder": [f for f in self.found if is_picture_name(f[0])],
        }
        return [
            f"{table} names {len(found)} picture{'s' * (len(found) > 1)} {how} "
            f"(first: {shown(found[0][0])[:200]} is {shown(found[0][1])})."
            for how, found in groups.items()
            if found
        ]

    def _listed(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            for path in filter(is_picture_name, walk(self.folder)) if self.paths is None else self.paths:
                name = path.rpartition("/")[2]
                for key in (name, without_ending(name)):
                    self._by_name.setdefault(key, []).append(path)
        return self._by_name


def _alike(parts: Sequence[str], path: str) -> int:
    """How many parts two paths share, counted from the end, the last one's ending aside."""
    own = PurePosixPath(path).parts
    same = 1
    for a, b in zip(reversed(parts[:-1]), reversed(own[:-1]), strict=False):
        if a != b:
            break
        same += 1
    return same
