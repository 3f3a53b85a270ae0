"""Findings as people say them: each function returns one phrase or sentence of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foveal.errors import shown
from foveal.ops.statistics import CalibrationBins
from foveal.pages.words import decimals, percent
from foveal.tasks.classification_scores import Scores
from foveal.training.baseline import Baseline

__all__ = [
    "best_epoch",
    "bought",
    "calibration_in_words",
    "confusions",
    "doubt",
    "temperature_in_words",
]

FEWEST_ANSWERS = 20  # below which a mean gap between probability and share is chance


def bought(scores: Scores, baseline: Baseline) -> str:
    """What the network brought over the classic method."""
    ours, theirs, digits = 1 - scores.top1, 1 - baseline.score, decimals(scores.n)
    name = f"{baseline.name} {shown(baseline.note)}".rstrip()
    if ours < theirs:
        fewer = percent((theirs - ours) / theirs, 0)
        change = f"{percent(theirs, digits)} → {percent(ours, digits)}"
        return f"The network makes {fewer} fewer errors than {name}: {change}"
    if ours > theirs:
        return f"{name} is better here: {percent(theirs, digits)} errors against {percent(ours, digits)}"
    return f"{name} is equally good here: {percent(ours, digits)} errors"


def doubt(scores: Scores, baseline: Baseline) -> str:
    """Whether there are enough pictures to tell the two apart."""
    apart = scores.top1_interval[0] > baseline.interval[1] or baseline.interval[0] > scores.top1_interval[1]
    return "" if apart else "The intervals overlap: more test pictures are needed to tell which is better."


def calibration_in_words(bins: CalibrationBins) -> str:
    """By how much the probabilities are off, and to which side."""
    if math.isnan(bins.error):
        return "No answers to measure the calibration on"
    if (n := int(bins.count.sum())) < FEWEST_ANSWERS:
        return f"Too few answers ({n}) to measure the calibration on"
    full = bins.count > 0
    lean = float(np.average((bins.confidence - bins.accuracy)[full], weights=bins.count[full]))
    points = f"{100 * bins.error:.1f} points"
    if abs(lean) < 0.005 or abs(lean) < bins.error / 3:
        return f"Its probabilities are off by {points} on average"
    return f"Its probabilities are off by {points} on average: {'over' if lean > 0 else 'under'}confident"


def temperature_in_words(temperature: float) -> str:
    """What calibration on pictures kept aside changed."""
    if abs(temperature - 1) < 0.005:
        return "Temperature 1: held-out pictures needed no correction."
    lean = "overconfident" if temperature > 1 else "underconfident"
    return f"Temperature {temperature:.2f}, fitted on held-out pictures: without it, the network is {lean}."


def confusions(scores: Scores, limit: int = 8) -> list[tuple[str, str, int]]:
    """(truth, guess, times) of the most frequent mistakes, escaped."""
    wrong = scores.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(flat), len(wrong)) for flat in order]
    return [(shown(scores.classes[t]), shown(scores.classes[g]), int(wrong[t, g])) for t, g in pairs if wrong[t, g]]


def best_epoch(history: Sequence[Mapping[str, Any]], key: str, lowest: bool) -> tuple[int, float] | None:
    """(epoch, value) where a column of the history is best; None when it has no value."""
    known = [(row[key], row["epoch"]) for row in history if row.get(key) is not None and math.isfinite(row[key])]
    if not known:
        return None
    value, epoch = min(known) if lowest else max(known, key=lambda pair: pair[0])
    return int(epoch), float(value)
