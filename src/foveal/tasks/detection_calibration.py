"""Scores that mean what they say: of the boxes said with 0.7, seven in ten should be right.

Beta calibration, one map a class: p = σ(a·log s − b·log(1 − s) + c) with a, b > 0, which keeps the order of the boxes
of a class and so their average precision. A class seen seldom is drawn towards the map of all classes together, which
itself is drawn, weakly, towards leaving scores as they are.

Source: Kull, Silva Filho and Flach 2017, "Beta calibration", AISTATS, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ScoreMaps", "calibrate_scores"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

LEAST = 1e-9  # scores this near 0 or 1 are taken for it
POOLED, EACH = 1.0, 10.0  # pull on (log a, log b, c): of the identity on the common map, of that on a class's own
HALVINGS = 40
STEEPEST = 5.0  # |log a|, |log b| at most: a map may not become a step


@dataclass(frozen=True)
class ScoreMaps:
    """A map a class, as plain numbers."""

    a: tuple[float, ...]  # (K,) positive
    b: tuple[float, ...]  # (K,) positive
    c: tuple[float, ...]  # (K,)

    def apply(self, scores: Floats, labels: Labels) -> Floats:
        """(n,) calibrated scores of boxes with these labels."""
        a, b, c = (np.asarray(each)[labels] for each in (self.a, self.b, self.c))
        return _sigmoid(a * _logs(scores)[0] + b * _logs(scores)[1] + c)

    def lowest(self, calibrated: float) -> float:
        """The lowest score that becomes at least so much in any class; the maps rise, so it is found by halving."""
        labels = np.arange(len(self.a))
        low, high = np.zeros(len(labels)), np.ones(len(labels))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = self.apply(middle, labels) >= calibrated
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return float(low.min())


def calibrate_scores(scores: Floats, right: NDArray[np.bool_], labels: Labels, K: int) -> ScoreMaps:
    """Maps from what boxes were scored and whether they were right (IoU 0.5 and class).

    Args:    scores, right, labels (n,) of found boxes that are right or wrong, not of those in a crowd; from pictures
             that were not learnt from.
    Returns: a map for each of K classes; without any box, maps that leave scores as they are.
    """
    common = _fit(scores, right, np.zeros(3), POOLED)
    own = np.array([_fit(scores[labels == k], right[labels == k], common, EACH) for k in range(K)]).reshape(-1, 3)
    a, b = np.exp(own[:, 0]).tolist(), np.exp(own[:, 1]).tolist()
    return ScoreMaps(tuple(a), tuple(b), tuple(own[:, 2].tolist()))


def _fit(scores: Floats, right: NDArray[np.bool_], towards: Floats, pull: float) -> Floats:
    """(3,) log a, log b and c with the least −log-likelihood + pull/2·‖difference from `towards`‖²."""
    if not len(scores):
        return towards
    from scipy.optimize import minimize

    low, high = _logs(scores)
    y = right.astype(np.float64)

    def loss(theta: Floats) -> tuple[float, Floats]:
        a, b = np.exp(theta[:2])
        z = a * low + b * high + theta[2]
        wrong = _sigmoid(z) - y
        slope = np.array([a * (wrong * low).sum(), b * (wrong * high).sum(), wrong.sum()])
        away = theta - towards
        return float((np.logaddexp(0, z) - y * z).sum() + pull / 2 * (away**2).sum()), slope + pull * away

    bounds = [(-STEEPEST, STEEPEST), (-STEEPEST, STEEPEST), (None, None)]
    found: Floats = np.asarray(minimize(loss, towards, jac=True, method="L-BFGS-B", bounds=bounds).x, np.float64)
    return found


def _logs(scores: Floats) -> tuple[Floats, Floats]:
    """log s and −log(1 − s), both rising with s."""
    s = np.clip(scores, LEAST, 1 - LEAST)
    return np.log(s), -np.log1p(-s)


def _sigmoid(z: Floats) -> Floats:
    p: Floats = np.exp(-np.logaddexp(0, -z))
    return p
