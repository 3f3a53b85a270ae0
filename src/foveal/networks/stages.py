"""A network's stages as feature maps: what tasks attach their heads to (one trunk serves all)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from torch import Tensor, nn

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import find

__all__ = ["Stages", "stage_modules"]


class _LastReached(Exception):
    """Nothing behind the last stage is needed."""


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
        paths, self.channels = stage_modules(name, strides)
        self.strides = tuple(strides)
        self._maps: dict[int, Tensor] = {}
        for number, path in enumerate(paths):
            network.get_submodule(path).register_forward_hook(self._keeper(number, number == len(paths) - 1))

    def _keeper(self, number: int, last: bool) -> Callable[..., None]:
        def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._maps[number] = output
            if last:
                raise _LastReached

        return keep

    def forward(self, images: Tensor) -> list[Tensor]:
        self._maps.clear()
        with suppress(_LastReached):
            self.network(images)
        maps = [self._maps[number] for number in range(len(self.strides))]
        self._maps.clear()  # or the last batch's maps would live as long as the network
        return maps


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
