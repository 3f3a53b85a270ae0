"""Inception v4: Inception's modules made uniform, one kind for each size of map.

Szegedy, Ioffe, Vanhoucke, Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual connections on
learning", arXiv:1602.07261. Differs from the paper: where a 1×7 and a 7×1 (or a 1×3 and a 3×1) follow one another,
their order is that of the published weights, not always the figures'; average pooling leaves the padding out of the
mean; dropout stands at 0.2, which the paper states as keeping 0.8. Batch norm's epsilon is 0.001, as published; of
initialisation the paper says nothing. Names of the state dict are timm's.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["PAPER", "RECIPE", "Branches", "ConvNormReLU", "InceptionV4", "he_initialise", "inception_v4"]


class ConvNormReLU(nn.Module):
    """What the figures call "Conv": a convolution, batch norm and ReLU; padded to keep the size unless marked "V"."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int] = 1,  # pixels, or (height, width)
        stride: int = 1,
        valid: bool = False,  # the figures' "V": no padding
    ) -> None:
        super().__init__()
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (0, 0) if valid else (height // 2, width // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class Branches(nn.Module):
    """Ways that all start from the same maps; what they give is laid behind one another ("filter concat")."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.names = tuple(f"branch{i}" for i in range(len(branches)))
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.concat(*(getattr(self, name)(x) for name in self.names))
        return out


class StemPool(nn.Module):
    """Max pooling beside a convolution of stride 2 [fig. 3, first fork]."""

    def __init__(self) -> None:
        super().__init__()
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.conv = ConvNormReLU(64, 96, 3, stride=2, valid=True)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, 64, 147, 147)
        out: Tensor = self.concat(self.maxpool(x), self.conv(x))
        return out  # (N, 160, 73, 73)


class StemFork(Branches):
    """A short way and one through 1×7 and 7×1, to (N, 192, 71, 71) [fig. 3, second fork]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(ConvNormReLU(160, 64), ConvNormReLU(64, 96, 3, valid=True)),
            nn.Sequential(
                ConvNormReLU(160, 64),
                ConvNormReLU(64, 64, (1, 7)),
                ConvNormReLU(64, 64, (7, 1)),
                ConvNormReLU(64, 96, 3, valid=True),
            ),
        )


class StemConv(nn.Module):
    """A convolution of stride 2 beside max pooling [fig. 3, third fork]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvNormReLU(192, 192, 3, stride=2, valid=True)
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, 192, 71, 71)
        out: Tensor = self.concat(self.conv(x), self.maxpool(x))
        return out  # (N, 384, 35, 35)


class InceptionA(Branches):
    """(N, 384, 35, 35) to the same [fig. 4]."""

    def __init__(self) -> None:
        super().__init__(
            ConvNormReLU(384, 96),
            nn.Sequential(ConvNormReLU(384, 64), ConvNormReLU(64, 96, 3)),
            nn.Sequential(ConvNormReLU(384, 64), ConvNormReLU(64, 96, 3), ConvNormReLU(96, 96, 3)),
            nn.Sequential(_average(), ConvNormReLU(384, 96)),
        )


class ReductionA(Branches):
    """From 35×35 to 17×17, for all three networks of the paper [fig. 7; k, l, m, n of table 1]."""

    def __init__(self, in_channels: int, k: int, l: int, m: int, n: int) -> None:  # noqa: E741 - table 1's letters
        super().__init__(
            ConvNormReLU(in_channels, n, 3, stride=2, valid=True),
            nn.Sequential(
                ConvNormReLU(in_channels, k), ConvNormReLU(k, l, 3), ConvNormReLU(l, m, 3, stride=2, valid=True)
            ),
            nn.MaxPool2d(3, stride=2),
        )


class InceptionB(Branches):
    """(N, 1024, 17, 17) to the same [fig. 5]."""

    def __init__(self) -> None:
        super().__init__(
            ConvNormReLU(1024, 384),
            nn.Sequential(ConvNormReLU(1024, 192), ConvNormReLU(192, 224, (1, 7)), ConvNormReLU(224, 256, (7, 1))),
            nn.Sequential(
                ConvNormReLU(1024, 192),
                ConvNormReLU(192, 192, (7, 1)),
                ConvNormReLU(192, 224, (1, 7)),
                ConvNormReLU(224, 224, (7, 1)),
                ConvNormReLU(224, 256, (1, 7)),
            ),
            nn.Sequential(_average(), ConvNormReLU(1024, 128)),
        )


class ReductionB(Branches):
    """(N, 1024, 17, 17) to (N, 1536, 8, 8) [fig. 8]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(ConvNormReLU(1024, 192), ConvNormReLU(192, 192, 3, stride=2, valid=True)),
            nn.Sequential(
                ConvNormReLU(1024, 256),
                ConvNormReLU(256, 256, (1, 7)),
                ConvNormReLU(256, 320, (7, 1)),
                ConvNormReLU(320, 320, 3, stride=2, valid=True),
            ),
            nn.MaxPool2d(3, stride=2),
        )


