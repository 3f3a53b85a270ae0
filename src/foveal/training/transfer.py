"""Transfer: how much of a network that starts from weights has to be trained anew, and the head that it starts with.

The courses' table asks two things: are there few pictures or many, and do they lie near what the weights were found on
or far from it? *Near* is measured: a linear head on the frozen trunk's features must be wrong less often, for pictures
it has not seen, than one on the features of the same network with random weights, and than HOG.

    few, near    the head; the trunk as well, slowly, where the head alone leaves mistakes
    few, far     the same, and more pictures are what would help
    many, near   the whole network, slowly
    many, far    the whole network

Whatever is trained starts from the fitted head, not from a random one, so that the first steps do not undo what the
trunk knows. Source: Kumar et al. 2022, arXiv:2202.10054, "linear probing then fine-tuning"; Yosinski et al. 2014,
arXiv:1411.1792.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import Rows
from foveal.data.dataset import Dataset
from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import find
from foveal.networks.head import CUSTOM, classifier_path, has_bias, put_head, scale_behind
from foveal.networks.stages import Stages
from foveal.ops.logistic import DECAYS, Chosen, Linear, choose_decay, fit_logistic, fold_of
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, parse_train
from foveal.tasks.classify import balanced_weights
from foveal.tasks.label_defaults import FEW
from foveal.training.arithmetic import Arithmetic
from foveal.training.baseline import hog_features
from foveal.training.curve import LearningCurve, fit_curve
from foveal.training.features import Trunk, remembered

__all__ = [
    "Near", "Transfer", "check_stages", "decide", "freeze", "learning_curve", "prepared", "rates", "transfer_to",
    "trunk_of",
]  # fmt: skip

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]

ENOUGH = 0.97  # of unseen pictures right: training the trunk as well could hardly be seen
NEAR = 0.8  # times the errors of the better rival: weights that leave more are of little use here
VIEWS, MANY_VIEWED = 2, 10_000  # the picture and its mirror image; one view only from so many pictures on
COMPARED = 600  # pictures on which near and far are told apart
SLOWER = 1.3  # times, each stage further from the head (Howard and Ruder 2018, arXiv:1801.06146, section 3.2, have 2.6)
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the training pictures, for the learning curve
CURVE_PICTURES = 5000  # the curve's heads learn from at most so many
RIVAL_DECAY = 0.1


@dataclass(frozen=True)
class Near:
    """How right linear heads are for pictures that they have not seen, on three kinds of features."""

    weights: float
    random: float
    hog: float

    @property
    def near(self) -> bool:
        """Whether the weights leave clearly fewer errors than the better rival."""
        return 1 - self.weights <= NEAR * (1 - max(self.random, self.hog))

    def __str__(self) -> str:
        kin = "near" if self.near else "far from"
        return (
            f"{kin} what the weights know (a head on their features is right for {self.weights:.0%} of unseen "
            f"pictures, on random features {self.random:.0%}, on HOG {self.hog:.0%})"
        )


@dataclass(frozen=True, eq=False)
class Transfer:
    """The head that was fitted on frozen features, and what is to be trained besides."""

    train: str  # "head", "last:K" or "all"
    reason: str  # one sentence
    path: str  # of the classifier
    scale: float  # that the network multiplies the classifier's outputs with
    indices: Indices  # (n,) pictures that the head has learnt from
    chosen: Chosen  # its penalty, and out-of-fold logits of the same pictures
    head: Linear
    right: float  # share of them that heads were right about out of fold
    features: Floats  # (n, D) of the same pictures as they are
    seconds: float  # that features, heads and curve took
    near: Near | None = None
    curve: LearningCurve | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return {
            "train": self.train,
            "reason": self.reason,
            "decay": self.chosen.decay,
            "head_out_of_fold": self.right,
            "seconds": round(self.seconds, 3),
            "near": vars(self.near) if self.near else None,
        }


def transfer_to(
    network: nn.Module,
    name: str,
    recipe: Recipe,
    preprocess: Preprocess,
    store: Rows,
    dataset: Dataset,
    splits: Mapping[str, Indices],
    arithmetic: Arithmetic,
    balanced: bool,
    rival: Callable[[], nn.Module],
    progress: Progress = SILENT,
) -> Transfer | None:
    """Features once, a head on them, and by these the decision; None where "auto" meets a network without a plain head.

    Args: rival builds the same network with random weights.
    Raises: BadRecipe where head or last:K is asked of such a network.
    """
    began, asked = time.perf_counter(), recipe.network.train
    try:
        path = classifier_path(network, name)
        first = preprocess.tensor(torch.from_numpy(store.rows(splits["train"][:2])))
        scale = scale_behind(network.to("cpu"), path, first)
    except BadRecipe as error:
        if asked not in ("auto", "all"):
            raise
        progress.say(f"The whole network is trained: {error}")
        return None
    assert dataset.digests is not None
    trunk = Trunk(network, path, preprocess, store, dataset.digests, arithmetic, recipe.augment, progress)
    indices, K = np.sort(np.concatenate([splits["train"], splits["val"]])), len(dataset.classes)
    y = dataset.labels[indices]
    _tell_tiny(y, dataset.classes, progress)
    features = trunk.views(indices, VIEWS if len(indices) < MANY_VIEWED else 1)
    fold = fold_of(y, groups=None if dataset.groups is None else dataset.groups[indices])
    weights = _balancing(y, K) if balanced else None
    bias, decay = has_bias(network, path), recipe.network.head_decay
    with progress.task("head", 1, "fits") as advance:
        tried = DECAYS if decay == "auto" else (float(decay),)
        chosen = _chosen(features, y, K, fold, tried, weights, bias)
        advance(1)
    train, reason, near = decide(asked, trunk, y, indices, fold, chosen, rival)
    curve = learning_curve(features[0], y, K, fold, chosen.decay, progress)
    learnt = slice(None) if train == "head" else np.isin(indices, splits["train"])  # val stays unseen for what follows
    head = _head(features[:, learnt], y[learnt], K, chosen.decay, _balancing(y[learnt], K) if balanced else None, bias)
    right = float((chosen.logits.argmax(1) == y).mean())
    spent = time.perf_counter() - began
    return Transfer(train, reason, path, scale, indices, chosen, head, right, features[0], spent, near, curve)


def _chosen(
    features: Floats, y: Indices, K: int, fold: Indices, tried: Sequence[float], weights: Any, bias: bool
) -> Chosen:
    """`choose_decay`, remembered: nothing in it is drawn, so another seed finds the same."""

    def compute() -> dict[str, NDArray[Any]]:
        found = choose_decay(features, y, K, fold, tried, weights, intercept=bias)
        losses = np.array(list(found.losses.items()), np.float64)
        return {"logits": found.logits, "decay": np.array([found.decay]), "losses": losses}

    inputs = [features, y, fold, *([] if weights is None else [weights])]
    kept = remembered(["decay", K, list(tried), weights is None, bias], inputs, compute)
    losses = {float(decay): float(loss) for decay, loss in kept["losses"]}
    return Chosen(float(kept["decay"][0]), kept["logits"], losses)


def _head(features: Floats, y: Indices, K: int, decay: float, weights: Any, bias: bool) -> Linear:
    """`fit_logistic`, remembered."""

    def compute() -> dict[str, NDArray[Any]]:
        layer = fit_logistic(features, y, K, decay, weights, intercept=bias)
        return {"weight": layer.weight, "bias": layer.bias}

    inputs = [features, y, *([] if weights is None else [weights])]
    kept = remembered(["head", K, decay, weights is None, bias], inputs, compute)
    return Linear(kept["weight"], kept["bias"])


def decide(
    asked: str,
    trunk: Trunk,
    y: Indices,
    indices: Indices,
    fold: Indices,
    chosen: Chosen,
    rival: Callable[[], nn.Module],
) -> tuple[str, str, Near | None]:
    """What to train ("head", "last:K", "all"), why in one sentence, and the measurement behind it."""
    if asked != "auto":
        words = _in_words(asked)
        return asked, f"{words[0].upper()}{words[1:]}, as asked for.", None
    near = measure_near(trunk, y, indices, fold, chosen, rival())
    few = len(indices) < FEW
    train = "head" if near.near and near.weights >= ENOUGH else "all"
    amount = f"{len(indices):,} pictures are {'few' if few else 'many'}"
    link = "and" if near.near or not few else "but"
    reason = f"{amount}, {link} they lie {near}: {_in_words(train)}"
    if few and not near.near:
        reason += "; collect more pictures, the learning curve tells what they would bring"
    return train, reason + ".", near


def _tell_tiny(y: Indices, classes: Sequence[str], progress: Progress) -> None:
    """What cross-validation does with a class of one picture."""
    alone = [
        shown(name) for name, count in zip(classes, np.bincount(y, minlength=len(classes)), strict=True) if count == 1
    ]
    if alone:
        progress.say(
            f"Cross-validation never knows the class when it asks about the one picture of {', '.join(alone[:5])}: "
            "it counts as wrong there, and the head learns it all the same."
        )


def measure_near(trunk: Trunk, y: Indices, indices: Indices, fold: Indices, chosen: Chosen, rival: nn.Module) -> Near:
    """Three heads on the same pictures and folds."""
    some = np.random.default_rng(0).permutation(len(indices))[:COMPARED]
    K = chosen.logits.shape[1]
    at = indices[some]
    other = replace(trunk, network=rival)

    def right(features: Floats) -> float:
        answered = choose_decay(features, y[some], K, fold[some], (RIVAL_DECAY,))
        return float((answered.logits.argmax(1) == y[some]).mean())

    own = float((chosen.logits[some].argmax(1) == y[some]).mean())
    with trunk.progress.task("near or far", len(at)) as advance:
        hog = np.concatenate([_counted(hog_features(trunk.store.rows(at[i : i + 64])), advance)
                              for i in range(0, len(at), 64)])  # fmt: skip
    return Near(own, right(other.view(at, 0)), right(hog))


def learning_curve(
    features: Floats, y: Indices, K: int, fold: Indices, decay: float, progress: Progress
) -> LearningCurve:
    """Heads on growing shares of the pictures, each asked about a fold that it has not seen; remembered."""
    kept = remembered(
        ["curve", K, decay, list(SHARES)], [features, y, fold], lambda: _shares(features, y, K, fold, decay, progress)
    )
    return fit_curve(kept["pictures"], kept["errors"])


def _shares(
    features: Floats, y: Indices, K: int, fold: Indices, decay: float, progress: Progress
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
                head = fit_logistic(features[inside], y[inside], K, decay, roughly=True)
                row.append(float((head.logits(features[outside]).argmax(1) != y[outside]).mean()))
                sizes.append(len(inside))
                advance(1)
            pictures.append(round(float(np.mean(sizes))))
            errors.append(row)
    return {"pictures": np.array(pictures, np.int64), "errors": np.array(errors)}


def check_stages(network: nn.Module, name: str, train: str) -> None:
    """Raises: BadRecipe when last:K asks for more stages than the trunk has."""
    word, K = parse_train(train)
    have = len(_stages(network, name))
    if word == "last" and have < K:
        raise BadRecipe(f"--train last:{K}: the trunk of {shown(name)} has {have} stages; give last:1 to last:{have}.")


def trunk_of(network: nn.Module) -> Stages | None:
    """The stages of a network of the catalogue that a detector's head stands on; None where there is no such head."""
    trunk = getattr(network, "trunk", None)
    return trunk if isinstance(trunk, Stages) else None


