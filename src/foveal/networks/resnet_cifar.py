"""ResNet for small pictures: the networks on which the paper measures what a shortcut is worth.

He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, section 4.2: a 3×3
convolution, then three stages of n blocks with 16, 32 and 64 maps; 6n + 2 layers. Three families differ in nothing but
what leads around a block: a shortcut without parameters (resnet20 to resnet110: the paper's), a projection where shapes
change (resnet20_b to resnet110_b), or nothing (plain20 to plain110). Differs from the paper: nothing that we know of,
but it gives no results for projections on small pictures, and leaves open where the zeros of option A lie (here behind
the maps that are copied).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from foveal.networks.blocks import Add
from foveal.networks.entry import Stage, network

__all__ = [
    "CifarResNet",
    "PlainBlock",
    "ResidualBlock",
    "ZeroPadded",
    "option_a",
    "option_b",
    "plain110",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "resnet110",
    "resnet110_b",
    "resnet20",
    "resnet20_b",
    "resnet32",
    "resnet32_b",
    "resnet44",
    "resnet44_b",
    "resnet56",
    "resnet56_b",
]

Shortcut = Callable[[int, int, int], nn.Module]  # (channels in, channels out, stride)


class ZeroPadded(nn.Module):
    """Every second pixel of every map, and behind these maps new ones of zeros [section 3.3, option A]."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C + new, ⌈H/2⌉, ⌈W/2⌉)
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def option_a(in_channels: int, channels: int, stride: int) -> nn.Module:
    """A shortcut without parameters [section 3.3, option A]."""
    same = stride == 1 and in_channels == channels
    return nn.Identity() if same else ZeroPadded(channels - in_channels, stride)


def option_b(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1×1 projection [section 3.3, option B]."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    projection = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels))


class PlainBlock(nn.Module):
    """Two 3×3 convolutions, one after the other [fig. 3, middle]."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return out


class ResidualBlock(PlainBlock):
    """The same two convolutions, as a correction to what a shortcut brings [fig. 2]."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__(in_channels, channels, stride)
        self.shortcut = shortcut(in_channels, channels, stride)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        correction = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(self.add(correction, self.shortcut(x)))
        return out


class CifarResNet(nn.Module):
    """[section 4.2, table of output map sizes]; the plain network where there is no shortcut."""

    def __init__(self, layers: int, shortcut: Shortcut | None, num_classes: int, in_channels: int) -> None:
        super().__init__()
        depth = (layers - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(depth, 16, 16, 1, shortcut)
        self.layer2 = _stage(depth, 16, 32, 2, shortcut)
        self.layer3 = _stage(depth, 32, 64, 2, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852, for all families alike: what they reach tells of the shortcut alone."""
        if self.conv1.weight.is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 16, 32, 32)
        x = self.layer3(self.layer2(self.layer1(x)))  # (N, 64, 8, 8)
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


def _stage(depth: int, in_channels: int, channels: int, stride: int, shortcut: Shortcut | None) -> nn.Sequential:
    shapes = [(in_channels, channels, stride)] + [(channels, channels, 1)] * (depth - 1)
    return nn.Sequential(*(ResidualBlock(*shape, shortcut) if shortcut else PlainBlock(*shape) for shape in shapes))


_FACTS: dict[str, Any] = {
    "paper": "He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2",
    "year": 2015,
    "smallest": 1,  # every layer pads
    "natural": 32,
    "stages": (Stage("layer1", 1, 16), Stage("layer2", 2, 32), Stage("layer3", 4, 64)),
    "classifier": "fc",
    "block": "layer2.0",
    "recipe": {
        "training.optimizer": "sgd",
        "training.learning_rate": 0.1,
        "training.weight_decay": 1e-4,
        "training.batch_size": 128,
        "training.epochs": 182,  # 64 000 steps on 45 000 pictures
    },
}


@network(**_FACTS)
def resnet20(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 269 722 parameters
    """ResNet with 20 layers, n = 3, shortcuts without parameters [table 6]."""
    return CifarResNet(20, option_a, num_classes, in_channels)


@network(**_FACTS)
def resnet32(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 464 154 parameters
    """ResNet with 32 layers, n = 5, shortcuts without parameters [table 6]."""
    return CifarResNet(32, option_a, num_classes, in_channels)


@network(**_FACTS)
def resnet44(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 658 586 parameters
    """ResNet with 44 layers, n = 7, shortcuts without parameters [table 6]."""
    return CifarResNet(44, option_a, num_classes, in_channels)


@network(**_FACTS)
def resnet56(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 853 018 parameters
    """ResNet with 56 layers, n = 9, shortcuts without parameters [table 6]."""
    return CifarResNet(56, option_a, num_classes, in_channels)


@network(**_FACTS)
def resnet110(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 1 727 962 parameters
    """ResNet with 110 layers, n = 18, shortcuts without parameters [table 6]."""
    return CifarResNet(110, option_a, num_classes, in_channels)


@network(**_FACTS)
def resnet20_b(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 272 474 parameters
    """ResNet with 20 layers and projections where shapes change."""
    return CifarResNet(20, option_b, num_classes, in_channels)


@network(**_FACTS)
def resnet32_b(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 466 906 parameters
    """ResNet with 32 layers and projections where shapes change."""
    return CifarResNet(32, option_b, num_classes, in_channels)


@network(**_FACTS)
def resnet44_b(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 661 338 parameters
    """ResNet with 44 layers and projections where shapes change."""
    return CifarResNet(44, option_b, num_classes, in_channels)


@network(**_FACTS)
def resnet56_b(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 855 770 parameters
    """ResNet with 56 layers and projections where shapes change."""
    return CifarResNet(56, option_b, num_classes, in_channels)


@network(**_FACTS)
def resnet110_b(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 1 730 714 parameters
    """ResNet with 110 layers and projections where shapes change."""
    return CifarResNet(110, option_b, num_classes, in_channels)


@network(**_FACTS)
def plain20(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 269 722 parameters
    """The 20 layers without shortcuts [fig. 6, left]."""
    return CifarResNet(20, None, num_classes, in_channels)


@network(**_FACTS)
def plain32(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 464 154 parameters
    """The 32 layers without shortcuts [fig. 6, left]."""
    return CifarResNet(32, None, num_classes, in_channels)


@network(**_FACTS)
def plain44(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 658 586 parameters
    """The 44 layers without shortcuts [fig. 6, left]."""
    return CifarResNet(44, None, num_classes, in_channels)


@network(**_FACTS)
def plain56(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 853 018 parameters
    """The 56 layers without shortcuts [fig. 6, left]."""
    return CifarResNet(56, None, num_classes, in_channels)


@network(**_FACTS)
def plain110(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:  # 1 727 962 parameters
    """The 110 layers without shortcuts, which did not learn in the paper [caption of fig. 6]."""
    return CifarResNet(110, None, num_classes, in_channels)
