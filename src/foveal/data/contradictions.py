"""One label a picture: what is to be done when equal pictures carry different labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import ArrayPictures, Boxes, Dataset, Skipped
from foveal.data.fingerprints import contents
from foveal.errors import BadData, BadPicture, shown
from foveal.files.pictures import read_image

__all__ = ["one_label_each"]

TRIED_MAX = 50  # equal files that are no pictures (the same error page saved often) are looked through so far


def one_label_each(dataset: Dataset, asked: Literal["leave-out", "refuse"] = "leave-out") -> Dataset:
    """The data set without pictures that stand in two classes: which of the labels is right cannot be known.

    All copies become rows, also those within one of the classes; or, where that is asked for, BadData names the first
    two. Published arrays cannot be mended by their user: a note counts them. Equal files that are no picture at all are
    left to the store. Boxes never agree to the pixel, so equal pictures with other boxes are a note as well.
    """
    if dataset.boxes is not None:
        return _boxes_told(dataset)
    pairs = _contradictions(dataset)
    if not len(pairs):
        return dataset
    if isinstance(dataset.pictures, ArrayPictures):
        a, b = pairs[0]
        return dataset.noted(
            f"{len(pairs)} pictures in {shown(dataset.origin.source)} appear again with another label "
            f"(first: {_told(dataset, a)} and {_told(dataset, b)}); all are used as they are."
        )
    if asked == "refuse":
        return _refused(dataset, pairs)
    no_pictures = [row for row, (a, _) in enumerate(pairs[:TRIED_MAX]) if not _is_picture(dataset, int(a))]
    pairs = np.delete(pairs, no_pictures, axis=0)
    return _without(dataset, pairs) if len(pairs) else dataset


def _refused(dataset: Dataset, pairs: NDArray[np.int64]) -> Dataset:
    for a, b in pairs[:TRIED_MAX]:
        if _is_picture(dataset, int(a)):
            more = f" ({len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
            raise BadData(
                f"{shown(dataset.origin.place)}: {_told(dataset, a)} and {_told(dataset, b)} are the same picture in "
                f"two classes{more}; keep one, a picture has one label."
            )
    return dataset


def _without(dataset: Dataset, pairs: NDArray[np.int64]) -> Dataset:
    """The data set without the contents of these pairs. Raises: BadData when nothing is left."""
    assert dataset.digests is not None
    numbers = contents(dataset.digests)
    against = dict(zip(numbers[pairs[:, 0]].tolist(), pairs.tolist(), strict=True))
    gone = np.isin(numbers, numbers[pairs[:, 0]])
    a, b = pairs[0]
    first = f"{_told(dataset, a)} and {_told(dataset, b)}"
    if gone.all():
        raise BadData(f"{shown(dataset.origin.place)}: every picture stands in two classes (first: {first}); "
                      f"keep one, a picture has one label.")  # fmt: skip
    rows = []
    for i in np.flatnonzero(gone).tolist():
        one, other = against[int(numbers[i])]
        twin = other if dataset.names(i) == dataset.names(one) else one
        mine = f"{'is in class ' if dataset.multi_hot is None else 'is labelled '}{_labels(dataset, i)}"
        rows.append(Skipped(dataset.pictures.name(i), f"{mine}, and the same as {_told(dataset, twin)}"))
    kept = dataset.take(np.flatnonzero(~gone).astype(np.int64))
    return kept.noted(
        f"{len(rows)} pictures skipped, which are {len(pairs)} in two classes (first: {first}); a picture has one "
        f"label (data.contradictions = refuse stops there).",
        skipped=rows,
    )


def _boxes_told(dataset: Dataset) -> Dataset:
    """The data set, with a note on equal pictures that carry different boxes."""
    assert dataset.digests is not None
    assert dataset.boxes is not None
    numbers = contents(dataset.digests)
    _, first = np.unique(numbers, return_index=True)
    others = [i for i in np.flatnonzero(first[numbers] != np.arange(len(numbers))).tolist()
              if not _same_boxes(dataset.boxes, int(first[numbers[i]]), i)]  # fmt: skip
    if not others:
        return dataset
    a, b = (shown(dataset.pictures.name(int(i))) for i in (first[numbers[others[0]]], others[0]))
    many = "picture appears" if len(others) == 1 else "pictures appear"
    return dataset.noted(f"{len(others)} {many} again with other boxes (first: {a} and {b}); all are used.")


def _same_boxes(boxes: Boxes, a: int, b: int) -> bool:
    one, other = boxes.of(a), boxes.of(b)
    return np.array_equal(boxes.xyxy[one], boxes.xyxy[other]) and np.array_equal(boxes.labels[one], boxes.labels[other])


def _contradictions(dataset: Dataset) -> NDArray[np.int64]:
    """(M, 2) for each content with several labels, its first picture and the first of another label."""
    assert dataset.digests is not None
    numbers = contents(dataset.digests)
    _, first = np.unique(numbers, return_index=True)
    against = np.flatnonzero(_differ(dataset, first[numbers]))
    _, once = np.unique(numbers[against], return_index=True)
    others = against[once]
    return np.stack([first[numbers[others]], others], axis=1).astype(np.int64)


def _differ(dataset: Dataset, others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each picture is labelled otherwise than another one."""
    if dataset.multi_hot is not None:
        unlike: NDArray[np.bool_] = (dataset.multi_hot != dataset.multi_hot[others]).any(1)
        return unlike
    differ: NDArray[np.bool_] = dataset.labels != dataset.labels[others]
    return differ


def _told(dataset: Dataset, index: np.int64 | int) -> str:
    return f"{shown(dataset.pictures.name(int(index)))} ({_labels(dataset, int(index))})"


def _labels(dataset: Dataset, index: int) -> str:
    return ", ".join(f'"{shown(name)}"' for name in dataset.names(index)) or "no label"


def _is_picture(dataset: Dataset, index: int) -> bool:
    try:
        read_image(dataset.pictures.content(index))
    except (BadPicture, OSError):
        return False
    return True
