"""How well objects are found, as COCO scores it, and what one wants to know besides.

The headline is faster-coco-eval's; curves, bounds on the score, the confusion and the intervals come from one table of
matches made by the same rules. A difficult object (Pascal VOC's word) is scored like any other unless it is asked that
finding it be neither right nor wrong, as a crowd's objects always are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.errors import BadData
from foveal.files.plain_table import in_thousandths, table
from foveal.files.tables import Table
from foveal.ops.detection import RECALLS, best_f1, precision_floor
from foveal.progress import SILENT, Progress
from foveal.tasks._coco_scorer import CocoTables, coco_tables
from foveal.tasks._detection_matches import Matches, bootstrap, confusion_with_background, match_objects
from foveal.tasks.answers import Detections

__all__ = ["DetectionScores", "PrecisionRecall", "plain", "score_objects"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

AT_75 = 5  # index of IoU 0.75 in COCO's ten
RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision of each class at 101 recalls; NaN for a class with nothing to find."""

    recall: Floats  # (101,) from 0 to 1
    at_50: Floats  # (K, 101) at IoU 0.5
    mean: Floats  # (K, 101) mean over IoU 0.5, 0.55, …, 0.95
    score_at_50: Floats  # (K, 101) of the box with which the recall was reached; 0 beyond the last


