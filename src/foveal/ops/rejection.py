"""Answering only when sure: how many answers are right, and how many are given, at each bound on the probability.

Answers are ranked by how sure they are. Passing on the least sure ones leaves fewer answers (coverage) that are wrong
less often (risk). Source: El-Yaniv and Wiener 2010, JMLR 11:1605–1641; Geifman and El-Yaniv 2017, arXiv:1705.08500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RiskCoverage", "conformal_bound", "nearest_distances", "risk_coverage"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """One point for each bound that makes a difference, the strictest first; the last one answers everything."""

    bounds: Floats  # (M,) descending: an answer at least so sure is given
    answered: NDArray[np.int64]  # (M,) how many are
    right: NDArray[np.int64]  # (M,) how many of these are right

    @property
    def n(self) -> int:
        """Pictures that were asked about."""
        return int(self.answered[-1]) if len(self.answered) else 0

    @property
    def coverage(self) -> Floats:
        """(M,) share of pictures that are answered."""
        return self.answered / max(1, self.n)

    @property
    def risk(self) -> Floats:
        """(M,) share of answers that are wrong."""
        return 1 - self.right / np.maximum(1, self.answered)

    @property
    def area(self) -> float:
        """Mean risk over all coverages (AURC): 0 when whatever is wrong is also the least sure."""
        steps = np.diff(self.answered, prepend=0)
        return float((self.risk * steps).sum() / max(1, self.n))

    def bound_for(self, accuracy: float) -> float:
        """The bound that answers most, while a further answer is right with at least this probability; inf if none.

        The probability is (right + ½) / (answered + 1): ten of ten right are no promise of 99 %. Source: Jeffreys 1946,
        Proceedings of the Royal Society A 186:453–461.
        """
        enough = np.flatnonzero((self.right + 0.5) / (self.answered + 1) >= accuracy)
        return float(self.bounds[enough[-1]]) if len(enough) else math.inf

    def thinned(self, most: int) -> RiskCoverage:
        """At most so many points, evenly over the coverage; the last one stays."""
        if len(self.bounds) <= most:
            return self
        chosen = np.unique(np.linspace(0, len(self.bounds) - 1, most).round().astype(np.int64))
        return RiskCoverage(self.bounds[chosen], self.answered[chosen], self.right[chosen])


def risk_coverage(sureness: Floats, right: NDArray[np.bool_]) -> RiskCoverage:
    """The curve of N answers.

    Args: sureness (N,), such as the probability of the answer; right (N,). Equally sure answers are given together.
    """
    order = np.argsort(-sureness, kind="stable")
    ranked = sureness[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
    return RiskCoverage(ranked[last].astype(np.float64), last + 1, np.cumsum(right[order])[last].astype(np.int64))


def conformal_bound(values: Floats, rate: float) -> tuple[float, float]:
    """The bound that a further value from the same source exceeds with at most this probability, and that probability.

    The ⌈(n + 1)(1 − rate)⌉-th smallest of n values; where n is too small for the rate, the largest, and 1 / (n + 1).
    Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, section 2.2.
    """
    n = len(values)
    rank = min(n, math.ceil((n + 1) * (1 - rate) - 1e-9))
    return float(np.sort(values)[rank - 1]), (n + 1 - rank) / (n + 1)


def nearest_distances(
    features: NDArray[np.float32], bank: NDArray[np.float32], rank: int = 1, apart: bool = False
) -> NDArray[np.float32]:
    """(N,) 1 − cosine between each row and the `rank`-th most alike row of the bank, in [0, 2].

    Args:   features (N, D); bank (B, D); rank is cut to B; apart where features are the bank itself: then a row is not
            compared with itself.
    Source: Sun, Ming, Zhu and Li 2022, arXiv:2204.06507: distance to the k-th nearest neighbour of normalised features.
    """
    known = _unit(bank)
    rank = max(1, min(rank + apart, len(bank)))
    out = np.empty(len(features), np.float32)
    for start in range(0, len(features), 1024):
        alike = _unit(features[start : start + 1024]) @ known.T
        if apart:
            rows = np.arange(len(alike))
            alike[rows, start + rows] = np.inf  # itself, always the first
        out[start : start + 1024] = 1 - np.partition(alike, len(bank) - rank, axis=1)[:, len(bank) - rank]
    return out


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled
