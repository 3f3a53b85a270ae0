"""What a training with boxes usually does: trunk, size and every number, for the data and the head at hand."""

from __future__ import annotations

import math
from typing import Any

from foveal.networks.index import full_name
from foveal.recipe import Recipe, parse_size
from foveal.tasks.heads import head_of
from foveal.tasks.task import Facts

__all__ = ["box_size", "trunk_name", "usual_boxes"]

TRUNK = "yolo_trunk_n"  # where none is asked for
SMALL_SIDE, LARGE_SIDE = 192, {"cpu": 320, "gpu": 640}  # pixels: smaller pictures keep their size, others get this
STEP = 32  # pixels that sides are a multiple of
STARTED_RATE = 2e-3  # where the trunk starts from weights
PICTURES_SEEN, EPOCHS = 24_000, (12, 60)  # in the whole training, and epochs between which that may lead to
BATCH, SMALL_BATCH, FEW = 32, 16, 1000  # pictures a step; the smaller one below so many training pictures
USUAL: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 0.05,
    "label_smoothing": 0.0,
    "ema": 0.99,
    "blend": 0.0,
    "clip": 10.0,
    "class_weights": "none",
}


def trunk_name(recipe: Recipe) -> str:
    """The name of the trunk that builds it again. Raises: BadRecipe with the nearest one."""
    return TRUNK if recipe.network.name == "auto" else full_name(recipe.network.name)


def box_size(recipe: Recipe, side: tuple[int, int], device: str) -> tuple[int, int]:
    """(height, width): small pictures keep theirs, made up to whole steps of the coarsest map; others a square."""
    if recipe.data.size != "auto":
        return parse_size(recipe.data.size)
    if max(side) <= SMALL_SIDE:
        return math.ceil(side[0] / STEP) * STEP, math.ceil(side[1] / STEP) * STEP
    square = LARGE_SIDE["cpu" if device == "cpu" else "gpu"]
    return square, square


def usual_boxes(recipe: Recipe, facts: Facts, head: str) -> dict[str, Any]:
    """The values of [training] for a recipe whose head is known.

    Those of the trunk's record are for labels: a trunk that learns to classify takes other steps.
    """
    usual = USUAL | ({"learning_rate": STARTED_RATE} if recipe.from_weights else {})
    usual |= head_of(head).usual(recipe, usual)
    least, most = EPOCHS
    batch = recipe.training.batch_size
    if batch == "auto":
        batch = SMALL_BATCH if facts.pictures < FEW else BATCH
    return usual | {
        "epochs": min(most, max(least, round(PICTURES_SEEN / max(1, facts.pictures)))),
        "batch_size": min(int(batch), max(1, facts.pictures)),
    }
