"""Transfer: how much of a network that starts from weights has to be trained anew, and the head that it starts with.

The courses' table asks two things: are there few pictures or many, and do they lie near what the weights were found on
or far from it? *Near* is measured: a linear head on the frozen trunk's features must be wrong less often, for pictures
it has not seen, than one on the features of the same network with random weights, and than HOG.

    few, near    the head; the trunk as well, slowly, where the head alone leaves mistakes
    few, far     the same, and more pictures are what would help
    many, near   the whole network, slowly
    many, far    the whole network

And there must be the time for it: where the whole network would take longer than there is, the head is all. What a
trunk has learnt is kept only where that is better (`judged.py`).

Whatever is trained starts from the fitted head, not from a random one, so that the first steps do not undo what the
trunk knows. Source: Kumar et al. 2022, arXiv:2202.10054, "linear probing then fine-tuning"; Yosinski et al. 2014,
arXiv:1411.1792.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import Rows
from foveal.data.dataset import Dataset
from foveal.errors import BadRecipe
from foveal.files.plain_table import counted
from foveal.networks.head import classifier_path, has_bias, put_head, scale_behind
from foveal.ops.logistic import Chosen, Linear, choose_decay, fold_of
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, parse_train
from foveal.tasks.label_defaults import FEW
from foveal.tasks.task import LinearTask
from foveal.training.arithmetic import Arithmetic
from foveal.training.baseline import hog_features
from foveal.training.curve import LearningCurve
from foveal.training.features import Trunk
from foveal.training.fitted_head import balancing, chosen_head, few_threads, fitted_head, learning_curve, tell_tiny
from foveal.training.start import COMPARED, views_of

__all__ = ["Near", "Room", "Transfer", "decide", "prepared", "transfer_to"]

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]

ENOUGH = 0.97  # of unseen pictures right: training the trunk as well could hardly be seen
NEAR = 0.8  # times the errors of the better rival: weights that leave more are of little use here
RIVAL_DECAY = 0.1
PASSES_A_STEP = 4.0  # forward passes of a picture that a step of learning from it costs: backward is two more


@dataclass(frozen=True)
class Near:
    """How right linear heads are for pictures that they have not seen, on three kinds of features."""

    weights: float
    random: float
    hog: float
    measured_as: str = "accuracy"

    @property
    def near(self) -> bool:
        """Whether the weights leave clearly fewer errors than the better rival."""
        return 1 - self.weights <= NEAR * (1 - max(self.random, self.hog))

    def as_dict(self) -> dict[str, float]:
        """Plain values for metrics.json."""
        return {"weights": self.weights, "random": self.random, "hog": self.hog}

    def __str__(self) -> str:
        kin = "similar to" if self.near else "unlike"
        return (
            f"{kin} what the weights were trained on ({self.measured_as} of a head on held-out pictures: "
            f"{self.weights:.0%} with these weights, {self.random:.0%} with random weights, {self.hog:.0%} with HOG "
            "features)"
        )


@dataclass(frozen=True)
class Room:
    """What time there is for more than the head."""

    seconds: Callable[[float], float]  # that are left, by those of one picture's pass through the trunk
    pictures: int  # that the whole network would learn from, each as often as usual
    short: bool = False  # so little that nothing is measured which a head does not need


@dataclass(frozen=True, eq=False)
class Transfer:
    """The head that was fitted on frozen features, and what is to be trained besides."""

    train: str  # "head", "last:K", "all" or "better": all of it, kept where that is better than the head alone
    reason: str  # one sentence
    path: str  # of the classifier
    scale: float  # that the network multiplies the classifier's outputs with
    indices: Indices  # (n,) pictures that the head has learnt from
    chosen: Chosen  # its penalty, and out-of-fold logits of the same pictures
    head: Linear  # of the training pictures; where the head is all, of validation's as well
    views: int  # of each picture, that it has learnt from
    right: float  # how right heads were about them out of fold, as the task measures it
    features: Floats  # (n, D) of the same pictures as they are
    seconds: float  # that features, heads and curve took
    near: Near | None = None  # None: what to train was asked for, or there was no time to choose
    curve: LearningCurve | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "train": self.train,
            "reason": self.reason,
            "decay": self.chosen.decay,
            "views": self.views,
            "head_out_of_fold": self.right,
            "seconds": round(self.seconds, 3),
            "near": self.near.as_dict() if self.near else None,
        }


def transfer_to(
    network: nn.Module,
    name: str,
    recipe: Recipe,
    preprocess: Preprocess,
    store: Rows,
    dataset: Dataset,
    splits: Mapping[str, Indices],
    task: LinearTask,
    arithmetic: Arithmetic,
    balanced: bool,
    rival: Callable[[], nn.Module],
    room: Room,
    progress: Progress = SILENT,
) -> Transfer | None:
    """Features once, a head on them, and by these the decision; None where "auto" meets a network without a plain head.

    Args: rival builds the same network with random weights; room, the time for more than the head.
    Raises: BadRecipe where head or last:K is asked of such a network.
    """
    began, asked = time.perf_counter(), recipe.network.train
    try:
        path = classifier_path(network, name)
        first = preprocess.tensor(torch.from_numpy(store.rows(splits["train"][:2])))
        scale = scale_behind(network.to("cpu"), path, first)
    except BadRecipe as error:
        if asked not in ("auto", "better", "all"):
            raise
        progress.say(f"The whole network is fine-tuned: {error}")
        return None
    assert dataset.digests is not None
    trunk = Trunk(network, path, preprocess, store, dataset.digests, arithmetic, recipe.augment, progress)
    indices, K = np.sort(np.concatenate([splits["train"], splits["val"]])), len(dataset.classes)
    y = task.truth(dataset, indices)
    tell_tiny(dataset.counts_of(indices), dataset.classes, progress)
    features = trunk.views(indices, views_of(len(indices)))
    fold = fold_of(y, groups=None if dataset.groups is None else dataset.groups[indices])
    bias = has_bias(network, path)
    with progress.task("head", 1, "fits") as advance:
        weights = balancing(y, K) if balanced else None
        views, chosen = chosen_head(features, y, K, fold, recipe.network.head_decay, weights, bias)
        advance(1)
    train, reason, near = decide(asked, trunk, task, y, indices, fold, chosen, rival, room)
    curve = learning_curve(features[0], y, K, fold, chosen.decay, task, progress)
    learnt = slice(None) if train == "head" else np.isin(indices, splits["train"])  # val stays unseen for what follows
    weights = balancing(y[learnt], K) if balanced else None
    head = fitted_head(features[:views, learnt], y[learnt], K, chosen.decay, weights, bias)
    right = task.measured(chosen.logits, y)
    spent = time.perf_counter() - began
    return Transfer(train, reason, path, scale, indices, chosen, head, views, right, features[0], spent, near, curve)


def decide(
    asked: str,
    trunk: Trunk,
    task: LinearTask,
    y: NDArray[Any],
    indices: Indices,
    fold: Indices,
    chosen: Chosen,
    rival: Callable[[], nn.Module],
    room: Room,
) -> tuple[str, str, Near | None]:
    """What to train ("head", "last:K", "all", "better"), why in one sentence, and the measurement behind it."""
    if asked != "auto":
        words = _in_words(asked)
        return asked, f"{words[0].upper()}{words[1:]}, as requested.", None
    a_pass = trunk.pass_seconds()
    needed = room.pictures * PASSES_A_STEP * a_pass
    too_long = needed > room.seconds(a_pass)
    if too_long and room.short:
        return "head", f"{_in_words('head').capitalize()}: {_longer(needed)}.", None
    near, few = measure_near(trunk, task, y, indices, fold, chosen, rival()), len(indices) < FEW
    enough = near.near and near.weights >= ENOUGH
    train = "head" if enough or too_long else "better"
    amount = f"{len(indices):,} pictures are {'few' if few else 'many'}"
    link = "and" if near.near or not few else "but"
    reason = f"{amount}, {link} they are {near}: {_in_words(train)}"
    if too_long and not enough:
        reason += f"; {_longer(needed)}"
    if few and not near.near:
        reason += "; collect more pictures: the learning curve estimates what they would bring"
    return train, reason + ".", near


def _longer(seconds: float) -> str:
    """How the trunk comes to learn, where there was no time for it."""
    minutes = max(1, round(seconds / 60))
    return (
        f"fine-tuning the trunk as well would take about {counted(minutes, 'minute')} more, which "
        f"--train all or --minutes {2 * minutes + 2} allows"
    )


def measure_near(
    trunk: Trunk,
    task: LinearTask,
    y: NDArray[Any],
    indices: Indices,
    fold: Indices,
    chosen: Chosen,
    rival: nn.Module,
) -> Near:
    """Three heads on the same pictures and folds."""
    some = np.random.default_rng(0).permutation(len(indices))[:COMPARED]
    K = chosen.logits.shape[1]
    at = indices[some]
    other = replace(trunk, network=rival)

    def right(features: Floats) -> float:
        with few_threads(features):
            answered = choose_decay(features, y[some], K, fold[some], (RIVAL_DECAY,))
        return task.measured(answered.logits, y[some])

    own = task.measured(chosen.logits[some], y[some])
    with trunk.progress.task("comparing features", len(at)) as advance:
        hog = np.concatenate([_counted(hog_features(trunk.store.rows(at[i : i + 64])), advance)
                              for i in range(0, len(at), 64)])  # fmt: skip
    return Near(own, right(other.view(at, 0)), right(hog), task.measured_as)


def prepared(network: nn.Module, transfer: Transfer) -> None:
    """Put the fitted head into the network."""
    put_head(network, transfer.path, transfer.head, transfer.scale)


def _in_words(train: str) -> str:
    word, K = parse_train(train)
    if word == "head":
        return "the trunk stays frozen and only the head is trained"
    if word == "last":
        last = "last stage is" if K == 1 else f"last {K} stages are"
        return f"the head is fitted first, then the trunk's {last} fine-tuned with it"
    learns = "the head is fitted first, then the whole network is fine-tuned"
    return f"{learns}, and that is kept where it scores better on validation" if word == "better" else learns


def _counted(part: Floats, advance: Any) -> Floats:
    advance(len(part))
    return part
