"""Two judges of labels, who answer only for pictures that they have not seen, and what their answers say together.

The first draws planes between classes: linear discriminant analysis (Fisher 1936) whose covariance is shrunk towards
that of a sphere (Friedman 1989, "Regularized discriminant analysis", JASA 84:165–175): a few hundred pictures in some
hundred directions say little of a covariance, and one that follows them weighs noise as much as things. The second lets
the nearest pictures vote. How much is shrunk, how sharply nearness counts, how sure each may be, and which of the two
is listened to more: whatever makes the labels of pictures that were not seen the likeliest.

The labels that this is chosen by are wrong here and there. So a label is thought of as the right one, or, with a
probability η, as drawn from the other classes: p(label) = (1 − η)·p + η·(1 − p)/(K − 1), p the judges'. η is chosen
with the rest: it is how often labels are worse than the judges' doubts can explain. The second part's share of the sum
is the probability that the label is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from foveal.ops.logistic import fold_of
from foveal.ops.statistics import log_softmax

__all__ = ["Joint", "by_neighbours", "by_planes", "nearest", "together"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]

FOLDS = 5
SHRUNK = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # towards a sphere
NEIGHBOURS = 30
SHARPNESS = (4.0, 8.0, 16.0)  # at 8 a neighbour at cosine 0.1 less counts exp(-0.8) as much
UNHEARD = (1.0, 3.0, 10.0)  # votes that are spread as the classes are: who has 30 of 30 votes may be wrong
SURENESS = tuple(np.geomspace(0.01, 4.0, 30).tolist())  # a judge's logits are multiplied by
LISTENED = (0.0, 0.25, 0.5, 0.75, 1.0)  # to the first judge; the rest to the second
JOINT_SURENESS = tuple(np.geomspace(0.25, 4.0, 17).tolist())
WRONG = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4)  # η; no set is without a mistake
ENOUGH = 4_000_000  # values by which these few numbers are chosen
BLOCK = 1000  # pictures compared with all others at once


@dataclass(frozen=True, eq=False)
class Joint:
    """What both say together."""

    log_probabilities: Doubles  # (N, K) of the right class
    doubt: Doubles  # (N,) the probability that the label is wrong, in (0, 1)
    wrong: float  # η

    @property
    def likely(self) -> Labels:
        """(N,) the class that is thought to be right."""
        likely: Labels = self.log_probabilities.argmax(1).astype(np.int64)
        return likely


@dataclass(frozen=True, eq=False)
class _Fold:
    """Classes' means and pictures that had no part in them, along the axes of the covariance within classes."""

    outside: Labels
    variances: Doubles  # (D,)
    pictures: Doubles  # (n, D)
    means: Doubles  # (K, D)
    log_shares: Doubles  # (K,)

    def logits(self, shrunk: float) -> Doubles:
        sphere = self.variances.mean() + 1e-12
        weight = 1 / ((1 - shrunk) * self.variances + shrunk * sphere)
        bias = self.log_shares - (np.square(self.means) * weight).sum(1) / 2
        z: Doubles = (self.pictures * weight) @ self.means.T + bias
        return z


def by_planes(unit: Floats, labels: Labels, K: int) -> Doubles:
    """(N, K) log-probabilities from planes that were drawn by the other folds.

    Args: unit (N, D), rows of length 1; labels (N,) below K, each at least twice.
    """
    fold = fold_of(labels, FOLDS)
    folds = [_learnt(unit, labels, K, fold == number) for number in np.unique(fold)]
    best, least = np.zeros((len(labels), K)), np.inf
    for shrunk in SHRUNK:
        logits = np.empty((len(labels), K))
        for part in folds:
            logits[part.outside] = part.logits(shrunk)
        sureness, loss = _sureness(logits, labels)
        if loss < least:
            best, least = log_softmax(sureness * logits), loss
    return best


