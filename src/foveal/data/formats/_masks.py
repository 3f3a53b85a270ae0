"""The boxes round masks: polygons, and runs of pixels as COCO and CVAT write them, checked before they are followed.

Source: pycocotools, `maskApi.c`: an RLE counts pixels column by column, zeros first; compressed, each count is written
in groups of five bits, low ones first, offset by 48, and from the fourth on as the difference to the one before last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask", "mask_of", "round_points", "runs_box"]

Corners = tuple[float, float, float, float]
SIDE_MAX = 1 << 20
GROUPS_MAX = 7  # of five bits: no count of a picture's pixels needs more
WRONG_RUNS = "the runs of its mask do not fit the mask's size"
NO_MASK = "its mask is neither polygons nor runs"


@dataclass(frozen=True)
class Mask:
    """The box round a mask, or what is wrong with it."""

    corners: Corners | None
    wrong: str = ""
    size: tuple[int, int] | None = None  # width and height that the mask itself tells
    kind: str = "mask"


def mask_of(segmentation: Any) -> Mask | None:
    """The box round COCO's `segmentation`; None where there is none."""
    if segmentation is None or segmentation in ([], {}, ""):
        return None
    if isinstance(segmentation, dict):
        return _of_runs(segmentation)
    if not isinstance(segmentation, list):
        return Mask(None, NO_MASK)
    parts = segmentation if isinstance(segmentation[0], list) else [segmentation]
    points: list[float] = []
    for part in parts:
        flat = [v for pair in part for v in pair] if _pairs(part) else part
        if not isinstance(flat, list) or len(flat) < 6 or len(flat) % 2 or not all(map(_number, flat)):
            return Mask(None, "its polygon is not three points or more")
        points += flat
    return Mask(round_points(points), kind="polygon")


def round_points(flat: Sequence[float]) -> Corners:
    """The box round points x, y, x, y, …"""
    return min(flat[0::2]), min(flat[1::2]), max(flat[0::2]), max(flat[1::2])


def runs_box(counts: NDArray[np.int64], height: int, along_rows: bool = False) -> Corners | None:
    """The box round the pixels of runs, zeros first; None where none is set.

    Args: counts (R,) that sum up to the mask's pixels; height of a column, or width of a row where runs go along rows.
    """
    ends = np.cumsum(counts)
    starts, ends = (ends - counts)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts] - 1
    if not len(starts):
        return None
    low, high = int((starts // height).min()), int((ends // height).max()) + 1
    over = bool((starts // height != ends // height).any())  # round a corner: to a column's end, from the next's start
    top = 0 if over else int((starts % height).min())
    bottom = height if over else int((ends % height).max()) + 1
    return (top, low, bottom, high) if along_rows else (low, top, high, bottom)


def _of_runs(written: dict[str, Any]) -> Mask:
    size, counts = written.get("size"), written.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(v) is int and 0 < v <= SIDE_MAX for v in size):
        return Mask(None, NO_MASK)
    height, width = size
    if isinstance(counts, str):
        runs = _unpacked(counts)
    elif isinstance(counts, list) and all(type(v) is int and 0 <= v <= height * width for v in counts):
        runs = np.array(counts, np.int64)
    else:
        runs = None
    if runs is None or runs.min(initial=0) < 0 or runs.max(initial=0) > height * width or runs.sum() != height * width:
        return Mask(None, WRONG_RUNS, (width, height))
    box = runs_box(runs, height)
    return Mask(box, "" if box else "its mask is empty", (width, height))


def _unpacked(text: str) -> NDArray[np.int64] | None:
    """(R,) counts of a compressed RLE; None where it is none."""
    raw = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(raw) or raw.min() < 0 or raw.max() > 63 or raw[-1] & 32:
        return None
    last = np.flatnonzero(raw & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() >= GROUPS_MAX:
        return None
    shift = 5 * (np.arange(len(raw)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((raw & 31) << shift, first)
    values -= np.where(raw[last] & 16, 1 << (5 * (last - first + 1)), 0)
    values[1::2] = np.cumsum(values[1::2])  # differences to the one before last, but for the first three
    values[2::2] = np.cumsum(values[2::2])
    return values


def _pairs(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(p, list) and len(p) == 2 for p in part)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
