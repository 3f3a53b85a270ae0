"""Orientation: what EXIF says of a picture, and the picture as a person holds it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["orientation_of", "upright"]

_ORIENTATION = 0x0112


def orientation_of(image: Any) -> int:
    """1 to 8 of an image that Pillow has opened; 1 when it says nothing, or nonsense."""
    value: Any = 1
    with suppress(Exception):  # EXIF is an afterthought of cameras: when it is garbage, the picture is used as stored
        value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """(H, W, C) of pixels as they are stored, in a piece of memory of its own where they had to be turned."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
