"""Arithmetic on a source's boxes: turned with their pictures, clipped to them, and what is wrong with the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["REASONS", "clipped", "turned", "wrong"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REASONS = ("", "a coordinate is not a finite number", "swapped corners", "zero area", "lies outside the picture")
NAN, SWAPPED, FLAT, OUTSIDE = range(1, 5)
HAIR = 0.01  # pixels over the edge that are rounding, six decimals of a share among it, and not worth telling


def turned(xyxy: Floats, stored: Ints, orientation: Ints) -> Floats:
    """Boxes of pictures as they are stored, on the pictures as they are shown.

    Args:    xyxy (M, 4); stored (M, 2) height and width of each box's picture as it is stored; orientation (M,) the
             EXIF value, 1 to 8.
    Source:  Exif 2.32 (CIPA DC-008), tag 0x0112: 2 mirrored, 3 turned by 180°, 4 upside down, 5 transposed, 6 to be
             turned right, 7 transposed across the other diagonal, 8 to be turned left.
    """
    height, width = stored[:, :1].astype(np.float64), stored[:, 1:].astype(np.float64)
    x, y = xyxy[:, 0::2], xyxy[:, 1::2]  # (M, 2) each: both ends
    across, down = width - x, height - y
    new_x = _by(orientation, (x, across, across, x, y, down, down, y))
    new_y = _by(orientation, (y, y, down, down, x, x, across, across))
    out = np.empty_like(xyxy)
    out[:, 0], out[:, 2] = new_x.min(1), new_x.max(1)
    out[:, 1], out[:, 3] = new_y.min(1), new_y.max(1)
    return out


def _by(orientation: Ints, choices: tuple[Floats, ...]) -> Floats:
    picked: Floats = np.choose((orientation - 1)[:, None], choices)
    return picked


def wrong(xyxy: Floats, first: float = 0.0) -> NDArray[np.int8]:
    """(M,) what is wrong with boxes as they are written, an index into REASONS.

    Args: first: what the first pixel is called. Where it is 1, a box may end up to a pixel before it begins; equal
          corners are a click without a stroke nevertheless, so no tool means a box of one pixel by them.
    """
    width, height = xyxy[:, 2] - xyxy[:, 0], xyxy[:, 3] - xyxy[:, 1]
    out = np.zeros(len(xyxy), np.int8)
    out[(width == 0) | (height == 0)] = FLAT
    out[(width < 0) & (width <= -first) | (height < 0) & (height <= -first)] = SWAPPED
    out[~np.isfinite(xyxy).all(1)] = NAN
    return out


def clipped(xyxy: Floats, sizes: Ints) -> tuple[Floats, NDArray[np.int8], NDArray[np.bool_]]:
    """Boxes cut to their pictures, (M,) what is wrong with them now, and (M,) which had reached over the edge.

    Args: xyxy (M, 4), finite; sizes (M, 2) height and width of each box's picture.
    """
    edges = sizes[:, [1, 0, 1, 0]].astype(np.float64)
    inside = np.minimum(np.maximum(xyxy, 0), edges)
    bad = np.where(wrong(inside) != 0, OUTSIDE, 0).astype(np.int8)
    over = (np.abs(inside - xyxy).max(1, initial=0) > HAIR) & (bad == 0)
    return inside, bad, over
