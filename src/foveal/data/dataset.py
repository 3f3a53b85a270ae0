"""What a source of pictures is worth to training: where the bytes are, labels, classes, splits, origin. No tensors.

`Dataset` is the one type at the door between "what is this folder?" (`data/formats/`, `data/sources.py`) and everything
that learns from it. It is columnar: a million pictures are a few arrays, not a million objects. Who wants to look at
one gets a `Sample` by its index, or all of them one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.data._pictures import ArrayPictures, FilePictures, TarPictures
from foveal.errors import BadData, shown
from foveal.files.pictures import Encoded
from foveal.files.tables import data_frame

__all__ = [
    "NOTHING",
    "SPLITS",
    "UNSPLIT",
    "ArrayPictures",
    "Box",
    "Boxes",
    "Dataset",
    "FilePictures",
    "Origin",
    "Pictures",
    "Sample",
    "Skipped",
    "TarPictures",
    "multi_hot_of",
    "rarest",
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
        """Changes whenever the content may have: path, size and times, of which tools that rewrite a file may keep the
        mtime, but not the ctime; cheap, reads no pixels."""
        ...

    def take(self, indices: NDArray[np.int64]) -> Pictures:
        """The same pictures, fewer or in another order."""
        ...


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

    def told(self, index: int, classes: Sequence[str]) -> tuple[Box, ...]:
        """The objects on a picture, one by one."""
        at = self.of(index)
        columns = zip(self.xyxy[at].tolist(), self.labels[at], self.crowd[at], self.difficult[at], strict=True)
        return tuple(Box((x1, y1, x2, y2), classes[label], bool(crowd), bool(difficult))
                     for (x1, y1, x2, y2), label, crowd, difficult in columns)  # fmt: skip

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
class Box:
    """One object on a picture."""

    xyxy: tuple[float, float, float, float]  # pixels of the picture as it is shown
    label: str
    crowd: bool = False
    difficult: bool = False


@dataclass(frozen=True)
class Sample:
    """One picture of a data set, and what is known of it."""

    name: str
    path: Path | None  # of its file, where it is one
    label: str | None  # its class; with boxes that of the largest, None without any or where there may be several
    boxes: tuple[Box, ...] | None  # None where the data set has no boxes
    split: str | None  # train, val or test; None while it is not decided
    labels: tuple[str, ...] | None = None  # all of its classes, where it may have several or none; else None

    @property
    def row(self) -> dict[str, Any]:
        """Plain values for a table; boxes and several labels as they are."""
        label = {"label": self.label} if self.labels is None else {"labels": self.labels}
        told = {"name": self.name, "path": self.path, **label, "split": self.split}
        return told if self.boxes is None else {**told, "boxes": self.boxes}


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


def multi_hot_of(rows: ArrayLike, labels: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(N, K) = shape which classes each picture shows, of (P,) pictures and (P,) a class that each shows."""
    multi_hot = np.zeros(shape, bool)
    multi_hot[np.asarray(rows, np.int64), np.asarray(labels, np.int64)] = True
    return multi_hot


