"""Networks side by side: what each holds, costs and sees, and how fast it learns on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from foveal.networks.catalogue import Shape, build, find, shape_of
from foveal.networks.facts import check_size
from foveal.networks.layers import LayerTable, layers
from foveal.progress import SILENT, Progress
from foveal.training.measuring import measure
from foveal.training.trials import fitting_pictures, learning

__all__ = ["Compared", "compare"]

_BATCH = 8  # pictures a step of the timing


@dataclass(frozen=True)
class Compared:
    """One network of a comparison."""

    name: str
    shape: Shape
    table: LayerTable
    top1: float | None  # percent, of its published weights
    arithmetic: str  # the fastest sound one here
    images_per_second: float  # of a training step in it

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "size": list(self.shape.size),
            "channels": self.shape.channels,
            "classes": self.shape.classes,
            **self.table.as_dict()["totals"],
            "published_top1": self.top1,
            "arithmetic": self.arithmetic,
            "images_per_second": round(self.images_per_second, 2),
        }


def compare(
    names: Sequence[str],
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    classes: int | None = None,
    progress: Progress = SILENT,
) -> list[Compared]:
    """Every network with one size, number of channels and of classes, each of which is its own where none is given.

    Raises: BadRecipe for an unknown name, or a size that one of them cannot take.
    """
    shapes = {name: shape_of(name, size, channels, classes) for name in names}
    for name in names:
        check_size(name, shapes[name].size)
    with progress.task("timing", total=len(names), unit="networks") as advance:
        compared = []
        for name in names:
            compared.append(_one(name, shapes[name]))
            advance(1, name)
    return compared


def _one(name: str, shape: Shape) -> Compared:
    entry, size, C = find(name), shape.size, shape.channels
    network = build(name, shape.classes, C, size)
    images = torch.randn((fitting_pictures(_BATCH, size), C, *size), generator=torch.Generator().manual_seed(0))
    found = measure(learning(network, images), network, _BATCH, facts=["a step", *images.shape])
    speed = found.promised or 0.0
    top1 = entry.weights.top1 if entry.weights else None
    return Compared(name, shape, layers(network, size, C), top1, found.arithmetic, speed)
