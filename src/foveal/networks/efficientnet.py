"""EfficientNet: depth, width and picture grow together, by one number.

Tan, Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv:1905.11946. A search
found B0 [table 1]; B1 to B7 are B0 with more layers, more channels and larger pictures [section 3.3]. Differs from the
paper: the multipliers are those of the published networks, which are rounded, and whose depth stays behind the rule
(B7: 3.1 times B0's, by the rule 3.6); batch norm has PyTorch's own momentum in B0 to B4 (0.1; the paper's 0.99 is
0.01 as PyTorch counts). Names of the state dict are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, NamedTuple

from torch import Tensor, nn

from foveal.networks.blocks import Add, SqueezeExcite, conv_norm, divisible
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = [
    "EfficientNet",
    "MBConv",
    "StochasticDepth",
    "compound_scaling",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]

Norm = Callable[[int], nn.Module]


def compound_scaling(phi: float) -> tuple[float, float, float]:
    """Multipliers of B0's depth, width and picture side, for 2^φ times its multiply-adds [equation 3].

    Work grows with depth · width² · side²; a grid search on B0 under α·β²·γ² ≈ 2 gave these three [section 4, step 1].

    >>> [round(multiplier, 2) for multiplier in compound_scaling(2)]  # B3 is published with 1.4, 1.2 and 300/224
    [1.44, 1.21, 1.32]
    """
    alpha, beta, gamma = 1.2, 1.1, 1.15
    return alpha**phi, beta**phi, gamma**phi


class StochasticDepth(nn.Module):
    """While training, a picture leaves a branch out with probability `p`; those that keep it see it 1/(1 − p) times.

    Huang, Sun, Liu, Sedra, Weinberger 2016, arXiv:1603.09382; there a batch drops its layers together, and what is kept
    shrinks in testing instead. Draws come from PyTorch's own generator, as those of dropout do; none in eval mode.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - self.p)
        return x * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p:.3g}"