def rarest(multi_hot: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, K) which classes each picture shows -> (N,) the rarest of them, NOTHING where it shows none."""
    if not multi_hot.shape[1]:
        return np.full(len(multi_hot), NOTHING, np.int64)
    counts = multi_hot.sum(0)
    best = np.where(multi_hot, counts, len(multi_hot) + 1).argmin(1)
    return np.where(multi_hot.any(1), best, NOTHING).astype(np.int64)


@dataclass(frozen=True, repr=False)
class Dataset:
    """Pictures with labels, class names and a split each.

    `dataset[7]` and iterating give a `Sample`; a slice, or an array of numbers or of truth values, a smaller data set.

    >>> dataset = foveal.open_dataset("digits")
    >>> len(dataset), dataset[1].label, dataset.classes[:3]
    (1797, '1', ('0', '1', '2'))
    """

    pictures: Pictures
    labels: NDArray[np.int64]  # (N,) index into classes; with boxes the class of the largest, with several labels the
    # rarest of them; NOTHING without any
    classes: tuple[str, ...]  # K names, distinct
    splits: NDArray[np.int8]  # (N,) index into SPLITS, or UNSPLIT while the source has not decided
    origin: Origin
    notes: tuple[str, ...] = ()  # sentences that the user should read
    skipped: tuple[Skipped, ...] = ()
    digests: NDArray[np.uint8] | None = field(default=None, repr=False)  # (N, 16) content hash of each picture
    groups: NDArray[np.int64] | None = field(default=None, repr=False)  # (N,) equal for what belongs together
    boxes: Boxes | None = field(default=None, repr=False)  # where the objects are, for localisation and detection
    multi_hot: NDArray[np.bool_] | None = field(default=None, repr=False)  # (N, K) which classes each picture shows,
    # where it may show several or none
    val_share: float = 0.1  # of the training pictures, where the source has no val of its own

    def __post_init__(self) -> None:
        n = len(self.pictures)
        if self.labels.shape != (n,) or self.splits.shape != (n,):
            raise BadData(
                f"{self.origin.place}: {n} pictures but {len(self.labels)} labels and {len(self.splits)} splits."
            )
        if len(set(self.classes)) != len(self.classes):
            raise BadData(f"{self.origin.place}: a class name appears twice in {', '.join(self.classes)}.")
        if self.multi_hot is not None and self.multi_hot.shape != (n, len(self.classes)):
            raise BadData(
                f"{self.origin.place}: {n} pictures and {len(self.classes)} classes, but a table of labels of "
                f"{' x '.join(map(str, self.multi_hot.shape))}."
            )
        least = 0 if self.boxes is None and self.multi_hot is None else NOTHING
        if n and not (self.labels.min() >= least and self.labels.max() < len(self.classes)):
            raise BadData(
                f"{self.origin.place}: label {int(self.labels.max())}, but {len(self.classes)} class names "
                f"(labels are 0 to {len(self.classes) - 1})."
            )

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> Dataset: ...

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Sample | Dataset:
        """A picture, or a smaller data set. Raises: IndexError, as sequences do."""
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            return self._sample(int(chosen))
        return self.take(chosen.astype(np.int64))

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(i) for i in range(len(self)))

    def _sample(self, index: int) -> Sample:
        content = self.pictures.path(index) if isinstance(self.pictures, FilePictures) else None
        label, split = int(self.labels[index]), int(self.splits[index])
        return Sample(
            self.pictures.name(index),
            content,
            None if label == NOTHING or self.multi_hot is not None else self.classes[label],
            None if self.boxes is None else self.boxes.told(index, self.classes),
            None if split == UNSPLIT else SPLITS[split],
            None if self.multi_hot is None else self.names(index),
        )

    def names(self, index: int) -> tuple[str, ...]:
        """The classes that a picture is labelled with; with boxes that of its largest, () without any.

        >>> dataset.names(0)
        ('0',)
        """
        if self.multi_hot is None:
            return () if self.labels[index] == NOTHING else (self.classes[self.labels[index]],)
        return tuple(self.classes[k] for k in np.flatnonzero(self.multi_hot[index]))

    def __repr__(self) -> str:
        boxes = "" if self.boxes is None else f", {len(self.boxes)} boxes"
        splits = ", ".join(f"{len(self.indices(split))} {split}" for split in SPLITS)
        K = len(self.classes)
        return (f"<Dataset {shown(self.origin.source)}: {self.origin.format}, {len(self)} pictures{boxes} "
                f"of {K} class{'es' * (K != 1)} ({splits})>")  # fmt: skip

    def summary(self) -> str:
        """What it is in a few lines: the format, pictures (or boxes) of each class in each split, and the notes.

        >>> print(dataset.summary().splitlines()[0])
        Dataset digits: digits, 1797 pictures of 10 classes (1309 train, 128 val, 360 test)
        """
        what = "pictures" if self.boxes is None else "boxes"
        counts = np.stack([self._of_classes(split) for split in SPLITS], axis=1) if self.classes else np.zeros((0, 3))
        width = max([len(what), *(len(shown(name)) for name in self.classes)])
        rows = [f"{what:{width}} " + "".join(f"{split:>9}" for split in SPLITS)]
        for name, row in zip(self.classes, counts.tolist(), strict=True):
            rows.append(f"{shown(name):{width}} " + "".join(f"{n:9,}" for n in row))
        split_by = [f"Split by {self.origin.split_by}."] if self.origin.split_by else []
        left = [f"{len(self.skipped)} skipped (dataset.skipped)."] if self.skipped else []
        return "\n".join([repr(self)[1:-1], *split_by, "", *rows, "", *self.notes, *left]).rstrip()

    def _of_classes(self, split: str) -> NDArray[np.int64]:
        """(K,) pictures of each class in one split; with boxes, those."""
        if self.boxes is None:
            return self.counts(split)
        here = self.splits[self.boxes.pictures] == SPLITS.index(split)
        return np.bincount(self.boxes.labels[here], minlength=len(self.classes)).astype(np.int64)

    def to_pandas(self) -> Any:
        """A data frame, a row a picture: name, path, label, split, and boxes where it has some.

        Raises: Missing without pandas.

        >>> dataset.to_pandas().columns.tolist()
        ['name', 'path', 'label', 'split']
        """
        label = "label" if self.multi_hot is None else "labels"
        columns = ["name", "path", label, "split", *["boxes"] * (self.boxes is not None)]
        return data_frame([sample.row for sample in self], columns)

    def indices(self, split: str) -> NDArray[np.int64]:
        """(n,) the pictures of one split, in order.

        >>> dataset.indices("test")[:3]
        array([ 0,  5, 10])
        """
        return np.flatnonzero(self.splits == SPLITS.index(split)).astype(np.int64)

    def counts(self, split: str) -> NDArray[np.int64]:
        """(K,) pictures of each class in one split.

        >>> int(dataset.counts("test").sum())
        360
        """
        return self.counts_of(self.indices(split))

    def counts_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K,) pictures of each class among some.

        >>> int(dataset.counts_of(dataset.indices("val")).sum())
        128
        """
        if self.multi_hot is not None:
            shows: NDArray[np.int64] = self.multi_hot[indices].sum(0, dtype=np.int64)
            return shows
        labels = self.labels[indices]
        return np.bincount(labels[labels != NOTHING], minlength=len(self.classes)).astype(np.int64)

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The same data set with fewer pictures.

        >>> len(dataset.take(dataset.indices("val")))
        128
        """
        return replace(
            self,
            pictures=self.pictures.take(indices),
            labels=self.labels[indices],
            splits=self.splits[indices],
            digests=None if self.digests is None else self.digests[indices],
            groups=None if self.groups is None else self.groups[indices],
            boxes=None if self.boxes is None else self.boxes.take(indices),
            multi_hot=None if self.multi_hot is None else self.multi_hot[indices],
        )

    def noted(self, *notes: str, skipped: Sequence[Skipped] = ()) -> Dataset:
        """The same data set with more to tell.

        >>> dataset.noted("Scanned in May.").notes
        ('Scanned in May.',)
        """
        return replace(self, notes=self.notes + notes, skipped=self.skipped + tuple(skipped))
