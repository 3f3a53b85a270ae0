"""The zoo as a table: names to networks. Names from outside are looked up here and nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import nn

from foveal.errors import BadRecipe, check_kind
from foveal.networks import _notation_record, notation, timm_names
from foveal.networks._asked import check_numbers, sides_of
from foveal.networks.alexnet import alexnet, alexnet_2012
from foveal.networks.darknet import darknet53
from foveal.networks.densenet import densenet121, densenet169, densenet201
from foveal.networks.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from foveal.networks.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
    efficientnet_lite3,
    efficientnet_lite4,
)
from foveal.networks.entry import Entry
from foveal.networks.googlenet import googlenet, googlenet_2014
from foveal.networks.inception_resnet import inception_resnet_v1, inception_resnet_v2
from foveal.networks.inception_v2 import inception_v2
from foveal.networks.inception_v3 import inception_v3
from foveal.networks.inception_v4 import inception_v4
from foveal.networks.index import Facts, check_fits, full_name, unknown
from foveal.networks.lenet import lenet5
from foveal.networks.lenet_1998 import lenet5_1998
from foveal.networks.mlp import mlp
from foveal.networks.mobilenet_v2 import mobilenet_v2
from foveal.networks.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from foveal.networks.nin import nin
from foveal.networks.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from foveal.networks.resnet_cifar import (
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet20,
    resnet20_b,
    resnet32,
    resnet32_b,
    resnet44,
    resnet44_b,
    resnet56,
    resnet56_b,
    resnet110,
    resnet110_b,
)
from foveal.networks.speednet import speednet, speednet_small
from foveal.networks.squeezenet import squeezenet1_0, squeezenet1_1
from foveal.networks.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from foveal.networks.yolo_trunk import yolo_trunk_m, yolo_trunk_n, yolo_trunk_s

if TYPE_CHECKING:
    from foveal.networks.layers import LayerTable

__all__ = ["NETWORKS", "build", "catalogue", "find", "forward_flops", "full_name", "shape_of", "table_of"]


def catalogue(*builders: Callable[..., nn.Module]) -> Mapping[str, Entry]:
    """Builders keyed by their own names; a name taken twice raises."""
    table: dict[str, Entry] = {}
    for builder in builders:
        entry: Entry = builder.entry  # type: ignore[attr-defined]
        if entry.name in table:
            raise ValueError(f"two networks are called {entry.name}")
        table[entry.name] = entry
    return MappingProxyType(table)


# One paper a line, in the order of history.
NETWORKS = catalogue(
    mlp,
    lenet5_1998, lenet5,
    alexnet_2012, alexnet,
    nin,
    vgg11, vgg13, vgg16, vgg19, vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn,
    googlenet_2014, googlenet,
    inception_v2,
    inception_v3,
    resnet18, resnet34, resnet50, resnet101, resnet152,
    resnet20, resnet32, resnet44, resnet56, resnet110,
    resnet20_b, resnet32_b, resnet44_b, resnet56_b, resnet110_b,
    plain20, plain32, plain44, plain56, plain110,
    squeezenet1_0, squeezenet1_1,
    inception_v4, inception_resnet_v1, inception_resnet_v2,
    densenet121, densenet169, densenet201,
    mobilenet_v2,
    darknet53,
    mobilenet_v3_small, mobilenet_v3_large,
    efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3,
    efficientnet_b4, efficientnet_b5, efficientnet_b6, efficientnet_b7,
    efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, efficientnet_lite3, efficientnet_lite4,
    speednet, speednet_small,
    yolo_trunk_n, yolo_trunk_s, yolo_trunk_m,
)  # fmt: skip


def find(name: str) -> Entry:
    """The record of a name, of a notation, or of a timm network. Raises BadRecipe with the nearest name."""
    if name not in NETWORKS:
        if name.startswith(timm_names.PREFIX):
            return timm_names.entry_of(name)
        if notation.is_notation(name):
            return _notation_record.entry(name)
        raise unknown(name)
    return NETWORKS[name]


def build(
    name: str, num_classes: int, in_channels: int, size: int | tuple[int, int], options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network with random weights, for pictures (in_channels, H, W) and K classes.

    Args:   size: (H, W) in pixels, or one number for both. options: of the network's builder, such as dropout.
    Raises: BadRecipe for an unknown name, a size below the network's smallest, an option that it does not have, and for
            numbers that are none.

    >>> foveal.build("lenet5", num_classes=10, in_channels=1, size=28)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    check_kind(name, str, "a network is a name of the catalogue", BadRecipe)
    check_numbers(num_classes=num_classes, in_channels=in_channels)
    size = sides_of(size)
    check_kind(options, Mapping | None, "options are a mapping, option -> value", BadRecipe)
    entry = find(name)
    check_fits(Facts.of(entry), size)
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


@dataclass(frozen=True)
class Shape:
    """What goes into a network and what comes out."""

    size: tuple[int, int]  # (H, W) pixels
    channels: int
    classes: int


def shape_of(
    name: str, size: tuple[int, int] | None = None, in_channels: int | None = None, num_classes: int | None = None
) -> Shape:
    """What a name is built for: what is not given is what the network was made for. Raises: BadRecipe as `find`."""
    entry = find(name)
    usual = {key: parameter.default for key, parameter in inspect.signature(entry.build).parameters.items()}
    size = size or (entry.natural, entry.natural)
    return Shape(size, in_channels or usual["in_channels"], num_classes or usual["num_classes"])


def table_of(
    name: str, size: tuple[int, int] | None = None, in_channels: int | None = None, num_classes: int | None = None
) -> LayerTable:
    """The layer table of a name: what is not given is what the network was made for.

    Raises: BadRecipe as `build` does.
    """
    import torch

    from foveal.networks.layers import layers

    shape = shape_of(name, size, in_channels, num_classes)
    with torch.device("meta"):
        network = build(name, shape.classes, shape.channels, shape.size)
    return layers(network, shape.size, shape.channels)
