"""The learning curve: what twice the pictures would bring, as far as the pictures that are there can tell.

Errors fall with the number of pictures n as a + b·n^(−c): soon at first, then slowly, down to what the features cannot
tell apart (Hestness et al. 2017, arXiv:1712.00409; Cortes et al. 1993, NIPS 6, "Learning curves"). The law is fitted
to heads on shares of the pictures; how sure it is comes from fitting it again to folds that were drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LearningCurve", "fit_curve"]

Floats = NDArray[np.float64]

DRAWS = 100  # of the bootstrap
FEWEST_POINTS = 4  # three numbers are fitted
STEEPEST = 2.0  # exponent; seen ones lie between 0.1 and 1
FLAT = 0.005  # a gain below half a point is called none


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Accuracy by the number of training pictures, and where it goes."""

    pictures: NDArray[np.int64]  # (P,)
    accuracy: Floats  # (P,) mean over the folds
    low: Floats  # (P,) 95 % band of the mean
    high: Floats  # (P,)
    doubled: float  # predicted accuracy at twice the pictures; NaN where nothing could be fitted
    doubled_low: float
    doubled_high: float
    gain: tuple[float, float, float]  # of twice the pictures: low, median, high
    law: tuple[float, float, float] | None  # a, b, c of the error
    sentence: str

    def predicted(self, pictures: NDArray[Any]) -> Floats:
        """(n,) accuracy that the law gives for numbers of pictures."""
        if self.law is None:
            return np.full(len(pictures), np.nan)
        a, b, c = self.law
        return 1 - np.clip(a + b * np.asarray(pictures, np.float64) ** -c, 0, 1)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> LearningCurve:
        """As `as_dict` told it, rounded."""
        nan = float("nan")
        gain = tuple(plain["gain"] or (nan,) * 3)
        doubled = nan if plain["doubled"] is None else plain["doubled"]
        low, high = (doubled + end - gain[1] for end in (gain[0], gain[2]))
        band = {name: np.array(plain[name], np.float64) for name in ("accuracy", "low", "high")}
        law = None if plain["law"] is None else tuple(plain["law"])
        pictures = np.array(plain["pictures"], np.int64)
        return cls(pictures, **band, doubled=doubled, doubled_low=low, doubled_high=high, gain=gain, law=law,
                   sentence=plain["sentence"])  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        known = self.law is not None
        return {
            "pictures": self.pictures.tolist(),
            "accuracy": self.accuracy.round(4).tolist(),
            "low": self.low.round(4).tolist(),
            "high": self.high.round(4).tolist(),
            "law": list(self.law) if self.law is not None else None,
            "doubled": round(self.doubled, 4) if known else None,
            "gain": [round(g, 4) for g in self.gain] if known else None,
            "sentence": self.sentence,
        }


def fit_curve(pictures: NDArray[np.int64], errors: Floats, draws: int = DRAWS, seed: int = 0) -> LearningCurve:
    """The law behind repeated errors.

    Args: pictures (P,) ascending; errors (P, R): the share wrong in R folds at each number of pictures.
    """
    rng = np.random.default_rng(seed)
    mean, R = errors.mean(1), errors.shape[1]
    chosen = rng.integers(0, R, (draws, *errors.shape))  # each point's folds anew: their pictures were drawn anew, too
    drawn = np.take_along_axis(errors[None], chosen, 2).mean(2)  # (draws, P)
    low, high = np.quantile(1 - drawn, [0.025, 0.975], axis=0)
    law = _law(pictures, mean) if len(np.unique(pictures)) >= FEWEST_POINTS else None
    if law is None:
        nan = float("nan")
        return LearningCurve(
            pictures, 1 - mean, low, high, nan, nan, nan, (nan,) * 3, None, "Too few pictures for a learning curve."
        )
    last = int(pictures[-1])
    laws = [found for row in drawn if (found := _law(pictures, row)) is not None] or [law]
    gains = np.array([_error(found, last) - _error(found, 2 * last) for found in laws])
    low_gain, middle, high_gain = (float(q) for q in np.quantile(gains, [0.025, 0.5, 0.975]))
    gain, now = (low_gain, middle, high_gain), 1 - _error(law, last)
    return LearningCurve(
        pictures, 1 - mean, low, high, now + gain[1], now + gain[0], now + gain[2], gain, law, _sentence(gain)
    )


def _sentence(gain: tuple[float, float, float]) -> str:
    low, middle, high = (100 * g for g in gain)
    between = f"({low:.1f} to {high:.1f})"
    if gain[1] < FLAT:
        return f"Twice the pictures would hardly help {between}: collect different pictures, not more of the same."
    return (
        f"Twice the pictures would add about {middle:.1f} points of accuracy {between}."
        if middle >= 1
        else (f"Twice the pictures would add less than a point of accuracy {between}.")
    )


def _error(law: tuple[float, float, float], n: float) -> float:
    a, b, c = law
    return float(np.clip(a + b * n**-c, 0, 1))


def _law(pictures: NDArray[np.int64], errors: Floats) -> tuple[float, float, float] | None:
    """Least squares with a and b not negative: errors never fall below nothing, and never rise with more pictures."""
    from scipy.optimize import least_squares

    n = pictures / pictures[-1]

    def misfit(x: Floats) -> Floats:
        gap: Floats = x[0] + x[1] * n ** -x[2] - errors
        return gap

    start = [0.5 * errors[-1], 0.5 * errors[-1] + 1e-3, 0.5]
    try:
        found = least_squares(misfit, start, bounds=([0, 0, 0.05], [1, 1, STEEPEST]))
    except ValueError:
        return None
    a, b, c = (float(v) for v in found.x)
    return a, b * float(pictures[-1]) ** c, c
