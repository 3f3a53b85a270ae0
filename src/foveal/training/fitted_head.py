"""A head on frozen features: its views and its penalty chosen by cross-validation, and what more pictures would bring.

Nothing here is drawn by a seed, and all of it follows from features, labels and folds: it is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.errors import shown
from foveal.ops.logistic import DECAYS, Chosen, Linear, choose_decay, fit_logistic
from foveal.progress import Progress
from foveal.tasks.classify import balanced_weights
from foveal.tasks.task import LinearTask
from foveal.training.arithmetic import threads_used
from foveal.training.curve import LearningCurve, fit_curve
from foveal.training.features import remembered

__all__ = ["balancing", "chosen_head", "few_threads", "fitted_head", "learning_curve", "tell_tiny"]

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]
Truth = NDArray[Any]  # (n,) class indices, or (n, K) whether a picture has a label

SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the training pictures, for the learning curve
CURVE_PICTURES = 5000  # the curve's heads learn from at most so many
ONE_THREAD = 50_000_000  # bytes of features up to which a second thread would wait more than it computes


def chosen_head(
    features: Floats, y: Truth, K: int, fold: Indices, decay: float | str, weights: Any, bias: bool
) -> tuple[int, Chosen]:
    """How many of the views heads learn from, the first one alone or all, and their penalty, by log-likelihood.

    Args: features (V, n, D), all heads are asked about the first view; decay, "auto" for `DECAYS`.
    """
    tried = DECAYS if decay == "auto" else (float(decay),)
    found = {views: _by_decay(features[:views], y, K, fold, tried, weights, bias) for views in (len(features), 1)}
    best = min(found, key=lambda views: min(found[views].losses.values()))
    return best, found[best]


def _by_decay(
    features: Floats, y: Truth, K: int, fold: Indices, tried: Sequence[float], weights: Any, bias: bool
) -> Chosen:
    """`choose_decay`, remembered: nothing in it is drawn, so another seed finds the same."""

    def compute() -> dict[str, NDArray[Any]]:
        with few_threads(features):
            found = choose_decay(features, y, K, fold, tried, weights, intercept=bias)
        losses = np.array(list(found.losses.items()), np.float64)
        return {"logits": found.logits, "decay": np.array([found.decay]), "losses": losses}

    inputs = [features, y, fold, *([] if weights is None else [weights])]
    kept = remembered(["decay", K, list(tried), weights is None, bias], inputs, compute)
    losses = {float(decay): float(loss) for decay, loss in kept["losses"]}
    return Chosen(float(kept["decay"][0]), kept["logits"], losses)


def fitted_head(features: Floats, y: Truth, K: int, decay: float, weights: Any, bias: bool) -> Linear:
    """`fit_logistic`, remembered."""

    def compute() -> dict[str, NDArray[Any]]:
        with few_threads(features):
            layer = fit_logistic(features, y, K, decay, weights, intercept=bias)
        return {"weight": layer.weight, "bias": layer.bias}

    inputs = [features, y, *([] if weights is None else [weights])]
    kept = remembered(["head", K, decay, weights is None, bias], inputs, compute)
    return Linear(kept["weight"], kept["bias"])


def learning_curve(
    features: Floats, y: Truth, K: int, fold: Indices, decay: float, task: LinearTask, progress: Progress
) -> LearningCurve:
    """Heads on growing shares of the pictures, each asked about a fold that it has not seen; remembered."""
    kept = remembered(
        ["curve", K, decay, list(SHARES)],
        [features, y, fold],
        lambda: _shares(features, y, K, fold, decay, task, progress),
    )
    return fit_curve(kept["pictures"], kept["errors"])


def _shares(
    features: Floats, y: Truth, K: int, fold: Indices, decay: float, task: LinearTask, progress: Progress
) -> dict[str, NDArray[Any]]:
    """Of each share: the pictures of it, and a head's errors on each fold."""
    rng = np.random.default_rng(0)
    folds = np.unique(fold).tolist()
    pictures, errors = [], []
    with progress.task("learning curve", len(SHARES) * len(folds), "heads") as advance:
        for share in SHARES:
            row, sizes = [], []
            for number in folds:
                inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
                inside = _some_of_each(inside[:CURVE_PICTURES], y, share, rng)
                with few_threads(features):
                    head = fit_logistic(features[inside], y[inside], K, decay, roughly=True)
                row.append(1 - task.measured(head.logits(features[outside]), y[outside]))
                sizes.append(len(inside))
                advance(1)
            pictures.append(round(float(np.mean(sizes))))
            errors.append(row)
    return {"pictures": np.array(pictures, np.int64), "errors": np.array(errors)}


def few_threads(features: Floats) -> AbstractContextManager[None]:
    """One thread where there is little to compute: two would mostly wait, and stand still beside a busy program."""
    return threads_used(1 if features.nbytes <= ONE_THREAD else torch.get_num_threads())


def balancing(y: Truth, K: int) -> NDArray[np.float64]:
    """(n,) of each picture: every class counts the same; (n, K) of several labels: of each the pictures with it count
    as much as those without."""
    if y.ndim == 2:
        with_it = y.sum(0)
        shares = len(y) / (2 * np.maximum(np.stack([len(y) - with_it, with_it]), 1))
        of_labels: NDArray[np.float64] = np.where(y, shares[1], shares[0])
        return of_labels
    weights: NDArray[np.float64] = balanced_weights(np.bincount(y, minlength=K)).double().numpy()[y]
    return weights


def _some_of_each(indices: Indices, y: Truth, share: float, rng: np.random.Generator) -> Indices:
    """The same share of each class, one picture at least; with several labels a picture, of all."""
    mixed = rng.permutation(indices)
    if y.ndim == 2:
        return mixed[: max(1, round(share * len(mixed)))]
    parts = [mixed[y[mixed] == label] for label in np.unique(y[mixed])]
    return np.concatenate([part[: max(1, round(share * len(part)))] for part in parts])


def tell_tiny(counts: Indices, classes: Sequence[str], progress: Progress) -> None:
    """What cross-validation does with a class of one picture. Args: counts (K,) pictures of each."""
    alone = [shown(name) for name, count in zip(classes, counts, strict=True) if count == 1]
    if alone:
        progress.say(
            f"Only one picture shows {', '.join(alone[:5])}: cross-validation has no other to learn from and counts it "
            "as wrong; the final head is fitted on it all the same."
        )
