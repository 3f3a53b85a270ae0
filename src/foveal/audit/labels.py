"""Which labels are probably wrong, and whether that can be told at all.

Two judges answer for pictures that they have not seen (`judges.py`), and pictures are ranked by how little the label is
believed: "self-confidence" of Northcutt, Jiang, Chuang 2021, "Confident learning", arXiv:1911.00068 [section 3.3].
What is called probably wrong is so with more than one half by the model of wrong labels that makes all labels of the
set the likeliest; where the judges hardly know the classes, nothing is called so and the ranking remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.audit.judges import by_neighbours, by_planes, together
from foveal.ops.statistics import wilson_interval
from foveal.progress import SILENT, Progress

__all__ = ["Judge", "Judgement", "WrongLabel", "judge", "needed_right"]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

LEAST = 4  # pictures of a class below which no judge can have learnt it
PROBABLY = 0.5
OF_CHANCE = 0.5  # who errs at more than half the rate of one that knows nothing cannot tell wrong labels
MORE = 2  # suggestions for each label that is probably wrong: the ranking finds more than the probability does
SHARE, SOME = 1 / 8, 20  # pictures that are suggested besides: this share of all, and so many in any case


@dataclass(frozen=True)
class WrongLabel:
    """One suspicion."""

    index: int  # row of the features
    label: int  # with several labels a picture NOTHING where one is missing
    likely: int  # and here where it is one too many
    doubt: float  # the probability that the label is wrong, in (0, 1)
    probably: bool  # more than one half, by judges that can tell; the others are worth a look


@dataclass(frozen=True)
class Judge:
    """How good a judge is on this very set."""

    who: str
    right: float  # share of the pictures, none of which it had seen, that it gave their label


@dataclass(frozen=True)
class Judgement:
    """What was said of the labels, and how good those are who said it."""

    suspects: tuple[WrongLabel, ...]  # the most doubtful first
    judges: tuple[Judge, ...]
    right: float  # of both together, as of each
    chance: float  # the share that is right when the largest class is always named
    needed: float  # the share from which on wrong labels can be told
    can_tell: bool
    several: bool = False  # labels are judged one by one, since a picture may have several; shares are of those

    def as_dict(self) -> dict[str, Any]:
        """How good the judges are, for JSON."""
        each = {judge.who: round(judge.right, 4) for judge in self.judges}
        told = {"together": self.right, "largest_class": self.chance, "needed": self.needed}
        return {"right": each | {name: round(value, 4) for name, value in told.items()}, "can_tell": self.can_tell}


def judge(features: Floats, labels: Labels, K: int, progress: Progress = SILENT) -> Judgement | None:
    """Suspected labels; None where there are no two classes of LEAST pictures.

    Args: features (N, D); labels (N,) below K. Classes of fewer than LEAST pictures are neither suspected nor likely.
    """
    judgeable = np.flatnonzero(np.bincount(labels, minlength=K)[labels] >= LEAST)
    known, compact = np.unique(labels[judgeable], return_inverse=True)
    if len(known) < 2:
        return None
    own, N = compact.astype(np.int64), len(judgeable)
    unit = features[judgeable] / (np.linalg.norm(features[judgeable], axis=1, keepdims=True) + 1e-12)
    with progress.task("checking labels", N) as advance:
        planes = by_planes(unit, own, len(known))
        advance(N // 2)
        near = by_neighbours(unit, own, len(known))
        advance(N - N // 2)
        joint = together(planes, near, own)
    right, likely = [int((z.argmax(1) == own).sum()) for z in (planes, near, joint.log_probabilities)], joint.likely
    chance = float(np.bincount(own).max() / N)
    needed = needed_right(chance, N)
    can_tell = right[2] >= needed
    probably = can_tell & (joint.doubt > PROBABLY) & (likely != own)
    listed = max(MORE * int(probably.sum()), ceil(SHARE * N), SOME)
    ranked = np.argsort(-joint.doubt, kind="stable")
    return Judgement(
        tuple(
            WrongLabel(
                int(judgeable[i]), int(known[own[i]]), int(known[likely[i]]), float(joint.doubt[i]), bool(probably[i])
            )
            for i in ranked[likely[ranked] != own[ranked]][:listed].tolist()
        ),
        (Judge("a linear classifier", right[0] / N), Judge("nearest neighbours", right[1] / N)),
        right[2] / N,
        chance,
        needed / N,
        can_tell,
    )


def needed_right(chance: float, N: int) -> int:
    """How many of N pictures the judges must be right for: luck alone is not to carry them over the line."""
    line = 1 - OF_CHANCE * (1 - chance)
    return next((right for right in range(ceil(line * N), N) if wilson_interval(right, N)[0] >= line), N)
