"""What the numbers of boxes mean: pixels or shares of the picture, and what the first pixel is called.

Nothing of it is written in most forms, so it is told by the boxes of the whole set, said in a note, and can be set
where a person knows better (`data.box_origin`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foveal.data.formats import Asked
from foveal.data.formats._found import Found
from foveal.errors import BadData, shown

__all__ = ["SHARE_AMONG_PIXELS", "settle"]

HAIR = 0.001  # of a share: rounding at the edge
SMALL = 4  # pixels; in a picture of no more, a box between 0 and 1 may well be one in pixels
SHARE_AMONG_PIXELS = "lies between 0 and 1, as a share of the picture would, where the others are in pixels"


def settle(
    found: Found, xyxy: NDArray[np.float64], sizes: NDArray[np.int64], asked: Asked, place: Callable[[int], str]
) -> NDArray[np.bool_]:
    """Decide `found.shares` and `found.first`, and say so.

    Args:    xyxy (M, 4) corners as they are written; sizes (N, 2) of the pictures; place: what people call a box.
    Returns: (M,) which boxes lie between 0 and 1 where the others are in pixels: nobody knows what those mean.
    Raises:  BadData when half of the boxes are in another unit than the other half, or none tells which it is.
    """
    odd = np.zeros(len(xyxy), bool)
    if not found.shares and len(xyxy) and sizes.max(initial=0) > SMALL:
        odd = _shares(found, xyxy, asked.source, place)
    if found.shares:
        if asked.box_origin != "auto":
            found.notes.append(f"Boxes are shares of their pictures, so --box-origin {asked.box_origin} moves nothing.")
    elif len(xyxy):
        found.first = _origin(found, xyxy[~odd], asked, place)
    return odd


def _shares(found: Found, xyxy: NDArray[np.float64], source: str, place: Callable[[int], str]) -> NDArray[np.bool_]:
    inside = ((xyxy >= -HAIR) & (xyxy <= 1 + HAIR)).all(1)
    parts = inside & (xyxy != np.round(xyxy)).any(1)
    count, first = int(parts.sum()), shown(place(int(parts.argmax())))
    if inside.all() and count:
        found.shares = True
        boxes = "The only box lies" if len(xyxy) == 1 else f"All {len(xyxy)} boxes lie"
        found.notes.append(
            f"{boxes} between 0 and 1: taken as {'a share' if len(xyxy) == 1 else 'shares'} of the picture."
        )
    elif inside.all():
        raise BadData(
            f"{shown(source)}: all boxes ({shown(place(0))}, …) go from 0 to 1, which is one pixel or all of the "
            f"picture; write boxes in pixels."
        )
    elif 2 * count >= len(xyxy):
        other = shown(place(int((~inside).argmax())))
        raise BadData(
            f"{shown(source)}: {count} of {len(xyxy)} boxes lie between 0 and 1 (first: {first}), as shares of a "
            f"picture do, and others do not (first: {other}); write all of them in pixels, or all as shares."
        )
    return np.zeros(len(xyxy), bool) if found.shares else parts


def _origin(found: Found, xyxy: NDArray[np.float64], asked: Asked, place: Callable[[int], str]) -> float:
    """What the first pixel is called: 0 or 1."""
    if asked.box_origin != "auto":
        found.notes.append(f"Boxes are taken to count pixels from {asked.box_origin}, as --box-origin says.")
        return float(asked.box_origin)
    if not found.as_voc:
        return 0.0
    early = ((xyxy[:, :2] >= 0) & (xyxy[:, :2] < 1)).any(1)  # below 0 is over the edge, and tells nothing
    if early.any() or found.decimals:
        first = place(int(early.argmax())) if early.any() else found.decimals
        why = "begins at 0" if early.any() else "has decimals"
        found.notes.append(
            f"A box {why} ({shown(first)}): boxes are taken as they are, not as VOC's, which count pixels from 1; "
            f"--box-origin 1 takes them so."
        )
        return 0.0
    found.notes.append("Boxes are taken to count pixels from 1, as VOC does; --box-origin 0 takes them as they are.")
    return 1.0
