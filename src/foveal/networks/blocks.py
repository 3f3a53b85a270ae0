"""Pieces that more than one paper uses; sums, products and joins are modules, so that any of them can be observed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Add", "Concat", "Multiply", "SqueezeExcite", "conv_norm", "divisible"]


class Add(nn.Module):
    """The sum of feature maps of one shape: a shortcut's addition."""

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:  # (N, C, H, W) each
        for other in others:
            x = x + other
        return x


class Concat(nn.Module):
    """Feature maps laid behind one another along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:  # (N, Cᵢ, H, W) each -> (N, ΣCᵢ, H, W)
        return torch.cat(maps, dim=1)


class Multiply(nn.Module):
    """Feature maps times a gate for each channel: what squeeze-and-excite ends with."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # (N, C, H, W), (N, C, 1, 1)
        return x * gate


class SqueezeExcite(nn.Module):
    """A gate for each channel, reckoned from the means of all channels by two dense layers with a bottleneck between.

    Hu, Shen, Sun 2017, arXiv:1709.01507 [equations 2 to 4]. The dense layers are 1×1 convolutions of a 1×1 map.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, kernel_size=1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(squeezed, channels, kernel_size=1)
        self.gate = gate()
        self.multiply = Multiply()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        squeezed = self.activation(self.fc1(self.avgpool(x)))  # (N, squeezed, 1, 1)
        out: Tensor = self.multiply(x, self.gate(self.fc2(squeezed)))
        return out  # (N, C, H, W)


def conv_norm(
    in_channels: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = None,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """A convolution (odd kernel; the map keeps its size at stride 1), its norm and, if one is given, an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        norm(channels),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of `by`, but never more than a tenth below: how the mobile networks round their channels.

    >>> divisible(18), divisible(35.2), divisible(2)
    (24, 32, 8)
    """
    nearest = max(by, int(channels + by / 2) // by * by)
    return nearest if nearest >= 0.9 * channels else nearest + by