def _learnt(unit: Floats, labels: Labels, K: int, outside: NDArray[np.bool_]) -> _Fold:
    seen, own = unit[~outside].astype(np.float64), labels[~outside]
    counts = np.bincount(own, minlength=K)
    sums = np.zeros((K, unit.shape[1]))
    np.add.at(sums, own, seen)
    means = sums / np.maximum(counts, 1)[:, None]
    apart = seen - means[own]
    variances, axes = np.linalg.eigh(apart.T @ apart / len(seen))
    return _Fold(
        np.flatnonzero(outside),
        np.maximum(variances, 0),
        unit[outside].astype(np.float64) @ axes,
        means @ axes,
        np.log(np.maximum(counts, 1) / len(seen)),
    )


def by_neighbours(unit: Floats, labels: Labels, K: int, found: tuple[Floats, Labels] | None = None) -> Doubles:
    """(N, K) log-probabilities from the labels of the nearest others by cosine, nearer ones counting more.

    Args: found, what `nearest` gives, where that is known.
    """
    cosine, near = nearest(unit) if found is None else found
    shares = np.bincount(labels, minlength=K) / len(labels)
    rows, best, least = np.arange(len(labels))[:, None], np.zeros((len(labels), K)), np.inf
    for sharpness in SHARPNESS:
        weight = np.exp(sharpness * (cosine - cosine.max(1, keepdims=True)))
        votes = np.zeros((len(labels), K))
        np.add.at(votes, (rows, labels[near]), weight * (near.shape[1] / weight.sum(1, keepdims=True)))
        for unheard in UNHEARD:
            answers = np.log((votes + unheard * shares) / (near.shape[1] + unheard))
            loss = -float(answers[rows[:, 0], labels].mean())
            if loss < least:
                best, least = answers, loss
    return best


def nearest(unit: Floats) -> tuple[Floats, Labels]:
    """(N, n) cosines and rows of the nearest others."""
    N, count = len(unit), min(NEIGHBOURS, len(unit) - 1)
    cosines, chosen = np.empty((N, count), np.float32), np.empty((N, count), np.int64)
    for start in range(0, N, BLOCK):
        near = unit[start : start + BLOCK] @ unit.T
        rows = np.arange(len(near))
        near[rows, start + rows] = -np.inf
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        chosen[start : start + BLOCK] = best
        cosines[start : start + BLOCK] = np.take_along_axis(near, best, 1)
    return cosines, chosen


def together(first: Doubles, second: Doubles, labels: Labels) -> Joint:
    """Log-probabilities (N, K) of two judges, weighed, and what they make of each label."""
    K, rows = first.shape[1], _some(*first.shape)
    best, least = (0.5, 1.0, WRONG[0]), np.inf
    for listened, sureness in product(LISTENED, JOINT_SURENESS):
        own = _own(log_softmax(sureness * (listened * first[rows] + (1 - listened) * second[rows])), labels[rows])
        for wrong in WRONG:
            loss = -float(np.log((1 - wrong) * own + wrong * (1 - own) / (K - 1)).mean())
            if loss < least:
                best, least = (listened, sureness, wrong), loss
    listened, sureness, wrong = best
    joint = log_softmax(sureness * (listened * first + (1 - listened) * second))
    own = _own(joint, labels)
    drawn = wrong * (1 - own) / (K - 1)
    return Joint(joint, drawn / ((1 - wrong) * own + drawn), wrong)


def _sureness(logits: Doubles, labels: Labels) -> tuple[float, float]:
    """What the logits are to be multiplied by, and the loss that is then left."""
    rows = _some(*logits.shape)
    own = [(_loss(log_softmax(sure * logits[rows]), labels[rows]), sure) for sure in SURENESS]
    loss, sure = min(own)
    return sure, loss


def _loss(log_probabilities: Doubles, labels: Labels) -> float:
    return -float(log_probabilities[np.arange(len(labels)), labels].mean())


def _own(log_probabilities: Doubles, labels: Labels) -> Doubles:
    """(N,) probabilities of the labels."""
    own: Doubles = np.exp(log_probabilities[np.arange(len(labels)), labels])
    return np.clip(own, 1e-12, 1 - 1e-12)


def _some(N: int, K: int) -> Labels:
    """Rows by which a few numbers are chosen: all, or as many as are enough."""
    return np.sort(np.random.default_rng(0).permutation(N)[: max(1000, ENOUGH // K)])
