"""SqueezeNet: few maps into few 3×3 filters; the accuracy of AlexNet with a fiftieth of its parameters.

Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
<0.5MB model size", arXiv:1602.07360. Names of the state dict are torchvision's. Differs from the paper: the first
convolution does not pad and gives 109×109 maps where table 1 prints 111×111, nor does conv10; poolings let their last
window reach over the edge. `squeezenet1_1` is not in the paper: its authors published it later (DeepScale/SqueezeNet,
SqueezeNet_v1.1) with a smaller first convolution and earlier poolings, at 2.4 times fewer multiply-adds. With
`linear_head` no ReLU follows conv10, so that a class can be spoken against and the head is a linear one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["Fire", "SqueezeNet", "squeezenet1_0", "squeezenet1_1"]


class Fire(nn.Module):
    """1×1 filters that squeeze, then 1×1 and 3×3 filters side by side that expand [fig. 1]."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, kernel_size=1)
        self.squeeze_relu = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeeze, expand, kernel_size=1)
        self.expand1x1_relu = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeeze, expand, kernel_size=3, padding=1)
        self.expand3x3_relu = nn.ReLU()
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, 2 · expand, H, W)
        x = self.squeeze_relu(self.squeeze(x))
        narrow, wide = self.expand1x1_relu(self.expand1x1(x)), self.expand3x3_relu(self.expand3x3(x))
        out: Tensor = self.concat(narrow, wide)
        return out


class SqueezeNet(nn.Module):
    """[table 1]"""

    def __init__(self, features: nn.Sequential, num_classes: int, dropout: float, linear_head: bool) -> None:
        super().__init__()
        self.features = features
        conv10 = nn.Conv2d(512, num_classes, kernel_size=1)
        last = nn.Identity() if linear_head else nn.ReLU()
        self.classifier = nn.Sequential(nn.Dropout(dropout), conv10, last, nn.AdaptiveAvgPool2d(1))
        self.flatten = nn.Flatten()
        self._initialise(conv10)

    def _initialise(self, last: nn.Conv2d) -> None:
        """He et al. 2015, arXiv:1502.01852; the last convolution small, so that all classes begin alike."""
        if last.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.features(x)  # (N, 512, 13, 13)
        x = self.classifier(x)  # (N, K, 1, 1): the mean of a map for each class
        logits: Tensor = self.flatten(x)
        return logits  # (N, K)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


_FACTS: dict[str, Any] = {
    "paper": "Iandola et al. 2016, arXiv:1602.07360",
    "year": 2016,
    "natural": 224,
    "classifier": "classifier.1",
    "options": ("dropout",),
    "block": "features.3",
    "recipe": {
        "training.optimizer": "adamw",  # without norms the rates of SGD are a narrow ridge
        "training.learning_rate": 5e-4,
        "training.weight_decay": 0.01,
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,
        "training.epochs": 30,
        "training.clip": 1.0,
    },
}


def _published(file: str, top1: float) -> Published:
    return Published(
        url=f"https://download.pytorch.org/models/{file}.pth",
        sha256=file.rpartition("-")[2],
        preprocess=imagenet(),
        top1=top1,
        source="torchvision, IMAGENET1K_V1",
    )


@network(
    smallest=21,
    # None at stride 2: the first convolution's map is three short of half the picture.
    stages=(Stage("features.5", 4, 256), Stage("features.10", 8, 512), Stage("features.12", 16, 512)),
    weights=_published("squeezenet1_0-b66bff10", 58.092),
    **_FACTS,
)
def squeezenet1_0(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, linear_head: bool = False
) -> SqueezeNet:  # 1 248 424 parameters
    """SqueezeNet as the paper has it [table 1]."""
    features = nn.Sequential(
        nn.Conv2d(in_channels, 96, kernel_size=7, stride=2),
        nn.ReLU(),
        _pool(),
        Fire(96, 16, 64),
        Fire(128, 16, 64),
        Fire(128, 32, 128),
        _pool(),
        Fire(256, 32, 128),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        _pool(),
        Fire(512, 64, 256),
    )
    return SqueezeNet(features, num_classes, dropout, linear_head)


@network(
    smallest=17,
    stages=(
        Stage("features.1", 2, 64),
        Stage("features.4", 4, 128),
        Stage("features.7", 8, 256),
        Stage("features.12", 16, 512),
    ),
    weights=_published("squeezenet1_1-b8a52dc0", 58.178),
    **_FACTS,
)
def squeezenet1_1(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, linear_head: bool = False
) -> SqueezeNet:  # 1 235 496 parameters
    """SqueezeNet with a smaller first convolution and earlier poolings [SqueezeNet_v1.1]."""
    features = nn.Sequential(
        nn.Conv2d(in_channels, 64, kernel_size=3, stride=2),
        nn.ReLU(),
        _pool(),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        _pool(),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        _pool(),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )
    return SqueezeNet(features, num_classes, dropout, linear_head)
