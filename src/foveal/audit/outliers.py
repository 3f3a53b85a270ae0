"""Pictures unlike all others: the distance to the k-th nearest picture (Ramaswamy, Rastogi, Shim 2000, SIGMOD)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["outliers"]

NEIGHBOUR = 5
BLOCK = 1000  # pictures compared with all others at once
FAR = 5.0  # robust deviations above the median; a normal distribution has 3 in ten million beyond


def outliers(features: NDArray[np.float32], most: int = 100) -> list[tuple[int, float]]:
    """(row, how many robust deviations farther from its neighbours than usual), the farthest first.

    Args: features (N, D). Distances are logarithms: in many dimensions they spread by factors, not by sums.
    """
    if len(features) <= NEIGHBOUR + 1:
        return []
    distance = np.log(_distances(features) + 1e-12)
    middle = float(np.median(distance))
    spread = 1.4826 * float(np.median(np.abs(distance - middle))) + 1e-9  # of a normal distribution, its deviation
    scores = (distance - middle) / spread
    far = np.flatnonzero(scores > FAR)
    return [(int(row), float(scores[row])) for row in far[np.argsort(-scores[far], kind="stable")][:most]]


def _distances(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) from each row to its NEIGHBOUR-th nearest other."""
    squares = np.square(features).sum(1)
    out = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK]
        apart = squares[start : start + BLOCK, None] + squares - 2 * (block @ features.T)
        rows = np.arange(len(block))
        apart[rows, start + rows] = np.inf
        out[start : start + BLOCK] = np.partition(apart, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]
    return np.sqrt(np.maximum(out, 0))
