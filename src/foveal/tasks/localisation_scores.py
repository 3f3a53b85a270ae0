"""How well the one object of a picture is told and placed: is there one, of which class, and where.

A picture without an object asks only whether its absence was seen. Of several boxes the largest is the object, as the
data set's labels have it. The localisation error is ILSVRC's with a single guess: wrong is a wrong class, or an IoU
under 0.5 (Russakovsky et al. 2014, arXiv:1409.0575, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.errors import BadData
from foveal.files.plain_table import in_thousandths, percent
from foveal.files.tables import Table
from foveal.ops.statistics import precision_recall_f1
from foveal.tasks.answers import Detections

__all__ = [
    "LocalisationScores", "constant_box", "largest_boxes", "paired_iou", "score_locations", "score_placed", "shares_of",
]  # fmt: skip

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

RESAMPLES = 1000
FINEST = 1 / 1024  # of a picture's side: the last step of the search for the constant box


@dataclass(frozen=True, eq=False)
class LocalisationScores:
    """What was reached on N pictures; NaN where no picture has an object."""

    classes: tuple[str, ...]
    n: int  # pictures
    objects: int  # of them with an object
    presence: float  # share of all pictures whose object was seen, or its absence
    mean_iou: float  # of the box with the object, whatever was said of its presence
    mean_iou_interval: tuple[float, float]  # 95 %, by bootstrap over pictures
    top1: float  # share of objects whose class was told
    located: float  # share of objects with IoU at least 0.5 and their class told
    box_located: float  # share of objects with IoU at least 0.5, whatever the class
    constant_iou: float  # mean IoU of the same box everywhere, the best on the training pictures; NaN: not given
    iou: Floats  # (objects,) of each
    pictures: Labels  # (objects,) the picture that each is on
    confusion: Labels  # (K, K) truth in rows

    @property
    def error(self) -> float:
        """The localisation error at IoU 0.5."""
        return 1 - self.located

    def headline(self) -> list[str]:
        """How well the box lies, and the rest."""
        low, high = (in_thousandths(end) for end in self.mean_iou_interval)
        known = not math.isnan(self.constant_iou)
        beside = f"; best constant box {self.constant_iou:.3f}" if known else ""
        return [
            f"mean IoU {in_thousandths(self.mean_iou)} (95 % interval {low} to {high}{beside}) of {self.objects} "
            f"objects on {self.n} pictures",
            f"presence {percent(self.presence)}, class {percent(self.top1)}, IoU of at least 0.5 and the class "
            f"correct {percent(self.located)}",
        ]

    def table(self) -> Table:
        """Of each class: pictures with such an object, and the precision and recall of its name, in [0, 1]."""
        precision, recall, _ = precision_recall_f1(self.confusion)
        figures = zip(self.classes, self.confusion.sum(axis=1), precision, recall, strict=True)
        values = tuple((name, int(n), float(p), float(r)) for name, n, p, r in figures)
        return Table(("class", "pictures", "precision", "recall"), values)

    def lines(self, on: str, views: str = "none") -> list[str]:
        """The headline, the second line under the first."""
        first, second = self.headline()
        return [f"{on}: {first}", f"{' ' * (len(on) + 2)}{second}"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for what is not known."""
        shares = ("presence", "mean_iou", "top1", "located", "error", "box_located", "constant_iou")
        return {
            "n": self.n,
            "objects": self.objects,
            **{name: _plain(getattr(self, name)) for name in shares},
            "mean_iou_interval": [_plain(end) for end in self.mean_iou_interval],
            "confusion": self.confusion.tolist(),
        }


