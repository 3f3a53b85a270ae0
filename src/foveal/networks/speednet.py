"""Speednet: a small wide network that learns pictures of about 32×32 in minutes.

The family of the CIFAR-10 speed runs: Page 2018, "How to train your ResNet" (wide groups of 3×3 convolutions, a
whitening first layer); Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, section 3
(frozen whitening, dirac initialisation, scaled head); trained with Muon (`training/optimisers.py`). Differs from the
paper: the last pooling covers whatever map is left, so that other sizes than 32×32 work; any number of input
channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.networks.entry import Stage, network

__all__ = ["Group", "Speednet", "speednet", "speednet_small", "whiten"]

_WHITEN_SIDE = 2  # pixels; the patches whose covariance the first layer removes
_WHITEN_EPSILON = 5e-4  # below this variance a direction is noise and not blown up


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm without a gain, whose running statistics follow the last few steps [section 3]."""
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3×3 convolution that begins by passing its input on [section 3.2, dirac initialisation]."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    if not conv.weight.is_meta:  # what has no memory has nothing to initialise, and would import torch's compiler
        with torch.no_grad():
            nn.init.dirac_(conv.weight[: min(in_channels, out_channels)])
    return conv


class Group(nn.Module):
    """Convolution, pooling, convolution, each with norm and GELU [figure 1]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _norm(out_channels)
        self.gelu1 = nn.GELU()
        self.conv2 = _conv(out_channels, out_channels)
        self.norm2 = _norm(out_channels)
        self.gelu2 = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        x = self.gelu1(self.norm1(self.pool(self.conv1(x))))  # (N, C', H/2, W/2)
        out: Tensor = self.gelu2(self.norm2(self.conv2(x)))
        return out


class Speednet(nn.Module):
    """Whitening, three groups, global max pooling, a linear head [figure 1]."""

    def __init__(self, num_classes: int, in_channels: int, widths: tuple[int, int, int], dropout: float) -> None:
        super().__init__()
        patch = in_channels * _WHITEN_SIDE**2
        self.whiten = nn.Conv2d(in_channels, 2 * patch, kernel_size=_WHITEN_SIDE)
        self.whiten.weight.requires_grad_(False)
        self.gelu = nn.GELU()
        self.group1 = Group(2 * patch, widths[0])
        self.group2 = Group(widths[0], widths[1])
        self.group3 = Group(widths[1], widths[2])
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[2], num_classes, bias=False)
        self.scale = 1 / widths[2]  # keeps first logits small, so that no class is preferred [section 3, "scaled head"]
        if not self.head.weight.is_meta:
            with torch.no_grad():
                self.head.weight.div_(self.head.weight.std())

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.gelu(self.whiten(x))  # (N, 24, 31, 31)
        x = self.group3(self.group2(self.group1(x)))  # (N, 256, 3, 3)
        x = self.dropout(self.flatten(self.pool(x)))  # (N, 256)
        logits: Tensor = self.head(x) * self.scale
        return logits  # (N, K)


@torch.no_grad()
def whiten(network: nn.Module, pictures: Tensor) -> None:
    """Set the first layer to the whitening of 2×2 patches of (N, C, H, W) training pictures, and its negative.

    Source: Page 2018, part "whitening"; arXiv:2404.00498, section 3.2.
    """
    assert isinstance(network, Speednet)
    conv = network.whiten
    channels, side = conv.in_channels, _WHITEN_SIDE
    patches = pictures.float().unfold(2, side, 1).unfold(3, side, 1)  # (N, C, H-1, W-1, 2, 2)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * side * side)
    covariance = flat.T @ flat / len(flat)
    variances, directions = torch.linalg.eigh(covariance.double())
    filters = directions.T / (variances + _WHITEN_EPSILON).sqrt()[:, None]
    filters = filters.reshape(-1, channels, side, side).to(conv.weight)
    conv.weight.copy_(torch.cat([filters, -filters]))


_STAGES = ("group1", "group2", "group3")
_PAPER = "Jordan 2024, arXiv:2404.00498 (after Page 2018)"
_RECIPE = {
    "training.optimizer": "muon",
    "training.learning_rate": 0.12,
    "training.momentum": 0.6,
    "training.weight_decay": 1e-3,
    "training.batch_size": 500,
    "training.label_smoothing": 0.2,
    "training.schedule": "linear",
    "training.warmup": 0.0,
}


@network(
    paper=_PAPER,
    year=2024,
    smallest=16,
    natural=32,
    classifier="head",
    options=("dropout",),
    prepare=whiten,
    stages=tuple(
        Stage(name, 2 << i, channels) for i, (name, channels) in enumerate(zip(_STAGES, (64, 256, 256), strict=True))
    ),
    recipe=_RECIPE | {"training.epochs": 9},
)
def speednet(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> Speednet:  # 1 972 792 parameters
    """The wide one, for colour pictures of about 32×32."""
    return Speednet(num_classes, in_channels, (64, 256, 256), dropout)


@network(
    paper=_PAPER,
    year=2024,
    smallest=16,
    natural=28,
    classifier="head",
    options=("dropout",),
    prepare=whiten,
    stages=tuple(
        Stage(name, 2 << i, channels) for i, (name, channels) in enumerate(zip(_STAGES, (32, 64, 128), strict=True))
    ),
    recipe=_RECIPE | {"training.epochs": 10},
)
def speednet_small(num_classes: int = 10, in_channels: int = 1, dropout: float = 0.0) -> Speednet:  # 290 216 parameters
    """The narrow one, for grey pictures of about 28×28."""
    return Speednet(num_classes, in_channels, (32, 64, 128), dropout)
