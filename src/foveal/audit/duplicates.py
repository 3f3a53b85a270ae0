"""Pictures that are the same picture: to the byte, or resized, re-compressed, slightly cropped or brightened.

Near copies are found in two steps. Candidates are the nearest pictures by the low frequencies of the grey picture (the
numbers whose signs are the perceptual hash of Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions"), the whole of one compared with the whole and with crops of the other. Each candidate is then laid over its
partner, scaled and shifted until they agree best, and kept only when fine detail agrees too: brightness and contrast
drop out of a correlation, and what two photographs of white shirts share is not detail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.batches import Rows
from foveal.data.fingerprints import contents
from foveal.progress import SILENT, Progress

__all__ = ["Pair", "exact_pairs", "near_pairs"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Grey = NDArray[np.uint8]

SIDE = 64  # pixels of the grey versions that are compared
FREQUENCIES = 8  # a side of the cosine transform that is kept
CANDIDATES = 5  # nearest pictures that are looked at closely
LIKELY = 0.75  # cosine of low frequencies below which no candidate is looked at
BLOCK = 1000  # pictures compared with all others at once
CROPS = ((0.0, 0.0, 1.0), *((y, x, 0.95) for y in (0.0, 0.025, 0.05) for x in (0.0, 0.025, 0.05)))  # top, left, side
FIRST_LOOK = (0, 1, 3, 5, 7, 9)  # of CROPS, for candidates: the whole, the corners, the centre
WORTH_ALIGNING = 0.4  # agreement of detail before shifts below a pixel are looked for
SAME = 0.9  # agreement of detail of copies; on photographs of clothes, different ones reached 0.87


@dataclass(frozen=True)
class Pair:
    """Two pictures that are one."""

    first: int
    second: int
    exact: bool
    agreement: float  # of detail, 1 for exact copies


def exact_pairs(digests: NDArray[np.uint8]) -> list[Pair]:
    """Each later copy with the first of its content."""
    numbers = contents(digests)
    _, first, own = np.unique(numbers, return_index=True, return_inverse=True)
    return [Pair(int(a), int(b), True, 1.0) for b, a in enumerate(first[own]) if a != b]


def near_pairs(store: Rows, indices: Indices, progress: Progress = SILENT) -> list[Pair]:
    """Pairs of stored pictures that are nearly the same, the most alike first; exact copies should be left out."""
    if len(indices) < 2:
        return []
    with progress.task("comparing pictures", 3 * len(indices)) as advance:
        grey = _grey(store, indices, advance)
        pairs = _verified(grey, _candidates(grey, advance), advance)
    pairs.sort(key=lambda pair: -pair.agreement)
    return [Pair(int(indices[p.first]), int(indices[p.second]), False, p.agreement) for p in pairs]


def _grey(store: Rows, indices: Indices, advance: Callable[[int], None]) -> NDArray[np.uint8]:
    """(n, SIDE, SIDE)"""
    import cv2

    out = np.empty((len(indices), SIDE, SIDE), np.uint8)
    for start in range(0, len(indices), BLOCK):
        block = store.rows(indices[start : start + BLOCK])
        how = cv2.INTER_AREA if block.shape[1] > SIDE else cv2.INTER_LINEAR
        for row, picture in enumerate(block, start):
            plain: NDArray[Any] = (
                picture[..., 0] if picture.shape[2] == 1 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            )
            out[row] = cv2.resize(plain, (SIDE, SIDE), interpolation=how)
        advance(len(block))
    return out


def _cropped(grey: NDArray[np.uint8], crop: tuple[float, float, float], side: int) -> NDArray[np.uint8]:
    """(side, side) of a part of one picture."""
    import cv2

    top, left, share = crop
    scale = share * SIDE / side
    matrix = np.array([[scale, 0, left * SIDE + (scale - 1) / 2], [0, scale, top * SIDE + (scale - 1) / 2]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: NDArray[Any] = cv2.warpAffine(grey, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return found


def _waves(grey: NDArray[np.uint8], crop: tuple[float, float, float]) -> Floats:
    """(n, 63) of unit length: low frequencies, weighted so that each octave counts; without the mean."""
    import cv2

    half = SIDE // 2
    small = np.stack([_cropped(picture, crop, half) for picture in grey]).astype(np.float32)
    waves = cv2.dct(np.eye(half, dtype=np.float32), flags=cv2.DCT_ROWS).T[:FREQUENCIES]  # (F, half), the cosines
    found = np.einsum("fy,nyx,gx->nfg", waves, small, waves, optimize=True).reshape(len(small), -1)[:, 1:]
    radius = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES]).ravel()[1:]  # a picture's power falls as 1 / radius
    found = found * radius.astype(np.float32)
    unit: Floats = (found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-3)).astype(np.float32)
    return unit


def _candidates(grey: NDArray[np.uint8], advance: Callable[[int], None]) -> Indices:
    """(M, 2) pairs whose low frequencies are nearest, each once."""
    whole = _waves(grey, CROPS[0])
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(grey), BLOCK):
        block = grey[start : start + BLOCK]
        cosine = np.max([_waves(block, CROPS[number]) @ whole.T for number in FIRST_LOOK], axis=0)
        rows = np.arange(len(block))
        cosine[rows, start + rows] = -1
        count = min(CANDIDATES, len(grey) - 1)
        near = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        keep = np.take_along_axis(cosine, near, 1) > LIKELY
        first = np.broadcast_to(start + rows[:, None], near.shape)[keep]
        found.append(np.sort(np.stack([first, near[keep]], 1), axis=1))
        advance(len(block))
    pairs: Indices = np.unique(np.concatenate(found), axis=0)
    return pairs


def _verified(grey: NDArray[np.uint8], pairs: Indices, advance: Callable[[int], None]) -> list[Pair]:
    found = []
    for start in range(0, len(pairs), BLOCK):
        for a, b in pairs[start : start + BLOCK].tolist():
            agreement = _agreement(grey[a], grey[b])
            if agreement >= SAME:
                found.append(Pair(a, b, False, agreement))
    advance(len(grey))
    return found


def _agreement(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of the two pictures' detail where they agree best, over crops of either and shifts below a pixel."""
    laid = [(_cropped(x, crop, SIDE), y) for x, y in ((a, b), (b, a)) for crop in CROPS]
    scores = [_correlation(x, y) for x, y in laid]
    best = int(np.argmax(scores))
    if scores[best] < WORTH_ALIGNING:
        return scores[best]
    return max(scores[best], _correlation(*_aligned(*laid[best])))


