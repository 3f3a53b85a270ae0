"""How good a classifier is, and how sure one may be of that: counts, intervals, calibration. NumPy in, NumPy out.

What is not defined (the recall of a class without pictures) is NaN here, never 0: a number that nobody measured would
be read as one that somebody did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CalibrationBins",
    "calibration_bins",
    "confusion_matrix",
    "difference_interval",
    "expected_calibration_error",
    "log_softmax",
    "negative_log_likelihood",
    "precision_recall_f1",
    "softmax",
    "sureness_bins",
    "wilson_interval",
]

Floats = NDArray[np.float64]


def difference_interval(right_a: int, n_a: int, right_b: int, n_b: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares, a less b, of answers that were asked for apart.

    Source: Newcombe 1998, Statistics in Medicine 17:873–890, method 10: from the Wilson intervals of both.
    """
    a, b = right_a / n_a, right_b / n_b
    low_a, high_a = wilson_interval(right_a, n_a)
    low_b, high_b = wilson_interval(right_b, n_b)
    below = math.sqrt((a - low_a) ** 2 + (high_b - b) ** 2)
    above = math.sqrt((high_a - a) ** 2 + (b - low_b) ** 2)
    return a - b - below, a - b + above


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which shares the true accuracy lies, when `right` of `n` answers were right.

    Wilson's interval asks which true shares p would make the seen share unsurprising: |seen − p| ≤ z·√(p(1−p)/n). It
    stays inside [0, 1] and keeps a width when all answers are right, where the textbook ± z·√(p(1−p)/n) has none.

    Returns:  (low, high) with 0 ≤ low ≤ right / n ≤ high ≤ 1; (0, 1) when n is 0.
    Raises:   ValueError when not 0 ≤ right ≤ n, or confidence is not inside (0, 1).
    Source:   Wilson 1927, J. Am. Stat. Assoc. 22:209–212; Brown, Cai and DasGupta 2001, Stat. Sci. 16:101–133.
    """
    if not 0 <= right <= n:
        raise ValueError(f"right must lie between 0 and n, is {right} of {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie inside (0, 1), is {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    seen, shrink = right / n, 1 + z * z / n
    centre = (seen + z * z / (2 * n)) / shrink
    half = z * math.sqrt(seen * (1 - seen) / n + z * z / (4 * n * n)) / shrink
    # min and max: at 0 and n right the formula gives the seen share itself up to rounding.
    return max(0.0, min(centre - half, seen)), min(1.0, max(centre + half, seen))


def log_softmax(logits: ArrayLike) -> Floats:
    """(…, K) logits -> (…, K) logarithms of the probabilities: zᵢ − log Σₖ exp zₖ."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)  # exp overflows above 709; a constant changes no probability
    out: Floats = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return out


def softmax(logits: ArrayLike) -> Floats:
    """(…, K) logits -> (…, K) probabilities that sum to 1: exp zᵢ / Σₖ exp zₖ."""
    z = np.asarray(logits, dtype=np.float64)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    out: Floats = e / e.sum(axis=-1, keepdims=True)
    return out


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean of −log p(true class), in nats, over (N, K) logits and (N,) labels; log K for who knows nothing."""
    log_p, y = log_softmax(logits), np.asarray(labels)
    _check(log_p, y)
    return float(-log_p[np.arange(len(y)), y].mean()) if len(y) else math.nan


@dataclass(frozen=True)
class CalibrationBins:
    """Answers gathered by how sure they were: bin b holds those with edges[b] < probability ≤ edges[b + 1]."""

    edges: Floats  # (B + 1,) from 0 to 1
    count: NDArray[np.int64]  # (B,) answers in the bin
    confidence: Floats  # (B,) their mean probability; NaN in an empty bin
    accuracy: Floats  # (B,) the share of them that was right; NaN in an empty bin

    @property
    def error(self) -> float:
        """Expected calibration error: Σ_b count_b / N · |accuracy_b − confidence_b|; NaN without answers."""
        full = self.count > 0
        gaps = np.abs(self.accuracy[full] - self.confidence[full])
        return float(np.average(gaps, weights=self.count[full])) if full.any() else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an empty bin has null means."""
        return {
            "edges": self.edges.tolist(),
            "count": self.count.tolist(),
            "confidence": [None if math.isnan(c) else c for c in self.confidence.tolist()],
            "accuracy": [None if math.isnan(a) else a for a in self.accuracy.tolist()],
        }


def calibration_bins(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> CalibrationBins:
    """Of the answers given with about 80 %, are about 80 % right? Equal widths of the top probability.

    Args:     probabilities (N, K), rows sum to 1; labels (N,) integers in [0, K).
    Raises:   ValueError for shapes or labels that do not fit, or fewer than one bin.
    Source:   Guo et al. 2017, arXiv:1706.04599, section 2 and equation 3 (their M = 15).
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check(p, y)
    return sureness_bins(p.max(axis=1), p.argmax(axis=1) == y, bins)


def sureness_bins(probabilities: ArrayLike, right: ArrayLike, bins: int = 15) -> CalibrationBins:
    """The same of answers that are one probability each, (N,), and right or wrong, (N,).

    Raises: ValueError for fewer than one bin.
    """
    top, right = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=np.bool_)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, is {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    where = np.clip(np.searchsorted(edges, top, side="left") - 1, 0, bins - 1)  # left: an edge belongs to the bin below
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that an empty bin should have
        confidence = np.bincount(where, weights=top, minlength=bins) / count
        accuracy = np.bincount(where, weights=right, minlength=bins) / count
    return CalibrationBins(edges, count.astype(np.int64), confidence, accuracy)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """By how much the stated probability misses the share of right answers, on average; 0 is perfect.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3 (after Naeini et al. 2015).
    """
    return calibration_bins(probabilities, labels, bins).error


def confusion_matrix(labels: ArrayLike, guesses: ArrayLike, K: int) -> NDArray[np.int64]:
    """(K, K) counts: row = what it is, column = what was guessed; the diagonal was right.

    Raises: ValueError when a label or a guess lies outside [0, K), or their numbers differ.
    """
    truth, guess = np.asarray(labels, dtype=np.int64), np.asarray(guesses, dtype=np.int64)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"labels and guesses must be two lists of one length, are {truth.shape} and {guess.shape}")
    for name, values in (("label", truth), ("guess", guess)):
        if values.size and not (values.min() >= 0 and values.max() < K):
            raise ValueError(f"a {name} lies outside 0 to {K - 1}")
    return np.bincount(truth * K + guess, minlength=K * K).reshape(K, K).astype(np.int64)


def precision_recall_f1(confusion: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Three (K,) figures of each class from (K, K) counts with the truth in rows.

    Precision TP / (TP + FP): of what was called so, how much is. Recall TP / (TP + FN): of what is, how much was found.
    F1 = 2 TP / (2 TP + FP + FN), their harmonic mean. NaN where the denominator is 0.

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    hits, guessed, present = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / guessed, hits / present, 2 * hits / (guessed + present)


def _check(rows: Floats, labels: NDArray[Any]) -> None:
    if rows.ndim != 2 or labels.shape != rows.shape[:1]:
        raise ValueError(f"expected (N, K) values and (N,) labels, got {rows.shape} and {labels.shape}")
    if labels.size and not (labels.min() >= 0 and labels.max() < rows.shape[1]):
        raise ValueError(f"a label lies outside 0 to {rows.shape[1] - 1}")
