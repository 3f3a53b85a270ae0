"""From which probability on a label is named, where a picture may have several: thresholds set label by label.

They are set on pictures that the network has not learnt from, for the best F1 or for a target precision, and are kept
with the model together with the sigmoids that make probabilities of its logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foveal.errors import BadModel
from foveal.files.plain_table import percent
from foveal.ops.ranking import f1_bound
from foveal.ops.rejection import RiskCoverage, risk_coverage
from foveal.ops.sigmoids import Sigmoids, fit_sigmoids
from foveal.ops.statistics import wilson_interval

__all__ = ["BOUNDS", "CURVES", "BoundsFacts", "LabelBounds", "TriedLabels"]

BOUNDS, CURVES = "labels.bounds", "labels.curves"  # tensors in a model's file
MOST_POINTS = 50  # of the curve that a model keeps of a label
FEWEST = 5  # pictures with a label, below which its threshold is the one of all labels together

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelBounds:
    """What held-out pictures said of K labels."""

    sigmoids: Sigmoids
    f1: Floats  # (K,) probability from which on naming a label gives the best F1
    curves: tuple[RiskCoverage, ...]  # of each label, then of all together: how many are right from each bound on
    positives: NDArray[np.int64]  # (K,) pictures with each label

    @classmethod
    def of(cls, logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> LabelBounds:
        """From (n, K) logits and truths of pictures that were not learnt from."""
        sigmoids = fit_sigmoids(logits, truth)
        p, positives = sigmoids.probabilities(logits), truth.sum(0, dtype=np.int64)
        together = f1_bound(p.ravel(), truth.ravel()) if positives.any() else 0.5
        f1 = [f1_bound(p[:, k], truth[:, k]) if positives[k] >= FEWEST else together for k in range(p.shape[1])]
        curves = [risk_coverage(p[:, k], truth[:, k]).thinned(MOST_POINTS) for k in range(p.shape[1])]
        curves.append(risk_coverage(p.ravel(), truth.ravel()).thinned(4 * MOST_POINTS))
        return cls(sigmoids, np.array(f1), tuple(curves), positives)

    def bounds(self, precision: float) -> Floats:
        """(K,) from which probability on each label is named; infinite where no bound has the target precision.

        Args: precision, of each label; 0: the best F1, and no bound is ever below that: it would only name more that is
              wrong. A label with too few pictures to show such a precision gets the bound of all labels together.
        """
        if not precision:
            return self.f1
        enough = (precision - 0.5) / (1 - precision)  # right ones without a mistake, as of `RiskCoverage.bound_for`
        together = self.curves[-1].bound_for(precision)
        lowest = np.array([
            together if n < enough else curve.bound_for(precision)
            for n, curve in zip(self.positives, self.curves[:-1], strict=True)
        ])  # fmt: skip
        bounds: Floats = np.maximum(lowest, self.f1)
        return bounds

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {"labels": len(self.f1), "points": sum(len(curve.bounds) for curve in self.curves)}

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """For its file: (K, 4) slope, offset, best bound and pictures; (P, 4) label, bound, answered and right."""
        table = np.stack([self.sigmoids.slopes, self.sigmoids.offsets, self.f1, self.positives], 1)
        points = [
            np.stack([np.full(len(curve.bounds), k), curve.bounds, curve.answered, curve.right], 1)
            for k, curve in enumerate(self.curves)
        ]
        return {BOUNDS: table, CURVES: np.concatenate(points)}


class BoundsFacts(BaseModel):
    """What a model's file says of it, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)
    labels: Annotated[int, Field(ge=1, le=1_000_000)]
    points: Annotated[int, Field(ge=0, le=100_000_000)]

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Of the tensors that must be in the file."""
        return {BOUNDS: ((self.labels, 4), np.float64), CURVES: ((self.points, 4), np.float64)}

    def bounds(self, tensors: Mapping[str, NDArray[Any]]) -> LabelBounds:
        """With the tensors that the file holds. Raises: BadModel where they are no thresholds."""
        table, points = tensors[BOUNDS], tensors[CURVES]
        sound = np.isfinite(table).all() and np.isfinite(points).all() and (table[:, 0] > 0).all()
        labels = points[:, 0]
        if not sound or (np.diff(labels) < 0).any() or not np.isin(labels, np.arange(self.labels + 1)).all():
            raise BadModel("the model's thresholds are damaged; train it again, or take another copy of the file.")
        curves = []
        for k in range(self.labels + 1):
            own = points[labels == k]
            curves.append(RiskCoverage(own[:, 1], own[:, 2].astype(np.int64), own[:, 3].astype(np.int64)))
        return LabelBounds(Sigmoids(table[:, 0], table[:, 1]), table[:, 2], tuple(curves), table[:, 3].astype(np.int64))


@dataclass(frozen=True)
class TriedLabels:
    """What became of a target precision on labelled pictures."""

    precision: float  # target
    named: int  # labels, of all pictures
    right: int  # of these
    there: int  # labels that the pictures have

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "target_precision": self.precision,
            "named": self.named,
            "precision": self.right / self.named if self.named else None,
            "precision_interval": list(wilson_interval(self.right, self.named)) if self.named else None,
            "recall": self.right / self.there if self.there else None,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for people."""
        target = f"Target precision {100 * self.precision:g} %:"
        if not self.named:
            return (f"{target} no label reaches its threshold.",)
        low, high = wilson_interval(self.right, self.named)
        return (
            f"{target} {self.right} of {self.named} named labels are correct ({percent(self.right / self.named)}, 95 % "
            f"confidence interval {percent(low)} to {percent(high)}); {self.right} of {self.there} labels are found.",
        )
