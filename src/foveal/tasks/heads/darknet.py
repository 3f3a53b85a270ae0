"""Networks out of Darknet's own files: any `.cfg` of its common sections with the `.weights` that belong to it.

Sections: convolutional (groups, batch norm; linear, leaky, relu, mish, swish, logistic), maxpool, avgpool, upsample,
route (several layers, groups), shortcut, dropout, softmax, cost, yolo. A cfg that asks for anything else that would
change the result is refused; what only training reads (jitter, ignore_thresh, …) is passed over.

Pictures go in as Darknet takes them: RGB, values in [0, 1], nothing subtracted; stretched to the network's size, or
letterboxed with grey (0.5) if the weights were trained so.

Departure: batch norm divides by √(variance + 10⁻⁶), as OpenCV's reader of these files does. The Darknet programs differ
among themselves (√variance + 10⁻⁶, √(variance + 10⁻⁵)); beside a variance of ordinary size all of them are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foveal.errors import BadModel, BadRecipe, shown
from foveal.files.darknet import Section, parse_cfg, read_cfg, read_weights
from foveal.recipe import Recipe
from foveal.tasks.heads._darknet_layers import (
    Average,
    Convolution,
    Kind,
    Layer,
    Pool,
    Route,
    Same,
    Shortcut,
    Softmax,
    Upsample,
    input_shape,
    plan,
)
from foveal.tasks.heads._targets import objects_of
from foveal.tasks.heads._yolo_boxes import Priors, tensors
from foveal.tasks.heads.head import Architecture, Assigned, Floats, Labels, Surroundings
from foveal.tasks.heads.yolov3_loss import ASSIGNED, assigned_priors, yolov3_loss

__all__ = ["EPSILON", "HEAD", "DarknetNetwork", "Pair", "load_darknet", "pour"]

EPSILON = 1e-6  # of batch norm
Pair: TypeAlias = tuple[nn.Conv2d, nn.BatchNorm2d | None]


class Convolutional(nn.Module):
    """Convolution, batch norm if there is one, activation."""

    def __init__(self, kind: Convolution) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            kind.in_channels, kind.filters, kind.size, kind.stride, kind.padding, groups=kind.groups, bias=not kind.norm
        )
        self.norm = nn.BatchNorm2d(kind.filters, eps=EPSILON) if kind.norm else nn.Identity()
        self.act = _activation(kind.activation)

    @property
    def pair(self) -> Pair:
        """What the weights file holds values for."""
        return self.conv, self.norm if isinstance(self.norm, nn.BatchNorm2d) else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


def _activation(name: str) -> nn.Module:
    made: dict[str, nn.Module] = {
        "leaky": nn.LeakyReLU(0.1),
        "linear": nn.Identity(),
        "logistic": nn.Sigmoid(),
        "mish": nn.Mish(),
        "relu": nn.ReLU(),
        "swish": nn.SiLU(),
    }
    return made[name]


class MaxPool(nn.Module):
    """Max pooling whose padding may be odd: the smaller half goes before the map."""

    def __init__(self, kind: Pool) -> None:
        super().__init__()
        before, after = kind.padding // 2, kind.padding - kind.padding // 2
        self.uneven = (before, after, before, after) if before != after or after > kind.size // 2 else None
        self.pool = nn.MaxPool2d(kind.size, kind.stride, 0 if self.uneven else before)

    def forward(self, x: Tensor) -> Tensor:
        if self.uneven:
            x = functional.pad(x, self.uneven, value=float("-inf"))
        out: Tensor = self.pool(x)
        return out


class Upsampled(nn.Module):
    """Each value `stride` × `stride` times."""

    def __init__(self, kind: Upsample) -> None:
        super().__init__()
        self.nearest, self.scale = nn.Upsample(scale_factor=kind.stride, mode="nearest"), kind.scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.nearest(x)
        return out if self.scale == 1 else out * self.scale


class Joined(nn.Module):
    """Maps joined by channel, or equal parts of them."""

    def __init__(self, kind: Route) -> None:
        super().__init__()
        self.groups, self.group = kind.groups, kind.group

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [x.chunk(self.groups, dim=1)[self.group] for x in maps]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class Added(nn.Module):
    """The sum of maps, and an activation."""

    def __init__(self, kind: Shortcut) -> None:
        super().__init__()
        self.act = _activation(kind.activation)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            x = x + other
        out: Tensor = self.act(x)
        return out


class Shares(nn.Module):
    """Softmax over all values of a picture."""

    def __init__(self, kind: Softmax) -> None:
        super().__init__()
        self.temperature = kind.temperature

    def forward(self, x: Tensor) -> Tensor:
        return (x / self.temperature).flatten(1).softmax(1).view_as(x)


def _module(kind: Kind) -> nn.Module:
    match kind:
        case Convolution():
            return Convolutional(kind)
        case Pool():
            return MaxPool(kind)
        case Average():
            return nn.AdaptiveAvgPool2d(1)
        case Upsample():
            return Upsampled(kind)
        case Route():
            return Joined(kind)
        case Shortcut():
            return Added(kind)
        case Softmax():
            return Shares(kind)
        case Same(dropout=share):
            return nn.Dropout(share) if share else nn.Identity()
        case Priors():
            return nn.Identity()


class DarknetNetwork(nn.Module):
    """The network that a cfg describes, initialised at random until `load` gives it values.

    Its outputs are the raw maps (N, A·(5 + K), H, W) that its [yolo] sections read, in their order; without any, the
    one output of its last layer (for classifiers: probabilities (N, K) behind [softmax]).
    """

    ASSIGNED: ClassVar[str] = ASSIGNED

    def __init__(self, sections: Sequence[Section]) -> None:
        """
        Raises: BadModel naming the line that cannot be built; nothing is allocated before the whole cfg fits.
        """
        super().__init__()
        self.sections = list(sections)
        self.plan: tuple[Layer, ...] = plan(self.sections)
        self.channels, self.height, self.width = input_shape(self.sections[0])
        self.layers = nn.ModuleList(_module(layer.kind) for layer in self.plan)
        self._fitting = {(self.height, self.width)}
        self._last_use = {source: index for index, layer in enumerate(self.plan) for source in layer.sources}

    @property
    def values(self) -> int:
        """How many the weights file holds, batch-norm statistics counted."""
        return sum(layer.values for layer in self.plan)

    @property
    def priors(self) -> tuple[Priors, ...]:
        """How each output is read; empty for what is no detector."""
        return tuple(layer.kind for layer in self.plan if isinstance(layer.kind, Priors))

    def load(self, values: NDArray[np.float32]) -> int:
        """Take the values of a weights file, in Darknet's order. Returns how many were consumed: all of them.

        Raises: BadModel when they are not as many as the layers need, or a variance is below 0.
        """
        return pour([layer.pair for layer in self.layers if isinstance(layer, Convolutional)], values)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # (N, C, H, W)
        size = (x.shape[2], x.shape[3])
        if size not in self._fitting:
            plan(self.sections, size)  # a sentence where PyTorch would speak of tensors
            self._fitting.add(size)
        maps: dict[int, Tensor] = {-1: x}
        outputs: list[Tensor] = []
        for index, (layer, module) in enumerate(zip(self.plan, self.layers, strict=True)):
            maps[index] = module(*(maps[source] for source in layer.sources))
            if isinstance(layer.kind, Priors):
                outputs.append(maps[index])
            for source in set(layer.sources):
                if self._last_use[source] == index:
                    del maps[source]
        last = maps[len(self.plan) - 1]
        return tuple(outputs) or (last.flatten(1) if last.shape[2:] == (1, 1) else last,)

    def loss(self, outputs: Sequence[Tensor], targets: Tensor, size: tuple[int, int]) -> Tensor:
        """As of `DetectorNetwork`: box, objectness and classes of all maps."""
        return yolov3_loss(outputs, *objects_of(targets), self.priors, size).total

    def tensors(self, outputs: Sequence[Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """boxes (N, P, 4), not cut to the input, and scores (N, P, K) of the prior boxes.

        Raises: BadModel when the cfg has no [yolo] section.
        """
        if not self.priors:
            raise BadModel(f"{self.sections[0].where}: the cfg has no [yolo] section, so it finds no boxes.")
        return tensors(outputs, self.priors, size)

    def assigned(self, outputs: Sequence[Tensor], labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """For each object the prior box whose shape fits it best, and its place."""
        return assigned_priors(outputs, self.priors, labels, boxes, size)


def pour(pairs: Iterable[Pair], values: NDArray[np.float32]) -> int:
    """Fill convolutions, in the order of a cfg, with the values of a weights file; returns how many were consumed.

    For each: bias, then with batch norm scale, mean and variance (the bias is the norm's), then the weights.

    Raises: BadModel when the values are too few or too many, or a variance is below 0; nothing has changed then.
    """
    wanted = [tensor for pair in pairs for tensor in _in_order(pair)]
    need = sum(tensor.numel() for tensor, _ in wanted)
    if need != len(values):
        raise BadModel(
            f"the layers need {need} values, and the weights are {len(values)}; they do not belong together."
        )
    ends = np.cumsum([tensor.numel() for tensor, _ in wanted])
    parts = np.split(values, ends[:-1]) if wanted else []
    if any(positive and (part < 0).any() for (_, positive), part in zip(wanted, parts, strict=True)):
        raise BadModel("a variance of a batch norm is below 0: the weights belong to another network or are damaged.")
    with torch.no_grad():
        for (tensor, _), part in zip(wanted, parts, strict=True):
            tensor.copy_(torch.tensor(part).view_as(tensor))
    return int(need)


def _in_order(pair: Pair) -> list[tuple[Tensor, bool]]:
    """Tensors of a layer as a weights file orders them, and whether each must not be negative."""
    conv, norm = pair
    if norm is None:
        assert conv.bias is not None
        return [(conv.bias, False), (conv.weight, False)]
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    return [(norm.bias, False), (norm.weight, False), (mean, False), (variance, True), (conv.weight, False)]


def load_darknet(cfg: str | Path, weights: str | Path) -> DarknetNetwork:
    """The network of a cfg with its weights, ready to answer.

    Raises: BadModel when either file is none of its kind, or they do not belong together; the length of the weights
            is compared before the network takes memory.
    """
    sections = read_cfg(cfg)
    values = read_weights(weights, sum(layer.values for layer in plan(sections)))
    network = DarknetNetwork(sections)
    try:
        network.load(values)
    except BadModel as refusal:
        raise BadModel(f"{shown(weights)}: {refusal}") from None
    return network.eval()


class _Head:
    """See `heads/head.py`; such a network comes out of Darknet's files and is not laid out for a training."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        raise BadRecipe("a network from Darknet files cannot be trained here; use --detector yolov3.")

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> DarknetNetwork:
        network = DarknetNetwork(parse_cfg(built.cfg))
        if not network.priors:
            raise BadRecipe("the cfg has no [yolo] section, so it finds no boxes; a detector needs one.")
        told = {priors.classes for priors in network.priors}
        if told != {classes} or network.channels != channels:
            raise BadRecipe(
                f"the cfg is for {', '.join(map(str, sorted(told)))} classes and {network.channels} channels, and "
                f"{classes} and {channels} were expected."
            )
        return network


HEAD = _Head()
