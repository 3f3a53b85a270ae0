"""Which picture of a folder a path means that was written elsewhere: on another machine, by a tool, as an address.

A path as it is written comes first. One that leads nowhere is found by its end: the file below the folder that shares
the most last parts with it, where there is only one. Nothing outside the folder is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

from foveal.data.formats import fold, listed, relative
from foveal.errors import shown
from foveal.files.pictures import is_picture_name

__all__ = ["ADDRESS", "Finder", "Match", "plain_path"]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # not a drive's letter
QUERY = re.compile(r"[?&]d=([^&#]+)")  # Label Studio: /data/local-files/?d=folder/a.jpg
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio, before the name of an uploaded file
SHOWN_MAX = 200


@dataclass(frozen=True)
class Match:
    """What a written path came to."""

    path: str | None  # relative to the folder, with forward slashes
    reason: str = ""  # why there is none
    exact: bool = True  # as it is written, not by its end


@dataclass
class Finder:
    """Finds pictures by what others wrote. `listing` tells the files below the folder; it is asked when it must be."""

    listing: Callable[[], Iterable[str]]
    is_file: Callable[[str], bool]
    root: str = ""  # the folder's own absolute path

    def all_of(self, written: Iterable[str], folders: Sequence[str] = ("",)) -> dict[str, Match]:
        """The picture of each written path: as written, else by its end.

        Args: folders: where paths may begin, relative to the root.
        """
        found = {text: self.as_written(text, folders) for text in dict.fromkeys(written)}
        nowhere = [text for text, match in found.items() if match.path is None and not match.reason]
        return found | self.by_ends(nowhere, {match.path for match in found.values() if match.path is not None})

    def by_ends(self, written: Iterable[str], owned: Collection[str]) -> dict[str, Match]:
        """The picture of each path that leads nowhere as it is written, none for two of them.

        Args: owned: pictures that others name as they lie.
        """
        found = {text: self.by_end(text) for text in dict.fromkeys(written)}
        claims = dict[str, list[str]]()
        for text, match in found.items():
            if match.path is not None:
                claims.setdefault(match.path, []).append(text)
        for path, texts in claims.items():
            for text in texts if path in owned or len(texts) > 1 else []:
                other = "another entry" if path in owned else shown(next(t for t in texts if t != text))[:SHOWN_MAX]
                reason = (
                    f"{shown(text)[:SHOWN_MAX]} is not there; only {shown(path)} has its name, and that is of {other}"
                )
                found[text] = Match(None, reason)
        return found

    def as_written(self, written: str, folders: Sequence[str] = ("",)) -> Match:
        """The file at that path below one of the folders; no reason where it leads nowhere."""
        if ADDRESS.match(written):
            return Match(None)
        found = dict[str, None]()
        for name in dict.fromkeys((self._inside(written), self._inside(unquote(written)))):
            if not name:
                continue
            for folder in folders:
                path = os.path.normpath(f"{folder}/{name}" if folder else name)
                path = path.removeprefix(f"../{os.path.basename(self.root)}/")  # out, and in again
                if self.is_file(path):
                    found[PurePosixPath(path).as_posix()] = None
            if len(found) > 1:
                return Match(None, _several(written, list(found)))
            if found:
                return Match(next(iter(found)), exact=name == self._inside(written))
        return Match(None)

    def by_end(self, written: str) -> Match:
        """The one file that shares the most last parts with the path; its name decides, in any case of its letters."""
        name = plain_path(written)
        base = name.rpartition("/")[2]
        candidates: list[str] = []
        for key in dict.fromkeys((base, UPLOADED.sub("", base))):
            candidates = candidates or self._names.get(fold(key), [])
            if not candidates and not is_picture_name(key) and key:
                candidates = self._stems.get(fold(key), [])
        if not candidates:
            return Match(None, _missing(written))
        parts = [fold(part) for part in name.split("/")[:-1]]
        ranked = [(_common_end(parts, [fold(p) for p in c.split("/")[:-1]]), c) for c in candidates]
        best = [c for rank, c in ranked if rank == max(rank for rank, _ in ranked)]
        if len(best) > 1:
            return Match(None, _several(written, best))
        return Match(best[0], exact=False)

    def _inside(self, written: str) -> str:
        """A written path as one that begins in a folder; empty where it leads out."""
        name = relative(written)
        if self.root and name.startswith(f"{self.root}/"):
            name = name[len(self.root) + 1 :]
        out = name.startswith(("../", "/")) or name in ("..", ".") or re.match(r"[A-Za-z]:", name)
        return "" if out or not written.strip() else name

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        found = dict[str, list[str]]()
        for file in dict.fromkeys(self.listing()):
            if is_picture_name(file):
                found.setdefault(fold(file.rpartition("/")[2]), []).append(file)
        return found

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        found = dict[str, list[str]]()
        for files in self._names.values():
            for file in files:
                found.setdefault(fold(os.path.splitext(file.rpartition("/")[2])[0]), []).append(file)
        return found


def plain_path(written: str) -> str:
    r"""The path that an address, a task of Label Studio or a path with backslashes leads to, with forward slashes.

    >>> [plain_path(w) for w in ("/data/local-files/?d=set/a%20b.jpg", "https://a.b/c/d.jpg?x=1", r"C:\x\y.jpg")]
    ['set/a b.jpg', '/a.b/c/d.jpg', 'C:/x/y.jpg']
    """
    if query := QUERY.search(written):
        written = query[1]
    elif ADDRESS.match(written):
        written = re.split(r"[?#]", written)[0].partition(":/")[2]
    return relative(unquote(written)) if written.strip() else ""


def _several(written: str, pictures: Sequence[str]) -> str:
    return f"{shown(written)[:SHOWN_MAX]} may be any of several pictures ({listed(pictures)})"


def _missing(written: str) -> str:
    text = shown(written)[:SHOWN_MAX]
    if ADDRESS.match(written):
        return f"{text[:80]}: foveal does not download pictures; save them first"
    name = relative(written)
    if name.startswith(("../", "/")) or name == ".." or re.match(r"[A-Za-z]:", name):
        return f"{text} leads out of the folder, and no picture in it has that name"
    return f"file {text} not found"


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return n
