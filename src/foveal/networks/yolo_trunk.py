"""The trunk of foveal's own detector: cross-stage blocks of small residual convolutions, in three sizes.

A stage halves the side, then sends half of its channels through residual 3×3 convolutions and joins every
intermediate result (Wang et al. 2019, arXiv:1911.11929, "CSPNet"; Lee et al. 2019, arXiv:1904.09730, joins all of
them). The last stage looks around by three poolings in a row (He et al. 2014, arXiv:1406.4729, made serial). As a
classifier it ends in global pooling and a linear layer, so that it can be trained on pictures with labels first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from foveal.networks.entry import Stage, network

__all__ = ["ConvUnit", "CrossStage", "YoloTrunk", "yolo_trunk_m", "yolo_trunk_n", "yolo_trunk_s"]

WIDTHS = (16, 32, 64, 128, 256)  # channels at strides 2 to 32, of size n
DEPTHS = (1, 2, 2, 1)  # residual blocks of the stages at strides 4 to 32


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, SiLU; odd kernels keep the side, or halve it rounding up."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=False)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels // 2, 3)
        self.second = ConvUnit(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(self.first(x))
        return out


class CrossStage(nn.Module):
    """Half of the channels as they are, half through blocks, every result joined by a 1×1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.enter = ConvUnit(in_channels, out_channels)
        self.blocks = nn.ModuleList(_Residual(half) for _ in range(depth))
        self.leave = ConvUnit(out_channels + depth * half, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        out: Tensor = self.leave(torch.cat(parts, dim=1))
        return out


class _LookAround(nn.Module):
    """Largest values of 5, 9 and 13 places beside each place's own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = ConvUnit(channels, channels // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(5, stride=1, padding=2) for _ in range(3))
        self.leave = ConvUnit(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for pool in self.pools:
            parts.append(pool(parts[-1]))
        out: Tensor = self.leave(torch.cat(parts, dim=1))
        return out


class YoloTrunk(nn.Module):
    """Stages at strides 2, 4, 8, 16 and 32."""

    def __init__(self, num_classes: int, in_channels: int, width: float, depth: float) -> None:
        super().__init__()
        widths = [max(8, round(w * width / 8) * 8) for w in WIDTHS]
        depths = [max(1, round(d * depth)) for d in DEPTHS]
        self.stem = ConvUnit(in_channels, widths[0], 3, stride=2)
        before = widths[0]
        for number, (channels, blocks) in enumerate(zip(widths[1:], depths, strict=True), 1):
            halving = ConvUnit(before, channels, 3, stride=2)
            self.add_module(f"stage{number}", nn.Sequential(halving, CrossStage(channels, channels, blocks)))
            before = channels
        self.around = _LookAround(before)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.stem(x)  # (N, 16, 112, 112)
        for number in range(1, 5):
            x = self.get_submodule(f"stage{number}")(x)
        x = self.around(x)  # (N, 256, 7, 7)
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


def _record(width: float) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    channels = [max(8, round(w * width / 8) * 8) for w in WIDTHS]
    paths = ("stem", "stage1", "stage2", "stage3", "around")
    return network(
        paper="after Wang et al. 2019, arXiv:1911.11929",
        year=2019,
        smallest=32,
        natural=224,
        stages=tuple(Stage(path, 2 << i, channels[i]) for i, path in enumerate(paths)),
        classifier="fc",
        recipe={
            "training.optimizer": "adamw",
            "training.learning_rate": 2e-3,
            "training.weight_decay": 0.05,
            "training.batch_size": 64,
            "training.epochs": 40,
            "training.ema": 0.99,
        },
    )


@_record(1.0)
def yolo_trunk_n(num_classes: int = 1000, in_channels: int = 3) -> YoloTrunk:  # 1 287 400 parameters
    """The nano size."""
    return YoloTrunk(num_classes, in_channels, 1.0, 1.0)


@_record(2.0)
def yolo_trunk_s(num_classes: int = 1000, in_channels: int = 3) -> YoloTrunk:  # 4 624 360 parameters
    """Twice as wide."""
    return YoloTrunk(num_classes, in_channels, 2.0, 1.0)


@_record(3.0)
def yolo_trunk_m(num_classes: int = 1000, in_channels: int = 3) -> YoloTrunk:  # 12 676 024 parameters
    """Three times as wide, twice as deep."""
    return YoloTrunk(num_classes, in_channels, 3.0, 2.0)
