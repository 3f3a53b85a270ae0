"""One object a picture: is there one, where, and of which class, from the trunk's last map at once.

The courses' vector [p, x, y, w, h, c₁ … c_k]: the map is brought to 7 × 7 places whatever the picture's size, and a
layer sees all of them, since a mean over places would forget where (Sermanet et al. 2013, arXiv:1312.6229, "OverFeat",
section 4, regresses boxes from the map likewise).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foveal.networks.catalogue import build as build_trunk
from foveal.networks.stages import Stages, coarsest_stride
from foveal.networks.yolo_trunk import ConvUnit
from foveal.ops.boxes import cxcywh_to_xyxy, generalized_iou
from foveal.recipe import Recipe
from foveal.tasks.heads.head import Architecture, Assigned, Floats, Labels, Surroundings
from foveal.tasks.heads.yolo import checked_width, pyramid_width

__all__ = ["HEAD", "OneObject", "Placed", "placed_loss"]

PLACES = 7  # a side
HIDDEN = 256
ABSOLUTE = 5.0  # weight of the sides' distances beside 1 − GIoU (Carion et al. 2020, arXiv:2005.12872, section A.4)


class Placed(NamedTuple):
    """What is said of N pictures."""

    presence: Tensor  # (N,) logit: there is an object
    box: Tensor  # (N, 4) logits of centre, width and height, as shares of the picture
    classes: Tensor  # (N, K) logits

    def shares(self) -> Tensor:
        """(N, 4) xyxy as shares of the picture's width and height, float32."""
        return cxcywh_to_xyxy(self.box.float().sigmoid())


class OneObject(nn.Module):
    """A trunk's last map, 7 × 7 places, two dense layers."""

    ASSIGNED: ClassVar[str] = ""  # one vector says all: nothing is shared out

    def __init__(self, trunk: nn.Module, name: str, num_classes: int, width: int = 64) -> None:
        """Args: name, of the trunk in the catalogue; width, channels that the last map is brought to.

        Raises: BadRecipe for a trunk without feature maps.
        """
        super().__init__()
        self.trunk = Stages(trunk, name, (coarsest_stride(name),))
        self.narrow = ConvUnit(self.trunk.channels[0], width)
        self.pool = nn.AdaptiveAvgPool2d(PLACES)
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(width * PLACES * PLACES, HIDDEN)
        self.act = nn.SiLU()
        self.out = nn.Linear(HIDDEN, 5 + num_classes)

    def forward(self, images: Tensor) -> Placed:  # (N, C, H, W)
        x = self.flatten(self.pool(self.narrow(self.trunk(images)[0])))
        out: Tensor = self.out(self.act(self.hidden(x)))
        return Placed(out[:, 0], out[:, 1:5], out[:, 5:])

    def loss(self, outputs: Placed, targets: Tensor, size: tuple[int, int]) -> Tensor:
        """As of `DetectorNetwork`; of several objects the largest counts."""
        return placed_loss(outputs, targets, size)

    def tensors(self, outputs: Placed, size: tuple[int, int]) -> dict[str, Tensor]:
        """presence (N,) and classes (N, K) in [0, 1], boxes (N, 4) float64 in pixels of the input."""
        edge = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float64, device=outputs.box.device)
        return {
            "presence": outputs.presence.float().sigmoid(),
            "boxes": outputs.shares().double().clamp(0, 1) * edge,
            "classes": outputs.classes.float().softmax(1),
        }

    def assigned(self, outputs: Placed, labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """Nothing: one vector answers for the one object."""
        return Assigned(("vector", "vectors"), np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 4)))


def placed_loss(placed: Placed, targets: Tensor, size: tuple[int, int]) -> Tensor:
    """Presence for every picture; box and class only where an object is: p = 0 ignores the rest.

    Args: targets (N, M, 5): class (below 0: none) and box in pixels of (H, W) = size; of several the largest counts.
    """
    present, label, box = largest(targets, size)
    loss = F.binary_cross_entropy_with_logits(placed.presence.float(), present.float())
    if not bool(present.any()):
        return loss + 0.0 * placed.box.float().sum()
    said = placed.shares()[present]
    apart = 1 - generalized_iou(said, box[present]) + ABSOLUTE * (said - box[present]).abs().mean(-1)
    classes = F.cross_entropy(placed.classes.float()[present], label[present])
    share = present.float().mean()
    return loss + share * (apart.mean() + classes)


def largest(targets: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) whether there is an object, (N,) its class, (N, 4) its box in shares of the picture."""
    n = len(targets)
    if targets.shape[1] == 0:
        nothing = torch.zeros(n, dtype=torch.long, device=targets.device)
        return nothing.bool(), nothing, targets.new_zeros(n, 4)
    sides = targets[..., 3:] - targets[..., 1:3]
    area = torch.where(targets[..., 0] >= 0, sides.prod(-1), -1.0)
    chosen = targets[torch.arange(n, device=targets.device), area.argmax(1)]
    edge = targets.new_tensor([size[1], size[0], size[1], size[0]])
    return chosen[:, 0] >= 0, chosen[:, 0].long().clamp_min(0), chosen[:, 1:] / edge


class _Head:
    """See `heads/head.py`."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        return Architecture("one-object", recipe.network.name, options, pyramid_width(recipe.network.name, around.size))

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> OneObject:
        trunk = build_trunk(built.trunk, 1, channels, size, built.options)
        return OneObject(trunk, built.trunk, classes, checked_width(built.width))


HEAD = _Head()
