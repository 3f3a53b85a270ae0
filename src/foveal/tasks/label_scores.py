"""How well labels are named where a picture may have several: average precision, F1, calibration, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadData
from foveal.files.plain_table import percent, table
from foveal.files.tables import Table
from foveal.ops.ranking import Counts, average_precision, counts_of, drawn_average_precision, jaccard
from foveal.ops.sigmoids import binary_log_loss
from foveal.ops.statistics import CalibrationBins, sureness_bins, wilson_interval

__all__ = ["LabelScores", "mean_ap", "mean_ap_interval", "score_several"]

DRAWS, WORK = 200, 4e8  # samples drawn for the intervals, and values that they may take together
HELD = 5e6  # of one label, which are held at once
SEED = 0

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelScores:
    """How well a split was answered. Figures of a label on no picture are NaN, and no mean counts them."""

    n: int
    classes: tuple[str, ...]
    mean_ap: float
    mean_ap_interval: tuple[float, float]  # 95 %, by bootstrap over pictures
    ap: Floats  # (K,)
    ap_interval: Floats  # (K, 2)
    counts: Counts  # of the labels that were named
    thresholds: Floats  # (K,) probability from which on each was
    subset: float  # share of pictures whose labels are all right, and no other
    jaccard: float  # mean share of right labels among those that were named or are there
    loss: float  # nats a label
    bins: CalibrationBins  # of all probabilities
    support: NDArray[np.int64]  # (K,) pictures with each label

    @property
    def micro_f1(self) -> float:
        """F1 of all labels counted together."""
        return float(self.counts.together.f1[0])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels."""
        return _mean(self.counts.f1)

    @property
    def subset_interval(self) -> tuple[float, float]:
        """95 %, Wilson."""
        return wilson_interval(round(self.subset * self.n), self.n)

    def headline(self) -> list[str]:
        """Mean average precision, F1 and whole pictures."""
        low, high = self.mean_ap_interval
        return [
            f"mAP {percent(self.mean_ap)} on {self.n} pictures (95 % confidence interval {percent(low)} to "
            f"{percent(high)})",
            f"F1 {percent(self.micro_f1)} (micro), {percent(self.macro_f1)} (macro); all labels correct on "
            f"{percent(self.subset)} of pictures",
        ]

    def table(self) -> Table:
        """A row a label."""
        counts = self.counts
        rows = zip(self.classes, self.support.tolist(), self.ap.tolist(), self.thresholds.tolist(),
                   counts.precision.tolist(), counts.recall.tolist(), counts.f1.tolist(), strict=True)  # fmt: skip
        return Table(("label", "pictures", "ap", "threshold", "precision", "recall", "f1"), tuple(rows))

    def lines(self, on: str, views: str = "none") -> list[str]:
        """A page for a terminal: the headline, and each label."""
        first, second = self.headline()
        rows = [
            [row["label"], percent(row["ap"]), f"{percent(low)} to {percent(high)}", f"{row['threshold']:.3f}",
             percent(row["precision"]), percent(row["recall"]), percent(row["f1"]), str(row["pictures"])]
            for row, (low, high) in zip(self.table().rows, self.ap_interval.tolist(), strict=True)
        ]  # fmt: skip
        columns = ["label", "AP", "95 % interval", "threshold", "precision", "recall", "F1", "pictures"]
        calibration = f"calibration error (ECE) {percent(self.bins.error)}, loss {self.loss:.4f} nats a label"
        return [f"{on}: {first}", second, f"{calibration}, views: {views}", "", table(columns, rows)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for what is not known."""
        rows = zip(self.table().rows, self.ap_interval.tolist(), self.counts.hits.tolist(), self.counts.false.tolist(),
                   self.counts.missed.tolist(), strict=True)  # fmt: skip
        return {
            "n": self.n,
            "mAP": _plain(self.mean_ap),
            "mAP_interval": [_plain(end) for end in self.mean_ap_interval],
            "micro_f1": _plain(self.micro_f1),
            "macro_f1": _plain(self.macro_f1),
            "subset_accuracy": self.subset,
            "subset_accuracy_interval": list(self.subset_interval),
            "jaccard": self.jaccard,
            "ece": _plain(self.bins.error),
            "loss": self.loss,
            "classes": [
                {"class": row["label"], "support": row["pictures"]}
                | {name: _plain(row[name]) for name in ("ap", "threshold", "precision", "recall", "f1")}
                | {"ap_interval": [_plain(end) for end in ends],
                   "true_positives": hits, "false_positives": false, "misses": missed}
                for row, ends, hits, false, missed in rows
            ],
        }  # fmt: skip


def score_several(probabilities: Floats, truth: Truth, thresholds: Floats, classes: Sequence[str]) -> LabelScores:
    """(N, K) calibrated probabilities and truths of a whole split -> its figures; labels are named from thresholds on.

    Raises: BadData when there is nothing to score.
    """
    n = len(probabilities)
    if not n:
        raise BadData("There is no picture to score; choose a split that has some.")
    drawn, ap = _drawn(probabilities, truth), average_precision(probabilities, truth)
    named, p = probabilities >= thresholds, np.clip(probabilities, 1e-12, 1 - 1e-12)
    return LabelScores(
        n=n,
        classes=tuple(classes),
        mean_ap=_mean(ap),
        mean_ap_interval=_ends(_means(drawn)),
        ap=ap,
        ap_interval=np.array([_ends(column) for column in drawn.T]).reshape(-1, 2),
        counts=counts_of(named, truth),
        thresholds=thresholds,
        subset=float((named == truth).all(1).mean()),
        jaccard=float(jaccard(named, truth).mean()),
        loss=binary_log_loss(np.log(p / (1 - p)), truth),
        bins=sureness_bins(probabilities.ravel(), truth.ravel()),
        support=truth.sum(0, dtype=np.int64),
    )


def mean_ap(scores: NDArray[np.floating], truth: Truth) -> float:
    """Mean average precision over the labels that are on a picture; NaN where none is."""
    return _mean(average_precision(scores, truth))


def mean_ap_interval(scores: NDArray[np.floating], truth: Truth) -> tuple[float, float]:
    """95 % interval of it, by bootstrap over pictures. Source: Efron and Tibshirani 1993, chapter 13."""
    return _ends(_means(_drawn(scores, truth)))


def _drawn(scores: NDArray[np.floating], truth: Truth) -> Floats:
    """(B, K) AP of samples of the pictures."""
    n, K = scores.shape
    draws = int(np.clip(min(WORK / max(1, n * K), HELD / n), 20, DRAWS))
    rng = np.random.default_rng(SEED)
    weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(draws)]).astype(np.float64)
    return drawn_average_precision(scores, truth, weights)


def _means(drawn: Floats) -> Floats:
    """(B,) mean over the labels that a sample has."""
    known = ~np.isnan(drawn)
    sums = np.where(known, drawn, 0).sum(1)
    means: Floats = np.where(known.any(1), sums / np.maximum(known.sum(1), 1), np.nan)
    return means


def _ends(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else (math.nan, math.nan)
    return low, high


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