def freeze(network: nn.Module, name: str, train: str) -> tuple[nn.Module, ...]:
    """Let only what `train` names learn; returns the modules whose batch norm keeps its statistics.

    last:K leaves everything behind the (K + 1)-last stage to learn; a stage ends with its record's module. The head of
    a detector always learns.
    """
    word, K = parse_train(train)
    if (trunk := trunk_of(network)) is not None:
        network = trunk.network
        if word == "head":
            trunk.requires_grad_(False)
            return (trunk,)
    if word not in ("last", "head"):
        return ()
    stages = _stages(network, name)
    order = {path: number for number, (path, _) in enumerate(network.named_modules())}
    classifier = classifier_path(network, name)
    if word == "head":
        first = order[classifier]
    elif len(stages) == K:
        first = 0
    else:
        first = 1 + _end(order, stages[-K - 1])
    frozen = [module for path, module in network.named_modules() if order[path] < first]
    kept = tuple(module for module in frozen if not any(True for _ in module.children()))
    for module in kept:
        module.requires_grad_(False)
    return kept


def rates(network: nn.Module, name: str, classifier: str) -> dict[int, float]:
    """id of each parameter -> its share of the learning rate: stages further from the head change less."""
    order = {path: number for number, (path, _) in enumerate(network.named_modules())}
    edges = [_end(order, stage) for stage in _stages(network, name)]
    shares: dict[int, float] = {}
    for path, module in network.named_modules():
        above = sum(order[path] <= edge for edge in edges) if path != classifier else 0
        shares |= {id(parameter): SLOWER**-above for parameter in module.parameters(recurse=False)}
    return shares


