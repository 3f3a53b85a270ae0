"""Inception v3: large windows taken apart into small and one-sided ones.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, "Rethinking the Inception architecture for computer vision",
arXiv:1512.00567. Differs from the paper as the authors' own code does, with whose weights it is known: the stem has a
1×1 convolution and a max pooling where [table 1] has 3×3 convolutions, the second of stride 2; the modules on the 35×35
map keep a 5×5 branch [fig. 4] beside the two 3×3 in a row [fig. 5]; the modules that halve a map count among the five
on 17×17 and lead to the two on 8×8. The auxiliary classifier has batch norm, as in the best of the paper's networks
[table 3, "BN-auxiliary"], and its loss the weight 0.4 of that code. Where the paper is silent: dropout is 0.5, means at
the border count the padding, convolutions begin as He et al. 2015, arXiv:1502.01852, would have them. Names of the
state dict are torchvision's, whose weights saw pictures in [−1, 1].
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Published, Stage, WithAuxiliary, imagenet, network

__all__ = [
    "AuxiliaryHead",
    "Convolution",
    "Inception8",
    "Inception17",
    "Inception35",
    "InceptionV3",
    "Reduction17",
    "Reduction35",
    "inception_v3",
]

_AUXILIARY_WEIGHT = 0.4  # the authors' code; the paper names none


class Convolution(nn.Module):
    """A convolution, its batch norm and its rectifier. Nothing is padded unless `padding` says so."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class Inception35(nn.Module):
    """1×1, 5×5, twice 3×3 and a mean, side by side [fig. 4 and 5]."""

    def __init__(self, in_channels: int, projected: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(in_channels, 64, 1)
        self.branch5x5_1 = Convolution(in_channels, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(in_channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = Convolution(in_channels, projected, 1)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        out: Tensor = self.concat(self.branch1x1(x), five, double, self.branch_pool(self.pool(x)))
        return out


class Reduction35(nn.Module):
    """Halves the map and widens it in one go, so that nothing is squeezed on the way [section 5, fig. 10]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(in_channels, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        out: Tensor = self.concat(self.branch3x3(x), double, self.pool(x))
        return out


class Inception17(nn.Module):
    """7×7 taken apart into 1×7 and 7×1, once and twice in a row [section 3.2, fig. 6 with n = 7]."""

    def __init__(self, in_channels: int, middle: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(in_channels, 192, 1)
        self.branch7x7_1 = Convolution(in_channels, middle, 1)
        self.branch7x7_2 = _lying(middle, middle)
        self.branch7x7_3 = _upright(middle, 192)
        self.branch7x7dbl_1 = Convolution(in_channels, middle, 1)
        self.branch7x7dbl_2 = _upright(middle, middle)
        self.branch7x7dbl_3 = _lying(middle, middle)
        self.branch7x7dbl_4 = _upright(middle, middle)
        self.branch7x7dbl_5 = _lying(middle, 192)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = Convolution(in_channels, 192, 1)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        out: Tensor = self.concat(self.branch1x1(x), seven, double, self.branch_pool(self.pool(x)))
        return out


class Reduction17(nn.Module):
    """Halves the map as `Reduction35` does, with 1×7 and 7×1 in its second branch [section 5, fig. 10]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(in_channels, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(in_channels, 192, 1)
        self.branch7x7x3_2 = _lying(192, 192)
        self.branch7x7x3_3 = _upright(192, 192)
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        out: Tensor = self.concat(three, seven, self.pool(x))
        return out


class Inception8(nn.Module):
    """1×3 and 3×1 side by side, for many features where the map is coarsest [section 6, fig. 7]."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(in_channels, 320, 1)
        self.branch3x3_1 = Convolution(in_channels, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(in_channels, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = Convolution(in_channels, 192, 1)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        out: Tensor = self.concat(
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        )
        return out


class AuxiliaryHead(nn.Module):
    """A small classifier on the last 17×17 map, which regularises the network while it trains [section 4, fig. 8]."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = Convolution(in_channels, 128, 1)
        self.conv1 = Convolution(128, 768, 5)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (N, 768, 17, 17)
        x = self.conv1(self.conv0(self.pool(x)))  # (N, 768, 1, 1)
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


class InceptionV3(nn.Module):
    """[table 1]"""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, aux: bool) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = Inception35(192, projected=32)
        self.Mixed_5c = Inception35(256, projected=64)
        self.Mixed_5d = Inception35(288, projected=64)
        self.Mixed_6a = Reduction35(288)
        self.Mixed_6b = Inception17(768, middle=128)
        self.Mixed_6c = Inception17(768, middle=160)
        self.Mixed_6d = Inception17(768, middle=160)
        self.Mixed_6e = Inception17(768, middle=192)
        self.AuxLogits = AuxiliaryHead(768, num_classes) if aux else None
        self.Mixed_7a = Reduction17(768)
        self.Mixed_7b = Inception8(1280)
        self.Mixed_7c = Inception8(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852."""
        if self.fc.weight.is_meta:
            return  # only shapes are wanted
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:  # (N, 3, 299, 299)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (N, 64, 147, 147)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))  # (N, 192, 71, 71)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))  # (N, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # (N, 768, 17, 17)
        late = self.Mixed_6e(self.Mixed_6d(x))  # (N, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(late)))  # (N, 2048, 8, 8)
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))  # (N, K)
        if not self.training or self.AuxLogits is None:
            return logits
        return WithAuxiliary(logits, (self.AuxLogits(late),), _AUXILIARY_WEIGHT)


def _lying(in_channels: int, out_channels: int) -> Convolution:
    """Seven columns of one row."""
    return Convolution(in_channels, out_channels, (1, 7), padding=(0, 3))


def _upright(in_channels: int, out_channels: int) -> Convolution:
    """Seven rows of one column."""
    return Convolution(in_channels, out_channels, (7, 1), padding=(3, 0))


@network(
    paper="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, arXiv:1512.00567",
    year=2015,
    smallest=75,
    natural=299,
    auxiliary=299,  # below, the last 17×17 map is smaller, and what its pooling leaves is less than a 5×5 window
    stages=(
        Stage("Conv2d_2b_3x3", 2, 64),
        Stage("Conv2d_4a_3x3", 4, 192),
        Stage("Mixed_5d", 8, 288),
        Stage("Mixed_6e", 16, 768),
        Stage("Mixed_7c", 32, 2048),
    ),
    classifier="fc",
    options=("dropout",),
    block="Mixed_6b",
    weights=Published(
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        sha256="0cc3c7bd",
        preprocess=imagenet(299, 342, "bilinear", halves=True),
        top1=77.294,
        source="torchvision, IMAGENET1K_V1",
    ),
    recipe={
        "training.optimizer": "sgd",
        "training.learning_rate": 0.05,
        "training.weight_decay": 5e-4,
        "training.batch_size": 64,
        "training.label_smoothing": 0.1,  # [section 7], where it was introduced
        "training.epochs": 30,
        "training.ema": 0.99,
    },
)
def inception_v3(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, aux: bool = True
) -> InceptionV3:  # 27 161 264 parameters, of which 23 834 568 remain without `aux`
    """Inception v3 [table 1]; with `aux`, one classifier more while it trains, on pictures from 299×299."""
    return InceptionV3(num_classes, in_channels, dropout, aux)
