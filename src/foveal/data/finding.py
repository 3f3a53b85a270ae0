"""Where the data set lies that a person names: a path, a built-in name, a folder of FOVEAL_DATA's, or nowhere.

Needs no NumPy and no format, so that a wrong path is answered at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from foveal.data.names import NAMED, canonical, find
from foveal.errors import Missing, did_you_mean, shown
from foveal.files.places import data_folders

__all__ = ["BUILT_IN", "check_source", "existing", "named_place"]

BUILT_IN = ("digits", "scenes")
NEIGHBOURS_MAX = 2000  # names that "did you mean" looks through


def check_source(word: str) -> None:
    """Raises: Missing, with the nearest name or neighbour, for a source that is nowhere."""
    if existing(word) is None and word not in BUILT_IN:
        named_place(word)


def existing(word: str) -> Path | None:
    """The absolute path that a word names, if there is something. Raises: Missing for a link to nothing."""
    try:
        path = Path(os.path.abspath(Path(word).expanduser())) if word else None
        if path is None or not os.path.lexists(path):
            return None
    except (ValueError, RuntimeError):  # a NUL; no home to expand ~ to
        return None
    if not os.path.exists(path):
        raise Missing(f"{shown(path)} is a link that points to nothing; give a folder of pictures.")
    return path


def named_place(word: str) -> tuple[str, Path | None]:
    """The name that a word means, and where that data set lies; None where it must be downloaded first.

    Raises: Missing for an address, and with the nearest name or neighbour for a name that nothing has.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word):
        raise Missing(
            f"{shown(word)[:200]}: foveal does not open web addresses; download the data and give its folder."
        )
    name = canonical(word)
    path = find(name) if _is_plain(name) else None
    if path is None and name not in NAMED:
        raise Missing(_not_found(word))
    return name, path


def _is_plain(name: str) -> bool:
    """Names below FOVEAL_DATA are paths that cannot lead out of it."""
    parts = name.replace("\\", "/").split("/")
    return bool(name) and "\0" not in name and not os.path.isabs(name) and not {"", ".", ".."} & set(parts)


def _not_found(word: str) -> str:
    """One sentence with the nearest name or neighbour."""
    path = Path(word).expanduser() if word and not word.startswith("~") else Path(word or ".")
    parent, missing = path.parent, path.name
    while not os.path.isdir(parent) and parent != parent.parent:
        parent, missing = parent.parent, parent.name
    neighbours = {str(parent / n) if parent != Path(".") else n for n in _names_in([parent])}
    plain = () if os.sep in word else (*NAMED, *BUILT_IN, *_names_in(data_folders()))
    near = did_you_mean(str(parent / missing) if parent != Path(".") else missing, neighbours | set(plain))
    known = ", ".join((*BUILT_IN, *NAMED))
    names = "" if near else f"; names that need no path are {known} and folders of FOVEAL_DATA"
    return f'"{shown(word)[:200]}": no such file, folder or data set{near or names + "."}'


def _names_in(folders: Iterable[Path]) -> list[str]:
    names: list[str] = []
    for folder in folders:
        try:
            names += [name for name in os.listdir(folder) if not name.startswith(".")][:NEIGHBOURS_MAX]
        except OSError:
            continue
    return names
