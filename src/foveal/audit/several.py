"""Which labels are probably missing, or too many, where a picture may have several: each label is judged by itself.

As in `labels.py` two classifiers answer for pictures that they were not fitted on: one plane a label (logistic
regression, out of fold) and the labels of the nearest pictures. What they say together is held against what is written.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from foveal.audit.judges import Joint, by_neighbours, nearest, together
from foveal.audit.labels import LEAST, MORE, PROBABLY, SHARE, SOME, Judge, Judgement, WrongLabel, needed_right
from foveal.data.dataset import NOTHING
from foveal.ops.logistic import choose_decay, fold_of
from foveal.progress import SILENT, Progress

__all__ = ["judge_several"]

DECAYS = (0.3, 0.1, 0.03)

Floats = NDArray[np.float32]
Truth = NDArray[np.bool_]


def judge_several(features: Floats, multi_hot: Truth, progress: Progress = SILENT) -> Judgement | None:
    """Suspected labels; None where no label is on LEAST pictures and missing from as many.

    Args:    features (N, D); multi_hot (N, K) which labels each picture has.
    Returns: a suspicion is about one label of a picture: `label` where it is probably wrong, `likely` where it is
             probably missing; the other is NOTHING.
    """
    N, counts = len(multi_hot), multi_hot.sum(0)
    some = np.flatnonzero((counts >= LEAST) & (N - counts >= LEAST))
    if not len(some):
        return None
    unit = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-12)
    truth = multi_hot[:, some]
    planes = choose_decay(unit, truth, len(some), fold_of(truth), DECAYS).logits
    found, suspects, right = nearest(unit), list[WrongLabel](), np.zeros((3, len(some)))
    can_tell = np.zeros(len(some), bool)
    with progress.task("judging labels", len(some), "labels") as advance:
        for number, k in enumerate(some.tolist()):
            own = truth[:, number].astype(np.int64)
            first, second = _of_two(planes[:, number]), by_neighbours(unit, own, 2, found)
            joint = together(first, second, own)
            right[:, number] = [(z.argmax(1) == own).mean() for z in (first, second, joint.log_probabilities)]
            chance = max(counts[k], N - counts[k]) / N
            can_tell[number] = right[2, number] * N >= needed_right(chance, N)
            suspects += _suspects(joint, own, k, bool(can_tell[number]))
            advance(1)
    suspects.sort(key=lambda one: -one.doubt)
    probable = sum(one.probably for one in suspects)
    listed = max(MORE * probable, min(ceil(SHARE * N), SOME))
    means, chances = right.mean(1), np.maximum(counts[some], N - counts[some]) / N
    return Judgement(
        tuple(suspects[:listed]),
        (Judge("a linear classifier for each label", float(means[0])),
         Judge("the nearest pictures", float(means[1]))),
        float(means[2]),
        float(chances.mean()),
        float(np.mean([needed_right(chance, N) / N for chance in chances])),
        bool(can_tell.any()),
        several=True,
    )  # fmt: skip


def _of_two(logits: Floats) -> NDArray[np.float64]:
    """(N,) logits of one label -> (N, 2) log-probabilities that it is not there, and that it is."""
    z = logits.astype(np.float64)
    return np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], 1)


def _suspects(joint: Joint, own: NDArray[np.int64], k: int, can_tell: bool) -> list[WrongLabel]:
    """Pictures for which the other answer is the likelier one."""
    rows = np.flatnonzero(joint.likely != own)
    return [
        WrongLabel(i, k if own[i] else NOTHING, NOTHING if own[i] else k, float(joint.doubt[i]),
                   can_tell and bool(joint.doubt[i] > PROBABLY))
        for i in rows.tolist()
    ]  # fmt: skip