@dataclass(frozen=True, eq=False)
class DetectionScores:
    """What a detector reached on N pictures with K classes. A share is NaN where there is nothing to find."""

    classes: tuple[str, ...]
    n: int  # pictures
    objects: int  # to be found on them
    ap: float  # mean of precision over recall, IoU thresholds 0.5 to 0.95 and classes
    ap50: float
    ap75: float
    ap_small: float  # of objects under 32² pixels
    ap_medium: float
    ap_large: float  # above 96²
    ar1: float  # recall with one box a class and picture
    ar10: float
    ar100: float
    ap_interval: tuple[float, float]  # 95 % of data sets of this size, by bootstrap over pictures
    ap50_interval: tuple[float, float]
    class_ap: Floats  # (K,)
    class_ap50: Floats  # (K,)
    class_objects: Labels  # (K,)
    curves: PrecisionRecall
    threshold: float  # the bound on the score with the best F1 at IoU 0.5, all classes together; 0 without any
    f1: float  # at that bound
    confusion: Labels  # (K + 1, K + 1) at that bound: truth in rows; the last is background, in both
    given: Labels  # (D,) the true box that each found one stands for at that bound; -1: nothing is there, -2: not asked
    missed: Labels  # true boxes that no found one stands for at that bound
    matches: Matches

    def threshold_for(self, precision: float) -> float | None:
        """The lowest bound on the score at which boxes have this precision at IoU 0.5; None when none has."""
        asked = ~self.matches.ignored[0]
        bound = precision_floor(self.matches.scores[asked], self.matches.hit[0, asked], precision)
        return None if math.isnan(bound) else bound

    def headline(self) -> list[str]:
        """Average precision, and the best balance of precision and recall."""
        low, high = (in_thousandths(end) for end in self.ap50_interval)
        return [
            f"AP {in_thousandths(self.ap)}, AP50 {in_thousandths(self.ap50)} (95 % interval {low} to {high}), "
            f"AP75 {in_thousandths(self.ap75)}: {self.objects} objects on {self.n} pictures",
            f"best F1 {in_thousandths(self.f1)} at a score of {in_thousandths(self.threshold)}",
        ]

    def table(self) -> Table:
        """Of each class: objects, AP and AP at an IoU of 0.5, in [0, 1]; NaN where there is nothing to find."""
        figures = zip(self.classes, self.class_objects, self.class_ap, self.class_ap50, strict=True)
        values = tuple((name, int(n), float(ap), float(ap50)) for name, n, ap, ap50 in figures)
        return Table(("class", "objects", "ap", "ap50"), values)

    def lines(self, on: str, views: str = "none") -> list[str]:
        """A page for a terminal: the headline, and each class."""
        rows = zip(self.classes, self.class_ap, self.class_ap50, self.class_objects, strict=True)
        cells = [[name, in_thousandths(ap), in_thousandths(ap50), str(int(n))] for name, ap, ap50, n in rows]
        first, second = self.headline()
        return [f"{on}: {first}", second, "", table(["class", "AP", "AP50", "objects"], cells)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for what is not known."""
        shares = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "threshold", "f1")
        rows = zip(self.classes, self.class_objects, self.class_ap, self.class_ap50, strict=True)
        return {
            "n": self.n,
            "objects": self.objects,
            **{name: plain(getattr(self, name)) for name in shares},
            "ap_interval": [plain(end) for end in self.ap_interval],
            "ap50_interval": [plain(end) for end in self.ap50_interval],
            "classes": [
                {"name": name, "objects": int(objects), "ap": plain(ap), "ap50": plain(ap50)}
                for name, objects, ap, ap50 in rows
            ],
            "confusion": self.confusion.tolist(),
        }


def score_objects(
    found: Sequence[Detections],
    truth: Boxes,
    classes: Sequence[str],
    *,
    difficult: Literal["score", "ignore"] = "score",
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DetectionScores:
    """Scores of what was found on N pictures, in the order of the truth's.

    Args:    difficult: what becomes of the true boxes marked so; ignored, they are treated as crowds are.
             resamples: data sets drawn for the intervals; fewer are drawn of very many boxes.
    Raises:  BadData when the numbers of pictures differ, or a label is of no class.
    """
    K = len(classes)
    _check(found, truth, K)
    crowd = truth.crowd | truth.difficult if difficult == "ignore" else truth.crowd
    matches = match_objects(found, truth, crowd, K, progress)
    tables = coco_tables(found, truth, crowd, K)
    asked = ~matches.ignored[0]
    threshold, f1 = best_f1(matches.scores[asked], matches.hit[0, asked], int(matches.to_find.sum()))
    threshold = 0.0 if math.isnan(threshold) else threshold
    confusion, given, missed = confusion_with_background(matches, truth, crowd, threshold, K)
    ap_interval, ap50_interval = _intervals(bootstrap(matches, resamples, seed, progress))
    return DetectionScores(
        classes=tuple(classes), n=len(found), objects=int(matches.to_find.sum()),
        ap=tables.ap(), ap50=tables.ap(0), ap75=tables.ap(AT_75),
        ap_small=tables.ap(size="small"), ap_medium=tables.ap(size="medium"), ap_large=tables.ap(size="large"),
        ar1=tables.ar(1), ar10=tables.ar(10), ar100=tables.ar(100),
        ap_interval=ap_interval, ap50_interval=ap50_interval,
        class_ap=tables.class_ap(), class_ap50=tables.class_ap(0), class_objects=matches.positives,
        curves=_curves(tables), threshold=threshold, f1=f1,
        confusion=confusion, given=given, missed=missed, matches=matches,
    )  # fmt: skip


def _check(found: Sequence[Detections], truth: Boxes, K: int) -> None:
    if len(found) != len(truth.counts):
        raise BadData(f"{len(found)} pictures were answered, but the truth is known of {len(truth.counts)}.")
    labels = np.concatenate([truth.labels, *(each.labels for each in found)])
    if len(labels) and not 0 <= labels.min() <= labels.max() < K:
        raise BadData(f"a box has label {int(labels.max())}, but there are {K} classes (labels are 0 to {K - 1}).")


def _curves(tables: CocoTables) -> PrecisionRecall:
    precision = tables.precision[..., 0, -1]  # (10, 101, K)
    precision = np.where(precision < 0, np.nan, precision)
    scores = np.maximum(tables.scores[0, ..., 0, -1], 0).T
    return PrecisionRecall(RECALLS, precision[0].T, precision.mean(axis=0).T, scores)


def _intervals(drawn: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """95 % intervals of the columns of (B, 2)."""
    ends = []
    for column in drawn.T:
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else (math.nan, math.nan)
        ends.append((low, high))
    return ends[0], ends[1]


def plain(value: float) -> float | None:
    """The value for JSON, which knows no NaN."""
    return None if math.isnan(value) else float(value)
