"""What a training with labels usually does: network, size and every number, for the data and the network at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from foveal.networks.facts import facts_of
from foveal.networks.index import CUSTOM
from foveal.recipe import Recipe, parse_size
from foveal.tasks.task import Facts

__all__ = [
    "BLEND",
    "FEW",
    "SMALL_SIDE",
    "WITH_WEIGHTS",
    "choose_network",
    "choose_size",
    "epochs_for",
    "epochs_started",
    "smallest_side",
    "usual_labels",
]

# What a network of the user's own gets, and what the zoo's entries leave open.
DEFAULTS: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "blend": 0.0,
    "clip": 0.0,
    "batch_size": 64,
    "epochs": 30,
}
FULL_DATA = 20_000  # training pictures from which the entry's epochs are meant; fewer pictures get more epochs
MOST_EPOCHS = 120
FEWEST_STEPS = 20  # in an epoch, when the batch size is ours to choose
# Where weights are there, that should not be forgotten at once (found with SqueezeNet 1.1 and ResNet-18):
STARTED = {"sgd": 0.1, "muon": 0.1, "adamw": 3.0}  # of the usual rate, at the small batch; lower stages get less
PICTURES_SEEN, EPOCHS_STARTED = 6_000, (4, 20)  # in the whole training, and epochs between which that may lead to
STARTED_EMA = 0.97  # a step: the last two epochs of few pictures
# Of the start in the result. Five folds of 341 training pictures, twice, without smoothing and calibrated: 78.5 % right
# and 0.71 nats with it, 76.1 % and 0.82 nats without; with smoothing 75.2 % and 0.75 nats, 75.5 % and 0.86 nats.
BLEND = 0.5
STARTED_BATCH = 16  # at most, where fewer than FEW_STEPS of the usual batch make an epoch
FEW_STEPS = 40
FEW = 2000  # training pictures below which the courses' table says "few"
WITH_WEIGHTS = "resnet18"  # what published weights are taken for, where the network is ours to choose
ENLARGED, MOST_ENLARGED = 4, 128  # times, and pixels: how far small pictures go towards what weights were found on
SMALL_SIDE = 64  # up to here pictures are taken at their own size
LARGE_SIDE = {"cpu": 128, "gpu": 224}  # pixels; a step costs four times less at half the side


def choose_size(recipe: Recipe, facts: Facts, device: str, known: tuple[int, int] | None = None) -> tuple[int, int]:
    """(height, width): small pictures keep theirs, photographs get the usual square.

    Args: known, what the weights that a training starts from were found on: photographs get it, and smaller pictures
          are enlarged towards it, since its filters are made for things of that size.
    """
    if recipe.data.size != "auto":
        return parse_size(recipe.data.size)
    if known is not None:
        share = min(1.0, ENLARGED * max(facts.side) / max(known), MOST_ENLARGED / max(known))
        return known if max(facts.side) > SMALL_SIDE else (round(known[0] * share), round(known[1] * share))
    name = WITH_WEIGHTS if recipe.network.name == "auto" and recipe.from_weights else recipe.network.name
    smallest = 16 if name == "auto" else smallest_side(name)
    height, width = facts.side
    if max(height, width) <= SMALL_SIDE:
        scale = max(1.0, max(24, smallest) / min(height, width)) if min(height, width) < max(16, smallest) else 1.0
        return round(height * scale), round(width * scale)
    side = LARGE_SIDE["cpu" if device == "cpu" else "gpu"]
    return max(side, smallest), max(side, smallest)


def smallest_side(name: str) -> int:
    """The smallest side that a network takes; 1 for a network of the user's own."""
    return 1 if name == CUSTOM else facts_of(name).smallest


def choose_network(recipe: Recipe, size: tuple[int, int], channels: int) -> str:
    """The network that does best on this kind of picture for its time."""
    if recipe.network.name != "auto":
        return recipe.network.name
    if max(size) <= SMALL_SIDE and not recipe.from_weights:
        return "speednet_small" if channels == 1 else "speednet"
    return WITH_WEIGHTS


def usual_labels(recipe: Recipe, facts: Facts) -> dict[str, Any]:
    """The values of [training] for a recipe whose network is chosen."""
    name, asked = recipe.network.name, recipe.training
    entry = {} if name == CUSTOM else {key.partition(".")[2]: value for key, value in facts_of(name).recipe.items()}
    usual = DEFAULTS | entry
    if asked.optimizer not in ("auto", usual["optimizer"]):
        usual |= _of_optimizer(asked.optimizer)
    if recipe.from_weights:
        usual |= _started(usual, facts.pictures)
    batch = _batch(asked.batch_size, int(usual["batch_size"]), facts.pictures)
    rate = _scaled(float(usual["learning_rate"]), batch, int(usual["batch_size"]), str(usual["optimizer"]))
    epochs = usual["epochs"] if recipe.from_weights else epochs_for(int(usual["epochs"]), facts.pictures)
    balance = _class_weights(facts.counts)
    return usual | {"batch_size": batch, "learning_rate": rate, "epochs": epochs, "class_weights": balance}


def _started(usual: dict[str, Any], pictures: int) -> dict[str, Any]:
    """What differs for a network that starts from weights: it needs fewer steps, and smaller ones."""
    few = pictures < FEW_STEPS * int(usual["batch_size"])
    return {
        "learning_rate": float(usual["learning_rate"]) * STARTED[str(usual["optimizer"])],
        "epochs": epochs_started(pictures),
        "label_smoothing": 0.0 if pictures < FEW else 0.05,  # the blend makes up for answers that are too sure
        "ema": STARTED_EMA,
        "batch_size": min(STARTED_BATCH, int(usual["batch_size"])) if few else usual["batch_size"],
    }


def epochs_started(pictures: int) -> int:
    """Of a network that starts from weights."""
    least, most = EPOCHS_STARTED
    return min(most, max(least, round(PICTURES_SEEN / max(1, pictures))))


def _of_optimizer(name: Literal["sgd", "adamw", "muon"] | str) -> dict[str, Any]:
    """Rates that usually do, for an optimiser that the network's own recipe does not use."""
    return {
        "sgd": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4},
        "adamw": {"optimizer": "adamw", "learning_rate": 1e-3, "momentum": 0.9, "weight_decay": 0.05},
        "muon": {"optimizer": "muon", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    }[name]


def _batch(asked: int | str, usual: int, pictures: int) -> int:
    """The usual batch, smaller on few pictures (an epoch should have some steps); never more than there are."""
    if isinstance(asked, int):
        return min(asked, max(1, pictures))
    fitting = 1 << max(3, int(math.log2(max(1, pictures / FEWEST_STEPS))))
    return max(1, min(usual, fitting, pictures))


def _scaled(rate: float, batch: int, usual: int, optimizer: str) -> float:
    """The rate for another batch: in proportion for SGD (Goyal et al. 2017), by the root for the others, rounded."""
    rate *= (batch / usual) ** (1.0 if optimizer == "sgd" else 0.5)
    return float(f"{rate:.3g}")


def epochs_for(usual: int, pictures: int) -> int:
    """Fewer pictures are seen more often, though not in proportion."""
    return min(max(MOST_EPOCHS, usual), round(usual * max(1.0, math.sqrt(FULL_DATA / max(1, pictures)))))


def _class_weights(counts: Sequence[int]) -> str:
    """Balanced weights where the largest class has more than three times the pictures of the smallest."""
    some = [c for c in counts if c]
    return "balanced" if some and max(some) > 3 * min(some) else "none"
