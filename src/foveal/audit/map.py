"""A map on which like pictures lie side by side: t-SNE (van der Maaten and Hinton 2008, JMLR 9:2579–2605)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["on_a_map"]

MOST = 400  # pictures drawn: more would hide one another
LEAST = 12  # pictures below which there are no neighbourhoods to keep
DIRECTIONS = 50  # of the features' largest variance, as the paper does [section 4.2]
SEED = 0


def on_a_map(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(n, 2) places in [0, 1] and (n,) rows of `features` (N, D, strongest directions first) that have one."""
    rows = np.arange(len(features))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(SEED).permutation(len(rows))[:MOST])
    strongest = features[rows, :DIRECTIONS]
    flat = _neighbourhoods(strongest) if len(rows) >= LEAST else _two(strongest)
    low, high = flat.min(0), flat.max(0)
    places: NDArray[np.float32] = ((flat - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
    return places, rows.astype(np.int64)


def _neighbourhoods(table: NDArray[np.float32]) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    drawn = TSNE(perplexity=min(30, (len(table) - 1) / 3), init="pca", random_state=SEED, max_iter=500)
    places: NDArray[np.float32] = drawn.fit_transform(np.pad(table, ((0, 0), (0, max(0, 2 - table.shape[1])))))
    return places


def _two(table: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(table, ((0, 0), (0, max(0, 2 - table.shape[1]))))[:, :2]
