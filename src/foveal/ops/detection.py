"""How found boxes are held against true ones: who belongs to whom, and what precision and recall follow.

The rules are those of COCO's scorer, so that its numbers can be drawn again for other weights of the pictures: of each
class on each picture the 100 surest boxes ask in turn for the free true box that they overlap most, one by one at each
IoU threshold. A crowd is many objects in one box: whoever lies in it is neither right nor wrong.

Source: Lin et al. 2014, arXiv:1405.0312, section 5; the rules in full at cocodataset.org, "Detection Evaluation".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MOST", "RECALLS", "THRESHOLDS", "assign_any_class", "average_precision", "best_f1", "match_class", "overlaps",
    "precision_floor",
]  # fmt: skip

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # IoU
RECALLS = np.linspace(0.0, 1.0, 101)  # at which precision is read
MOST = 100  # boxes of a class on a picture that are scored
NOBODY, CROWD = -1, -2  # what an unassigned box is instead of the index of a true one


def overlaps(found: Floats, truth: Floats, crowd: Flags) -> Floats:
    """(D, G) IoU of xyxy boxes (D, 4) and (G, 4); of a crowd the share of the found box that lies in it."""
    sides = np.minimum(found[:, None, 2:], truth[None, :, 2:]) - np.maximum(found[:, None, :2], truth[None, :, :2])
    both = np.where((sides > 0).all(axis=2), sides.prod(axis=2), 0.0)
    found_area = (found[:, 2:] - found[:, :2]).prod(axis=1)[:, None]
    either = np.where(crowd, found_area, found_area + (truth[:, 2:] - truth[:, :2]).prod(axis=1) - both)
    iou: Floats = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return iou


def match_class(iou: Floats, crowd: Flags, thresholds: Floats = THRESHOLDS) -> tuple[Flags, Flags]:
    """Which found boxes of one class on one picture are right, and which lie in a crowd.

    Args:    iou (D, G) from `overlaps`, the surest box first; crowd (G,).
    Returns: hit (T, D) and ignored (T, D), never both.
    """
    hit = np.zeros((len(thresholds), len(iou)), np.bool_)
    ignored = np.zeros_like(hit)
    free = np.tile(~crowd, (len(thresholds), 1))  # (T, G)
    bar = np.minimum(thresholds, 1 - 1e-10)[:, None]  # equal boxes overlap by 1 but for rounding
    for d in np.flatnonzero((iou >= bar.min()).any(axis=1)).tolist():
        mine = free & (iou[d] >= bar)
        best = _last_argmax(np.where(mine, iou[d], -1.0))
        hit[:, d] = mine.any(axis=1)
        free[np.flatnonzero(hit[:, d]), best[hit[:, d]]] = False
        ignored[:, d] = ~hit[:, d] & (crowd & (iou[d] >= bar)).any(axis=1)
    return hit, ignored


def _last_argmax(values: Floats) -> Labels:
    """(T,) where the largest of each row (T, G) stands; the last of equals, as COCO's scorer takes it."""
    last: Labels = (values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)).astype(np.int64)
    return last


def average_precision(hit: Flags, ignored: Flags, weights: Floats, positives: Floats) -> Floats:
    """Average precision of one class, for several weightings of its pictures at once.

    Args:    hit, ignored (T, D), the surest box first; weights (B, D) how often each box counts; positives (B,) how
             many true boxes there are to be found.
    Returns: (B, T), NaN where there is nothing to find. Precision at each of RECALLS is the best at that recall or
             above, and their mean is the answer.
    """
    right = np.cumsum(weights[:, None] * hit, axis=2)  # (B, T, D)
    wrong = np.cumsum(weights[:, None] * ~(hit | ignored), axis=2)
    recall = right / np.maximum(positives, 1)[:, None, None]
    precision = right / np.maximum(right + wrong, np.spacing(1.0))
    precision = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    gained = np.diff(reached, axis=2, prepend=0)
    mean: Floats = (precision * gained).sum(axis=2) / len(RECALLS)
    return np.where(positives[:, None] > 0, mean, np.nan)


def assign_any_class(iou: Floats, crowd: Flags, threshold: float = 0.5) -> Labels:
    """(D,) the true box that each found one stands for, whatever their classes; NOBODY, or CROWD for one in a crowd.

    The surest box, which is the first of iou (D, G), chooses first; a true box is given once.
    """
    given = np.full(len(iou), NOBODY, np.int64)
    free = ~crowd
    for d in np.flatnonzero((iou >= threshold).any(axis=1)).tolist():
        mine = np.where(free, iou[d], -1.0)
        best = int(mine.argmax())
        if mine[best] >= threshold:
            given[d], free[best] = best, False
        elif (iou[d][crowd] >= threshold).any():
            given[d] = CROWD
    return given


def _by_score(scores: Floats, hit: Flags) -> tuple[Floats, Floats, Floats]:
    """Bounds on the score, falling, and how many boxes (right, in all) pass each; equal scores pass together."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if len(order) else np.zeros(0, np.int64)
    return scores[order][last], np.cumsum(hit[order], dtype=np.float64)[last], (last + 1).astype(np.float64)


def best_f1(scores: Floats, hit: Flags, positives: int) -> tuple[float, float]:
    """The bound on the score with the best F1, and that F1; (NaN, NaN) without boxes or without anything to find.

    scores (D,) and hit (D,) of the boxes that are right or wrong, in any order.
    """
    bounds, right, passed = _by_score(scores, hit)
    if not len(bounds) or not positives:
        return np.nan, np.nan
    f1 = 2 * right / (passed + positives)
    best = int(f1.argmax())
    return float(bounds[best]), float(f1[best])


def precision_floor(scores: Floats, hit: Flags, precision: float) -> float:
    """The lowest bound on the score at which the boxes that pass have the wished precision; NaN when none has."""
    bounds, right, passed = _by_score(scores, hit)
    enough = np.flatnonzero(right >= precision * passed)
    return float(bounds[enough[-1]]) if len(enough) else np.nan
