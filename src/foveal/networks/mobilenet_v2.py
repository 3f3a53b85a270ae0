"""MobileNet v2: thin maps between the blocks, wide ones inside, and no activation where they are thin.

Sandler, Howard, Zhu, Zhmoginov, Chen 2018, "MobileNetV2: inverted residuals and linear bottlenecks", arXiv:1801.04381.
Differs from the paper: a dropout of 0.2 before the classifier, which is of its published code and not in its text; the
classifier is a dense layer, as good as a 1×1 convolution of a 1×1 map. Names of the state dict are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Add, conv_norm
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]


class InvertedResidual(nn.Module):
    """1×1 up to t times the channels, depthwise 3×3, 1×1 down without activation [table 1, fig. 4 (d)].

    A shortcut joins the thin ends where the shape stays: an ordinary bottleneck's joins the wide ones.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        expand = [conv_norm(in_channels, wide, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_norm(wide, wide, 3, stride, groups=wide, activation=nn.ReLU6),
            nn.Conv2d(wide, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = stride == 1 and in_channels == channels
        if self.shortcut:
            self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        if self.shortcut:
            out = self.add(out, x)
        return out


BOTTLENECKS = (  # t, c, n, s: expansion, channels, how many, stride of the first [table 2]
    (1, 16, 1, 1),  # (N, 16, 112, 112) at 224×224
    (6, 24, 2, 2),  # (N, 24, 56, 56)
    (6, 32, 3, 2),  # (N, 32, 28, 28)
    (6, 64, 4, 2),  # (N, 64, 14, 14)
    (6, 96, 3, 1),  # (N, 96, 14, 14)
    (6, 160, 3, 2),  # (N, 160, 7, 7)
    (6, 320, 1, 1),  # (N, 320, 7, 7)
)


class MobileNetV2(nn.Module):
    """[table 2]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        blocks, channels = [], 32
        for t, c, n, s in BOTTLENECKS:
            for stride in [s] + [1] * (n - 1):
                blocks.append(InvertedResidual(channels, c, stride, t))
                channels = c
        self.features = nn.Sequential(
            conv_norm(in_channels, 32, 3, stride=2, activation=nn.ReLU6),
            *blocks,
            conv_norm(channels, 1280, activation=nn.ReLU6),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852, for convolutions; a classifier that begins near zero."""
        if next(self.parameters()).is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.features(x)  # (N, 1280, 7, 7)
        logits: Tensor = self.classifier(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


@network(
    paper="Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381",
    year=2018,
    smallest=1,  # every convolution pads, so that one pixel stays one pixel
    natural=224,
    stages=(
        Stage("features.1", 2, 16),
        Stage("features.3", 4, 24),
        Stage("features.6", 8, 32),
        Stage("features.13", 16, 96),
        Stage("features.18", 32, 1280),
    ),
    classifier="classifier.1",
    block="features.3",
    options=("dropout",),
    weights=Published(
        url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        sha256="b0353104",
        preprocess=imagenet(224, 256, "bilinear"),
        top1=71.878,
        source="torchvision, IMAGENET1K_V1",
    ),
    recipe={
        "training.optimizer": "sgd",
        "training.learning_rate": 0.05,
        "training.weight_decay": 4e-5,  # [section 6.1]; depthwise kernels bear little
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,
        "training.epochs": 30,
        "training.ema": 0.99,
    },
)
def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV2:  # 3 504 872 parameters
    """MobileNet v2 of width 1 [table 2]."""
    return MobileNetV2(num_classes, in_channels, dropout)
