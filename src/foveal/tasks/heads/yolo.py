"""The default detector: no anchors, one place of a map says one box, on any trunk.

Each place of three maps says how sure it is of each class, and how far the four sides of its box lie, as a
distribution over distances (Li et al. 2020, arXiv:2006.04388, "generalized focal loss"). Class and box have
convolutions of their own (Ge et al. 2021, arXiv:2107.08430, "decoupled head"), shared by the maps but for their norms
(Lyu et al. 2022, arXiv:2212.07784). The maps come from stages of a trunk, joined from coarse to fine and back (Liu et
al. 2018,
arXiv:1803.01534). Shapes are fixed by the picture's size; suppression of doubles stands apart, so that it exports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foveal.errors import BadRecipe
from foveal.networks.catalogue import build as build_trunk
from foveal.networks.stages import Stages, coarsest_stride
from foveal.networks.yolo_trunk import ConvUnit, CrossStage
from foveal.ops.boxes import clip_to
from foveal.recipe import Recipe
from foveal.tasks.heads._assignment import aligned_loss, assign
from foveal.tasks.heads._places import BINS, PlaceOutputs
from foveal.tasks.heads._targets import padded_one
from foveal.tasks.heads.head import Architecture, Assigned, Floats, Labels, Surroundings

__all__ = ["BINS", "HEAD", "PlaceOutputs", "Yolo", "pyramid_width", "strides_for"]

SMALL = 192  # pixels a side up to which maps are finer
PRIOR = 0.01  # of a class at a place, before anything is learnt
WIDTHS = {"yolo_trunk_n": 128, "yolo_trunk_s": 160, "yolo_trunk_m": 224}  # channels of the pyramid
WIDTH, SMALL_WIDTH = 96, 64  # on any other trunk; for small pictures, whose finest map has many places
NARROWEST = 8


def strides_for(size: tuple[int, int]) -> tuple[int, ...]:
    """The strides of the three maps for pictures of (H, W) pixels: finer ones for small pictures."""
    return (4, 8, 16) if max(size) <= SMALL else (8, 16, 32)


class _Fuse(nn.Module):
    """Two maps of one size joined."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.join = CrossStage(in_channels, width, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.join(torch.cat([a, b], dim=1))
        return out


class Pyramid(nn.Module):
    """Maps of a trunk, coarse ones told to fine ones and back; all `width` channels wide."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvUnit(c, width) for c in channels)
        steps = range(len(channels) - 1)
        self.up = nn.ModuleList(_Fuse(2 * width, width) for _ in steps)
        self.shrink = nn.ModuleList(ConvUnit(width, width, 3, stride=2) for _ in steps)
        self.down = nn.ModuleList(_Fuse(2 * width, width) for _ in steps)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, Cᵢ, Hᵢ, Wᵢ), the finest first -> as many of (N, width, Hᵢ, Wᵢ)."""
        fine = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for i in reversed(range(len(fine) - 1)):
            fine[i] = self.up[i](fine[i], F.interpolate(fine[i + 1], size=fine[i].shape[2:], mode="nearest"))
        for i in range(len(fine) - 1):
            coarser = self.shrink[i](fine[i])
            if coarser.shape[2:] != fine[i + 1].shape[2:]:  # trunks without padding round otherwise
                coarser = F.interpolate(coarser, size=fine[i + 1].shape[2:], mode="nearest")
            fine[i + 1] = self.down[i](fine[i + 1], coarser)
        return fine


class _Branch(nn.Module):
    """Two separable convolutions and the outputs; the maps share the filters and have norms of their own."""

    def __init__(self, width: int, out_channels: int, maps: int) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False) for _ in "ab")
        self.pointwise = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in "ab")
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width, eps=1e-3, momentum=0.03) for _ in range(maps)) for _ in "ab"
        )
        self.out = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor, number: int) -> Tensor:
        for depthwise, pointwise, norms in zip(self.depthwise, self.pointwise, self.norms, strict=True):
            x = F.silu(norms[number](pointwise(depthwise(x))))  # type: ignore[index]
        out: Tensor = self.out(x)
        return out