class MBConv(nn.Module):
    """1×1 up, depthwise k×k, squeeze-and-excite, 1×1 down, and a shortcut where the shape stays [section 4].

    The inverted residual of MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381), with a gate for each channel. The
    gate's bottleneck has a quarter of the channels that enter the block, not of the expanded ones.
    """

    def __init__(
        self, in_channels: int, channels: int, expansion: int, kernel: int, stride: int, drop: float, norm: Norm
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        expand = [conv_norm(in_channels, wide, activation=nn.SiLU, norm=norm)] if expansion > 1 else []
        self.block = nn.Sequential(
            *expand,
            conv_norm(wide, wide, kernel, stride, groups=wide, activation=nn.SiLU, norm=norm),
            SqueezeExcite(wide, in_channels // 4, activation=nn.SiLU),
            conv_norm(wide, channels, norm=norm),
        )
        self.shortcut = stride == 1 and in_channels == channels
        if self.shortcut:
            self.stochastic_depth = StochasticDepth(drop)
            self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        if self.shortcut:
            out = self.add(self.stochastic_depth(out), x)
        return out


class Row(NamedTuple):
    """A stage of B0."""

    expansion: int
    kernel: int
    stride: int  # of the stage's first block
    channels: int
    layers: int


B0 = (  # [table 1, stages 2 to 8], with what comes out of them at 224×224
    Row(1, 3, 1, 16, 1),  # (N, 16, 112, 112)
    Row(6, 3, 2, 24, 2),  # (N, 24, 56, 56)
    Row(6, 5, 2, 40, 2),  # (N, 40, 28, 28)
    Row(6, 3, 2, 80, 3),  # (N, 80, 14, 14)
    Row(6, 5, 1, 112, 3),  # (N, 112, 14, 14)
    Row(6, 5, 2, 192, 4),  # (N, 192, 7, 7)
    Row(6, 3, 1, 320, 1),  # (N, 320, 7, 7)
)
DROP = 0.2  # 1 − the survival probability of 0.8 [section 5.2] that the blocks go down to from 1


class EfficientNet(nn.Module):
    """[table 1], `depth` times as many layers a stage and `width` times as many channels."""

    def __init__(
        self,
        depth: float,
        width: float,
        num_classes: int,
        in_channels: int,
        dropout: float,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        first, trunk, last = divisible(32 * width), divisible(B0[-1].channels * width), divisible(1280 * width)
        self.features = nn.Sequential(
            conv_norm(in_channels, first, 3, stride=2, activation=nn.SiLU, norm=norm),
            *_stages_of_blocks(depth, width, first, norm),
            conv_norm(trunk, last, activation=nn.SiLU, norm=norm),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        self._initialise()

    def _initialise(self) -> None:
        """Normal with variance 2/(k²·out) for convolutions, uniform within 1/√out for the classifier."""
        if next(self.parameters()).is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.uniform_(module.weight, -(module.out_features**-0.5), module.out_features**-0.5)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.features(x)  # (N, 1280, 7, 7) in B0
        logits: Tensor = self.classifier(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


def _stages_of_blocks(depth: float, width: float, in_channels: int, norm: Norm) -> list[nn.Sequential]:
    total = sum(ceil(depth * row.layers) for row in B0)
    stages, done = [], 0
    for row in B0:
        blocks: list[nn.Module] = []
        channels = divisible(row.channels * width)
        for stride in [row.stride] + [1] * (ceil(depth * row.layers) - 1):
            drop = DROP * done / total  # grows block by block [Huang et al. 2016, equation 4]
            blocks.append(MBConv(in_channels, channels, row.expansion, row.kernel, stride, drop, norm))
            in_channels, done = channels, done + 1
        stages.append(nn.Sequential(*blocks))
    return stages


def _weights(file: str, crop: int, resize: int, top1: float) -> Published:
    return Published(
        url=f"https://download.pytorch.org/models/efficientnet_{file}.pth",
        sha256=file.split("-")[1],
        preprocess=imagenet(crop, resize, "bicubic"),
        top1=top1,
        source="torchvision, IMAGENET1K_V1",
    )


def _record(width: float, natural: int, weights: Published) -> dict[str, Any]:
    """What the entries of the family say; `width` as in the builder, `natural` the paper's picture side."""
    before_strides = [(f"features.{i}", stride, B0[i - 1].channels) for i, stride in ((1, 2), (2, 4), (3, 8), (5, 16))]
    places = [*before_strides, ("features.8", 32, 1280)]
    return {
        "paper": "Tan, Le 2019, arXiv:1905.11946",
        "year": 2019,
        "smallest": 1,  # every convolution pads, so that one pixel stays one pixel
        "natural": natural,
        "stages": tuple(Stage(path, stride, divisible(channels * width)) for path, stride, channels in places),
        "classifier": "classifier.1",
        "block": "features.2.1",
        "options": ("dropout",),
        "weights": weights,
        "recipe": {
            "training.optimizer": "sgd",
            "training.learning_rate": 0.05,
            "training.weight_decay": 1e-5,  # [section 5.2]; depthwise kernels bear little
            "training.batch_size": 64,
            "training.label_smoothing": 0.1,
            "training.epochs": 30,
            "training.ema": 0.99,
        },
    }


# The published weights of B5 to B7 were trained in TensorFlow, with the paper's batch norm.
_tensorflow_norm: Norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


@network(**_record(1.0, 224, _weights("b0_rwightman-7f5810bc", crop=224, resize=256, top1=77.692)))
def efficientnet_b0(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> EfficientNet:  # 5 288 548 parameters
    """EfficientNet-B0, which the search found [table 1]."""
    return EfficientNet(1.0, 1.0, num_classes, in_channels, dropout)


@network(**_record(1.0, 240, _weights("b1_rwightman-bac287d4", crop=240, resize=256, top1=78.642)))
def efficientnet_b1(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> EfficientNet:  # 7 794 184 parameters
    """EfficientNet-B1: 1.1 times B0's depth, pictures of 240 pixels."""
    return EfficientNet(1.1, 1.0, num_classes, in_channels, dropout)


@network(**_record(1.1, 260, _weights("b2_rwightman-c35c1473", crop=288, resize=288, top1=80.608)))
def efficientnet_b2(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.3
) -> EfficientNet:  # 9 109 994 parameters
    """EfficientNet-B2: 1.2 times B0's depth, 1.1 times its width, pictures of 260 pixels (its weights: of 288)."""
    return EfficientNet(1.2, 1.1, num_classes, in_channels, dropout)


@network(**_record(1.2, 300, _weights("b3_rwightman-b3899882", crop=300, resize=320, top1=82.008)))
def efficientnet_b3(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.3
) -> EfficientNet:  # 12 233 232 parameters
    """EfficientNet-B3: 1.4 times B0's depth, 1.2 times its width, pictures of 300 pixels."""
    return EfficientNet(1.4, 1.2, num_classes, in_channels, dropout)


@network(**_record(1.4, 380, _weights("b4_rwightman-23ab8bcd", crop=380, resize=384, top1=83.384)))
def efficientnet_b4(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.4
) -> EfficientNet:  # 19 341 616 parameters
    """EfficientNet-B4: 1.8 times B0's depth, 1.4 times its width, pictures of 380 pixels."""
    return EfficientNet(1.8, 1.4, num_classes, in_channels, dropout)


@network(**_record(1.6, 456, _weights("b5_lukemelas-1a07897c", crop=456, resize=456, top1=83.444)))
def efficientnet_b5(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.4
) -> EfficientNet:  # 30 389 784 parameters
    """EfficientNet-B5: 2.2 times B0's depth, 1.6 times its width, pictures of 456 pixels."""
    return EfficientNet(2.2, 1.6, num_classes, in_channels, dropout, _tensorflow_norm)


@network(**_record(1.8, 528, _weights("b6_lukemelas-24a108a5", crop=528, resize=528, top1=84.008)))
def efficientnet_b6(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
) -> EfficientNet:  # 43 040 704 parameters
    """EfficientNet-B6: 2.6 times B0's depth, 1.8 times its width, pictures of 528 pixels."""
    return EfficientNet(2.6, 1.8, num_classes, in_channels, dropout, _tensorflow_norm)


@network(**_record(2.0, 600, _weights("b7_lukemelas-c5b4e57e", crop=600, resize=600, top1=84.122)))
def efficientnet_b7(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
) -> EfficientNet:  # 66 347 960 parameters
    """EfficientNet-B7: 3.1 times B0's depth, twice its width, pictures of 600 pixels."""
    return EfficientNet(3.1, 2.0, num_classes, in_channels, dropout, _tensorflow_norm)
