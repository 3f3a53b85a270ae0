"""Boxes that are worth a look: drawn twice, too small to be seen, thin as a line, or around the whole picture.

What no box can be (outside its picture, flat, of swapped corners) does not get this far: it is a row of what was left
out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.audit.findings import Odd
from foveal.data.dataset import Boxes, Dataset
from foveal.ops.boxes import box_iou

__all__ = ["odd_boxes"]

SAME = 0.9  # overlap (IoU) from which two boxes are one, drawn twice: a pixel each way on a box of 40
TINY_PIXELS, TINY_SHARE = 4.0, 0.01  # a shorter side below both, of the picture's shorter side, shows nothing
THIN = 15.0  # sides' ratio
WHOLE = 0.995  # of the picture's area
MOST = 2000  # boxes of a picture beyond which pairs are not compared


def odd_boxes(dataset: Dataset) -> tuple[Odd, ...]:
    """A row for each odd box, picture after picture; none for a data set without boxes."""
    boxes = dataset.boxes
    if boxes is None or not len(boxes):
        return ()
    alone, rows = _alone(boxes), []
    for i in range(len(dataset)):
        at, found = boxes.of(i), dict[int, list[str]]()
        for number in range(at.stop - at.start):
            if reason := alone[at.start + number]:
                found.setdefault(number, []).append(reason)
        for first, second, what in _doubled(boxes, at, dataset.classes):
            found.setdefault(second, []).append(f"{what} box {first + 1}")
        for number, reasons in sorted(found.items()):
            label = dataset.classes[int(boxes.labels[at.start + number])]
            rows.append(Odd(dataset.pictures.name(i), f"box {number + 1} {' and '.join(reasons)}", label, i))
    return tuple(rows)


def _alone(boxes: Boxes) -> list[str]:
    """(M,) what is odd about each box by itself, "" where nothing is; crowds may be of any form."""
    width, height = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).T
    short, long = np.minimum(width, height), np.maximum(width, height)
    of_picture = boxes.sizes[boxes.pictures].astype(np.float64)
    out: NDArray[np.str_] = np.full(len(boxes), "", dtype="<U40")
    out[width * height >= WHOLE * of_picture.prod(1)] = "covers the whole picture"
    out[long > THIN * short] = "is thin as a line"
    out[(short < TINY_PIXELS) & (short < TINY_SHARE * of_picture.min(1))] = "is too small to show anything"
    out[boxes.crowd] = ""
    told: list[str] = out.tolist()
    return told


def _doubled(boxes: Boxes, at: slice, classes: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """(first, second, what the second is) for each box of a picture that lies on an earlier one."""
    xyxy, labels = boxes.xyxy[at], boxes.labels[at]
    objects = np.flatnonzero(~boxes.crowd[at])
    if not 1 < len(objects) <= MOST:
        return
    corners = torch.from_numpy(xyxy[objects])
    overlap = box_iou(corners, corners).numpy()
    firsts, seconds = np.nonzero(np.triu(overlap >= SAME, 1))
    seen = set[int]()
    for first, second in zip(objects[firsts].tolist(), objects[seconds].tolist(), strict=True):
        if second not in seen:
            seen.add(second)
            same = labels[first] == labels[second]
            yield first, second, "repeats" if same else f'lies on the "{classes[int(labels[first])]}" of'
