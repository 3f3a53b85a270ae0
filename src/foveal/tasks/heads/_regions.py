"""The detector behind the proposals: what each region holds, and where exactly.

Girshick 2015, "Fast R-CNN", arXiv:1504.08083: one map is computed for the whole picture, and each region of it, brought
to one size, goes through a small classifier that also moves the region, for each class by itself. On a pyramid, a
region is cut from the level where it is about as many places large as any other (Lin et al. 2017, arXiv:1612.03144,
section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from foveal.ops.boxes import clip_to
from foveal.ops.roi import roi_align
from foveal.tasks.heads._proposals import deltas_to_box, large

__all__ = ["BOX_WEIGHTS", "RegionHeads", "RegionOutputs", "level_of"]

SIDE = 7  # cells that a region is cut into each way, VGG-16's last map [Fast R-CNN, section 2.1]
SAMPLES = 2  # a side of each cell (He et al. 2017, arXiv:1703.06870, section 3)
CANONICAL = 224  # pixels a side of the pictures that trunks were trained on …
CANONICAL_STRIDE = 16  # … and the stride of the map that a region of that size is cut from [k0 = 4, equation 1]
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # one over the usual deviation of deltas, so that all are learnt alike
SMALLEST = 1e-2  # pixels a side of an object


class RegionOutputs(NamedTuple):
    """What a detector says of N pictures: class and place of each proposal, P in all."""

    proposals: list[Tensor]  # (Pᵢ, 4) xyxy of each picture, pixels of the input
    logits: Tensor  # (P, 1 + K), the background first
    deltas: Tensor  # (P, 1 + K, 4)

    def tensors(self, size: tuple[int, int], most: int) -> dict[str, Tensor]:
        """boxes (N, most, K, 4) cut to the (height, width) of the pictures, and scores (N, most, K).

        What is no box, and rows beyond a picture's proposals, have a score of 0. Args: most, proposals a picture.
        """
        counts = [len(proposals) for proposals in self.proposals]
        origins = torch.cat(self.proposals)[:, None]
        boxes = clip_to(deltas_to_box(self.deltas.detach(), origins, BOX_WEIGHTS)[:, 1:], size)
        scores = self.logits.detach().softmax(-1)[:, 1:] * large(boxes, SMALLEST)
        parts = zip(boxes.split(counts), scores.split(counts), strict=True)  # type: ignore[no-untyped-call]
        filled = [(_filled(b, most), _filled(s, most)) for b, s in parts]
        return {"boxes": torch.stack([b for b, _ in filled]), "scores": torch.stack([s for _, s in filled])}


def _filled(rows: Tensor, most: int) -> Tensor:
    """(P, ...) -> (most, ...), zeros behind."""
    return torch.cat([rows, rows.new_zeros((most - len(rows), *rows.shape[1:]))])


def level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """(P,) int64 index of the level, among those of `strides`, that each box (P, 4) is cut from [equation 1]."""
    side = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1).sqrt()
    nudge = 1e-6  # a box of exactly 224 pixels belongs to its level, whatever rounding says
    wanted = (math.log2(CANONICAL_STRIDE) + (side / CANONICAL).log2() + nudge).floor()
    known = torch.tensor([math.log2(stride) for stride in strides], dtype=wanted.dtype, device=wanted.device)
    return (torch.searchsorted(known, wanted, right=True) - 1).clamp_min(0)


class BoxHead(nn.Module):
    """Two dense layers that all regions share."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(width * SIDE * SIDE, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:  # (P, C, 7, 7) -> (P, hidden)
        return functional.relu(self.fc7(functional.relu(self.fc6(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """Logits of all classes, the background first, and deltas for each."""

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, outputs)
        self.bbox_pred = nn.Linear(hidden, 4 * outputs)
        for layer, deviation in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):  # [Fast R-CNN, section 2.3]
            if not layer.weight.is_meta:
                nn.init.normal_(layer.weight, std=deviation)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (P, hidden) -> (P, 1 + K), (P, 1 + K, 4)
        return self.cls_score(x).float(), self.bbox_pred(x).float().unflatten(1, (-1, 4))


class RegionHeads(nn.Module):
    """Regions cut from a pyramid, classified and moved."""

    def __init__(self, width: int, strides: Sequence[int], num_classes: int, hidden: int = 1024) -> None:
        """Args: strides, of the levels that regions are cut from, the finest first."""
        super().__init__()
        self.strides = tuple(strides)
        self.box_head = BoxHead(width, hidden)
        self.box_predictor = BoxPredictor(hidden, 1 + num_classes)

    def forward(self, levels: Sequence[Tensor], proposals: list[Tensor]) -> RegionOutputs:
        """Args: levels (N, C, Hᵢ, Wᵢ), at least as many as strides; proposals (Pᵢ, 4) of each of N pictures."""
        logits, deltas = self.box_predictor(self.box_head(self._cut(levels, proposals)))
        return RegionOutputs(proposals, logits, deltas)

    def _cut(self, levels: Sequence[Tensor], proposals: list[Tensor]) -> Tensor:
        """(P, C, 7, 7)"""
        boxes = torch.cat(proposals)
        pictures = torch.cat([torch.full((len(own),), i, device=own.device) for i, own in enumerate(proposals)])
        level = level_of(boxes, self.strides)
        out = levels[0].new_zeros(len(boxes), levels[0].shape[1], SIDE, SIDE)
        for i, stride in enumerate(self.strides):
            own = (level == i).nonzero()[:, 0]
            cut = roi_align(levels[i], boxes[own], pictures[own], (SIDE, SIDE), 1 / stride, SAMPLES)
            out = out.index_copy(0, own, cut.to(out.dtype))
        return out
