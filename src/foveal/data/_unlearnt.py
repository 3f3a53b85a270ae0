"""Pictures and boxes of classes that train lacks: what was never learnt cannot be scored or found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, Boxes, Dataset, Skipped, rarest
from foveal.data.formats import listed

__all__ = ["without_unlearnt"]

TRAIN = SPLITS.index("train")


def without_unlearnt(dataset: Dataset) -> Dataset:
    """The data set without classes that train lacks: what was never learnt cannot be scored. Its pictures become rows.

    A data set without any training picture keeps its classes: it is there to be evaluated.
    """
    if dataset.boxes is not None:
        return _without_boxes(dataset)
    if dataset.multi_hot is not None:
        return _without_labels(dataset)
    counts = dataset.counts("train")
    if not counts.any():
        counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    lacking = np.flatnonzero(counts == 0)
    if not len(lacking):
        return dataset
    gone = np.isin(dataset.labels, lacking)
    names = [dataset.classes[k] for k in lacking]
    rows = [
        Skipped(dataset.pictures.name(int(i)), f'is of class "{dataset.classes[dataset.labels[i]]}", which train lacks')
        for i in np.flatnonzero(gone)
    ]
    kept = dataset.take(np.flatnonzero(~gone).astype(np.int64))
    new_label = np.cumsum(counts > 0) - 1
    kept = replace(
        kept,
        labels=new_label[kept.labels].astype(np.int64),
        classes=tuple(name for k, name in enumerate(dataset.classes) if counts[k]),
    )
    many = len(names) != 1
    return kept.noted(
        f"class{'es' * many} {listed(names)} {'have' if many else 'has'} no picture in train and "
        f"{'are' if many else 'is'} skipped" + (f" ({len(rows)} pictures of val and test)." if rows else "."),
        skipped=rows,
    )


def _without_labels(dataset: Dataset) -> Dataset:
    """The same pictures without the labels that no picture of train has: of each of the others all is known."""
    counts = dataset.counts("train")
    assert dataset.multi_hot is not None
    if not len(dataset.indices("train")):
        counts = dataset.multi_hot.sum(0)
    if counts.all():
        return dataset
    names = [name for name, n in zip(dataset.classes, counts, strict=True) if not n]
    multi_hot, many = dataset.multi_hot[:, counts > 0], len(names) != 1
    kept = replace(
        dataset,
        labels=rarest(multi_hot),
        multi_hot=multi_hot,
        classes=tuple(name for name, n in zip(dataset.classes, counts, strict=True) if n),
    )
    return kept.noted(
        f"label{'s' * many} {listed(names)} {'are' if many else 'is'} on no picture of train and "
        f"{'are' if many else 'is'} left out; the pictures of val and test that have {'them' if many else 'it'} stay."
    )


def _without_boxes(dataset: Dataset) -> Dataset:
    """The data set without classes that no box of train has, and without their boxes.

    A picture that loses all its boxes is left out: it shows something. A data set without any training picture keeps
    what occurs: it is there to be evaluated.
    """
    boxes = dataset.boxes
    assert boxes is not None
    counted = ~boxes.crowd  # a crowd is not learnt
    K = len(dataset.classes)
    in_train = counted & (dataset.splits[boxes.pictures] == TRAIN)
    learnt = np.bincount(boxes.labels[in_train if in_train.any() else np.ones(len(boxes), bool)], minlength=K) > 0
    if learnt.all():
        return dataset
    used = learnt[boxes.labels]
    emptied = (boxes.counts > 0) & (np.bincount(boxes.pictures[used], minlength=len(dataset)) == 0)
    new_label = (np.cumsum(learnt) - 1).astype(np.int64)
    left = _chosen(boxes, used)
    left = replace(left, labels=new_label[left.labels])
    names = [name for name, known in zip(dataset.classes, learnt, strict=True) if not known]
    kept = replace(
        dataset,
        boxes=left,
        labels=left.of_largest,
        classes=tuple(name for name, known in zip(dataset.classes, learnt, strict=True) if known),
    ).take(np.flatnonzero(~emptied).astype(np.int64))
    rows = [
        Skipped(dataset.pictures.name(i), "has no box of a class that train has")
        for i in np.flatnonzero(emptied).tolist()
    ]
    return kept.noted(*_said(names, int((~used).sum()), len(rows)), skipped=rows)


def _said(names: list[str], boxes: int, pictures: int) -> list[str]:
    many = len(names) != 1
    gone = f" ({boxes} boxes, and {pictures} pictures that have no other)" if boxes else ""
    return [f"class{'es' * many} {listed(names)} {'have' if many else 'has'} no box in train and "
            f"{'are' if many else 'is'} skipped{gone}."]  # fmt: skip


def _chosen(boxes: Boxes, used: NDArray[np.bool_]) -> Boxes:
    """Some of the boxes, on the same pictures."""
    counts = np.bincount(boxes.pictures[used], minlength=len(boxes.sizes))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(boxes.xyxy[used], boxes.labels[used], starts, boxes.sizes, boxes.crowd[used], boxes.difficult[used])
