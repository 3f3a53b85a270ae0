"""What the zoo's records say of themselves, found for a notation by planning it: stages, classifier, sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from itertools import zip_longest

from torch import nn

from foveal.errors import BadRecipe
from foveal.networks._notation_layers import Pair
from foveal.networks._notation_modules import Step, TooSmall, plan
from foveal.networks.entry import Entry, Stage
from foveal.networks.notation import Notation, parse

__all__ = ["entry"]

LARGEST_SIDE = 8192  # pixels; a recipe's data.size goes no further


@lru_cache(maxsize=64)
def entry(text: str) -> Entry:
    """The record of a notation.

    The name is the printed form, from which the same network is built again.
    Raises: BadRecipe, as `parse`; and where no picture of any size would do.
    """
    notation = parse(text)
    steps, smallest, natural = _probed(notation)
    groups = (step.name for step in steps if step.name.startswith(("residual", "parallel")))
    return Entry(
        name=str(notation),
        build=_builder(notation, natural),
        paper="written in foveal's notation",
        year=0,  # it has no paper
        smallest=smallest,
        natural=natural,
        stages=_stages(notation, steps, smallest),
        classifier=steps[-1].name,
        takes_size=True,
        block=next(groups, ""),
        recipe={
            "training.optimizer": "adamw",
            "training.learning_rate": 1e-3,
            "training.weight_decay": 0.01,
            "training.batch_size": 64,
            "training.clip": 1.0,  # a deep one without norms has steep places
            "training.epochs": 15,
        },
    )


def _builder(notation: Notation, natural: int) -> Callable[..., nn.Module]:
    classes = notation.classes or 10

    def build(num_classes: int = classes, in_channels: int = 3, size: Pair = (natural, natural)) -> nn.Module:
        return notation.build(num_classes, in_channels, size)

    return build


def _planned(notation: Notation, side: int, in_channels: int = 3) -> list[Step]:
    return plan(notation.layers, notation.classes or 10, in_channels, (side, side))


def _probed(notation: Notation) -> tuple[list[Step], int, int]:
    """The plan at the smallest side that will do, that side, and one whose last map is about 7×7, from 28 to 224."""
    smallest = _fitting(notation, _smallest(notation))
    steps = _planned(notation, smallest)
    stride = max(max(step.flow.stride) for step in steps)
    try:
        return steps, smallest, _fitting(notation, max(smallest, 28, min(224, 7 * stride)))
    except BadRecipe:  # so many dense weights there that only small pictures will do
        return steps, smallest, smallest


def _smallest(notation: Notation) -> int:
    """The side from which on no window is larger than its map, by halving: a larger picture never has smaller maps."""

    @cache
    def too_small(side: int) -> bool:
        try:
            _planned(notation, side)
        except TooSmall:
            return True
        except BadRecipe:
            return False
        return False

    below, side = 0, 1
    while side < LARGEST_SIDE and too_small(side):
        below, side = side, 2 * side
    while side - below > 1:
        middle = (below + side) // 2
        below, side = (middle, side) if too_small(middle) else (below, middle)
    return side


def _fitting(notation: Notation, side: int, tries: int = 32) -> int:
    """The first side from this one on that can be built: a group's sum may ask for an even one, say."""
    for candidate in range(side, side + tries):
        try:
            _planned(notation, candidate)
        except BadRecipe as error:
            refused = error
        else:
            return candidate
    raise refused


def _stages(notation: Notation, steps: list[Step], side: int) -> tuple[Stage, ...]:
    """The last module before each reduction, and the last of all that gives a map; a network without maps has its last
    hidden layer. Left out is what has more channels where the picture has more."""
    maps = [step for step in steps if step.flow.size is not None and not step.name.startswith(("pad", "global"))]
    before = [
        step for step, after in zip_longest(maps, maps[1:]) if after is None or after.flow.stride != step.flow.stride
    ]
    found = [step for step in before if max(step.flow.stride) > 1] or before or steps[:-1][-1:]
    wider = {step.name: step.flow.channels for step in _planned(notation, side, in_channels=6)}
    return tuple(
        Stage(step.name, max(step.flow.stride), step.flow.channels)
        for step in found
        if step.flow.channels == wider[step.name]
    )
