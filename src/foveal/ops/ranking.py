"""How well scores rank what is there above what is not, label by label: average precision, F1, thresholds.

Of N pictures and K labels, `scores` (N, K) say how likely each label is, `truth` (N, K) whether it is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "average_precision", "counts_of", "drawn_average_precision", "f1_bound", "jaccard"]

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]


def average_precision(scores: NDArray[np.floating], truth: Truth) -> Floats:
    """(K,) AP of each label: Σₙ (Rₙ − Rₙ₋₁) Pₙ over the thresholds n, NaN for a label that is on no picture.

    Equal scores are one threshold. Nothing is interpolated, as scikit-learn counts it.
    Source: Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, section 8.4.
    """
    ap: Floats = drawn_average_precision(scores, truth, np.ones((1, len(scores))))[0]
    return ap


def drawn_average_precision(scores: NDArray[np.floating], truth: Truth, weights: Floats) -> Floats:
    """(B, K) AP where picture i counts weights[b, i] times: of B samples drawn from the pictures, for intervals."""
    out = np.full((len(weights), scores.shape[1]), np.nan)
    for k in range(scores.shape[1]):
        order = np.argsort(-scores[:, k], kind="stable")
        ranked, there = scores[order, k], truth[order, k]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
        counted = weights[:, order]
        found = np.cumsum(counted * there, axis=1)[:, last]
        named = np.cumsum(counted, axis=1)[:, last]
        positives = found[:, -1] if len(last) else np.zeros(len(weights))
        steps = np.diff(found, axis=1, prepend=0.0)
        sums = (steps * found / np.maximum(named, 1e-300)).sum(1)
        out[:, k] = np.where(positives > 0, sums / np.maximum(positives, 1e-300), np.nan)
    return out


@dataclass(frozen=True, eq=False)
class Counts:
    """What became of each of K labels: named rightly, named wrongly, missed."""

    hits: NDArray[np.int64]  # (K,) true positives
    false: NDArray[np.int64]  # (K,) false positives
    missed: NDArray[np.int64]  # (K,) false negatives

    @property
    def precision(self) -> Floats:
        """(K,) of what was named, how much is there; NaN where nothing was."""
        with np.errstate(invalid="ignore"):
            return self.hits / (self.hits + self.false)

    @property
    def recall(self) -> Floats:
        """(K,) of what is there, how much was named; NaN where nothing is."""
        with np.errstate(invalid="ignore"):
            return self.hits / (self.hits + self.missed)

    @property
    def f1(self) -> Floats:
        """(K,) 2 TP / (2 TP + FP + FN); NaN where a label neither is nor was named."""
        with np.errstate(invalid="ignore"):
            return 2 * self.hits / (2 * self.hits + self.false + self.missed)

    @property
    def together(self) -> Counts:
        """The sums over all labels, as one label: what is called micro."""
        return Counts(*(np.array([column.sum()]) for column in (self.hits, self.false, self.missed)))


def counts_of(named: Truth, truth: Truth) -> Counts:
    """(N, K) labels that were named and that are there."""
    return Counts((named & truth).sum(0), (named & ~truth).sum(0), (~named & truth).sum(0))


def jaccard(named: Truth, truth: Truth) -> Floats:
    """(N,) labels of each picture that were named and are there, among those that were named or are there; 1 for none.

    Source: Godbole and Sarawagi 2004, "Discriminative methods for multi-labeled classification", section 4.
    """
    both, either = (named & truth).sum(1), (named | truth).sum(1)
    shares: Floats = np.where(either, both / np.maximum(either, 1), 1.0)
    return shares


def f1_bound(scores: NDArray[np.floating], truth: Truth) -> float:
    """The bound of one label, (N,), from which on naming it gives the highest F1; half-way to the next lower score.

    Of equal ones the highest; infinite where the label is on no picture.
    """
    positives = int(truth.sum())
    if not positives:
        return float("inf")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    f1 = 2 * hits[last] / (last + 1 + positives)
    best = int(last[np.argmax(f1)])
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    return float((ranked[best] + below) / 2)
