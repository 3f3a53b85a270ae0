"""Where pictures are: files, members of tar shards, arrays in memory. What they owe stands in `data/dataset.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayPictures", "FilePictures", "TarPictures", "stamp_of"]


def stamp_of(path: Path) -> str:
    """What changes whenever a file's content may have."""
    try:
        status = path.stat()
    except OSError:
        return f"{path}|gone"
    return f"{path}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


@dataclass(frozen=True)
class FilePictures:
    """One file a picture, below `root`."""

    root: Path
    paths: tuple[str, ...]  # relative to root, or absolute (a table may name any place)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """See `dataset.Pictures`."""
        return self.paths[index]

    def path(self, index: int) -> Path:
        """Where the file is."""
        return self.root / self.paths[index]

    def content(self, index: int) -> Path:
        """See `dataset.Pictures`."""
        return self.path(index)

    def stamp(self, index: int) -> str:
        """See `dataset.Pictures`."""
        return stamp_of(self.path(index))

    def take(self, indices: NDArray[np.int64]) -> FilePictures:
        """See `dataset.Pictures`."""
        return FilePictures(self.root, tuple(self.paths[i] for i in indices))


@dataclass(frozen=True)
class TarPictures:
    """Pictures inside tar shards, read in place; nothing is unpacked."""

    root: Path
    shards: tuple[str, ...]  # relative to root
    members: tuple[str, ...]  # names as they stand in the shard
    shard: NDArray[np.int32]  # (N,) index into shards
    offset: NDArray[np.int64]  # (N,) where the member's bytes begin in the shard
    size: NDArray[np.int64]  # (N,) bytes

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        """See `dataset.Pictures`."""
        return f"{self.shards[self.shard[index]]}/{self.members[index]}"

    def content(self, index: int) -> bytes:
        """See `dataset.Pictures`."""
        with open(self.root / self.shards[self.shard[index]], "rb") as file:
            file.seek(int(self.offset[index]))
            return file.read(int(self.size[index]))

    def stamp(self, index: int) -> str:
        """See `dataset.Pictures`."""
        shard = stamp_of(self.root / self.shards[self.shard[index]])
        return f"{shard}|{self.offset[index]}|{self.size[index]}"

    def take(self, indices: NDArray[np.int64]) -> TarPictures:
        """See `dataset.Pictures`."""
        members = tuple(self.members[i] for i in indices)
        return replace(
            self, members=members, shard=self.shard[indices], offset=self.offset[indices], size=self.size[indices]
        )


@dataclass(frozen=True)
class ArrayPictures:
    """Decoded pictures in memory (idx, CIFAR, digits, arrays of the user)."""

    pixels: NDArray[np.uint8]  # (N, H, W) or (N, H, W, C)
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """See `dataset.Pictures`."""
        return self.names[index]

    def content(self, index: int) -> NDArray[np.uint8]:
        """See `dataset.Pictures`."""
        picture: NDArray[np.uint8] = self.pixels[index]
        return picture

    def stamp(self, index: int) -> str:
        """See `dataset.Pictures`."""
        return ""  # pixels in memory are hashed anew each time: cheap, and nothing else can tell that they changed

    def take(self, indices: NDArray[np.int64]) -> ArrayPictures:
        """See `dataset.Pictures`."""
        return ArrayPictures(self.pixels[indices], tuple(self.names[i] for i in indices))
