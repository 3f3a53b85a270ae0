"""A notation for networks of one's own: `conv 25 3x3, pool 2, conv 50 3x3, pool 2, dense classes` is one.

It is read on the command line, in Python and in files, and says nothing about the pictures: their channels, their size
and the number of classes come in when the network is built. The grammar, where {…} is "any number of", […] "or not":

    network    = sequence
    sequence   = item {"," item} [","]
    item       = N "*" ("(" sequence ")" | item)                            each time with weights of its own
               | "residual" "(" sequence ")" [activation]                   added to its input
               | "parallel" "(" sequence {"|" sequence} ")"                 laid behind one another
               | layer
    layer      = "conv" C sides {"stride" sides | "pad" ("same" | "valid" | sides) | "dilation" sides
                                 | "groups" G | "bn" | activation}
               | ("pool" | "avgpool") sides {"stride" sides | "pad" ("same" | "valid" | sides)}
               | "global" ("avg" | "max") | "flatten" | "identity" | "dropout" P
               | "dense" (N | "classes" | "K") {"bn" | activation}
    activation = "relu" | "tanh" | "sigmoid" | "gelu" | "silu" | "linear"
    sides      = N | N "x" N                                                3, or 1x7: height, then width

Blanks and line ends count for nothing, `#` begins a comment, small and capital letters are the same. What is not said:

- a ReLU follows every convolution, every dense layer and every residual sum; another activation takes its place, and
  `linear` leaves it out. The last dense layer gives the logits, and nothing ever follows;
- a stride is 1, for a pool its window. Padding is `valid`, none. `same` puts d(f − 1) zeros around a side, which keeps
  it at stride 1 and leaves ⌈n / s⌉ at stride s; of an odd number, the last goes to the right and to the bottom;
- `bn` is a batch norm between a layer and its activation, and the layer then has no bias;
- a mean pool counts pixels alone, not the zeros around the map;
- `global` leaves one value a channel, so that nothing is left to flatten;
- a residual group whose layers change the shape gets a 1×1 projection (with a norm, where its layers have one);
- a network that does not end with a dense layer gets `dense classes`, and a `flatten` before it where that is needed.

What is printed is the shortest form of the same network, and reads back as the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path

from torch import nn

from foveal.errors import BadRecipe, shown
from foveal.files.safely import read_bytes
from foveal.networks._notation_layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Global,
    Identity,
    Layer,
    Logits,
    Pair,
    Parallel,
    Pool,
    Repeat,
    Residual,
    counted,
    joined,
)
from foveal.networks._notation_modules import Step, TooSmall, assembled, plan
from foveal.networks._notation_parser import LAYERS, layers_of, tokens_of
from foveal.networks.entry import Entry, Stage

__all__ = [
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Global",
    "Identity",
    "Layer",
    "Logits",
    "Notation",
    "Parallel",
    "Pool",
    "Repeat",
    "Residual",
    "entry",
    "is_notation",
    "parse",
    "read_notation",
]

LONGEST_TEXT = 1 << 16  # characters, comments included
LONGEST = 10_000  # characters of the printed form, which is the network's name in a model file
MOST_LAYERS = 1000  # with repetitions written out
LARGEST_SIDE = 8192  # pixels; a recipe's data.size goes no further


@dataclass(frozen=True)
class Notation:
    """A network as it was written. `str` prints it in its shortest form.

    Raises: BadRecipe when it is empty or too large.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers or isinstance(self.layers[-1], Dense):
            raise BadRecipe("a network needs a layer, and its last dense layer is its Logits.")
        if (count := counted(self.layers)) > MOST_LAYERS:
            raise BadRecipe(f"the network has {_number(count)} layers and groups; {MOST_LAYERS} are the most.")
        if len(str(self)) > LONGEST:
            raise BadRecipe(f"the network is too long: {LONGEST:,} characters are the most, repetition shortens it.")

    def __str__(self) -> str:
        return joined(self.layers)

    def build(self, num_classes: int, in_channels: int, size: Pair) -> nn.Sequential:
        """The network for pictures (in_channels, H, W) and K classes, with random weights.

        Raises: BadRecipe, naming the layer, when a map gets smaller than a window, shapes do not fit each other, the
                last dense layer counts other classes, or it would take more memory than a network should.
        """
        return assembled(plan(self.layers, num_classes, in_channels, size))

    @property
    def classes(self) -> int | None:
        """What the last dense layer says; None where it takes as many as there are."""
        last = self.layers[-1]
        return last.units if isinstance(last, Logits) else None


def parse(text: str, where: str = "network") -> Notation:
    """A network from its notation.

    Args:   where, what a complaint begins with: a file's name.
    Raises: BadRecipe with line, column, the word that stands there and the nearest one that could.
    """
    if len(text) > LONGEST_TEXT:
        raise BadRecipe(f"{where} is too long: {LONGEST_TEXT:,} characters are the most.")
    return Notation(layers_of(text, where))


def read_notation(path: str | Path) -> Notation:
    """A network from a text file. Raises: BadRecipe that begins with the file's name."""
    path = Path(path)
    raw = read_bytes(path, limit=4 * LONGEST_TEXT, what="network", error=BadRecipe)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecipe(f"{shown(path)} is not UTF-8 (byte {error.start}); save it as UTF-8 text.") from None
    return parse(text, shown(path))


def is_notation(text: str) -> bool:
    """Whether this is meant as a notation rather than as a network's name. Misspelt layers still are.

    >>> [is_notation(text) for text in ("conv 8 3x3, pool 2", "cnov 8 3x3, pool 2", "resnet 18", "resnet18")]
    [True, True, False, False]
    """
    tokens = tokens_of(text[:LONGEST_TEXT])
    if len(tokens) == 1:
        return False
    first, second = tokens[:2]
    if first.word in LAYERS or second.text in ("(", "*"):
        return True
    return second.is_number and any(token.text == "," for token in tokens)


# The record that the catalogue asks for


@lru_cache(maxsize=64)
def entry(text: str) -> Entry:
    """What the zoo's entries say of themselves, found for a notation: stages, classifier, sizes.

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


def _number(count: int) -> str:
    """A count that may have a hundred digits."""
    return f"{count:,}" if count < 10**12 else "far too many"
