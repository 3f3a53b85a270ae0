"""Prior boxes out of one's own boxes: k-means whose distance is 1 − IoU.

Redmon, Farhadi 2016, "YOLO9000", arXiv:1612.08242, section 2, "dimension clusters": with the Euclidean distance large
boxes would make larger errors than small ones, though what counts is the overlap. Departure: the centres begin far from
each other (Arthur, Vassilvitskii 2007, k-means++), and the best of several beginnings is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadData

__all__ = ["anchors_from", "coverage"]

Sides = NDArray[np.float64]  # (n, 2) widths and heights, pixels

BEGINNINGS = 10
ROUNDS = 300
MOST_BOXES = 100_000  # what k-means looks at; more of them say the same


def anchors_from(boxes_wh: NDArray[Any], k: int = 9, seed: int = 0) -> Sides:
    """The `k` prior boxes that overlap best with given ones, the smallest area first.

    Args:   boxes_wh: (n, 2) widths and heights in pixels of the network's input.
    Raises: BadData when there are fewer than `k` different sizes, or one is not finite or not above 0.
    """
    sides = np.asarray(boxes_wh, np.float64).reshape(-1, 2)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise BadData("prior boxes need boxes whose sides are finite and above 0.")
    different = len(np.unique(sides, axis=0))
    if different < k:
        raise BadData(
            f"{k} prior boxes need boxes of at least {k} different sizes; there are {different}: ask for fewer."
        )
    generator = np.random.default_rng(seed)
    if len(sides) > MOST_BOXES:
        sides = sides[generator.choice(len(sides), MOST_BOXES, replace=False)]
    found = [_clustered(sides, _beginning(sides, k, generator)) for _ in range(BEGINNINGS)]
    best = max(found, key=lambda centres: coverage(sides, centres))
    order = np.argsort(best.prod(axis=1), kind="stable")
    return np.asarray(best[order])


def coverage(boxes_wh: NDArray[Any], anchors: NDArray[Any]) -> float:
    """The mean over boxes of the IoU with the prior that fits best, both around one centre; 1 is a perfect fit."""
    return float(_overlap(np.asarray(boxes_wh, np.float64), np.asarray(anchors, np.float64)).max(axis=1).mean())


def _overlap(sides: Sides, centres: Sides) -> NDArray[np.float64]:
    """(n, k) IoU of boxes around one centre."""
    shared = np.minimum(sides[:, None], centres).prod(axis=2)
    return np.asarray(shared / (sides.prod(axis=1)[:, None] + centres.prod(axis=1) - shared))


def _beginning(sides: Sides, k: int, generator: np.random.Generator) -> Sides:
    """Boxes drawn one after another, each with a probability that grows with the square of its distance."""
    chosen = sides[generator.integers(len(sides))][None]
    while len(chosen) < k:
        distance = 1 - _overlap(sides, chosen).max(axis=1)
        weights = np.maximum(distance, 0) ** 2
        nearest = (sides[:, None] == chosen).all(axis=2).any(axis=1)
        weights[nearest] = 0  # rounding may leave a trace of what is chosen already
        weights = weights if weights.sum() > 0 else (~nearest).astype(np.float64)
        chosen = np.vstack([chosen, sides[generator.choice(len(sides), p=weights / weights.sum())]])
    return np.asarray(chosen)


def _clustered(sides: Sides, centres: Sides) -> Sides:
    """Lloyd's rounds: each box to the centre it overlaps most with, each centre to the mean of its boxes."""
    nearest = np.full(len(sides), -1)
    for _ in range(ROUNDS):
        now = _overlap(sides, centres).argmax(axis=1)
        if (now == nearest).all():
            break
        nearest, counts = now, np.bincount(now, minlength=len(centres))
        sums = np.stack([np.bincount(now, sides[:, axis], len(centres)) for axis in (0, 1)], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres
