"""A network's stages as feature maps: what tasks attach their heads to (one trunk serves all)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import find
from foveal.networks.taps import take

__all__ = ["Stages", "coarsest_stride", "stage_modules"]


class Stages(nn.Module):
    """The maps at the ends of some stages; what lies behind the last of them is not computed.

    Shapes: (N, C, H, W) pictures -> a list of (N, Cᵢ, ~H / strideᵢ, ~W / strideᵢ).
    """

    def __init__(self, network: nn.Module, name: str, strides: Sequence[int]) -> None:
        """Args: name, of the network in the catalogue; strides, of the maps that are wanted, ascending.

        Raises: BadRecipe for a stride that none of its stages has.
        """
        super().__init__()
        self.network = network
        self.paths, self.channels = stage_modules(name, strides)
        self.strides = tuple(strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        found = take(self.network, images, outputs=self.paths).outputs
        return [found[path] for path in self.paths]


def coarsest_stride(name: str) -> int:
    """Stride of a network's last map. Raises: BadRecipe for one without maps."""
    coarsest = max((stage.stride for stage in find(name).stages), default=0)
    if coarsest < 4:
        raise BadRecipe(f"{shown(name)} has no feature maps to detect on; take a convolutional network as trunk.")
    return coarsest


def stage_modules(name: str, strides: Sequence[int]) -> tuple[list[str], tuple[int, ...]]:
    """Paths and channels of a network's last stage with each stride.

    Raises: BadRecipe where there is none.
    """
    stages = {stage.stride: stage for stage in find(name).stages}
    missing = [stride for stride in strides if stride not in stages]
    if missing:
        has = ", ".join(str(stride) for stride in stages)
        raise BadRecipe(f"{shown(name)} has no stage of stride {missing[0]} to detect on (its strides are {has}).")
    return [stages[s].module for s in strides], tuple(stages[s].channels for s in strides)
