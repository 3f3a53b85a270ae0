"""The zoo as a table: names to networks. Names from outside are looked up here and nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from foveal.errors import BadRecipe, did_you_mean, shown
from foveal.networks.entry import Entry
from foveal.networks.lenet import lenet5
from foveal.networks.mlp import mlp
from foveal.networks.resnet import resnet18, resnet34, resnet50
from foveal.networks.speednet import speednet, speednet_small

__all__ = ["NETWORKS", "build", "catalogue", "check_size", "find", "forward_flops"]


def catalogue(*builders: Callable[..., nn.Module]) -> Mapping[str, Entry]:
    """Builders keyed by their own names; a name taken twice raises."""
    table: dict[str, Entry] = {}
    for builder in builders:
        entry: Entry = builder.entry  # type: ignore[attr-defined]
        if entry.name in table:
            raise ValueError(f"two networks are called {entry.name}")
        table[entry.name] = entry
    return MappingProxyType(table)


NETWORKS = catalogue(mlp, lenet5, resnet18, resnet34, resnet50, speednet, speednet_small)


def find(name: str) -> Entry:
    """The record of a name. Raises BadRecipe with the nearest name."""
    if name not in NETWORKS:
        raise BadRecipe(
            f'no such network: "{shown(name[:80])}"{did_you_mean(name[:80], NETWORKS)} (foveal networks lists all)'
        )
    return NETWORKS[name]


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raises: BadRecipe for an unknown name, or when (H, W) is below what the network can take."""
    entry = find(name)
    if min(size) < entry.smallest:
        fitting = [e.name for e in NETWORKS.values() if e.smallest <= min(size)]
        raise BadRecipe(
            f"{name} needs pictures of at least {entry.smallest}x{entry.smallest}, got {size[0]}x{size[1]}; "
            f"use --size {entry.natural}, or one of {', '.join(fitting) or 'no network here'}."
        )


def build(
    name: str, num_classes: int, in_channels: int, size: tuple[int, int], options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network with random weights, for pictures (in_channels, H, W) and K classes.

    Raises: BadRecipe for an unknown name, a size below the network's smallest, or an option that it does not have.
    """
    check_size(name, size)
    entry = find(name)
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels}
    if entry.takes_size:
        arguments["size"] = size
    if entry.auxiliary:
        arguments["aux"] = min(size) >= entry.auxiliary
    known = inspect.signature(entry.build).parameters
    for option, value in (options or {}).items():
        if option not in known:
            raise BadRecipe(f"{name} has no option {option} (it has {', '.join(entry.options) or 'none'}).")
        arguments[option] = value
    return entry.build(**arguments)


def forward_flops(name: str, num_classes: int, in_channels: int, size: tuple[int, int]) -> int:
    """Floating-point operations of one picture's forward pass (two a multiply-add), counted without computing any."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build(name, num_classes, in_channels, size).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.empty(1, in_channels, *size))
    return int(counter.get_total_flops())
