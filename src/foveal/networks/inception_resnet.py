"""Inception-ResNet v1 and v2: Inception modules whose answer is a small correction of what they received.

Szegedy, Ioffe, Vanhoucke, Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual connections on
learning", arXiv:1602.07261.

v1 is built from the paper's figures 10 to 15. Differs from the paper: corrections are scaled by 0.17, 0.10 and 0.20 in
the modules of the three map sizes (section 3.3 asks for 0.1 to 0.3 and leaves open where; these are v2's published
ones), and the linear 1×1 convolutions carry a bias for a batch norm, as v2's do. No weights of it were published.
Its parameters, counting a·b·h·w + 2b for a convolution with batch norm:

    stem, 35×35×256         928 + 9 280 + 18 560 + 5 280 + 138 624 + 442 880     615 552
    5 modules A             5 · (8 256 + 17 536 + 26 816 + 24 832)               387 200
    reduction A, 17×17×896  885 504 + 824 576                                  1 710 080
    10 modules B            10 · (114 944 + 344 832 + 230 272)                 6 900 480
    reduction B, 8×8×1792   1 115 392 + 820 224 + 1 410 560                    3 346 176
    5 modules C             5 · (344 448 + 566 400 + 689 920)                  8 003 840
    classifier              1792 · 1000 + 1000                                 1 793 000
    together                                                                  22 756 328

v2 is the network that its authors published, with timm's names of the state dict, because the paper's own does not add
up: figures 17 and 19 print 1154 and 2048 channels where the reductions before them leave 384 + 384 + 384 = 1152 and
1152 + 384 + 288 + 320 = 2144. Differs from the paper: its stem is v1's up to 71×71×192, then max pooling and one plain
Inception module to 320 channels (the paper: v4's stem, to 384); 320, 1088 and 2080 channels for 384, 1154 and 2048;
10, 20 and 10 modules for 5, 10 and 5; the last of them is neither scaled nor ends with ReLU, and a 1×1 convolution to
1536 channels follows. Both drop out 0.2 before the classifier (the paper keeps 0.8).
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Add
from foveal.networks.entry import Published, Stage, imagenet, network
from foveal.networks.inception_v4 import PAPER, RECIPE, Branches, ConvNormReLU, ReductionA, he_initialise

__all__ = ["InceptionResNetV1", "InceptionResNetV2", "inception_resnet_v1", "inception_resnet_v2"]


class Scale(nn.Module):
    """Feature maps times one number [section 3.3]."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor}"


class ResidualInception(Branches):
    """Branches, a linear 1×1 convolution to the shortcut's channels, scaled, and added to it [fig. 20]."""

    def __init__(self, *branches: nn.Module, joined: int, channels: int, scale: float, relu: bool = True) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, channels, kernel_size=1)
        self.scale = Scale(scale)
        self.add = Add()
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        correction = self.scale(self.conv2d(super().forward(x)))
        out: Tensor = self.relu(self.add(correction, x))
        return out


class InceptionResNetA(ResidualInception):
    """For 35×35: 1×1, one 3×3, and two of them that widen to `b` and `c` [v1: fig. 10; v2: fig. 16]."""

    def __init__(self, channels: int, b: int, c: int) -> None:
        super().__init__(
            ConvNormReLU(channels, 32),
            nn.Sequential(ConvNormReLU(channels, 32), ConvNormReLU(32, 32, 3)),
            nn.Sequential(ConvNormReLU(channels, 32), ConvNormReLU(32, b, 3), ConvNormReLU(b, c, 3)),
            joined=64 + c,
            channels=channels,
            scale=0.17,
        )


class InceptionResNetB(ResidualInception):
    """For 17×17: 1×1 to `wide`, and `a` maps through 1×7 and 7×1 to as many [v1: fig. 11; v2: fig. 17]."""

    def __init__(self, channels: int, wide: int, a: int, b: int) -> None:
        super().__init__(
            ConvNormReLU(channels, wide),
            nn.Sequential(ConvNormReLU(channels, a), ConvNormReLU(a, b, (1, 7)), ConvNormReLU(b, wide, (7, 1))),
            joined=2 * wide,
            channels=channels,
            scale=0.10,
        )


class InceptionResNetC(ResidualInception):
    """For 8×8: 1×1, and a way through 1×3 and 3×1 that widens to `b` and `c` [v1: fig. 13; v2: fig. 19]."""

    def __init__(self, channels: int, b: int, c: int, scale: float = 0.20, relu: bool = True) -> None:
        super().__init__(
            ConvNormReLU(channels, 192),
            nn.Sequential(ConvNormReLU(channels, 192), ConvNormReLU(192, b, (1, 3)), ConvNormReLU(b, c, (3, 1))),
            joined=192 + c,
            channels=channels,
            scale=scale,
            relu=relu,
        )


class ReductionB(Branches):
    """From 17×17 to 8×8; adds 384 + b + d channels [v1: fig. 12; v2: fig. 18]."""

    def __init__(self, in_channels: int, b: int, c: int, d: int) -> None:
        super().__init__(
            nn.Sequential(ConvNormReLU(in_channels, 256), ConvNormReLU(256, 384, 3, stride=2, valid=True)),
            nn.Sequential(ConvNormReLU(in_channels, 256), ConvNormReLU(256, b, 3, stride=2, valid=True)),
            nn.Sequential(
                ConvNormReLU(in_channels, 256), ConvNormReLU(256, c, 3), ConvNormReLU(c, d, 3, stride=2, valid=True)
            ),
            nn.MaxPool2d(3, stride=2),
        )