class InceptionC(nn.Module):
    """(N, 1536, 8, 8) to the same; two of its ways fork once more at their ends [fig. 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = ConvNormReLU(1536, 256)
        self.branch1_0 = ConvNormReLU(1536, 384)
        self.branch1_1a = ConvNormReLU(384, 256, (1, 3))
        self.branch1_1b = ConvNormReLU(384, 256, (3, 1))
        self.branch2_0 = ConvNormReLU(1536, 384)
        self.branch2_1 = ConvNormReLU(384, 448, (3, 1))
        self.branch2_2 = ConvNormReLU(448, 512, (1, 3))
        self.branch2_3a = ConvNormReLU(512, 256, (1, 3))
        self.branch2_3b = ConvNormReLU(512, 256, (3, 1))
        self.branch3 = nn.Sequential(_average(), ConvNormReLU(1536, 256))
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1_0(x)
        two = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        forks = self.branch1_1a(one), self.branch1_1b(one), self.branch2_3a(two), self.branch2_3b(two)
        out: Tensor = self.concat(self.branch0(x), *forks, self.branch3(x))
        return out


def _average() -> nn.AvgPool2d:
    """3×3 mean that keeps the size; at the edges, of the pixels that are there."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


class InceptionV4(nn.Module):
    """[fig. 9]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNormReLU(in_channels, 32, 3, stride=2, valid=True),  # (N, 32, 149, 149)
            ConvNormReLU(32, 32, 3, valid=True),  # (N, 32, 147, 147)
            ConvNormReLU(32, 64, 3),  # (N, 64, 147, 147)
            StemPool(),  # (N, 160, 73, 73)
            StemFork(),  # (N, 192, 71, 71)
            StemConv(),  # (N, 384, 35, 35)
            *(InceptionA() for _ in range(4)),
            ReductionA(384, k=192, l=224, m=256, n=384),  # (N, 1024, 17, 17)
            *(InceptionB() for _ in range(7)),
            ReductionB(),  # (N, 1536, 8, 8)
            *(InceptionC() for _ in range(3)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1536, num_classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 299, 299)
        x = self.features(x)  # (N, 1536, 8, 8)
        logits: Tensor = self.last_linear(self.dropout(self.flatten(self.avgpool(x))))
        return logits  # (N, K)


def he_initialise(trunk: nn.Module) -> None:
    """Convolutions by He et al. 2015, arXiv:1502.01852, in place: this paper states no initialisation of its own."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            if module.weight.is_meta:
                return  # only shapes are wanted; initialising what has no memory would import torch's compiler
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


PAPER = "Szegedy, Ioffe, Vanhoucke, Alemi 2016, arXiv:1602.07261"
RECIPE = {
    "training.optimizer": "sgd",
    "training.learning_rate": 0.05,
    "training.weight_decay": 1e-4,
    "training.batch_size": 64,
    "training.label_smoothing": 0.1,
    "training.epochs": 30,
    "training.ema": 0.99,  # the paper, too, judges a running average of the weights [section 4]
}


@network(
    paper=PAPER,
    year=2016,
    smallest=75,
    natural=299,
    stages=(
        Stage("features.2", 2, 64),
        Stage("features.4", 4, 192),
        Stage("features.9", 8, 384),
        Stage("features.17", 16, 1024),
        Stage("features.21", 32, 1536),
    ),
    classifier="last_linear",
    block="features.11",
    options=("dropout",),
    weights=Published(
        url="https://huggingface.co/timm/inception_v4.tf_in1k/resolve/main/model.safetensors",
        sha256="",
        preprocess=imagenet(299, 341, "bicubic", halves=True),  # 341 = ⌊299 / 0.875⌋
        top1=80.156,
        source="timm, tf_in1k",
        licence="Apache-2.0",
    ),
    recipe=RECIPE,
)
def inception_v4(
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.2,
) -> InceptionV4:  # 42 679 816 parameters
    """Inception v4: four modules at 35×35, seven at 17×17, three at 8×8 [fig. 9]."""
    return InceptionV4(num_classes, in_channels, dropout)
