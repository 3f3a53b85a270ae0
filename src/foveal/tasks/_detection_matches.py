"""The table of who was right: every found box of a data set, matched once, asked often.

Curves, bounds, confusions and resampled scores are all sums over this table; none of them looks at a box again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.errors import BadData
from foveal.ops.detection import (
    CROWD,
    MOST,
    NOBODY,
    THRESHOLDS,
    assign_any_class,
    average_precision,
    match_class,
    overlaps,
)  # fmt: skip
from foveal.progress import SILENT, Progress
from foveal.tasks.answers import Detections

__all__ = ["Matches", "bootstrap", "confusion_with_background", "match_objects"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

VALUES = 2_000_000  # that a step of the bootstrap holds at once: 16 MB a table
WORK = 200_000_000  # values that a bootstrap may look at: seconds
FEWEST = 20  # resamples, however large the data


@dataclass(frozen=True, eq=False)
class Matches:
    """D found boxes of K classes on N pictures, picture by picture, the surest of each picture first."""

    pictures: Labels  # (D,)
    labels: Labels  # (D,)
    scores: Floats  # (D,)
    xyxy: Floats  # (D, 4)
    hit: Flags  # (T, D) right at each of THRESHOLDS
    ignored: Flags  # (T, D) neither right nor wrong: in a crowd, or beyond the MOST surest
    to_find: Labels  # (N, K) true boxes that should be found

    @property
    def positives(self) -> Labels:
        """(K,) true boxes of each class that should be found."""
        sums: Labels = self.to_find.sum(axis=0)
        return sums


def match_objects(
    found: Sequence[Detections], truth: Boxes, crowd: Flags, K: int, progress: Progress = SILENT
) -> Matches:
    """Every found box held against the true ones of its picture and class.

    crowd (M,) marks the true boxes that are neither right nor wrong to find. Raises: BadData on other lengths.
    """
    if len(found) != len(truth.counts):
        raise BadData(f"{len(found)} pictures were answered, but the truth is known of {len(truth.counts)}.")
    ordered = [each.take(np.argsort(-each.scores, kind="stable")) for each in found]
    none = np.zeros((2, len(THRESHOLDS), 0), np.bool_)
    tables = [none]
    with progress.task("matching boxes", len(found)) as advance:
        for i, each in enumerate(ordered):
            tables.append(_match_picture(each, truth, i, crowd))
            advance(1)
    hit, ignored = np.concatenate(tables, axis=2)
    to_find = np.zeros((len(found), K), np.int64)
    np.add.at(to_find, (truth.pictures[~crowd], truth.labels[~crowd]), 1)
    return Matches(
        np.repeat(np.arange(len(found)), [len(each) for each in ordered]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int64), *(each.labels for each in ordered)]),
        np.concatenate([np.zeros(0), *(each.scores for each in ordered)]),
        np.concatenate([np.zeros((0, 4)), *(each.xyxy for each in ordered)]),
        hit,
        ignored,
        to_find,
    )


def _match_picture(found: Detections, truth: Boxes, index: int, crowd: Flags) -> Flags:
    """hit and ignored of one picture, (2, T, D)."""
    both = np.zeros((2, len(THRESHOLDS), len(found)), np.bool_)
    here = truth.of(index)
    for label in np.unique(found.labels).tolist():
        mine = np.flatnonzero(found.labels == label)
        both[1, :, mine[MOST:]] = True
        mine = mine[:MOST]
        theirs = np.arange(here.start, here.stop)[truth.labels[here] == label]
        iou = overlaps(found.xyxy[mine], truth.xyxy[theirs], crowd[theirs])
        both[:, :, mine] = np.stack(match_class(iou, crowd[theirs]))
    return both


def bootstrap(matches: Matches, resamples: int, seed: int, progress: Progress = SILENT) -> Floats:
    """(B, 2) AP and AP50 of as many data sets drawn from the N pictures with replacement; B <= resamples.

    Mean over the classes that a draw holds; NaN for a draw without anything to find.
    """
    N, K = matches.to_find.shape
    T, D = matches.hit.shape
    B = max(FEWEST, min(resamples, WORK // max(1, T * D)))
    times = np.random.default_rng(seed).multinomial(N, np.full(N, 1 / N), size=B) if N else np.zeros((B, 0))
    ap = np.full((B, K, T), np.nan)
    positives = (times @ matches.to_find).astype(np.float64)  # (B, K)
    with progress.task("resampling", K, "classes") as advance:
        for label in range(K):
            _resample(matches, label, times, positives[:, label], ap[:, label])
            advance(1)
    return np.stack([_mean(ap.reshape(B, -1)), _mean(ap[:, :, 0])], axis=1)


def _resample(matches: Matches, label: int, times: Labels, positives: Floats, ap: Floats) -> None:
    """Fills ap (B, T) of one class; times (B, N) each picture was drawn; positives (B,)."""
    mine = np.flatnonzero(matches.labels == label)
    mine = mine[np.argsort(-matches.scores[mine], kind="stable")]
    mine = mine[: int(np.flatnonzero(matches.hit[0, mine]).max(initial=-1)) + 1]  # later ones change no precision
    hit, ignored, on = matches.hit[:, mine], matches.ignored[:, mine], matches.pictures[mine]
    step = max(1, VALUES // max(1, len(hit) * len(mine)))
    for b in range(0, len(ap), step):
        part = slice(b, b + step)
        ap[part] = average_precision(hit, ignored, times[part][:, on].astype(np.float64), positives[part])


def _mean(values: Floats) -> Floats:
    """(B,) mean of each row's known values; NaN where none is known."""
    known = ~np.isnan(values)
    sums, n = np.where(known, values, 0).sum(axis=1), known.sum(axis=1)
    mean: Floats = np.divide(sums, n, out=np.full(len(values), np.nan), where=n > 0)
    return mean


def confusion_with_background(
    matches: Matches, truth: Boxes, crowd: Flags, threshold: float, K: int
) -> tuple[Labels, Labels, Labels]:
    """What was taken for what at IoU 0.5, by the found boxes of at least this score.

    Returns: confusion (K + 1, K + 1), truth in rows, the last row what was found where nothing is and the last column
    what was not found; given (D,) the true box (index into all M) that each found one stands for, NOBODY, or CROWD
    for those in a crowd or below the bound; missed: true boxes that nobody stands for.
    """
    confusion = np.zeros((K + 1, K + 1), np.int64)
    given = np.full(len(matches.scores), CROWD, np.int64)
    sure = np.flatnonzero(matches.scores >= threshold)
    ends = np.searchsorted(matches.pictures[sure], np.arange(len(truth.counts) + 1))
    for picture in np.flatnonzero(np.diff(ends)).tolist():
        mine, here = sure[ends[picture] : ends[picture + 1]], truth.of(picture)
        chosen = assign_any_class(overlaps(matches.xyxy[mine], truth.xyxy[here], crowd[here]), crowd[here])
        given[mine] = np.where(chosen >= 0, chosen + here.start, chosen)
    taken, alarms = np.flatnonzero(given >= 0), np.flatnonzero(given == NOBODY)
    missed = np.setdiff1d(np.flatnonzero(~crowd), given[taken])
    np.add.at(confusion, (truth.labels[given[taken]], matches.labels[taken]), 1)
    confusion[K, :K] = np.bincount(matches.labels[alarms], minlength=K)
    confusion[:K, K] = np.bincount(truth.labels[missed], minlength=K)
    return confusion, given, missed
