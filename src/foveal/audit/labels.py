"""Which labels are probably wrong: confident learning on the answers of models that had not seen the picture.

Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", arXiv:1911.00068. A
class's threshold is how sure the answers are, on average, of the pictures that carry its label; a picture that passes
another class's threshold and is surer of it than of its own label is counted as wrong [section 3.1]. Suggestions are
ranked by normalised margin [section 3.3], the label's probability less the best other's; twice as many as were counted.

Departure: the probabilities are the mean of two judges, a logistic regression fitted on the other folds and a vote of
the nearest pictures. They fail on different pictures: the first where a class is scattered, the second where it is
rare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.ops.logistic import choose_decay, fold_of
from foveal.progress import SILENT, Progress

__all__ = ["WrongLabel", "confident_learning", "judged", "wrong_labels"]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

FOLDS = 5
DECAYS = (0.1,)  # stronger than predicts best: what follows the labels closely follows wrong ones too
NEIGHBOURS = 30
MORE = 2  # suggestions for each label that is estimated to be wrong: the ranking finds more than the thresholds do
LEAST = 4  # pictures of a class below which no judge can have learnt it
BLOCK = 1000  # pictures compared with all others at once
SHARPNESS = 8.0  # a neighbour at cosine 0.1 less counts exp(-0.8) as much


@dataclass(frozen=True)
class WrongLabel:
    """One suspicion."""

    index: int  # row of the features
    label: int
    likely: int
    margin: float  # probability of the label less that of the likely one, in [-1, 0)
    confident: bool  # counted by confident learning among the wrong ones; the others are the next to be looked at


def wrong_labels(features: Floats, labels: Labels, K: int, progress: Progress = SILENT) -> tuple[WrongLabel, ...]:
    """Suspected labels, the surest first.

    Args: features (N, D); labels (N,) below K. Classes of fewer than LEAST pictures are neither suspected nor likely.
    """
    judgeable = np.flatnonzero(np.bincount(labels, minlength=K)[labels] >= LEAST)
    known, compact = np.unique(labels[judgeable], return_inverse=True)
    if len(known) < 2:
        return ()
    with progress.task("judging labels", len(judgeable)) as advance:
        answers = judged(features[judgeable], compact.astype(np.int64), len(known))
        advance(len(judgeable))
    found = confident_learning(answers, compact.astype(np.int64))
    listed = MORE * sum(confident for *_, confident in found)
    return tuple(
        WrongLabel(int(judgeable[row]), int(known[compact[row]]), int(known[likely]), margin, confident)
        for row, likely, margin, confident in found[:listed]
    )


def confident_learning(probabilities: Floats, labels: Labels) -> list[tuple[int, int, float, bool]]:
    """(row, likely class, margin, confident) wherever another class is likelier than the label, the surest first.

    Args:    probabilities (N, K) of models that had not seen the picture; labels (N,), every class at least once.
    Returns: `confident` where the likely class also passes its threshold: the off-diagonal counts of the paper's
             confident joint, by which it estimates how many labels are wrong.
    """
    N, K = probabilities.shape
    own = probabilities[np.arange(N), labels]
    threshold = np.bincount(labels, own, minlength=K) / np.maximum(np.bincount(labels, minlength=K), 1)
    likely = probabilities.argmax(1)
    best = probabilities[np.arange(N), likely]
    margin, confident = own - best, best >= threshold[likely] - 1e-9
    suspected = np.flatnonzero(margin < 0)
    ranked = suspected[np.argsort(margin[suspected], kind="stable")]
    return [(int(row), int(likely[row]), float(margin[row]), bool(confident[row])) for row in ranked]


def judged(features: Floats, labels: Labels, K: int) -> Floats:
    """(N, K) probabilities for each picture from judges that had not seen its label."""
    scaled = (features / (np.sqrt(np.square(features).mean()) + 1e-12)).astype(np.float32)
    logits = choose_decay(scaled, labels, K, fold_of(labels, FOLDS), DECAYS).logits.astype(np.float64)
    likely = np.exp(logits - logits.max(1, keepdims=True))
    both: Floats = (
        (likely / likely.sum(1, keepdims=True) + _voted(features / (features.std(0) + 1e-6), labels, K)) / 2
    ).astype(np.float32)
    return both


def _voted(features: Floats, labels: Labels, K: int) -> Floats:
    """(N, K) the share of each class among the nearest others, nearer ones counting more."""
    unit = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-12)
    N, count = len(unit), min(NEIGHBOURS, len(unit) - 1)
    votes = np.zeros((N, K), np.float32)
    for start in range(0, N, BLOCK):
        near = unit[start : start + BLOCK] @ unit.T
        rows = np.arange(len(near))
        near[rows, start + rows] = -np.inf
        chosen = np.argpartition(-near, count - 1, axis=1)[:, :count]
        cosine = np.take_along_axis(near, chosen, 1)
        weight = np.exp(SHARPNESS * (cosine - cosine.max(1, keepdims=True)))
        np.add.at(votes, (start + rows[:, None], labels[chosen]), weight / weight.sum(1, keepdims=True))
    return votes
