"""What a network's notation is made of: each layer a small value that prints as it is written.

Numbers that must agree with one another are checked here, at birth (ValueError); how large one may be is checked where
it is read, so that the complaint can point at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ACTIVATIONS",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Global",
    "Identity",
    "Layer",
    "Logits",
    "Pad",
    "Pair",
    "Parallel",
    "Pool",
    "Repeat",
    "Residual",
    "counted",
    "joined",
    "unrolled",
]

Pair = tuple[int, int]  # (height, width)
Pad = Pair | Literal["same"]  # zeros at each end of a side; "same": as many as keep it at stride 1

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "linear")  # relu where nothing is said; linear: none


@dataclass(frozen=True)
class Conv:
    """`conv 25 3x3`: filters that slide over the map, a norm where `bn` is written, an activation."""

    channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pad = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bn: bool = False
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.channels % self.groups:
            raise ValueError(f"{self.channels} channels cannot be shared out evenly among {self.groups} groups")

    def __str__(self) -> str:
        height, width = self.kernel
        words = [f"conv {self.channels} {height}x{width}"]
        words += _unless((1, 1), stride=self.stride) + _unless((0, 0), pad=self.pad)
        words += _unless((1, 1), dilation=self.dilation) + _unless(1, groups=self.groups)
        return " ".join(words + _behind(self.bn, self.activation))


@dataclass(frozen=True)
class Pool:
    """`pool 2`, `avgpool 3 stride 2 pad 1`: the largest or the mean of each window."""

    kind: Literal["pool", "avgpool"]
    window: Pair
    stride: Pair
    pad: Pad = (0, 0)

    def __post_init__(self) -> None:
        if self.pad == "same":
            if any(side % 2 == 0 for side in self.window):
                raise ValueError('"pad same" asks a pool for an odd window, such as 3: an even one has no middle')
        elif any(2 * pad > side for pad, side in zip(self.pad, self.window, strict=True)):
            raise ValueError("the padding of a pool can be half of its window at most")

    def __str__(self) -> str:
        words = [f"{self.kind} {_sides(self.window)}"]
        return " ".join(words + _unless(self.window, stride=self.stride) + _unless((0, 0), pad=self.pad))


@dataclass(frozen=True)
class Global:
    """`global avg`, `global max`: one value a channel. Its result is flat."""

    kind: Literal["avg", "max"]

    def __str__(self) -> str:
        return f"global {self.kind}"


@dataclass(frozen=True)
class Flatten:
    """`flatten`: a map's values in a row."""

    def __str__(self) -> str:
        return "flatten"


@dataclass(frozen=True)
class Identity:
    """`identity`: what comes in goes out; for a branch that only hands on."""

    def __str__(self) -> str:
        return "identity"


@dataclass(frozen=True)
class Dense:
    """`dense 100`: every value joined to every unit; a hidden layer."""

    units: int
    bn: bool = False
    activation: str = "relu"

    def __str__(self) -> str:
        return " ".join([f"dense {self.units}", *_behind(self.bn, self.activation)])


@dataclass(frozen=True)
class Logits:
    """`dense 10` or `dense classes` at the end: a value a class, and nothing behind it."""

    units: int | None  # None: as many as there are classes

    def __str__(self) -> str:
        return f"dense {'classes' if self.units is None else self.units}"


@dataclass(frozen=True)
class Dropout:
    """`dropout 0.5`: the share of the values that is set to zero in training."""

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"the share to drop must be at least 0 and below 1, is {self.share:g}")
        if round(self.share, 6) != self.share:
            raise ValueError("the share to drop may have six decimals at most")

    def __str__(self) -> str:
        return f"dropout {f'{self.share:.6f}'.rstrip('0').rstrip('.')}"


@dataclass(frozen=True)
class Residual:
    """`residual(…)`: the layers' result added to their input, and an activation behind the sum."""

    layers: tuple[Layer, ...]
    activation: str = "relu"

    def __str__(self) -> str:
        return " ".join([f"residual({joined(self.layers)})", *_behind(False, self.activation)])


@dataclass(frozen=True)
class Parallel:
    """`parallel(… | …)`: branches that see the same input, laid behind one another along the channels."""

    branches: tuple[tuple[Layer, ...], ...]

    def __str__(self) -> str:
        return f"parallel({' | '.join(map(joined, self.branches))})"


@dataclass(frozen=True)
class Repeat:
    """`3 * (…)`: the layers so many times, each time with weights of its own."""

    times: int
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        return f"{self.times} * ({joined(self.layers)})"


Layer = Conv | Pool | Global | Flatten | Identity | Dense | Logits | Dropout | Residual | Parallel | Repeat


def joined(layers: Iterable[Layer]) -> str:
    """Layers as they are written."""
    return ", ".join(map(str, layers))


def unrolled(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers with every repetition outside groups written out."""
    for layer in layers:
        if isinstance(layer, Repeat):
            for _ in range(layer.times):
                yield from unrolled(layer.layers)
        else:
            yield layer


def counted(layers: Iterable[Layer]) -> int:
    """How many layers and groups there are once every repetition is written out; nothing is."""
    return sum(map(_count, layers))


def _count(layer: Layer) -> int:
    if isinstance(layer, Repeat):
        return layer.times * counted(layer.layers)
    if isinstance(layer, Residual):
        return 1 + counted(layer.layers)
    if isinstance(layer, Parallel):
        return 1 + sum(map(counted, layer.branches))
    return 1


def _sides(sides: Pad | int) -> str:
    """One number for a square."""
    if isinstance(sides, tuple):
        return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"
    return str(sides)


def _unless(default: Pair | int, **option: Pad | int) -> list[str]:
    """An option's word and value, where it is not the default."""
    return [f"{word} {_sides(value)}" for word, value in option.items() if value != default]


def _behind(bn: bool, activation: str) -> list[str]:
    return ["bn"] * bn + [activation] * (activation != "relu")
