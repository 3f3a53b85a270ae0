"""The region proposal network: where something is, whatever it is.

Ren et al. 2015, "Faster R-CNN", arXiv:1506.01497, section 3.1; on a pyramid as in Lin et al. 2017, arXiv:1612.03144,
section 4.1. At each place of each level stand a few prior boxes, the anchors. One small network, the same for all
levels, says of each anchor whether it covers an object and how to move it there.

Departure from the papers, as in the published weights: anchors stand at the upper left corner of a place's cell and
have whole numbers as corners, and boxes across the edge of the picture learn as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foveal.ops.boxes import clip_to
from foveal.ops.suppression import batched_nms

__all__ = ["RATIOS", "ProposalNetwork", "Proposed", "Selection", "anchors_of", "box_to_deltas", "deltas_to_box"]

RATIOS = (0.5, 1.0, 2.0)  # height / width [section 3.1.1]
UNIT = (1.0, 1.0, 1.0, 1.0)
MOST_GROWTH = math.log(1000 / 16)  # a box becomes at most so much larger: exp must not overflow while nothing is learnt


def box_to_deltas(boxes: Tensor, origins: Tensor, weights: Sequence[float] = UNIT) -> Tensor:
    """(..., 4) what moves each origin onto its box: centres apart in sides of the origin, logarithms of the sides'
    ratio, times the weights [equation 2]. Both (..., 4) xyxy; origins must have an area."""
    sides, targets = origins[..., 2:] - origins[..., :2], boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + targets / 2 - (origins[..., :2] + sides / 2)
    return torch.cat([centres / sides, (targets / sides).log()], -1) * boxes.new_tensor(weights)


def deltas_to_box(deltas: Tensor, origins: Tensor, weights: Sequence[float] = UNIT) -> Tensor:
    """(..., 4) xyxy: the inverse of `box_to_deltas`. Sides grow 62.5-fold at most."""
    moved = deltas / deltas.new_tensor(weights)
    sides = origins[..., 2:] - origins[..., :2]
    centres = origins[..., :2] + sides / 2 + moved[..., :2] * sides
    half = moved[..., 2:].clamp_max(MOST_GROWTH).exp() * sides / 2
    return torch.cat([centres - half, centres + half], -1)


def large(boxes: Tensor, least: float) -> Tensor:
    """(...,) whether boxes (..., 4) are finite and no side is below `least` pixels."""
    return ((boxes[..., 2:] - boxes[..., :2]).amin(-1) >= least) & torch.isfinite(boxes).all(-1)


def anchors_of(shape: Sequence[int], step: tuple[int, int], size: float, like: Tensor) -> Tensor:
    """(H·W·A, 4) xyxy of one level: rows, in them columns, at each place a box of each ratio.

    Args: shape, the map's (H, W); step, (down, across) pixels from place to place; size, root of a box's area.
    """
    stretch = like.new_tensor(RATIOS).sqrt()
    half = torch.stack([size / stretch, size * stretch], 1) / 2
    around = torch.cat([-half, half], 1).round()  # (A, 4)
    y = torch.arange(shape[0], device=like.device, dtype=like.dtype) * step[0]
    x = torch.arange(shape[1], device=like.device, dtype=like.dtype) * step[1]
    corners = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).repeat(1, 1, 2)  # (H, W, 4)
    return (corners[:, :, None] + around).reshape(-1, 4)


@dataclass(frozen=True)
class Selection:
    """How proposals are chosen among what the anchors say."""

    before: int  # of each level, the best, before suppression
    after: int  # of each picture, after it
    iou: float = 0.7
    least: float = 1e-3  # pixels a side


class Proposed(NamedTuple):
    """What the anchors of all levels say, A in all, the finest level first."""

    objectness: Tensor  # (N, A) logits
    deltas: Tensor  # (N, A, 4)
    anchors: Tensor  # (A, 4) xyxy in pixels of the input
    counts: tuple[int, ...]  # anchors of each level

    def boxes(self, size: tuple[int, int], selection: Selection) -> list[Tensor]:
        """(P, 4) proposals of each picture of (height, width), the surest first; without slope."""
        objectness = self.objectness.detach()
        best, first = [], 0
        for part in objectness.split(self.counts, dim=1):  # type: ignore[no-untyped-call]
            best.append(part.topk(min(selection.before, part.shape[1]), dim=1).indices + first)
            first += part.shape[1]
        level = torch.arange(len(best), device=objectness.device).repeat_interleave(
            torch.tensor([b.shape[1] for b in best], device=objectness.device)
        )
        chosen = torch.cat(best, 1)
        moved = [deltas_to_box(d[c], self.anchors[c]) for d, c in zip(self.deltas.detach(), chosen, strict=True)]
        scores = [o[c] for o, c in zip(objectness, chosen, strict=True)]
        return [_thinned(clip_to(b, size), s, level, selection) for b, s in zip(moved, scores, strict=True)]


def _thinned(boxes: Tensor, scores: Tensor, level: Tensor, selection: Selection) -> Tensor:
    """One picture's boxes that are large enough and not said twice on one level."""
    sound = large(boxes, selection.least) & torch.isfinite(scores)
    boxes, scores, level = boxes[sound], scores[sound], level[sound]
    return boxes[batched_nms(boxes, scores, level, selection.iou)[: selection.after]]


class Head(nn.Module):
    """A 3×3 convolution, and from it for each anchor one logit and four deltas [section 3.1]."""

    def __init__(self, width: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()))
        self.cls_logits = nn.Conv2d(width, anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * anchors, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.normal_(module.weight, std=0.01)  # [section 3.1.3]
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (N, C, H, W) -> (N, H·W·A), (N, H·W·A, 4)
        x = self.conv(x)
        logits = self.cls_logits(x).permute(0, 2, 3, 1).flatten(1)
        n, _, height, width = x.shape
        deltas = self.bbox_pred(x).view(n, -1, 4, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)
        return logits.float(), deltas.float()


class ProposalNetwork(nn.Module):
    """The head on every level of a pyramid."""

    def __init__(self, width: int, strides: Sequence[int], sizes: Sequence[float]) -> None:
        """Args: strides, of the trunk's maps, the finest first; sizes, of the anchors on each of these levels and on
        the additional, coarser one."""
        super().__init__()
        self.strides, self.sizes = tuple(strides), tuple(sizes)
        self.head = Head(width, len(RATIOS))

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Proposed:
        """Args: levels (N, C, Hᵢ, Wᵢ) of a `FeaturePyramid`; size, (height, width) of the pictures."""
        said = [self.head(level) for level in levels]
        steps = [(stride, stride) for stride in self.strides]
        coarsest = levels[-1].shape[2:]
        steps.append((size[0] // coarsest[0], size[1] // coarsest[1]))  # as the published weights have learnt it
        anchors = [
            anchors_of(level.shape[2:], step, own, said[0][1])
            for level, step, own in zip(levels, steps, self.sizes, strict=True)
        ]
        objectness, deltas = (torch.cat(parts, 1) for parts in zip(*said, strict=True))
        return Proposed(objectness, deltas, torch.cat(anchors), tuple(len(a) for a in anchors))
