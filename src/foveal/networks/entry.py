"""What the zoo knows of a network besides its code: a record beside each builder.

Tasks attach heads to the stages, transfer learning swaps the classifier, explainers hook both; nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn

__all__ = ["Entry", "Stage", "network"]

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class Stage:
    """A place in the trunk where feature maps can be taken."""

    module: str  # path, as `nn.Module.get_submodule` takes it
    stride: int  # pixels of the input for one step on the map
    channels: int


@dataclass(frozen=True)
class Entry:
    """A line of the catalogue."""

    name: str
    build: Callable[..., nn.Module]
    paper: str  # who, when, where
    year: int
    smallest: int  # pixels a side
    natural: int  # pixels a side it was made for
    stages: tuple[Stage, ...]
    classifier: str  # path of the last linear layer
    options: tuple[str, ...] = ()  # of "dropout", "batch_norm"
    takes_size: bool = False  # its dense layers need to know the picture's size
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what trains it well, as keys of the recipe
    prepare: Callable[[nn.Module, Tensor], None] | None = None  # first sight of (N, C, H, W) training pictures


def network(**facts: Any) -> Callable[[Builder], Builder]:
    """Write a network's record beside its builder: `@network(paper=…, year=…, …)`."""

    def remember(builder: Builder) -> Builder:
        name = builder.__name__
        builder.entry = Entry(name=name, build=builder, **facts)  # type: ignore[attr-defined]
        return builder

    return remember
