"""Boxes: areas, overlaps, and the way through a 3×3 matrix.

A box is (x1, y1, x2, y2), corners in continuous pixels: (0, 0) is the outer corner of the top left pixel, so that a box
of one pixel has an area of 1. Overlaps are torch (detectors learn through them), geometry is NumPy (it goes with
`ops.geometry`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.ops.geometry import map_points

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "box_area", "box_iou", "clip_boxes", "clip_to", "complete_iou", "cxcywh_to_xyxy", "elementwise_iou",
    "generalized_iou", "map_boxes", "xywh_to_xyxy", "xyxy_to_cxcywh", "xyxy_to_xywh",
]  # fmt: skip

Floats = NDArray[np.float64]
BLOCK = 1 << 15  # pairs whose overlaps are computed at once: they stay in the processor's cache


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) left, top, width, height -> corners."""
    import torch

    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> left, top, width, height."""
    import torch

    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre, width, height -> corners."""
    import torch

    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> centre, width, height."""
    import torch

    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def box_area(boxes: Tensor) -> Tensor:
    """(...,) of (..., 4); a box whose corners are swapped has none."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) overlap of each of (N, 4) with each of (M, 4), as a share of their union; 0 where both have no area."""
    import torch

    out = torch.empty(len(a), len(b), dtype=torch.result_type(a, b), device=a.device)
    area_a, area_b = box_area(a), box_area(b)
    rows = max(1, BLOCK // max(1, len(b)))
    for start in range(0, len(a), rows):
        part = a[start : start + rows, None]
        width = (torch.minimum(part[..., 2], b[:, 2]).sub_(torch.maximum(part[..., 0], b[:, 0]))).clamp_min_(0)
        both = (torch.minimum(part[..., 3], b[:, 3]).sub_(torch.maximum(part[..., 1], b[:, 1]))).clamp_min_(0)
        both.mul_(width)
        union = torch.add(area_a[start : start + rows, None], area_b, out=width).sub_(both)
        torch.div(both, union.clamp_min_(torch.finfo(out.dtype).tiny), out=out[start : start + rows])
    return out


def elementwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(...,) overlap of the boxes (..., 4) with those at the same places; differentiable."""
    both, union = _both_and_union(a, b)
    return both / union


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """(...,) in [−1, 1]: IoU less the share of the enclosing box that neither covers; differentiable.

    Source: Rezatofighi et al. 2019, arXiv:1902.09630.
    """
    import torch

    both, union = _both_and_union(a, b)
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    enclosing = around.clamp_min(0).prod(-1).clamp_min(_tiny(a))
    return both / union - (enclosing - union) / enclosing


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """(...,) up to 1: IoU less what centres and shapes differ; differentiable, the weight of the shapes held still.

    Source: Zheng et al. 2019, arXiv:1911.08287, section 3.3.
    """
    import torch

    both, union = _both_and_union(a, b)
    iou = both / union
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    distance = apart / around.square().sum(-1).clamp_min(_tiny(a))
    shapes = _shape_angle(a) - _shape_angle(b)
    shape = shapes.square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = shape / (1 - iou + shape).clamp_min(_tiny(a))
    return iou - distance - weight * shape


def _both_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    both = sides[..., 0] * sides[..., 1]
    return both, (box_area(a) + box_area(b) - both).clamp_min(_tiny(a))


def _shape_angle(boxes: Tensor) -> Tensor:
    """Angle of the diagonal, from the sides; flat boxes get a hair's breadth, so that the slope stays finite."""
    import torch

    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-4)
    return torch.atan2(sides[..., 0], sides[..., 1])


def _tiny(like: Tensor) -> float:
    """Divisors below this would overflow a gradient."""
    return 1e-9 if like.dtype.itemsize > 2 else 1e-4


def clip_to(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) xyxy cut to a picture of (height, width)."""
    limits = boxes.new_tensor([size[1], size[0]] * 2)
    return boxes.clamp_min(0).minimum(limits)


def clip_boxes(xyxy: Floats, width: float, height: float) -> Floats:
    """(..., 4) cut to a picture."""
    clipped: Floats = np.clip(xyxy, 0, np.array([width, height, width, height], np.float64))
    return clipped


def map_boxes(
    matrix: Floats, xyxy: Floats, width: float, height: float, visible: float = 0.25, least: float = 2.0
) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes carried by a 3×3 matrix and cut to the new picture, and which of them are still worth learning from.

    Args:    matrix (3, 3), or (M, 3, 3) one a box; xyxy (M, 4); width and height of the new picture;
             visible, the share of a box's area that must stay inside; least, pixels that its sides must keep.
    Returns: (M, 4) the smallest upright boxes around the four carried corners, clipped; (M,) whether each is kept.
    """
    corners = xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = map_points(np.broadcast_to(matrix, (len(xyxy), 3, 3)), corners)
    whole = np.concatenate([moved.min(1), moved.max(1)], axis=1) if len(xyxy) else np.zeros((0, 4))
    clipped = clip_boxes(whole, width, height)
    before, after = _sides(whole), _sides(clipped)
    kept = (after.prod(1) >= visible * before.prod(1)) & (after.min(1) >= least)
    return clipped, kept


def _sides(xyxy: Floats) -> Floats:
    sides: Floats = xyxy[:, 2:] - xyxy[:, :2]
    return sides
