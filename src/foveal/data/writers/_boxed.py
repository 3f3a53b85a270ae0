"""What every writer of boxes needs: names of classes, boxes picture by picture, and what cannot be kept, told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes, Dataset, Skipped
from foveal.data.writers._copies import Copied
from foveal.data.writers._names import renamed
from foveal.errors import shown

__all__ = ["Box", "Left", "boxes_of", "counted", "plain_names", "told_lost", "without_crowds"]


@dataclass(frozen=True)
class Box:
    """One object as it is written."""

    x1: float  # continuous pixels of the upright picture
    y1: float
    x2: float
    y2: float
    label: int
    crowd: bool
    difficult: bool


def boxes_of(dataset: Dataset, index: int) -> Iterator[Box]:
    """The objects of a picture, in their order."""
    boxes = _boxes(dataset)
    at = boxes.of(index)
    columns = (boxes.labels[at], boxes.crowd[at], boxes.difficult[at])
    for corners, label, crowd, difficult in zip(boxes.xyxy[at].tolist(), *(c.tolist() for c in columns), strict=True):
        x1, y1, x2, y2 = corners
        yield Box(x1, y1, x2, y2, label, crowd, difficult)


def plain_names(dataset: Dataset, done: list[str]) -> tuple[str, ...]:
    """Class names without anything that is not to be seen; what had to change is added to the notes `done`."""
    names, changed = renamed(dataset.classes, lambda name: shown(name).strip() or "_")
    done += [f'Class "{shown(old)}" is written "{shown(new)}".' for old, new in changed]
    return names


@dataclass(frozen=True)
class Left:
    """What of a data set a form without crowds can hold."""

    dataset: Dataset
    kept: NDArray[np.int64]  # its pictures in the whole data set
    notes: list[str]
    skipped: list[Skipped]

    def finished(self, done: Copied, *notes: str) -> Copied:
        """What was done, told of the whole data set."""
        return Copied(self.kept[done.written], done.open, [*self.notes, *done.notes, *notes],
                      [*self.skipped, *done.skipped], counted(self.dataset, done.written))  # fmt: skip


def without_crowds(dataset: Dataset, form: str) -> Left:
    """The data set without crowds, and without pictures of nothing else.

    A crowd is something, so a picture of one is no example of nothing.
    """
    boxes = _boxes(dataset)
    if not boxes.crowd.any():
        return Left(dataset, np.arange(len(dataset)), [], [])
    objects = np.bincount(boxes.pictures[~boxes.crowd], minlength=len(dataset))
    gone = (boxes.counts > 0) & (objects == 0)
    starts = np.concatenate([[0], np.cumsum(objects)]).astype(np.int64)
    some = ~boxes.crowd
    objects_only = Boxes(
        boxes.xyxy[some], boxes.labels[some], starts, boxes.sizes, boxes.crowd[some], boxes.difficult[some]
    )
    kept = np.flatnonzero(~gone).astype(np.int64)
    note = f"{form} cannot mark a box around many: {int(boxes.crowd.sum())} such boxes skipped."
    rows = [Skipped(dataset.pictures.name(i), "shows crowds only") for i in np.flatnonzero(gone).tolist()]
    return Left(replace(dataset, boxes=objects_only).take(kept), kept, [note], rows)


def counted(dataset: Dataset, written: NDArray[np.int64]) -> int:
    """Boxes on the pictures that were written."""
    return int(_boxes(dataset).counts[written].sum())


def told_lost(dataset: Dataset, written: NDArray[np.int64], *, difficult: str = "", order: str = "") -> list[str]:
    """What a form could not keep; each argument names the form, where it is one that cannot keep that."""
    boxes = _boxes(dataset).take(written)
    notes = []
    if difficult and (n := int(boxes.difficult.sum())):
        notes.append(f"{difficult} cannot mark a box as difficult: {n} are written as any other.")
    occurring = [dataset.classes[k] for k in np.unique(boxes.labels)]
    if order and occurring != sorted(occurring):
        notes.append(f"{order} keeps no order of classes: they will be read in that of the alphabet.")
    if order and len(occurring) < len(dataset.classes):
        notes.append(f"{order} keeps no class without a box: {len(dataset.classes) - len(occurring)} are not in it.")
    return notes


def _boxes(dataset: Dataset) -> Boxes:
    assert dataset.boxes is not None  # `convert` has looked
    return dataset.boxes
