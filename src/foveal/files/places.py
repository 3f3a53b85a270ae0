"""Where foveal keeps what it can make again, and where it looks for data sets by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from foveal.errors import NotWritable, shown

__all__ = ["cache_folder", "data_folders"]

_OTHER = "set FOVEAL_CACHE to a folder that you can write to"


def cache_folder() -> Path:
    """The folder of the pixel stores and of measured timings: $FOVEAL_CACHE, else `foveal` in the user's cache.

    Made with mode 0700, since others must not be able to plant pixels there.

    Raises: NotWritable when it cannot be made or belongs to somebody else.
    """
    named = os.environ.get("FOVEAL_CACHE", "")
    folder = Path(named).expanduser() if named else _users_cache() / "foveal"
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.stat().st_uid
    except (OSError, RuntimeError) as error:  # RuntimeError: no home to expand ~ to
        reason = getattr(error, "strerror", None) or str(error)
        raise NotWritable(f"the cache folder {shown(folder)} cannot be made ({reason.lower()}); {_OTHER}.") from None
    if hasattr(os, "geteuid") and os.geteuid() not in (0, owner):
        raise NotWritable(f"the cache folder {shown(folder)} belongs to another user; {_OTHER}.")
    return folder.resolve()


def _users_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return Path(xdg) if os.path.isabs(xdg) else _home() / ".cache"  # the XDG specification: a relative one is ignored


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise NotWritable(f"this user has no home folder for the cache; {_OTHER}.") from None


def data_folders() -> tuple[Path, ...]:
    """The folders of $FOVEAL_DATA, in which a name such as `mnist` is looked for; several are parted by os.pathsep."""
    parts = os.environ.get("FOVEAL_DATA", "").split(os.pathsep)
    return tuple(Path(part).expanduser() for part in parts if part)