def _aligned(a: Grey, b: Grey) -> tuple[Grey, Grey]:
    """The second laid over the first: Evangelidis and Psarakis 2008 (ECC), scale and shift free, then cut alike."""
    import cv2

    matrix: NDArray[Any] = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(a, b, matrix, cv2.MOTION_AFFINE, stop)
    except cv2.error:  # it found no way down
        return a, b
    if np.abs(matrix[:, :2] - np.eye(2)).max() > 0.1 or np.abs(matrix[:, 2]).max() > 0.1 * SIDE:
        return a, b  # another picture, bent to fit
    moved: NDArray[Any] = cv2.warpAffine(b, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    edge = SIDE // 16
    return a[edge:-edge, edge:-edge], moved[edge:-edge, edge:-edge]


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """In [-1, 1], of what is left when each picture's soft version is taken away."""
    x, y = _detail(a), _detail(b)
    scale = float(np.sqrt(np.square(x).sum() * np.square(y).sum()))
    return float((x * y).sum()) / scale if scale > x.size else 0.0  # below a grey level there is nothing to compare


def _detail(grey: NDArray[np.uint8]) -> Floats:
    import cv2

    picture: NDArray[Any] = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)  # what JPEG adds is finer than that
    fine = picture - cv2.GaussianBlur(picture, (0, 0), 3)
    centred: Floats = (fine - fine.mean()).astype(np.float32)
    return centred
