"""Networks side by side: what each holds, costs and sees, and how fast it learns on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from foveal.networks.catalogue import build, find
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
    size: tuple[int, int]
    table: LayerTable
    top1: float | None  # percent, of its published weights
    arithmetic: str  # the fastest sound one here
    images_per_second: float  # of a training step in it

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "size": list(self.size),
            **self.table.as_dict()["totals"],
            "published_top1": self.top1,
            "arithmetic": self.arithmetic,
            "images_per_second": round(self.images_per_second, 2),
        }


def compare(
    names: Sequence[str], size: tuple[int, int] | None = None, channels: int = 3, progress: Progress = SILENT
) -> list[Compared]:
    """Every network at one size, or at the size that each was made for.

    Raises: BadRecipe for an unknown name, or a size that one of them cannot take.
    """
    sizes = {name: size or (find(name).natural,) * 2 for name in names}
    for name in names:
        check_size(name, sizes[name])
    with progress.task("timing", total=len(names), unit="networks") as advance:
        compared = []
        for name in names:
            compared.append(_one(name, sizes[name], channels))
            advance(1, name)
    return compared


def _one(name: str, size: tuple[int, int], channels: int) -> Compared:
    entry = find(name)
    network = build(name, 1000, channels, size)
    images = torch.randn((fitting_pictures(_BATCH, size), channels, *size), generator=torch.Generator().manual_seed(0))
    found = measure(learning(network, images), network, _BATCH, facts=["a step", *images.shape])
    speed = found.promised or 0.0
    top1 = entry.weights.top1 if entry.weights else None
    return Compared(name, size, layers(network, size, channels), top1, found.arithmetic, speed)
