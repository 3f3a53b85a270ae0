"""DenseNet: layers that hear everything said before them in their block, and add a few maps of their own.

Huang, Liu, van der Maaten, Weinberger 2016, "Densely connected convolutional networks", arXiv:1608.06993; the form
DenseNet-BC (bottlenecks of 4k maps, transitions that halve). Differs from the paper: the first convolution is followed
by norm, ReLU and pooling, as in the authors' own code; nothing else that we know of. Names of the state dict are
torchvision's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["DenseLayer", "DenseNet", "densenet121", "densenet169", "densenet201", "without_dots"]

GROWTH = 32  # maps that a layer adds, the paper's k [table 1]
Depths = tuple[int, int, int, int]  # layers of each dense block


class DenseLayer(nn.Module):
    """What came in, and behind it the `growth` maps that a bottleneck makes of it [section 3, equation 2]."""

    def __init__(self, in_channels: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, kernel_size=1, bias=False)
        self.dropout1 = nn.Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, kernel_size=3, padding=1, bias=False)
        self.dropout2 = nn.Dropout(dropout)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        new = self.dropout1(self.conv1(self.relu1(self.norm1(x))))  # (N, 4k, H, W)
        new = self.dropout2(self.conv2(self.relu2(self.norm2(new))))  # (N, k, H, W)
        # Joined once a layer: the next one, and the gradient on its way back, find a single tensor.
        out: Tensor = self.concat(x, new)  # (N, C + k, H, W)
        return out


def _block(in_channels: int, depth: int, dropout: float) -> nn.Sequential:
    layers = [DenseLayer(in_channels + i * GROWTH, GROWTH, dropout) for i in range(depth)]
    return nn.Sequential(OrderedDict((f"denselayer{i}", layer) for i, layer in enumerate(layers, 1)))


def _transition(in_channels: int, dropout: float) -> nn.Sequential:
    """Half the maps, half the side [section 3, "pooling layers" and "compression"]."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(in_channels, in_channels // 2, kernel_size=1, bias=False),
            dropout=nn.Dropout(dropout),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(nn.Module):
    """[table 1]"""

    def __init__(self, depths: Depths, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(in_channels, 2 * GROWTH, kernel_size=7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(2 * GROWTH),
                relu0=nn.ReLU(),
                pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            )
        )
        widths = _widths(depths)
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
            self.features.add_module(f"denseblock{i}", _block(width - depth * GROWTH, depth, dropout))
            if i < len(depths):
                self.features.add_module(f"transition{i}", _transition(width, dropout))
        self.features.add_module("norm5", nn.BatchNorm2d(widths[-1]))
        self.features.add_module("relu5", nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(widths[-1], num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852 [section 4.2]."""
        if self.classifier.weight.is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.features(x)  # (N, 1024, 7, 7) in densenet121
        logits: Tensor = self.classifier(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


def _widths(depths: Depths) -> list[int]:
    """Maps at the end of each dense block: (256, 512, 1024, 1024) in densenet121."""
    widths, channels = [], 2 * GROWTH
    for depth in depths:
        widths.append(channels + depth * GROWTH)
        channels = widths[-1] // 2
    return widths


def _stages(depths: Depths) -> tuple[Stage, ...]:
    """Each block's maps after the norm and ReLU behind it: what is joined has no common scale before."""
    paths = ("transition1.relu", "transition2.relu", "transition3.relu", "relu5")
    blocks = zip(paths, _widths(depths), strict=True)
    ends = tuple(Stage(f"features.{path}", 4 << i, width) for i, (path, width) in enumerate(blocks))
    return (Stage("features.relu0", 2, 2 * GROWTH), *ends)


def without_dots(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published files' names to ours: they date from when a module's name could hold a dot (`norm.1`, `conv.2`)."""
    return {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name): value for name, value in state.items()}


def _published(file: str, top1: float) -> Published:
    url = f"https://download.pytorch.org/models/{file}.pth"
    return Published(url, file[-8:], imagenet(), top1, "torchvision, IMAGENET1K_V1", rename=without_dots)


_DEPTHS: dict[int, Depths] = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}  # [table 1]
_FACTS: dict[str, Any] = {
    "paper": "Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993",
    "year": 2016,
    "smallest": 29,  # 8x8 after the first pooling, which rounds up; the three transitions leave a pixel of it
    "natural": 224,
    "classifier": "classifier",
    "options": ("dropout",),
    "block": "features.denseblock1",
    "recipe": {
        "training.optimizer": "sgd",
        "training.learning_rate": 0.1,
        "training.weight_decay": 1e-4,
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,
        "training.epochs": 30,
        "training.ema": 0.99,
    },
}


@network(**_FACTS, stages=_stages(_DEPTHS[121]), weights=_published("densenet121-a639ec97", 74.434))
def densenet121(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> DenseNet:  # 7 978 856 parameters
    """DenseNet with 121 layers [table 1, column 1]; `dropout` after every convolution but the first [section 4.2]."""
    return DenseNet(_DEPTHS[121], num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(_DEPTHS[169]), weights=_published("densenet169-b2777c0a", 75.6))
def densenet169(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> DenseNet:  # 14 149 480 parameters
    """DenseNet with 169 layers [table 1, column 2]."""
    return DenseNet(_DEPTHS[169], num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(_DEPTHS[201]), weights=_published("densenet201-c1103571", 76.896))
def densenet201(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> DenseNet:  # 20 013 928 parameters
    """DenseNet with 201 layers [table 1, column 3]."""
    return DenseNet(_DEPTHS[201], num_classes, in_channels, dropout)
