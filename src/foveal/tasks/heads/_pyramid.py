"""A trunk's maps made into a pyramid: every level as wide, and each knows what the coarser ones saw.

Lin et al. 2017, "Feature pyramid networks for object detection", arXiv:1612.03144, section 3: a coarse map says *what*
well, a fine one *where*. From the top down each map is doubled in size and added to its finer neighbour; a 3×3
convolution smooths what doubling left jagged. One more level, every second place of the coarsest map, is for proposals
of large boxes alone [section 4.1, footnote 2].

Names of the state dict are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from foveal.networks.resnet import ResNet

__all__ = ["WIDTH", "Backbone", "FeaturePyramid", "FrozenBatchNorm", "ResNetTrunk", "freeze_norms"]

WIDTH = 256  # channels of every level [section 4]


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics, scale and shift are constants.

    Detectors train with one or two large pictures a batch, too few to measure anything by; so the norms of a trunk
    that was trained before stay as they were (He et al. 2015, arXiv:1512.03385, appendix A).
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.pop(f"{prefix}num_batches_tracked", None)  # weights of a norm that learnt have it
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.epsilon
        )


def freeze_norms(module: nn.Module, epsilon: float | None = None) -> nn.Module:
    """Put a `FrozenBatchNorm` with the same values in the place of each 2-D batch norm; returns the module.

    Args: epsilon, beside the variance (that of each norm, unless given).
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _frozen(child, child.eps if epsilon is None else epsilon))
        else:
            freeze_norms(child, epsilon)
    return module


def _frozen(norm: nn.BatchNorm2d, epsilon: float) -> FrozenBatchNorm:
    frozen = FrozenBatchNorm(norm.num_features, epsilon)
    held = {**dict(norm.named_parameters()), **dict(norm.named_buffers())}
    for name in ("weight", "bias", "running_mean", "running_var"):
        if name in held:  # a norm may be without scale and shift, or without statistics
            frozen.register_buffer(name, held[name].detach().clone())
    return frozen


class ResNetTrunk(nn.Module):
    """A ResNet without its classifier: maps of stride 4, 8, 16, 32."""

    strides = (4, 8, 16, 32)

    def __init__(self, network: ResNet, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, x: Tensor) -> list[Tensor]:  # (N, 3, H, W)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class FeaturePyramid(nn.Module):
    """Maps (N, Cᵢ, Hᵢ, Wᵢ), the finest first -> as many of (N, width, Hᵢ, Wᵢ), and one of half the last's size."""

    def __init__(self, channels: Sequence[int], width: int = WIDTH) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, 1)) for c in channels)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        merged = [inner(x) for inner, x in zip(self.inner_blocks, maps, strict=True)]
        for i in reversed(range(len(merged) - 1)):
            merged[i] = merged[i] + functional.interpolate(merged[i + 1], size=merged[i].shape[2:], mode="nearest")
        levels = [smooth(x) for smooth, x in zip(self.layer_blocks, merged, strict=True)]
        return [*levels, levels[-1][:, :, ::2, ::2]]


class Backbone(nn.Module):
    """A trunk and its pyramid."""

    def __init__(self, body: nn.Module, channels: Sequence[int], width: int = WIDTH) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramid(channels, width)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.fpn(self.body(images))
        return levels
