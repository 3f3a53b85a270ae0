"""Darknet-53: the trunk of YOLOv3, residual blocks of a 1×1 and a 3×3 convolution.

Redmon, Farhadi 2018, "YOLOv3: an incremental improvement", arXiv:1804.02767, section 2.4 and table 1. The paper's table
leaves norm and activation out; batch norm and a leaky ReLU of slope 0.1 are what the authors' code (darknet53.cfg) has.
Differs from that code: the last layer is a linear one after the pooling (there a 1×1 convolution, which computes the
same), and norms keep PyTorch's constants.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Add
from foveal.networks.entry import Stage, network

__all__ = ["Convolution", "Darknet53", "Residual", "darknet53"]

DEPTHS = (1, 2, 8, 8, 4)  # residual blocks of each stage [table 1, left edge]


class Convolution(nn.Module):
    """Convolution, batch norm, leaky ReLU; the map keeps its side, or halves it rounding up."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.leaky = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leaky(self.norm(self.conv(x)))
        return out


class Residual(nn.Module):
    """Half the channels by 1×1, all of them again by 3×3, and the shortcut; nothing follows the sum [table 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Convolution(channels, channels // 2, kernel_size=1)
        self.wide = Convolution(channels // 2, channels, kernel_size=3)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        out: Tensor = self.add(x, self.wide(self.narrow(x)))
        return out


def _stage(channels: int, depth: int) -> nn.Sequential:
    """A convolution that halves the side and doubles the channels to `channels`, then residual blocks."""
    halving = Convolution(channels // 2, channels, kernel_size=3, stride=2)
    return nn.Sequential(halving, *(Residual(channels) for _ in range(depth)))


class Darknet53(nn.Module):
    """[table 1]"""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = Convolution(in_channels, 32, kernel_size=3)
        self.stage1 = _stage(64, DEPTHS[0])
        self.stage2 = _stage(128, DEPTHS[1])
        self.stage3 = _stage(256, DEPTHS[2])
        self.stage4 = _stage(512, DEPTHS[3])
        self.stage5 = _stage(1024, DEPTHS[4])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(1024, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Deviation √(2 / fan-in), as in the authors' code."""
        if self.fc.weight.is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 256, 256)
        x = self.stage2(self.stage1(self.stem(x)))  # (N, 128, 64, 64)
        x = self.stage3(x)  # (N, 256, 32, 32)
        x = self.stage4(x)  # (N, 512, 16, 16)
        x = self.stage5(x)  # (N, 1024, 8, 8)
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


@network(
    paper="Redmon, Farhadi 2018, arXiv:1804.02767",
    year=2018,
    smallest=1,  # every layer pads
    natural=256,
    stages=tuple(Stage(f"stage{i + 1}", 2 << i, 64 << i) for i in range(5)),
    classifier="fc",
    block="stage1.1",
    recipe={
        "training.optimizer": "sgd",
        "training.learning_rate": 0.05,
        "training.weight_decay": 5e-4,
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,
        "training.epochs": 30,
        "training.ema": 0.99,
    },
)
def darknet53(num_classes: int = 1000, in_channels: int = 3) -> Darknet53:  # 41 609 928 parameters
    """52 convolutions and a linear layer."""
    return Darknet53(num_classes, in_channels)