class Yolo(nn.Module):
    """A trunk's stages, a pyramid, a head."""

    ASSIGNED: ClassVar[str] = (
        "Each dot is a position of a feature map assigned to the box of its colour: those with the highest class score "
        "and the best fitting boxes."
    )

    def __init__(self, trunk: nn.Module, name: str, num_classes: int, size: tuple[int, int], width: int = 64) -> None:
        """Args: name, of the trunk in the catalogue; size, (H, W) of the pictures; width, channels of the pyramid.

        Raises: BadRecipe for a trunk without stages of the strides that detection needs.
        """
        super().__init__()
        self.strides = strides_for(size)
        own = [s for s in self.strides if s <= coarsest_stride(name)]
        self.trunk = Stages(trunk, name, own)
        channels = list(self.trunk.channels)
        self.extra = nn.ModuleList()
        for _ in self.strides[len(own) :]:
            self.extra.append(ConvUnit(channels[-1], 2 * width, 3, stride=2))
            channels.append(2 * width)
        self.pyramid = Pyramid(channels, width)
        self.classes = _Branch(width, num_classes, len(self.strides))
        self.sides = _Branch(width, 4 * BINS, len(self.strides))
        if not self.classes.out.weight.is_meta:
            nn.init.constant_(self.classes.out.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> PlaceOutputs:
        """(N, C, H, W) -> what is said at all places, the finest map first, row by row."""
        maps = self.trunk(images)
        for extra in self.extra:
            maps.append(extra(maps[-1]))
        maps = self.pyramid(maps)
        classes = [self.classes(x, i).flatten(2) for i, x in enumerate(maps)]
        sides = [self.sides(x, i).flatten(2) for i, x in enumerate(maps)]
        points, strides = _places([x.shape[2:] for x in maps], images.shape[2:], images.device)
        said = torch.cat(sides, 2).transpose(1, 2)  # (N, A, 4 · BINS)
        return PlaceOutputs(torch.cat(classes, 2).transpose(1, 2), said.view(*said.shape[:2], 4, BINS), points, strides)

    def loss(self, outputs: PlaceOutputs, targets: Tensor, size: tuple[int, int]) -> Tensor:
        """As of `DetectorNetwork`; the places know the size."""
        return aligned_loss(outputs, targets)

    def tensors(self, outputs: PlaceOutputs, size: tuple[int, int]) -> dict[str, Tensor]:
        """boxes (N, A, 4), cut to the input; scores (N, A, K)."""
        return {"boxes": clip_to(outputs.boxes(), size), "scores": outputs.classes.float().sigmoid()}

    def assigned(self, outputs: PlaceOutputs, labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """The places that learn an object."""
        found = assign(outputs.classes.float().sigmoid(), outputs.boxes(), outputs.points, padded_one(labels, boxes))
        learning = found.learns[0].nonzero()[:, 0]
        points = outputs.points[learning].double().numpy()
        return Assigned(("place", "places"), found.object[0, learning].numpy(), points, np.zeros((0, 4)))


def _places(shapes: Sequence[Sequence[int]], size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(A, 2) centres of the places of maps of these shapes, and (A,) what one step spans, pixels of the input."""
    points, strides = [], []
    for height, width in shapes:
        step_y, step_x = size[0] / height, size[1] / width
        y = (torch.arange(height, device=device) + 0.5) * step_y
        x = (torch.arange(width, device=device) + 0.5) * step_x
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
        points.append(grid)
        strides.append(torch.full((len(grid),), math.sqrt(step_x * step_y), device=device))
    return torch.cat(points), torch.cat(strides)


def pyramid_width(trunk: str, size: tuple[int, int]) -> int:
    """Channels of the pyramid on a trunk, for pictures of (H, W) pixels."""
    width = WIDTHS.get(trunk, WIDTH)
    return min(width, SMALL_WIDTH) if max(size) <= SMALL else width


def checked_width(width: int) -> int:
    """Raises: BadRecipe for a pyramid that is too narrow."""
    if width < NARROWEST:
        raise BadRecipe(f"the pyramid of a detector needs at least {NARROWEST} channels; got {width}.")
    return width


class _Head:
    """See `heads/head.py`."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        return Architecture("yolo", recipe.network.name, options, pyramid_width(recipe.network.name, around.size))

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> Yolo:
        trunk = build_trunk(built.trunk, 1, channels, size, built.options)
        return Yolo(trunk, built.trunk, classes, size, checked_width(built.width))


HEAD = _Head()
