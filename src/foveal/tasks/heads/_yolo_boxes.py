"""How YOLOs with anchors say boxes: each place of a map holds four offsets, objectness, classes for each prior box.

Redmon, Farhadi 2018, arXiv:1804.02767, sections 2.1 and 2.2. `scale_x_y` (Bochkovskiy et al. 2020, arXiv:2004.10934,
section 3.4, "eliminate grid sensitivity") lets centres reach the edges of their cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Priors", "boxes_of", "split", "tensors"]


@dataclass(frozen=True)
class Priors:
    """The prior boxes of one output map, and how it is read."""

    anchors: tuple[tuple[float, float], ...]  # (width, height) in pixels of the input
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False  # the map went through a sigmoid already, and sides are squared instead of exponential

    @property
    def channels(self) -> int:
        """Of the map: for each prior x, y, w, h, objectness, then the classes."""
        return len(self.anchors) * (5 + self.classes)


def split(output: Tensor, priors: Priors) -> Tensor:
    """(N, A·(5 + K), H, W) as a network gives it -> (N, A, H, W, 5 + K)."""
    n, _, height, width = output.shape
    return output.view(n, len(priors.anchors), 5 + priors.classes, height, width).permute(0, 1, 3, 4, 2)


def boxes_of(raw: Tensor, priors: Priors, size: tuple[int, int]) -> Tensor:
    """Boxes that a map says, in pixels of the input.

    Args:    raw (N, A, H, W, 4 or more) out of `split`; size: the input's height and width.
    Returns: (N, A, H, W, 4) xyxy float32.
    Source:  arXiv:1804.02767, section 2.1: b = σ(t_xy) + cell, p·e^(t_wh).
    """
    height, width = raw.shape[2:4]
    rows, columns = torch.arange(height, device=raw.device), torch.arange(width, device=raw.device)
    cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2): x, y
    step = raw.new_tensor([size[1] / width, size[0] / height])
    anchors = raw.new_tensor(priors.anchors)[:, None, None, :]  # (A, 1, 1, 2)
    offsets, sides = raw[..., :2], raw[..., 2:4]
    if priors.new_coords:
        sides = (sides * 2) ** 2 * anchors
    else:
        offsets, sides = offsets.sigmoid(), sides.exp() * anchors
    centres = (offsets * priors.scale_x_y - (priors.scale_x_y - 1) / 2 + cells) * step
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)


def tensors(outputs: Sequence[Tensor], priors: Sequence[Priors], size: tuple[int, int]) -> dict[str, Tensor]:
    """What the maps of N pictures say, one row a prior box.

    Args:    outputs: (N, A·(5 + K), H, W) each; size: the input's height and width.
    Returns: boxes (N, P, 4) xyxy in pixels of the input, which they may leave; scores (N, P, K), objectness × class.
    """
    boxes, scores = [], []
    for output, prior in zip(outputs, priors, strict=True):
        raw = split(output.detach().float(), prior)
        sure = raw[..., 4:] if prior.new_coords else raw[..., 4:].sigmoid()
        boxes.append(boxes_of(raw, prior, size).flatten(1, 3))
        scores.append((sure[..., :1] * sure[..., 1:]).flatten(1, 3))
    return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}
