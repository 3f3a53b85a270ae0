"""What a source of pictures is worth to training: where the bytes are, labels, classes, splits, origin. No tensors.

`Dataset` is the one type at the door between "what is this folder?" (`data/formats/`, `data/sources.py`) and everything
that learns from it. It is columnar: a million pictures are a few arrays, not a million objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadData
from foveal.files.pictures import Encoded

__all__ = [
    "NOTHING",
    "SPLITS",
    "UNSPLIT",
    "ArrayPictures",
    "Boxes",
    "Dataset",
    "FilePictures",
    "Origin",
    "Pictures",
    "Skipped",
    "TarPictures",
]

SPLITS = ("train", "val", "test")
UNSPLIT = -1  # not decided by the source; `data/split.py` decides
NOTHING = -1  # label of a picture without objects


class Pictures(Protocol):
    """Where the pictures of a data set are. Index i is the i-th picture, for ever."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What people call it: the path relative to the source, `shard.tar/key.jpg`, or `train[17]`."""
        ...

    def content(self, index: int) -> Encoded | NDArray[np.uint8]:
        """What `Preprocess.pixels` takes: a path, a file's bytes, or decoded pixels (H, W) or (H, W, C) uint8."""
        ...

    def stamp(self, index: int) -> str:
        """Changes whenever the content may have: path, size and modification time; cheap, reads no pixels."""
        ...

    def take(self, indices: NDArray[np.int64]) -> Pictures:
        """The same pictures, fewer or in another order."""
        ...


@dataclass(frozen=True)
class FilePictures:
    """One file a picture, below `root`."""

    root: Path
    paths: tuple[str, ...]  # relative to root, or absolute (a table may name any place)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """See `Pictures`."""
        return self.paths[index]

    def path(self, index: int) -> Path:
        """Where the file is."""
        return self.root / self.paths[index]

    def content(self, index: int) -> Path:
        """See `Pictures`."""
        return self.path(index)

    def stamp(self, index: int) -> str:
        """See `Pictures`."""
        try:
            status = self.path(index).stat()
        except OSError:
            return f"{self.path(index)}|gone"
        return f"{self.path(index)}|{status.st_size}|{status.st_mtime_ns}"

    def take(self, indices: NDArray[np.int64]) -> FilePictures:
        """See `Pictures`."""
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
        """See `Pictures`."""
        return f"{self.shards[self.shard[index]]}/{self.members[index]}"

    def content(self, index: int) -> bytes:
        """See `Pictures`."""
        with open(self.root / self.shards[self.shard[index]], "rb") as file:
            file.seek(int(self.offset[index]))
            return file.read(int(self.size[index]))

    def stamp(self, index: int) -> str:
        """See `Pictures`."""
        path = self.root / self.shards[self.shard[index]]
        try:
            status = path.stat()
        except OSError:
            return f"{path}|gone"
        return f"{path}|{self.offset[index]}|{self.size[index]}|{status.st_size}|{status.st_mtime_ns}"

    def take(self, indices: NDArray[np.int64]) -> TarPictures:
        """See `Pictures`."""
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
        """See `Pictures`."""
        return self.names[index]

    def content(self, index: int) -> NDArray[np.uint8]:
        """See `Pictures`."""
        picture: NDArray[np.uint8] = self.pixels[index]
        return picture

    def stamp(self, index: int) -> str:
        """See `Pictures`."""
        return ""  # pixels in memory are hashed anew each time: cheap, and nothing else can tell that they changed

    def take(self, indices: NDArray[np.int64]) -> ArrayPictures:
        """See `Pictures`."""
        return ArrayPictures(self.pixels[indices], tuple(self.names[i] for i in indices))


