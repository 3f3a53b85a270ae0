"""ResNet: layers that learn a correction to what they receive.

He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385. Differs from the paper: the
stride of a bottleneck sits on its 3×3 convolution, so that no position of the map is skipped. Names of the state dict
are torchvision's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from foveal.networks.blocks import Add
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "resnet101", "resnet152", "resnet18", "resnet34", "resnet50"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut [fig. 5, left]."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride)
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        correction = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(self.add(correction, self.downsample(x)))
        return out


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up, and a shortcut [fig. 5, right]."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride)
        self.add = Add()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        correction = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        correction = self.bn3(self.conv3(correction))
        out: Tensor = self.relu3(self.add(correction, self.downsample(x)))
        return out


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1×1 projection [section 3.3, option B]."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class ResNet(nn.Module):
    """[table 1]"""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        wide = block.expansion
        self.layer1 = _stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = _stage(block, 64 * wide, 128, depths[1], stride=2)
        self.layer3 = _stage(block, 128 * wide, 256, depths[2], stride=2)
        self.layer4 = _stage(block, 256 * wide, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * wide, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852; the last norm of a block at zero, so that a block begins as its shortcut
        (Goyal et al. 2017, arXiv:1706.02677, section 5.1)."""
        if self.conv1.weight.is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, 56, 56)
        x = self.layer2(self.layer1(x))  # (N, 128, 28, 28) in resnet18
        x = self.layer4(self.layer3(x))  # (N, 512, 7, 7) in resnet18
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        return logits  # (N, K)


def _stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, channels: int, depth: int, stride: int
) -> nn.Sequential:
    blocks: list[nn.Module] = [block(in_channels, channels, stride)]
    blocks += [block(channels * block.expansion, channels, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _stages(wide: int) -> tuple[Stage, ...]:
    return tuple(Stage(f"layer{i + 1}", 4 << i, (64 << i) * wide) for i in range(4))


def _published(file: str, top1: float) -> Published:
    """torchvision's first set of weights, found by a training much like the paper's."""
    url = f"https://download.pytorch.org/models/{file}.pth"
    return Published(url, file[-8:], imagenet(), top1, "torchvision, IMAGENET1K_V1")


_FACTS: dict[str, Any] = {
    "paper": "He, Zhang, Ren, Sun 2015, arXiv:1512.03385",
    "year": 2015,
    "smallest": 32,
    "natural": 224,
    "classifier": "fc",
    "options": ("dropout",),
    "block": "layer1.0",
    "recipe": {
        "training.optimizer": "sgd",
        "training.learning_rate": 0.1,
        "training.weight_decay": 5e-4,
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,
        "training.epochs": 30,
        "training.ema": 0.99,
    },
}


@network(**_FACTS, stages=_stages(1), weights=_published("resnet18-f37072fd", 69.758))
def resnet18(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> ResNet:  # 11 689 512 parameters
    """ResNet with 18 layers [table 1, column 1]."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(1), weights=_published("resnet34-b627a593", 73.314))
def resnet34(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> ResNet:  # 21 797 672 parameters
    """ResNet with 34 layers [table 1, column 2]."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(4), weights=_published("resnet50-0676ba61", 76.13))
def resnet50(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> ResNet:  # 25 557 032 parameters
    """ResNet with 50 layers [table 1, column 3]."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(4), weights=_published("resnet101-63fe2227", 77.374))
def resnet101(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> ResNet:  # 44 549 160 parameters
    """ResNet with 101 layers [table 1, column 4]."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, dropout)


@network(**_FACTS, stages=_stages(4), weights=_published("resnet152-394f9c45", 78.312))
def resnet152(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> ResNet:  # 60 192 808 parameters
    """ResNet with 152 layers [table 1, column 5]."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, dropout)
