"""Names that may become files: nothing that leads out of a folder, hides, or that a system takes for another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from foveal.data.formats import fold
from foveal.files.safely import is_junk

__all__ = ["Free", "file_name", "renamed"]

NAME_MAX_BYTES = 200  # systems allow 255; room for "-12" and a suffix
FORBIDDEN = frozenset('<>:"|?*') if os.name == "nt" else frozenset[str]()


def file_name(name: str) -> str:
    """A name as it may stand in a folder: no separators, no control characters, not hidden, not too long.

    >>> file_name("rose"), file_name("../etc"), file_name("a/b"), file_name("")
    ('rose', '_._etc', 'a_b', '_')
    """
    safe = "".join("_" if c in "/\\" or c in FORBIDDEN or not c.isprintable() else c for c in name).strip()
    safe = safe.rstrip(".")
    if is_junk(safe):
        safe = "_" + safe[1:]
    while len(safe.encode("utf-8")) > NAME_MAX_BYTES:
        safe = safe[:-1]
    return safe or "_"


class Free:
    """Hands out names that no system takes for one handed out before: "a.png", "A-2.png", …"""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.next: dict[str, int] = {}

    def __call__(self, stem: str, suffix: str = "") -> str:
        key, wanted = fold(stem + suffix), stem + suffix
        while fold(wanted) in self.taken:
            self.next[key] = self.next.get(key, 1) + 1
            wanted = f"{stem}-{self.next[key]}{suffix}"
        self.taken.add(fold(wanted))
        return wanted


def renamed(names: Sequence[str], safe: Callable[[str], str]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Names made safe and still different, and (old, new) of those that changed. Safe ones keep theirs."""
    free, out = Free(), dict[str, str]()
    for name in sorted(names, key=lambda name: safe(name) != name):  # who needs no change comes first
        out[name] = free(safe(name))
    return tuple(out[name] for name in names), [(name, out[name]) for name in names if out[name] != name]
