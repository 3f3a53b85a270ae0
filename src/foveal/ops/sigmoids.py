"""Probabilities of labels that do not exclude each other: a sigmoid for each, its slope and offset fitted to the truth.

p = σ(a·z + b) with z the logit. Source: Platt 1999, "Probabilistic outputs for support vector machines"; the targets of
its section 2.2 keep a label without a mistake from being sure without end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sigmoids", "binary_log_loss", "fit_sigmoid", "fit_sigmoids", "sigmoid"]

Floats = NDArray[np.float64]

STEPS = 100  # of Newton's method; ten are usual
FLATTEST = 0.05  # times the slope of all labels together: no label's own is flatter, so that order stays
SPREAD = 1.0  # deviation that labels' slopes and offsets are expected to have from those of all together


@dataclass(frozen=True, eq=False)
class Sigmoids:
    """One for each of K labels."""

    slopes: Floats  # (K,) above 0
    offsets: Floats  # (K,)

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        """(N, K) -> (N, K) in [0, 1]"""
        return sigmoid(self.slopes * np.asarray(logits, np.float64) + self.offsets)


def sigmoid(z: NDArray[np.floating]) -> Floats:
    """1 / (1 + exp −z), without overflow."""
    e = np.exp(-np.abs(np.asarray(z, np.float64)))
    p: Floats = np.where(np.asarray(z) >= 0, 1 / (1 + e), e / (1 + e))
    return p


def binary_log_loss(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Mean of −log p(what is so) over (N, K) logits and truths, in nats; log 2 for who knows nothing."""
    z = np.asarray(logits, np.float64)
    return float((np.logaddexp(0, z) - np.where(truth, z, 0)).mean()) if z.size else float("nan")


def fit_sigmoid(
    logits: NDArray[np.floating], truth: NDArray[np.bool_], towards: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Slope and offset that fit (n,) logits and truths best, by Newton's method with halved steps.

    Args: towards, a slope and an offset that few pictures are to stay near: (a, b) costs ((a − a₀)² + (b − b₀)²) / 2
          beside the likelihood (a normal prior of deviation 1).
    """
    z, positives = np.asarray(logits, np.float64), int(truth.sum())
    wanted = np.where(truth, (positives + 1) / (positives + 2), 1 / (len(z) - positives + 2))
    a, b = towards or (1.0, 0.0)
    near, pull = np.array([a, b]), 0.0 if towards is None else 1 / SPREAD**2

    def loss(at: Floats) -> float:
        s = at[0] * z + at[1]
        return float((np.logaddexp(0, s) - wanted * s).sum() + pull / 2 * np.square(at - near).sum())

    found, least = near.copy(), loss(near)
    for _ in range(STEPS):
        p = sigmoid(found[0] * z + found[1])
        apart, steep = p - wanted, np.maximum(p * (1 - p), 1e-12)
        slope = np.array([(apart * z).sum(), apart.sum()]) + pull * (found - near)
        mixed = (steep * z).sum()
        bend = np.array([[(steep * z * z).sum(), mixed], [mixed, steep.sum()]]) + (pull + 1e-9) * np.eye(2)
        step, size = np.linalg.solve(bend, slope), 1.0
        while size > 1e-6 and (after := loss(found - size * step)) > least:
            size /= 2
        if size <= 1e-6 or least - after < 1e-12 * max(1.0, abs(least)):
            break
        found, least = found - size * step, after
    return float(found[0]), float(found[1])


def fit_sigmoids(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> Sigmoids:
    """Of each label its own sigmoid, near to that of all labels together as far as its pictures are few.

    Args: logits and truth (N, K), of pictures that were not learnt from; a label on no picture gets that of all.
    """
    z, K = np.asarray(logits, np.float64), logits.shape[1]
    if not len(z):
        return Sigmoids(np.ones(K), np.zeros(K))
    a, b = fit_sigmoid(z.ravel(), truth.ravel())
    a = a if a > 0 else 1.0
    each = [fit_sigmoid(z[:, k], truth[:, k], (a, b)) if truth[:, k].any() else (a, b) for k in range(K)]
    slopes, offsets = (np.array(column) for column in zip(*each, strict=True))
    return Sigmoids(np.maximum(slopes, FLATTEST * a), offsets)
