"""MobileNet v3: v2's blocks, laid out by a search, with a gate for each channel and activations that cost little.

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam 2019, "Searching for MobileNetV3",
arXiv:1905.02244. Differs from the paper: the small network's last convolution has no squeeze-and-excite, though table 2
ticks it (the 2.5 million parameters of table 3 come out without: it would add 0.17 million); a gate's bottleneck, a
quarter of the expanded channels, is rounded to a multiple of 8; convolutions of a 1×1 map are dense layers. Names of
the state dict are torchvision's.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from foveal.networks.blocks import Add, SqueezeExcite, conv_norm, divisible
from foveal.networks.entry import Published, Stage, imagenet, network

__all__ = ["InvertedResidual", "MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"]

RE, HS = nn.ReLU, nn.Hardswish  # h-swish: x · ReLU6(x + 3)/6 [section 5.2]
_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # "average decay of 0.99" [section 6.1]


class Row(NamedTuple):
    """A line "bneck" of table 1 or 2."""

    kernel: int
    wide: int  # "exp size"
    channels: int  # "#out"
    gated: bool  # "SE"
    activation: type[nn.Module]  # "NL"
    stride: int


LARGE = (  # [table 1], with what comes out at 224×224
    Row(3, 16, 16, False, RE, 1),  # (N, 16, 112, 112)
    Row(3, 64, 24, False, RE, 2),  # (N, 24, 56, 56)
    Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2),  # (N, 40, 28, 28)
    Row(5, 120, 40, True, RE, 1),
    Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2),  # (N, 80, 14, 14)
    Row(3, 200, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1),  # (N, 112, 14, 14)
    Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2),  # (N, 160, 7, 7)
    Row(5, 960, 160, True, HS, 1),
    Row(5, 960, 160, True, HS, 1),
)
SMALL = (  # [table 2]
    Row(3, 16, 16, True, RE, 2),  # (N, 16, 56, 56)
    Row(3, 72, 24, False, RE, 2),  # (N, 24, 28, 28)
    Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2),  # (N, 40, 14, 14)
    Row(5, 240, 40, True, HS, 1),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1),  # (N, 48, 14, 14)
    Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2),  # (N, 96, 7, 7)
    Row(5, 576, 96, True, HS, 1),
    Row(5, 576, 96, True, HS, 1),
)


class InvertedResidual(nn.Module):
    """1×1 up, depthwise k×k, the gate, 1×1 down without activation, and a shortcut where the shape stays [fig. 4]."""

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        wide, activation = row.wide, row.activation
        expand = [conv_norm(in_channels, wide, activation=activation, norm=_norm)] if wide != in_channels else []
        gate = (
            [SqueezeExcite(wide, divisible(wide // 4), nn.ReLU, nn.Hardsigmoid)] if row.gated else []
        )  # [section 5.3]
        self.block = nn.Sequential(
            *expand,
            conv_norm(wide, wide, row.kernel, row.stride, groups=wide, activation=activation, norm=_norm),
            *gate,
            conv_norm(wide, row.channels, norm=_norm),
        )
        self.shortcut = row.stride == 1 and in_channels == row.channels
        if self.shortcut:
            self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        if self.shortcut:
            out = self.add(out, x)
        return out


class MobileNetV3(nn.Module):
    """[tables 1 and 2]"""

    def __init__(
        self, rows: tuple[Row, ...], wide: int, hidden: int, num_classes: int, in_channels: int, dropout: float
    ) -> None:
        super().__init__()
        entering = [16, *(row.channels for row in rows)]
        self.features = nn.Sequential(
            conv_norm(in_channels, 16, 3, stride=2, activation=HS, norm=_norm),
            *(InvertedResidual(channels, row) for channels, row in zip(entering[:-1], rows, strict=True)),
            conv_norm(entering[-1], wide, activation=HS, norm=_norm),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        # The widest features come after the pooling, where they cost next to nothing [section 5.1, fig. 5].
        self.classifier = nn.Sequential(
            nn.Linear(wide, hidden), HS(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )
        self._initialise()

    def _initialise(self) -> None:
        """He et al. 2015, arXiv:1502.01852, for convolutions; dense layers that begin near zero."""
        if next(self.parameters()).is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224)
        x = self.features(x)  # (N, 960, 7, 7) in the large one
        logits: Tensor = self.classifier(self.flatten(self.avgpool(x)))
        return logits  # (N, K)


def _record(stages: tuple[Stage, ...], file: str, top1: float) -> dict[str, Any]:
    """What both entries say."""
    return {
        "paper": "Howard, Sandler, Chu et al. 2019, arXiv:1905.02244",
        "year": 2019,
        "smallest": 1,  # every convolution pads, so that one pixel stays one pixel
        "natural": 224,
        "stages": stages,
        "classifier": "classifier.3",
        "block": "features.5",  # with everything in it: 5×5, a gate, a shortcut
        "options": ("dropout",),
        "weights": Published(
            url=f"https://download.pytorch.org/models/mobilenet_v3_{file}.pth",
            sha256=file.split("-")[1],
            preprocess=imagenet(224, 256, "bilinear"),
            top1=top1,
            source="torchvision, IMAGENET1K_V1",
        ),
        "recipe": {
            "training.optimizer": "sgd",
            "training.learning_rate": 0.05,
            "training.weight_decay": 1e-5,  # [section 6.1]; depthwise kernels bear little
            "training.batch_size": 64,
            "training.label_smoothing": 0.1,
            "training.epochs": 30,
            "training.ema": 0.99,
        },
    }


_LARGE_STAGES = (
    Stage("features.1", 2, 16),
    Stage("features.3", 4, 24),
    Stage("features.6", 8, 40),
    Stage("features.12", 16, 112),
    Stage("features.16", 32, 960),
)
_SMALL_STAGES = (
    Stage("features.0", 2, 16),
    Stage("features.1", 4, 16),
    Stage("features.3", 8, 24),
    Stage("features.8", 16, 48),
    Stage("features.12", 32, 576),
)


@network(**_record(_SMALL_STAGES, "small-047dcff4", top1=67.668))
def mobilenet_v3_small(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV3:  # 2 542 856 parameters
    """MobileNetV3-Small [table 2]. The paper's "dropout of 0.8" keeps 0.8."""
    return MobileNetV3(SMALL, 576, 1024, num_classes, in_channels, dropout)


@network(**_record(_LARGE_STAGES, "large-8738ca79", top1=74.042))
def mobilenet_v3_large(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV3:  # 5 483 032 parameters
    """MobileNetV3-Large [table 1]. The paper's "dropout of 0.8" keeps 0.8."""
    return MobileNetV3(LARGE, 960, 1280, num_classes, in_channels, dropout)