def _end(order: Mapping[str, int], stage: str) -> int:
    """The number of a stage's last module."""
    return max(number for path, number in order.items() if path == stage or path.startswith(f"{stage}."))


def prepared(network: nn.Module, transfer: Transfer) -> None:
    """Put the fitted head into the network."""
    put_head(network, transfer.path, transfer.head, transfer.scale)


def _stages(network: nn.Module, name: str) -> Sequence[str]:
    """Paths of the trunk's stages; of a network of one's own its parts that hold parameters, the last one apart."""
    if name != CUSTOM:
        return [stage.module for stage in find(name).stages]
    return [path for path, part in network.named_children() if any(True for _ in part.parameters())][:-1]


def _in_words(train: str) -> str:
    word, K = parse_train(train)
    if word == "head":
        return "the trunk stays as it is and the head alone is trained"
    if word == "last":
        last = "last stage learns" if K == 1 else f"last {K} stages learn"
        return f"the head is fitted first, then the trunk's {last} with it"
    return "the head is fitted first, then the whole network learns slowly"


def _balancing(y: Indices, K: int) -> NDArray[np.float64]:
    """(n,) of each picture: every class counts the same."""
    weights: NDArray[np.float64] = balanced_weights(np.bincount(y, minlength=K)).double().numpy()[y]
    return weights


def _some_of_each(indices: Indices, y: Indices, share: float, rng: np.random.Generator) -> Indices:
    """The same share of each class, one picture at least."""
    mixed = rng.permutation(indices)
    parts = [mixed[y[mixed] == label] for label in np.unique(y[mixed])]
    return np.concatenate([part[: max(1, round(share * len(part)))] for part in parts])


def _counted(part: Floats, advance: Any) -> Floats:
    advance(len(part))
    return part
