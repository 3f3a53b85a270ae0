"""The folder of all pixel stores: what is in it, how to be rid of it, and how it stays bounded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from foveal.data._store_file import Damaged, read_header, remove_stale
from foveal.errors import Missing, NotWritable, did_you_mean, shown
from foveal.files.places import cache_folder
from foveal.files.safely import in_bytes
from foveal.progress import Progress

__all__ = ["StoreInfo", "bound", "clear_stores", "list_stores", "store_path", "stores_folder"]

SUFFIX = ".store"
LARGEST_SHARE = 0.2  # of the disk, for all stores together


@dataclass(frozen=True)
class StoreInfo:
    """One pixel store of the cache."""

    key: str
    bytes: int
    pictures: int
    shape: tuple[int, ...]  # (N, H, W, C); empty when the store is damaged
    last_used: float  # seconds since 1970
    source: str  # as the user typed it when the store was built


def stores_folder() -> Path:
    """Where the stores are; made when it is not there."""
    folder = cache_folder() / "stores"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise NotWritable(
            f"the cache folder {shown(folder)} cannot be made ({reason}); "
            "set FOVEAL_CACHE to a folder that you can write to."
        ) from None
    return folder


def store_path(key: str) -> Path:
    """The file of the store of this key."""
    return stores_folder() / f"{key}{SUFFIX}"


def list_stores() -> list[StoreInfo]:
    """The pixel stores that are kept, the last used first."""
    found = [info for path in stores_folder().glob(f"*{SUFFIX}") if (info := _info(path))]
    return sorted(found, key=lambda info: (-info.last_used, info.key))


def _info(path: Path) -> StoreInfo | None:
    try:
        status = path.lstat()
    except OSError:
        return None  # removed by another process meanwhile
    key = path.name.removesuffix(SUFFIX)
    try:
        facts = read_header(path)
        shape = tuple(int(side) for side in facts["shape"])
        return StoreInfo(key, status.st_size, shape[0], shape, status.st_mtime, str(facts["source"]))
    except (Damaged, KeyError, TypeError, ValueError, IndexError):
        return StoreInfo(key, status.st_size, 0, (), status.st_mtime, "damaged")


def clear_stores(keys: Sequence[str] | None = None) -> int:
    """Delete pixel stores, all or those of these keys (their first letters will do); returns the bytes freed.

    A training that uses one keeps its mapping; nobody's pictures are touched.

    Raises: Missing when a key is unknown.
    """
    known = list_stores()
    for key in keys or ():
        if not key or not any(info.key.startswith(key) for info in known):
            near = did_you_mean(key, [info.key for info in known])
            raise Missing(f'no pixel store "{shown(key)}"{near} (foveal cache lists all).')
    chosen = [info for info in known if keys is None or info.key.startswith(tuple(keys))]
    return sum(_delete(info) for info in chosen) + (remove_stale(stores_folder()) if keys is None else 0)


def _delete(info: StoreInfo) -> int:
    with suppress(OSError):
        os.unlink(store_path(info.key))
        return info.bytes
    return 0


def bound(keep: Path, progress: Progress, limit: int | None = None) -> None:
    """Drop the stores that were not used for longest until all together are below `limit` bytes (20 % of the disk)."""
    limit = int(shutil.disk_usage(keep.parent).total * LARGEST_SHARE) if limit is None else limit
    stores = list_stores()
    total = sum(info.bytes for info in stores)
    for info in reversed(stores):
        if total <= limit or store_path(info.key) == keep:
            continue
        freed = _delete(info)
        total -= freed
        progress.say(
            f"Pixel store of {shown(info.source)} dropped ({in_bytes(freed)}, the longest unused): "
            f"the cache keeps to {in_bytes(limit)}."
        )