@dataclass(frozen=True, eq=False)
class Boxes:
    """The objects on N pictures, M in all: those of the first picture, then those of the second, …

    A box lies inside its picture and has an area; what a source says otherwise is mended or left out by its reader.
    """

    xyxy: NDArray[np.float64]  # (M, 4) pixels of the picture as it is shown, upright
    labels: NDArray[np.int64]  # (M,) index into the data set's classes
    starts: NDArray[np.int64]  # (N + 1,): boxes starts[i] to starts[i + 1] are on picture i
    sizes: NDArray[np.int64]  # (N, 2) height and width of the pictures as they are shown
    crowd: NDArray[np.bool_]  # (M,) many objects in one box (COCO's iscrowd): neither learnt nor scored
    difficult: NDArray[np.bool_]  # (M,) hard to see (VOC's difficult): learnt, and marked in what is written

    def __len__(self) -> int:
        return len(self.xyxy)

    def of(self, index: int) -> slice:
        """Where the boxes of a picture stand."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N,) boxes on each picture."""
        return np.diff(self.starts)

    @property
    def pictures(self) -> NDArray[np.int64]:
        """(M,) the picture that each box is on."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)

    @property
    def of_largest(self) -> NDArray[np.int64]:
        """(N,) the class of each picture's largest box, NOTHING without any; a crowd counts where it is alone."""
        areas = (self.xyxy[:, 2:] - self.xyxy[:, :2]).prod(1)
        order = np.lexsort((-areas, self.crowd, self.pictures))
        out = np.full(len(self.starts) - 1, NOTHING, np.int64)
        some = self.counts > 0
        out[some] = self.labels[order][self.starts[:-1][some]]
        return out

    def take(self, indices: NDArray[np.int64]) -> Boxes:
        """The boxes of some pictures, in their order."""
        starts = np.concatenate([[0], np.cumsum(self.counts[indices])]).astype(np.int64)
        some = [np.arange(self.starts[i], self.starts[i + 1]) for i in indices]
        chosen = np.concatenate(some).astype(np.int64) if some else np.zeros(0, np.int64)
        return Boxes(
            self.xyxy[chosen], self.labels[chosen], starts, self.sizes[indices], self.crowd[chosen],
            self.difficult[chosen],
        )  # fmt: skip


@dataclass(frozen=True)
class Skipped:
    """A picture or row that was left out, and why; a line of `skipped.csv`."""

    name: str
    reason: str


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from, as the report tells it."""

    source: str  # what the user typed
    place: str  # the folder or file that was read, or "built in", "memory"
    format: str  # "class folders", "idx", "cifar-10 binary", "csv", "tar shards", "arrays", "digits"
    split_by: str = ""  # one phrase: "folders train/ and test/", "content hash, 10 % val and 10 % test", …


@dataclass(frozen=True)
class Dataset:
    """Pictures with labels, class names and a split each."""

    pictures: Pictures
    labels: NDArray[np.int64]  # (N,) index into classes; with boxes the class of the largest, NOTHING without any
    classes: tuple[str, ...]  # K names, distinct
    splits: NDArray[np.int8]  # (N,) index into SPLITS, or UNSPLIT while the source has not decided
    origin: Origin
    notes: tuple[str, ...] = ()  # sentences that the user should read
    skipped: tuple[Skipped, ...] = ()
    digests: NDArray[np.uint8] | None = field(default=None, repr=False)  # (N, 16) content hash of each picture
    groups: NDArray[np.int64] | None = field(default=None, repr=False)  # (N,) equal for what belongs together
    boxes: Boxes | None = field(default=None, repr=False)  # where the objects are, for localisation and detection
    val_share: float = 0.1  # of the training pictures, where the source has no val of its own

    def __post_init__(self) -> None:
        n = len(self.pictures)
        if self.labels.shape != (n,) or self.splits.shape != (n,):
            raise BadData(
                f"{self.origin.place}: {n} pictures but {len(self.labels)} labels and {len(self.splits)} splits."
            )
        if len(set(self.classes)) != len(self.classes):
            raise BadData(f"{self.origin.place}: a class name appears twice in {', '.join(self.classes)}.")
        least = 0 if self.boxes is None else NOTHING
        if n and not (self.labels.min() >= least and self.labels.max() < len(self.classes)):
            raise BadData(
                f"{self.origin.place}: label {int(self.labels.max())}, but {len(self.classes)} class names "
                f"(labels are 0 to {len(self.classes) - 1})."
            )

    def __len__(self) -> int:
        return len(self.pictures)

    def indices(self, split: str) -> NDArray[np.int64]:
        """(n,) the pictures of one split, in order."""
        return np.flatnonzero(self.splits == SPLITS.index(split)).astype(np.int64)

    def counts(self, split: str) -> NDArray[np.int64]:
        """(K,) pictures of each class in one split."""
        labels = self.labels[self.indices(split)]
        return np.bincount(labels[labels != NOTHING], minlength=len(self.classes)).astype(np.int64)

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The same data set with fewer pictures."""
        return replace(
            self,
            pictures=self.pictures.take(indices),
            labels=self.labels[indices],
            splits=self.splits[indices],
            digests=None if self.digests is None else self.digests[indices],
            groups=None if self.groups is None else self.groups[indices],
            boxes=None if self.boxes is None else self.boxes.take(indices),
        )

    def noted(self, *notes: str, skipped: Sequence[Skipped] = ()) -> Dataset:
        """The same data set with more to tell."""
        return replace(self, notes=self.notes + notes, skipped=self.skipped + tuple(skipped))
