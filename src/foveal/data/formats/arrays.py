"""Arrays and tensors that the user already holds: `(X, y)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import UNSPLIT, ArrayPictures, Dataset, Origin
from foveal.data.formats import Asked, named_labels, numbered_labels
from foveal.errors import BadData

__all__ = ["read_arrays"]

CHUNK = 4096  # pictures converted at a time: floats take up to eight times the room of their bytes
PLACE = "(X, y)"


def read_arrays(pictures: Any, labels: Any, asked: Asked) -> Dataset:
    """Pictures and labels in memory.

    Args:    pictures: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4 (bands); whole numbers in 0…255, or
             floats in 0…1 (rounded to 256 levels). labels: (N,) whole numbers or texts. NumPy arrays, torch tensors or
             lists.
    Raises:  BadData for other shapes, types and values.
    """
    x, y = _array(pictures), _array(labels)
    if x.ndim not in (3, 4) or 0 in x.shape[1:]:
        raise BadData(f"{PLACE}: X has shape {x.shape}; it must be (N, H, W), (N, H, W, C) or (N, C, H, W).")
    if y.shape != (len(x),):
        hint = "; give one label a picture, not one column a class" if y.ndim == 2 else ""
        raise BadData(f"{PLACE}: {len(x)} pictures but labels of shape {y.shape}{hint}.")
    x = _colors_last(x) if x.ndim == 4 else x
    pixels, note = _pixels(x)
    if x.ndim == 4 and x.shape[3] == 4:
        note = f"Pictures of four channels are taken as four bands; of RGBA give the first three. {note}".strip()
    numbers, classes = _labels(y, asked.classes)
    return Dataset(
        ArrayPictures(pixels, tuple(f"X[{i}]" for i in range(len(x)))),
        numbers,
        classes,
        np.full(len(x), UNSPLIT, np.int8),
        Origin(asked.source, "memory", "arrays"),
        notes=(note,) if note else (),
    )


def _colors_last(x: NDArray[Any]) -> NDArray[Any]:
    """(N, H, W, C) of that, or of (N, C, H, W); where both could be meant the colours are last."""
    for bands in ((1, 3), (4,)):
        if x.shape[3] in bands:
            return x
        if x.shape[1] in bands:
            return x.transpose(0, 2, 3, 1)
    raise BadData(f"{PLACE}: X has shape {x.shape}; one of its axes must be 1, 3 or 4 colors, the last or the second.")


def _array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):  # a torch tensor, known by its manners: torch need not be there
        values = values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError):
        raise BadData(f"{PLACE}: a list of unequal pictures or labels; give arrays of one shape.") from None


def _pixels(x: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """uint8 pixels, C-contiguous, and what was done to get them."""
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x), ""
    if x.dtype.kind not in "iuf":
        raise BadData(f"{PLACE}: X holds {x.dtype}; pixels are whole numbers in 0…255 or floats in 0…1.")
    floats, top = x.dtype.kind == "f", 1 if x.dtype.kind == "f" else 255
    out = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        low, high = part.min(), part.max()
        if not (low >= 0 and high <= top):  # NaN fails both
            found = "NaN" if low != low else f"{low} to {high}"
            raise BadData(f"{PLACE}: X holds {x.dtype} of {found} (from picture {start} on); "
                          f"pixels are whole numbers in 0…255 or floats in 0…1.")  # fmt: skip
        out[start : start + CHUNK] = np.rint(part * np.float32(255)) if floats else part
    return out, "The pictures are floats in 0…1; they were rounded to 256 levels." if floats else ""


def _labels(y: NDArray[Any], classes: tuple[str, ...] | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if y.dtype.kind in "iub":
        return numbered_labels(y.astype(np.int64), classes, PLACE)
    if y.dtype.kind == "f" and np.isfinite(y).all() and (np.rint(y) == y).all() and (np.abs(y) < 2**53).all():
        return numbered_labels(y.astype(np.int64), classes, PLACE)
    if y.dtype.kind in "UO" and all(isinstance(label, str) and label.strip() for label in y.tolist()):
        return named_labels([label.strip() for label in y.tolist()])
    raise BadData(f"{PLACE}: labels must be whole numbers or texts, one a picture; y holds {y.dtype}.")
