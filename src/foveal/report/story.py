"""Everything that the report tells of a run, gathered in one value: the page and its plots read nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.ops.statistics import CalibrationBins
from foveal.tasks.classification import Scores
from foveal.tasks.trust import Tried
from foveal.training.baseline import Baseline
from foveal.training.curve import LearningCurve

if TYPE_CHECKING:
    from foveal.data.dataset import Origin

__all__ = ["Mistake", "Story"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A test picture that was taken for something else."""

    name: str  # as the data set calls it
    picture: Pixels  # (H, W, C)
    truth: str
    guess: str
    probability: float  # of the guess, calibrated


@dataclass(frozen=True, eq=False)
class Story:
    """A finished run, ready to be told."""

    name: str  # of the run: "digits-lenet5-1"
    task: str  # "classification"
    origin: Origin
    counts: Mapping[str, NDArray[np.int64]]  # split -> (K,) pictures of each class
    classes: tuple[str, ...]
    recipe_toml: str
    machine: Mapping[str, str]  # "processor" -> "2 cores, …"
    arithmetic: Mapping[str, Any]  # chosen: str; timings: [{"arithmetic": str, "images_per_second": float}]
    history: Sequence[Mapping[str, Any]]  # an epoch a row, keys as in history.csv
    metrics: Mapping[str, Any]  # the content of metrics.json
    scores: Scores  # on test
    calibration: CalibrationBins  # on test
    temperature: float = 1.0
    views_scores: Mapping[str, float] = field(default_factory=dict)  # name of the views -> top-1 on test
    mistakes: Sequence[Mistake] = ()  # the most confident first
    originals: Pixels | None = None  # (R, H, W, C), for the contact sheet
    augmented: Pixels | None = None  # (R * V, H, W, C): V drawn versions of each original, one after another
    augment_words: str = ""  # "mild: flip, crop 0.8, …"
    filters: NDArray[np.float32] | None = None  # (O, C, h, w) of the first convolution
    baseline: Baseline | None = None
    transfer: str = ""  # how much of a start from weights was trained anew, and why
    learning_curve: LearningCurve | None = None
    tried: Tried | None = None  # how the model's own bounds did on test
    promise: str = ""  # what they were to do
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()  # sentences that take something away from the score, such as a leak: it is marked
    skipped: int = 0  # pictures and rows that were left out, see skipped.csv
    sizes: Mapping[str, int] = field(default_factory=dict)  # "parameters", "bytes" of the model's file

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.scores.support):
            raise ValueError(f"{len(self.classes)} classes, but scores of {len(self.scores.support)}")
        if self.originals is not None and self.augmented is not None and len(self.augmented) % len(self.originals):
            raise ValueError(f"{len(self.augmented)} versions are no whole number for {len(self.originals)} originals")
