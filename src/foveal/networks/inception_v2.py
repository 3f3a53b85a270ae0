"""Inception v2 (BN-Inception): the network with which batch norm was introduced.

Ioffe, Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
arXiv:1502.03167, appendix. What it changes in GoogLeNet: two 3×3 convolutions in a row for each 5×5; a third module on
the 28×28 map; mean and maximum pooling in turn; modules of stride 2 (3c, 4e) for the pooling between modules; a batch
norm behind every convolution, hence neither local response norm nor dropout [section 4.2.1]. The first convolution is
separable, with eight filters a channel [appendix, last paragraph].

The table [fig. 5] contradicts itself in modules 4c and 4d: a projection of 128 channels would give 608 where it states
576. Here the stated outputs hold (a projection of 96), as in the authors' own code. Neither reading adds up to the
13.6·10⁶ parameters of [section 4.2]; the count at the builder follows from the table. Where the paper is silent: a mean
at the border is over the pixels that exist; convolutions begin as He et al. 2015, arXiv:1502.01852, would have them.
Differs from the paper: the last pooling covers whatever map is left, so that other sizes than 224×224 work.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Stage, network

__all__ = ["Convolution", "Inception", "InceptionV2", "Reduction", "SeparableConvolution", "inception_v2"]

Row = tuple[int, int, int, int, int, int]  # [fig. 5]: #1×1, #3×3 reduce, #3×3, double reduce, double #3×3, projection


class Convolution(nn.Module):
    """A convolution, its batch norm (whose offset is the bias, [section 3.2]) and its rectifier."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class SeparableConvolution(nn.Module):
    """7×7 with stride 2, eight filters for each channel by itself, then 1×1 across all of them [appendix]."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        wide = 8 * in_channels
        self.depthwise = nn.Conv2d(in_channels, wide, 7, stride=2, padding=3, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(wide, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.pointwise(self.depthwise(x))))
        return out


class Inception(nn.Module):
    """1×1, 3×3, twice 3×3 and pooled, side by side [fig. 5]."""

    def __init__(self, in_channels: int, row: Row, pool: nn.Module) -> None:
        super().__init__()
        ones, reduce3, threes, reduce33, doubles, projected = row
        self.branch1 = Convolution(in_channels, ones, 1)
        self.branch2 = nn.Sequential(Convolution(in_channels, reduce3, 1), Convolution(reduce3, threes, 3))
        self.branch3 = nn.Sequential(
            Convolution(in_channels, reduce33, 1), Convolution(reduce33, doubles, 3), Convolution(doubles, doubles, 3)
        )
        self.branch4 = nn.Sequential(pool, Convolution(in_channels, projected, 1))
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return out


class Reduction(nn.Module):
    """A module of stride 2: 3×3, twice 3×3, and the input's maxima passed through [fig. 5, rows 3c and 4e]."""

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        _, reduce3, threes, reduce33, doubles, _ = row
        self.branch1 = nn.Sequential(Convolution(in_channels, reduce3, 1), Convolution(reduce3, threes, 3, stride=2))
        self.branch2 = nn.Sequential(
            Convolution(in_channels, reduce33, 1),
            Convolution(reduce33, doubles, 3),
            Convolution(doubles, doubles, 3, stride=2),
        )
        self.branch3 = nn.MaxPool2d(3, stride=2, padding=1)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        out: Tensor = self.concat(self.branch1(x), self.branch2(x), self.branch3(x))
        return out  # (N, threes + doubles + C, ⌈H/2⌉, ⌈W/2⌉)


class InceptionV2(nn.Module):
    """[fig. 5]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = SeparableConvolution(in_channels, 64)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = Convolution(64, 64, 1)
        self.conv3 = Convolution(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, (64, 64, 64, 64, 96, 32), _mean())
        self.inception3b = Inception(256, (64, 64, 96, 64, 96, 64), _mean())
        self.inception3c = Reduction(320, (0, 128, 160, 64, 96, 0))
        self.inception4a = Inception(576, (224, 64, 96, 96, 128, 128), _mean())
        self.inception4b = Inception(576, (192, 96, 128, 96, 128, 128), _mean())
        self.inception4c = Inception(576, (160, 128, 160, 128, 160, 96), _mean())
        self.inception4d = Inception(576, (96, 128, 192, 160, 192, 96), _mean())
        self.inception4e = Reduction(576, (0, 128, 192, 192, 256, 0))
        self.inception5a = Inception(1024, (352, 192, 320, 160, 224, 128), _mean())
        self.inception5b = Inception(1024, (352, 192, 320, 192, 224, 128), nn.MaxPool2d(3, stride=1, padding=1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852."""
        if self.fc.weight.is_meta:
            return  # only shapes are wanted
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.maxpool1(self.conv1(x))  # (N, 64, 56, 56)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (N, 192, 28, 28)
        x = self.inception3c(self.inception3b(self.inception3a(x)))  # (N, 576, 14, 14)
        x = self.inception4b(self.inception4a(x))  # (N, 576, 14, 14)
        x = self.inception4e(self.inception4d(self.inception4c(x)))  # (N, 1024, 7, 7)
        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        return logits  # (N, K)


def _mean() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


@network(
    paper="Ioffe, Szegedy 2015, arXiv:1502.03167",
    year=2015,
    smallest=7,
    natural=224,
    stages=(
        Stage("conv1", 2, 64),
        Stage("conv3", 4, 192),
        Stage("inception3b", 8, 320),
        Stage("inception4d", 16, 576),
        Stage("inception5b", 32, 1024),
    ),
    classifier="fc",
    options=("dropout",),
    block="inception3a",
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
def inception_v2(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> InceptionV2:  # 11 188 288 parameters
    """BN-Inception [fig. 5].

    A module with the row a, b → c, d → e, p of [fig. 5] has C·(a + b + d + p) + 9·(b·c + d·e + e·e) weights on C
    channels, where a and p are 0 in the modules of stride 2:

        3a    218 112    3b    259 072    3c    384 000    4a    608 256    4b      663 552
        4c    893 952    4d  1 105 920    4e  1 437 696    5a  2 179 072    5b    2 276 352

    together 10 025 984, and a gain and an offset for every channel a convolution gives, 2·9 632. The layers before have
    49·24 + 24·64 + 64·64 + 9·64·192 weights and 2·(64 + 64 + 192) for their norms, 118 040; the classifier has
    1000·(1024 + 1). That makes 11 188 288.
    """
    return InceptionV2(num_classes, in_channels, dropout)
