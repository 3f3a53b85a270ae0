"""WebDataset tar shards: `train-000000.tar` with 0000000.jpg and 0000000.cls, and classes.txt beside them.

Source: the WebDataset conventions; .cls holds the number of the class, a line of classes.txt its name.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.fingerprints import position
from foveal.data.writers._copies import Copied, encoded
from foveal.data.writers._names import renamed
from foveal.errors import shown
from foveal.progress import Progress

__all__ = ["SHARD_MAX_BYTES", "SHARD_MAX_PICTURES", "class_lines", "write_shards"]

SHARD_MAX_BYTES = 512 << 20
SHARD_MAX_PICTURES = 10_000
ALLOWED = frozenset({".jpg", ".jpeg", ".png", ".webp"})  # what readers of shards know
BLOCK = 512  # bytes that every member is rounded up to, and those of its header


def write_shards(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """Shards of at most 512 MiB and 10,000 pictures, in an order without meaning: they are read from end to end."""
    names, changed = class_lines(dataset.classes)
    (place / "classes.txt").write_bytes("".join(f"{name}\n" for name in names).encode("utf-8"))
    labels = _written_labels(names)
    done, anew, written = Copied(np.zeros(0, np.int64)), 0, list[int]()
    with progress.task("writing shards", len(dataset)) as advance:
        for split in SPLITS:
            shard = _Shards(place, split)
            try:
                for i in _mixed(dataset, split):
                    found = encoded(dataset, i, ALLOWED)
                    if isinstance(found, tuple):
                        shard.add(found[0], found[1], labels[dataset.labels[i]].encode("utf-8"))
                        anew += found[2]
                        written.append(i)
                    else:
                        done.skipped.append(found)
                    advance(1)
            finally:
                shard.close()
    done.written = np.array(sorted(written), np.int64)
    done.notes += [f'Class "{shown(old)}" is "{shown(new)}" in classes.txt.' for old, new in changed]
    if anew:
        done.notes.append(f"{anew} pictures were written anew as PNG: shards hold JPEG, PNG and WebP.")
    if dataset.groups is not None:
        done.notes.append("Shards cannot keep the groups; --to csv can.")
    return done


def class_lines(classes: tuple[str, ...]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Class names that stand on one line each, and (old, new) of those that had to change."""
    return renamed(classes, lambda name: shown(name).strip() or "_")


def _written_labels(names: tuple[str, ...]) -> tuple[str, ...]:
    """What .cls holds: numbers, unless those would themselves be taken for names."""
    numbers = tuple(str(k) for k in range(len(names)))
    return names if set(numbers) <= set(names) else numbers


def _mixed(dataset: Dataset, split: str) -> list[int]:
    """The pictures of a split in the order of their hash: who reads a shard from end to end meets every class."""
    assert dataset.digests is not None
    chosen: NDArray[np.int64] = dataset.indices(split)
    order: list[int] = chosen[np.argsort(position(dataset.digests[chosen]), kind="stable")].tolist()
    return order


class _Shards:
    """The shards of one split: a new one is begun when the last is full."""

    def __init__(self, place: Path, split: str) -> None:
        self.place, self.split = place, split
        self.number, self.pictures, self.bytes, self.key = 0, 0, 0, 0
        self.tar: tarfile.TarFile | None = None

    def add(self, data: bytes, suffix: str, label: bytes) -> None:
        size = sum(BLOCK + -(-len(part) // BLOCK) * BLOCK for part in (data, label))
        if self.tar is not None and (
            self.pictures >= SHARD_MAX_PICTURES or self.bytes + size + 20 * BLOCK > SHARD_MAX_BYTES
        ):
            self.close()
        if self.tar is None:
            path = self.place / f"{self.split}-{self.number:06d}.tar"
            self.tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by close()
            self.number, self.pictures, self.bytes = self.number + 1, 0, 0
        for ending, part in ((suffix, data), (".cls", label)):
            member = tarfile.TarInfo(f"{self.key:07d}{ending}")
            member.size = len(part)
            self.tar.addfile(member, io.BytesIO(part))
        self.key, self.pictures, self.bytes = self.key + 1, self.pictures + 1, self.bytes + size

    def close(self) -> None:
        if self.tar is not None:
            self.tar.close()
            self.tar = None