def score_locations(
    presence: Floats,
    xyxy: Floats,
    labels: Labels,
    truth: Boxes,
    classes: Sequence[str],
    *,
    constant: Floats | None = None,
    bound: float = 0.5,
    seed: int = 0,
) -> LocalisationScores:
    """Scores of one answer a picture.

    Args:    presence (N,) probability that there is an object, said to be there from `bound` on; xyxy (N, 4) its box
             in pixels; labels (N,) its class; constant (4,) the baseline's box in shares of a picture's sides.
    Raises:  BadData when the numbers of pictures differ.
    """
    N = len(truth.counts)
    if not len(presence) == len(xyxy) == len(labels) == N:
        raise BadData(f"{len(presence)} pictures were answered, but the truth is known of {N}.")
    on, theirs = largest_boxes(truth)
    there = np.zeros(N, np.bool_)
    there[on] = True
    iou = paired_iou(xyxy[on], truth.xyxy[theirs])
    told = labels[on] == truth.labels[theirs]
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth.labels[theirs], labels[on]), 1)
    alike = (
        math.nan
        if constant is None
        else _mean(paired_iou(constant * np.tile(truth.sizes[on][:, ::-1], 2), truth.xyxy[theirs]))
    )
    return LocalisationScores(
        classes=tuple(classes), n=N, objects=len(on), presence=_mean((presence >= bound) == there),
        mean_iou=_mean(iou), mean_iou_interval=_interval(iou, seed), top1=_mean(told),
        located=_mean(told & (iou >= 0.5)), box_located=_mean(iou >= 0.5), constant_iou=alike,
        iou=iou, pictures=on, confusion=confusion,
    )  # fmt: skip


def score_placed(
    found: Sequence[Detections], truth: Boxes, classes: Sequence[str], constant: Floats | None = None
) -> LocalisationScores:
    """As `score_locations`, of at most one object a picture whose score is its presence."""
    presence = np.array([objects.scores[0] if len(objects) else 0.0 for objects in found])
    xyxy = np.array([objects.xyxy[0] if len(objects) else np.zeros(4) for objects in found]).reshape(-1, 4)
    labels = np.array([objects.labels[0] if len(objects) else 0 for objects in found], np.int64)
    return score_locations(presence, xyxy, labels, truth, classes, constant=constant)


def shares_of(truth: Boxes) -> Floats:
    """(n, 4) the largest box of each picture that has one, xyxy in shares of the picture's width and height."""
    on, largest = largest_boxes(truth)
    return truth.xyxy[largest] / np.tile(truth.sizes[on][:, ::-1], 2)


def constant_box(shares: Floats) -> Floats:
    """(4,) the one box whose mean IoU with those given (n, 4) is the best that a search from their median finds.

    It moves one side at a time while that helps, by a quarter of the picture first and by FINEST at last.
    Raises: BadData without any box.
    """
    if not len(shares):
        raise BadData("no training picture has a box; a constant box needs one.")
    box = np.median(shares, axis=0)
    best, step = _mean(paired_iou(np.broadcast_to(box, shares.shape), shares)), 0.25
    while step >= FINEST:
        tried = np.clip(box + step * np.concatenate([np.eye(4), -np.eye(4)]), 0, 1)
        reached = [_mean(paired_iou(np.broadcast_to(other, shares.shape), shares)) for other in tried]
        if max(reached) > best:
            best, box = max(reached), tried[int(np.argmax(reached))]
        else:
            step /= 2
    return box


def paired_iou(a: Floats, b: Floats) -> Floats:
    """(n,) IoU of each xyxy box (n, 4) with its partner; a box whose corners are swapped overlaps nothing."""
    both = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
    areas = sum(np.maximum(each[:, 2:] - each[:, :2], 0).prod(axis=1) for each in (a, b))
    either = areas - both
    iou: Floats = np.divide(both, either, out=np.zeros(len(a)), where=either > 0)
    return iou


def largest_boxes(truth: Boxes) -> tuple[Labels, Labels]:
    """The pictures with an object, and which box is theirs; a crowd is no object."""
    areas = np.where(truth.crowd, -1.0, (truth.xyxy[:, 2:] - truth.xyxy[:, :2]).prod(axis=1))
    order = np.lexsort((np.arange(len(areas)), -areas, truth.pictures))
    on, first = np.unique(truth.pictures[order], return_index=True)
    known = areas[order[first]] >= 0
    return on[known].astype(np.int64), order[first][known].astype(np.int64)


def _mean(values: Floats | Flags) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return low, high


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
