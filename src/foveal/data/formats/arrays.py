"""Arrays and tensors that the user already holds: `(X, y)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import UNSPLIT, ArrayPictures, Dataset, Origin, rarest
from foveal.data.formats import Asked, named_labels, numbered_labels, several_labels
from foveal.errors import BadData

__all__ = ["read_arrays"]

CHUNK = 4096  # pictures converted at a time: floats take up to eight times the room of their bytes
PLACE = "(X, y)"

Read = tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.bool_] | None]


def read_arrays(pictures: Any, labels: Any, asked: Asked) -> Dataset:
    """Pictures and labels in memory.

    Args:    pictures: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1, 3 or 4 (bands); whole numbers in 0…255, or
             floats in 0…1 (rounded to 256 levels). labels: (N,) whole numbers or texts; several a picture as (N, K) of
             0 and 1, or as N lists of texts. NumPy arrays, torch tensors or lists.
    Raises:  BadData for other shapes, types and values.
    """
    x = _array(pictures)
    if x.ndim not in (3, 4) or 0 in x.shape[1:]:
        raise BadData(f"{PLACE}: X has shape {x.shape}; it must be (N, H, W), (N, H, W, C) or (N, C, H, W).")
    numbers, classes, multi_hot = _read_labels(labels, len(x), asked)
    x = _colors_last(x) if x.ndim == 4 else x
    pixels, note = _pixels(x)
    if x.ndim == 4 and x.shape[3] == 4:
        note = f"Pictures of four channels are taken as four bands; of RGBA give the first three. {note}".strip()
    return Dataset(
        ArrayPictures(pixels, tuple(f"X[{i}]" for i in range(len(x)))),
        numbers,
        classes,
        np.full(len(x), UNSPLIT, np.int8),
        Origin(asked.source, "memory", "arrays"),
        notes=(note,) if note else (),
        multi_hot=multi_hot,
    )


def _read_labels(labels: Any, n: int, asked: Asked) -> Read:
    """(N,) labels, the classes, and where there may be several a picture (N, K) which of them it has."""
    lists = _lists(labels)
    y = _array(labels) if lists is None else np.zeros(len(lists))
    if y.ndim not in (1, 2) or len(y) != n or 0 in y.shape[1:]:
        hint = f"; it must be ({n},), or ({n}, K) of 0 and 1 for several labels a picture"
        raise BadData(f"{PLACE}: {n} pictures but labels of shape {y.shape}{hint}.")
    if lists is None and y.ndim == 1:
        return *_labels(y, asked.classes), None
    multi_hot, classes = _table(y, asked.classes) if lists is None else several_labels(lists)
    if asked.labels != "several" and (multi_hot.sum(1) == 1).all():
        return multi_hot.argmax(1).astype(np.int64), classes, None
    if asked.labels == "one":
        raise BadData(f"{PLACE}: y has several labels a picture, or none, and one is asked for.")
    return rarest(multi_hot), classes, multi_hot


def _lists(labels: Any) -> list[list[str]] | None:
    """Lists of texts, one a picture; None for any other labels. Raises: BadData where only some are."""
    if not isinstance(labels, list | tuple) or not any(isinstance(own, list | tuple | set) for own in labels):
        return None
    if all(isinstance(own, list | tuple) and all(not isinstance(one, str) for one in own) for own in labels):
        return None if any(len(own) for own in labels) else [[] for _ in labels]
    out = []
    for number, own in enumerate(labels):
        if not isinstance(own, list | tuple | set) or not all(isinstance(one, str) and one.strip() for one in own):
            raise BadData(f"{PLACE}: y[{number}] is no list of labels such as ['cat', 'dog'], as others are.")
        out.append(sorted({one.strip() for one in own}))
    return out


def _table(y: NDArray[Any], classes: tuple[str, ...] | None) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(N, K) which labels each picture has, of 0 and 1, and their names."""
    if y.dtype.kind not in "iubf" or not np.isin(y, (0, 1)).all():
        raise BadData(
            f"{PLACE}: labels of shape {y.shape} say with 0 and 1 which of {y.shape[1]} a picture has; y holds others."
        )
    if classes is not None and len(classes) != y.shape[1]:
        raise BadData(f"{PLACE}: {y.shape[1]} columns of labels, but {len(classes)} class names.")
    return y.astype(bool), classes or tuple(str(k) for k in range(y.shape[1]))


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
