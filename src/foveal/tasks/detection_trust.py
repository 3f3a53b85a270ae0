"""How far a detector's scores carry: calibrated class by class, and the bound on them that a wished precision needs.

Both are set on pictures that the network has not learnt from, and are kept with the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from foveal.ops.rejection import RiskCoverage, risk_coverage
from foveal.ops.statistics import CalibrationBins, sureness_bins, wilson_interval
from foveal.tasks.answers import Detections
from foveal.tasks.detection_calibration import ScoreMaps, calibrate_scores
from foveal.tasks.detection_scores import DetectionScores

__all__ = ["DetectionTrust", "DetectionTrustFacts", "TriedPrecision", "reliability"]

MOST_POINTS = 200  # of the curve that a model keeps
TOLD = 0.05  # least score of the boxes that calibration is told of: below it lie thousands that nobody is shown


@dataclass(frozen=True, eq=False)
class DetectionTrust:
    """What held-out pictures said of a detector's scores."""

    maps: ScoreMaps  # from what the network says to how often it is right
    curve: RiskCoverage  # of the calibrated scores: how many boxes are right from each bound on

    @classmethod
    def of(cls, scores: DetectionScores) -> DetectionTrust:
        """From the scores of a detector that is not calibrated, on pictures that it has not learnt from."""
        matches = scores.matches
        asked = ~matches.ignored[0]
        hit, labels = matches.hit[0, asked], matches.labels[asked]
        maps = calibrate_scores(matches.scores[asked], hit, labels, len(scores.classes))
        calibrated = maps.apply(matches.scores[asked], labels)
        return cls(maps, risk_coverage(calibrated, hit).thinned(MOST_POINTS))

    def calibrated(self, objects: Detections) -> Detections:
        """The same boxes with scores that are probabilities of being right, the surest first."""
        scores = self.maps.apply(objects.scores, objects.labels)
        order = np.argsort(-scores, kind="stable")
        return replace(objects.take(order), scores=scores[order])

    def bound_for(self, precision: float) -> float:
        """The least score to tell so that this share of the boxes is right; infinite when out of reach."""
        return self.curve.bound_for(precision)

    def promise(self, precision: float) -> str:
        """In one sentence what that bound does."""
        bound, wished = self.bound_for(precision), f"{100 * precision:g} %"
        if math.isinf(bound):
            return (
                f"No minimum score reaches a precision of {wished} on the held-out pictures, so no box is reported; "
                "give a lower --precision, or train on more pictures."
            )
        at = int(np.flatnonzero(self.curve.bounds >= bound)[-1])
        told, right = int(self.curve.answered[at]), int(self.curve.right[at])
        return (
            f"Target precision {wished}: minimum score {bound:.3f}; {right} of {told} held-out boxes above it were "
            "correct."
        )

    def tried(self, scores: DetectionScores, precision: float) -> TriedPrecision:
        """How that bound does on other pictures, whose scores are the calibrated detector's."""
        matches, bound = scores.matches, self.bound_for(precision)
        told = ~matches.ignored[0] & (matches.scores >= bound)
        return TriedPrecision(precision, bound, int(told.sum()), int(matches.hit[0, told].sum()), scores.objects)

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        points = zip(self.curve.bounds.tolist(), self.curve.answered.tolist(), self.curve.right.tolist(), strict=True)
        maps = {"a": list(self.maps.a), "b": list(self.maps.b), "c": list(self.maps.c)}
        return {"maps": maps, "curve": [list(point) for point in points]}


@dataclass(frozen=True)
class TriedPrecision:
    """What became of a wished precision on labelled pictures."""

    precision: float  # wished for
    bound: float  # least score that is told
    told: int  # boxes
    right: int  # of these, at IoU 0.5
    objects: int  # that were there

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "precision": self.precision,
            "bound": self.bound if math.isfinite(self.bound) else None,
            "told": self.told,
            "right": self.right / self.told if self.told else None,
            "right_interval": list(wilson_interval(self.right, self.told)) if self.told else None,
            "found": self.right / self.objects if self.objects else None,
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for people."""
        wished = f"{100 * self.precision:g} %"
        if not self.told:
            return (f"Target precision {wished}: no box is reported.",)
        return (
            f"Target precision {wished}: {self.told} boxes have the minimum score of {self.bound:.3f}, {self.right} of "
            f"them are correct ({self.right / self.told:.1%}), and {self.right} of {self.objects} objects are found.",
        )


def reliability(scores: DetectionScores, least: float = TOLD) -> CalibrationBins:
    """Of the boxes said with 0.8, are 80 % right (IoU 0.5 and class)?"""
    matches = scores.matches
    asked = ~matches.ignored[0] & (matches.scores >= least)
    return sureness_bins(matches.scores[asked], matches.hit[0, asked])


Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Point = Annotated[list[Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]], Field(min_length=3, max_length=3)]
MOST_CLASSES = 100_000


class _MapFacts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    a: Annotated[list[Positive], Field(max_length=MOST_CLASSES)]
    b: Annotated[list[Positive], Field(max_length=MOST_CLASSES)]
    c: Annotated[list[Finite], Field(max_length=MOST_CLASSES)]


class DetectionTrustFacts(BaseModel):
    """What a model's file says of it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    maps: _MapFacts
    curve: Annotated[list[Point], Field(max_length=10_000)]

    def fits(self, classes: int) -> bool:
        """Whether there is a map for each class."""
        return len(self.maps.a) == len(self.maps.b) == len(self.maps.c) == classes

    def trust(self) -> DetectionTrust:
        """As plain arrays."""
        table = np.array(self.curve, np.float64).reshape(-1, 3)
        curve = RiskCoverage(table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64))
        return DetectionTrust(ScoreMaps(tuple(self.maps.a), tuple(self.maps.b), tuple(self.maps.c)), curve)
