"""Non-maximum suppression: of boxes that overlap much, the best one stays.

The greedy rule (keep the best, drop what overlaps it, go on) looks sequential, but is the one fixed point of "a box
stays if no better box that stays overlaps it", which a few rounds over a block's matrix of overlaps reach.
Source of the fixed point: Zheng et al. 2020, arXiv:2005.03572, "Cluster-NMS".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.ops.boxes import box_iou

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["batched_nms", "nms", "soft_nms", "suppressed"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

BLOCK = 1024  # boxes that are judged together: bounds the memory, and the rounds


def nms(xyxy: Tensor, scores: Tensor, iou: float = 0.5) -> Tensor:
    """(k,) indices of the boxes that stay, the best first; equal scores keep their order.

    Args: xyxy (n, 4); scores (n,); iou, the overlap above which the lesser box goes.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in torch.split(order, BLOCK):
        if len(kept):
            block = block[~(box_iou(xyxy[block], xyxy[kept]) > iou).any(1)]
        kept = torch.cat([kept, block[_stays((box_iou(xyxy[block], xyxy[block]) > iou).triu(1))]])
    return kept


def _stays(over: Tensor) -> Tensor:
    """(n,) of (n, n): over[i, j] says that i is better than j and overlaps it."""
    import torch

    stays = torch.ones(len(over), dtype=torch.bool, device=over.device)
    while True:
        following = ~over[stays].any(0)
        if torch.equal(following, stays):
            return stays
        stays = following


def batched_nms(xyxy: Tensor, scores: Tensor, labels: Tensor, iou: float = 0.5) -> Tensor:
    """As `nms`, but only boxes of the same class drop each other; labels (n,) int64."""
    import torch

    by_class = labels.argsort(stable=True)
    groups = torch.split(by_class, torch.unique(labels, return_counts=True)[1].tolist())
    kept = [group[nms(xyxy[group], scores[group], iou)] for group in groups]
    together = torch.cat(kept).sort().values if kept else by_class
    return together[scores[together].argsort(descending=True, stable=True)]


def soft_nms(
    xyxy: Tensor, scores: Tensor, sigma: float = 0.5, iou: float = 0.3, method: str = "gaussian", least: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Lower the scores of what overlaps a better box, instead of dropping it.

    Args:    method, "gaussian" (by exp(−IoU²/σ)) or "linear" (by 1 − IoU, above `iou`); least, the score below which a
             box is dropped.
    Returns: (k,) indices, the best first, and (k,) their new scores.
    Source:  Bodla et al. 2017, arXiv:1704.04503, section 3.
    """
    import torch

    if method not in ("gaussian", "linear"):
        raise ValueError(f'method is "gaussian" or "linear", got "{method}"')
    left, lowered = torch.arange(len(scores), device=scores.device), scores.clone()
    kept, found = [], []
    while len(left):
        best = int(lowered[left].argmax())
        index = left[best]
        if lowered[index] < least:
            break
        kept.append(index)
        found.append(lowered[index])
        left = torch.cat([left[:best], left[best + 1 :]])
        overlap = box_iou(xyxy[index][None], xyxy[left])[0]
        factor = torch.exp(-overlap.square() / sigma) if method == "gaussian" else 1 - overlap * (overlap > iou)
        lowered[left] = lowered[left] * factor
    return (torch.stack(kept), torch.stack(found)) if kept else (left[:0], lowered[:0])


def suppressed(xyxy: Floats, scores: Floats, labels: Labels, iou: float = 0.5, most: int = 100) -> Labels:
    """As `batched_nms`, of NumPy's arrays: (k,) indices of at most `most` boxes that stay, the best first.

    Only so many rounds are made as boxes stay, each against those that are left.
    Args: xyxy (n, 4) float64; scores (n,); labels (n,) int64.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, kinds = xyxy[order], labels[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.arange(len(order))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        corners = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:], boxes[left, 2:])
        both = np.maximum(corners[1] - corners[0], 0).prod(1)
        over = both > iou * np.maximum(areas[best] + areas[left] - both, np.finfo(np.float64).tiny)
        left = left[~(over & (kinds[left] == kinds[best]))]
    return order[np.array(kept, np.int64)]
