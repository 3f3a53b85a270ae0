"""Numbers and findings as people say them: each function returns one phrase or sentence of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foveal.errors import shown
from foveal.ops.statistics import CalibrationBins
from foveal.tasks.classification import Scores
from foveal.training.baseline import Baseline

__all__ = [
    "bought",
    "bytes_in_words",
    "calibration_in_words",
    "clipped",
    "confusions",
    "count",
    "counted",
    "decimals",
    "doubt",
    "percent",
    "seconds_in_words",
    "temperature_in_words",
]

THIN = "\u202f"  # narrow no-break space: between a number and its unit


def decimals(n: int) -> int:
    """Decimals of a percentage that n pictures can tell apart."""
    return 1 if n < 2000 else 2


def percent(share: float | None, digits: int = 1) -> str:
    """0.9806 -> "98.1 %"; a dash for what is not defined. Nothing below 100 % is rounded up to it."""
    if share is None or math.isnan(share):
        return "–"
    text = f"{100 * share:.{digits}f}"
    if float(text) == 100 and share < 1:
        text = f"{100 - 10**-digits:.{digits}f}"
    return f"{text}{THIN}%"


def count(n: float) -> str:
    """1234567 -> "1 234 567", with narrow spaces."""
    return f"{n:,.0f}".replace(",", THIN)


def counted(n: int, word: str, several: str = "") -> str:
    """1 -> "1 object", 2 -> "2 objects"."""
    return f"{count(n)} {word if n == 1 else several or word + 's'}"


def bytes_in_words(n: int) -> str:
    """2 300 000 -> "2.3 MB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.1f}{THIN}{unit}"
    return f"{n}{THIN}bytes"


def seconds_in_words(seconds: float) -> str:
    """75.2 -> "1 min 15 s"."""
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    said = [f"{value}{THIN}{unit}" for value, unit in parts if value]
    return " ".join(said[:2])


def clipped(name: str, length: int = 24) -> str:
    """A name from outside, escaped, and short enough for the edge of a plot."""
    text = shown(name)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def bought(scores: Scores, baseline: Baseline) -> str:
    """What the network brought over the classic method."""
    ours, theirs, digits = 1 - scores.top1, 1 - baseline.top1, decimals(scores.n)
    if ours < theirs:
        fewer = percent((theirs - ours) / theirs, 0)
        change = f"{percent(theirs, digits)} → {percent(ours, digits)}"
        return f"The network made {fewer} fewer errors than {baseline.name}: {change}"
    if ours > theirs:
        return f"{baseline.name} did better here: {percent(theirs, digits)} errors against {percent(ours, digits)}"
    return f"{baseline.name} does equally well here: {percent(ours, digits)} errors"


def doubt(scores: Scores, baseline: Baseline) -> str:
    """Whether there are enough pictures to tell the two apart, and what the baseline was spared."""
    apart = scores.top1_interval[0] > baseline.interval[1] or baseline.interval[0] > scores.top1_interval[1]
    overlap = "" if apart else "The intervals overlap: it takes more test pictures to tell the two apart."
    note = f"{baseline.name}: {shown(baseline.note)}" if baseline.note else ""
    return " ".join(filter(None, (overlap, note)))


def calibration_in_words(bins: CalibrationBins) -> str:
    """By how much the probabilities are off, and to which side."""
    if math.isnan(bins.error):
        return "No answer to judge the probabilities by"
    full = bins.count > 0
    lean = float(np.average((bins.confidence - bins.accuracy)[full], weights=bins.count[full]))
    points = f"{100 * bins.error:.1f} points"
    if abs(lean) < 0.005 or abs(lean) < bins.error / 3:
        return f"Its probabilities are off by {points} on average"
    return f"Its probabilities are off by {points} on average: too {'sure' if lean > 0 else 'modest'}"


def temperature_in_words(temperature: float) -> str:
    """What calibration on pictures kept aside changed."""
    if abs(temperature - 1) < 0.005:
        return "Temperature 1: pictures kept aside asked for no correction."
    lean = "too sure of itself" if temperature > 1 else "too modest"
    return f"Temperature {temperature:.2f}, fitted on pictures kept aside: before it, the network was {lean}."


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