class InceptionA(Branches):
    """(N, 192, 35, 35) to (N, 320, 35, 35): the one plain Inception module of the published v2; not in the paper."""

    def __init__(self) -> None:
        super().__init__(
            ConvNormReLU(192, 96),
            nn.Sequential(ConvNormReLU(192, 48), ConvNormReLU(48, 64, 5)),
            nn.Sequential(ConvNormReLU(192, 64), ConvNormReLU(64, 96, 3), ConvNormReLU(96, 96, 3)),
            nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), ConvNormReLU(192, 64)),
        )


class Stem(nn.Module):
    """What both networks begin with [fig. 14, without its last convolution]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv2d_1a = ConvNormReLU(in_channels, 32, 3, stride=2, valid=True)
        self.conv2d_2a = ConvNormReLU(32, 32, 3, valid=True)
        self.conv2d_2b = ConvNormReLU(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvNormReLU(64, 80)
        self.conv2d_4a = ConvNormReLU(80, 192, 3, valid=True)

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, 299, 299) -> (N, 192, 71, 71)."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))  # (N, 64, 147, 147)
        x = self.conv2d_3b(self.maxpool_3a(x))  # (N, 80, 73, 73)
        x = self.conv2d_4a(x)  # (N, 192, 71, 71)
        return x


class InceptionResNetV1(Stem):
    """[fig. 15]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__(in_channels)
        self.conv2d_4b = ConvNormReLU(192, 256, 3, stride=2, valid=True)
        self.repeat = nn.Sequential(*(InceptionResNetA(256, b=32, c=32) for _ in range(5)))
        self.mixed_6a = ReductionA(256, k=192, l=192, m=256, n=384)
        self.repeat_1 = nn.Sequential(*(InceptionResNetB(896, wide=128, a=128, b=128) for _ in range(10)))
        self.mixed_7a = ReductionB(896, b=256, c=256, d=256)
        self.repeat_2 = nn.Sequential(*(InceptionResNetC(1792, b=192, c=192) for _ in range(5)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classif = nn.Linear(1792, num_classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 299, 299)
        x = self.conv2d_4b(self.stem(x))  # (N, 256, 35, 35)
        x = self.mixed_6a(self.repeat(x))  # (N, 896, 17, 17)
        x = self.mixed_7a(self.repeat_1(x))  # (N, 1792, 8, 8)
        x = self.repeat_2(x)  # (N, 1792, 8, 8)
        logits: Tensor = self.classif(self.dropout(self.flatten(self.avgpool(x))))
        return logits  # (N, K)


class InceptionResNetV2(Stem):
    """[fig. 15, as published]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__(in_channels)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        self.mixed_5b = InceptionA()
        self.repeat = nn.Sequential(*(InceptionResNetA(320, b=48, c=64) for _ in range(10)))
        self.mixed_6a = ReductionA(320, k=256, l=256, m=384, n=384)
        self.repeat_1 = nn.Sequential(*(InceptionResNetB(1088, wide=192, a=128, b=160) for _ in range(20)))
        self.mixed_7a = ReductionB(1088, b=288, c=288, d=320)
        self.repeat_2 = nn.Sequential(*(InceptionResNetC(2080, b=224, c=256) for _ in range(9)))
        self.block8 = InceptionResNetC(2080, b=224, c=256, scale=1.0, relu=False)
        self.conv2d_7b = ConvNormReLU(2080, 1536)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classif = nn.Linear(1536, num_classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 299, 299)
        x = self.mixed_5b(self.maxpool_5a(self.stem(x)))  # (N, 320, 35, 35)
        x = self.mixed_6a(self.repeat(x))  # (N, 1088, 17, 17)
        x = self.mixed_7a(self.repeat_1(x))  # (N, 2080, 8, 8)
        x = self.conv2d_7b(self.block8(self.repeat_2(x)))  # (N, 1536, 8, 8)
        logits: Tensor = self.classif(self.dropout(self.flatten(self.avgpool(x))))
        return logits  # (N, K)


@network(
    paper=PAPER,
    year=2016,
    smallest=75,
    natural=299,
    stages=(
        Stage("conv2d_2b", 2, 64),
        Stage("conv2d_4a", 4, 192),
        Stage("repeat", 8, 256),
        Stage("repeat_1", 16, 896),
        Stage("repeat_2", 32, 1792),
    ),
    classifier="classif",
    block="repeat.0",
    options=("dropout",),
    recipe=RECIPE,
)
def inception_resnet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.2,
) -> InceptionResNetV1:  # 22 756 328 parameters
    """Inception-ResNet v1: five, ten and five modules, at the cost of Inception v3 [figs. 10 to 15]."""
    return InceptionResNetV1(num_classes, in_channels, dropout)


@network(
    paper=PAPER,
    year=2016,
    smallest=75,
    natural=299,
    stages=(
        Stage("conv2d_2b", 2, 64),
        Stage("conv2d_4a", 4, 192),
        Stage("repeat", 8, 320),
        Stage("repeat_1", 16, 1088),
        Stage("conv2d_7b", 32, 1536),
    ),
    classifier="classif",
    block="repeat.0",
    options=("dropout",),
    weights=Published(
        url="https://huggingface.co/timm/inception_resnet_v2.tf_in1k/resolve/main/model.safetensors",
        sha256="",
        preprocess=imagenet(299, 333, "bicubic", halves=True),  # 333 = ⌊299 / 0.8975⌋
        top1=80.462,
        source="timm, tf_in1k",
        licence="Apache-2.0",
    ),
    recipe=RECIPE,
)
def inception_resnet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.2,
) -> InceptionResNetV2:  # 55 843 464 parameters
    """Inception-ResNet v2: wider modules, twice as many as in the paper, as published [figs. 15 to 19]."""
    return InceptionResNetV2(num_classes, in_channels, dropout)
