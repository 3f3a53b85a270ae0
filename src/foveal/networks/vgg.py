"""VGG: depth by one repeated piece, the 3×3 convolution; two of them see 5×5, three 7×7.

Simonyan, Zisserman 2014, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556. Names
of the state dict are torchvision's. Differs from the paper: an adaptive pooling before the dense layers, so that
pictures of any size pass (at 224×224 it changes nothing); He initialisation for the convolutions in place of layers
taken from a trained net A [section 3.1]; the `_bn` networks have a batch norm after each convolution, which is a year
younger than the paper (Ioffe, Szegedy 2015, arXiv:1502.03167). Columns A-LRN and C of table 1 are not built.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]

Depths = tuple[int, int, int, int, int]  # convolutions between the poolings

_WIDTHS = (64, 128, 256, 512, 512)  # maps between the poolings [table 1]
_A: Depths = (1, 1, 2, 2, 2)  # [table 1, its columns]
_B: Depths = (2, 2, 2, 2, 2)
_D: Depths = (2, 2, 3, 3, 3)
_E: Depths = (2, 2, 4, 4, 4)


class VGG(nn.Module):
    """[table 1]"""

    def __init__(self, depths: Depths, batch_norm: bool, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = _features(depths, batch_norm, in_channels)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852; in the dense layers the paper's own deviation of 0.01 [section 3.1]."""
        if next(self.parameters()).is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.avgpool(self.features(x))  # (N, 512, 7, 7)
        logits: Tensor = self.classifier(self.flatten(x))
        return logits  # (N, K)


def _features(depths: Depths, batch_norm: bool, in_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for depth, (before, width) in zip(depths, pairwise((in_channels, *_WIDTHS)), strict=True):
        for number in range(depth):
            layers.append(nn.Conv2d(width if number else before, width, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def _stages(depths: Depths, batch_norm: bool) -> tuple[Stage, ...]:
    """The last ReLU before each pooling but the first, and the last pooling."""
    stages: list[Stage] = []
    last = -1  # index in `features`
    for number, (depth, width) in enumerate(zip(depths, _WIDTHS, strict=True)):
        last += depth * (3 if batch_norm else 2)
        stages.append(Stage(f"features.{last}", 1 << number, width))
        last += 1
    return (*stages[1:], Stage(f"features.{last}", 32, _WIDTHS[-1]))


def _facts(depths: Depths, batch_norm: bool, file: str, top1: float) -> dict[str, Any]:
    """What the records of one family have in common, and the weights in torchvision's `file`."""
    return {
        "paper": "Simonyan, Zisserman 2014, arXiv:1409.1556",
        "year": 2014,
        "smallest": 32,
        "natural": 224,
        "stages": _stages(depths, batch_norm),
        "classifier": "classifier.6",
        "options": ("dropout",),
        "weights": Published(
            url=f"https://download.pytorch.org/models/{file}.pth",
            sha256=file.rpartition("-")[2],
            preprocess=imagenet(),
            top1=top1,
            source="torchvision, IMAGENET1K_V1",
        ),
        "recipe": _RECIPE_BN if batch_norm else _RECIPE,
    }


_COMMON = {"training.batch_size": 64, "training.label_smoothing": 0.1, "training.epochs": 30, "training.clip": 1.0}
_RECIPE = _COMMON | {
    "training.optimizer": "adamw",  # without norms the rates of SGD are a narrow ridge
    "training.learning_rate": 1e-4,
    "training.weight_decay": 0.01,
}
_RECIPE_BN = _COMMON | {
    "training.optimizer": "sgd",
    "training.learning_rate": 0.05,
    "training.weight_decay": 5e-4,  # [section 3.1]
    "training.ema": 0.99,
}


@network(**_facts(_A, False, "vgg11-8a719046", 69.020))
def vgg11(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 132 863 336 parameters
    """VGG with 11 layers [table 1, column A]."""
    return VGG(_A, False, num_classes, in_channels, dropout)


@network(**_facts(_B, False, "vgg13-19584684", 69.928))
def vgg13(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 133 047 848 parameters
    """VGG with 13 layers [table 1, column B]."""
    return VGG(_B, False, num_classes, in_channels, dropout)


@network(**_facts(_D, False, "vgg16-397923af", 71.592))
def vgg16(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 138 357 544 parameters
    """VGG with 16 layers [table 1, column D]."""
    return VGG(_D, False, num_classes, in_channels, dropout)


@network(**_facts(_E, False, "vgg19-dcbb9e9d", 72.376))
def vgg19(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 143 667 240 parameters
    """VGG with 19 layers [table 1, column E]."""
    return VGG(_E, False, num_classes, in_channels, dropout)


@network(**_facts(_A, True, "vgg11_bn-6002323d", 70.370))
def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 132 868 840 parameters
    """VGG with 11 layers [table 1, column A] and batch norm."""
    return VGG(_A, True, num_classes, in_channels, dropout)


@network(**_facts(_B, True, "vgg13_bn-abd245e5", 71.586))
def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 133 053 736 parameters
    """VGG with 13 layers [table 1, column B] and batch norm."""
    return VGG(_B, True, num_classes, in_channels, dropout)


@network(**_facts(_D, True, "vgg16_bn-6c64b313", 73.360))
def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 138 365 992 parameters
    """VGG with 16 layers [table 1, column D] and batch norm."""
    return VGG(_D, True, num_classes, in_channels, dropout)


@network(**_facts(_E, True, "vgg19_bn-c79401a0", 74.218))
def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:  # 143 678 248 parameters
    """VGG with 19 layers [table 1, column E] and batch norm."""
    return VGG(_E, True, num_classes, in_channels, dropout)
