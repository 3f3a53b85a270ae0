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

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from foveal.networks._notation_parser import LAYERS, layers_of, tokens_of

if TYPE_CHECKING:
    from torch import nn

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
    "is_notation",
    "parse",
    "read_notation",
]

LONGEST_TEXT = 1 << 16  # characters, comments included
LONGEST = 10_000  # characters of the printed form, which is the network's name in a model file
MOST_LAYERS = 1000  # with repetitions written out


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
        from foveal.networks._notation_modules import assembled, plan  # PyTorch: a notation is read without it

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


def _number(count: int) -> str:
    """A count that may have a hundred digits."""
    return f"{count:,}" if count < 10**12 else "far too many"
