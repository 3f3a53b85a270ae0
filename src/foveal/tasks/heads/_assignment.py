"""Which place answers for which object, and what the answers cost: task alignment.

A place is a good one for an object when it is sure of the class and its box fits; the best few places of each object
learn to say it, the better the surer (Feng et al. 2021, arXiv:2108.07755, "TOOD", sections 3.2 and 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from foveal.ops.boxes import complete_iou, elementwise_iou
from foveal.tasks.heads._places import BINS, PlaceOutputs

__all__ = ["Assigned", "aligned_loss", "assign"]

SURE, FIT = 0.5, 6.0  # exponents of score and overlap in the alignment
PLACES = 10  # of an object that learn
WEIGHTS = {"classes": 0.5, "boxes": 7.5, "sides": 1.5}
NEAR = 1e-9


@dataclass(frozen=True)
class Assigned:
    """What each of A places of N pictures is to say."""

    scores: Tensor  # (N, A, K) in [0, 1]
    boxes: Tensor  # (N, A, 4) of the object that it answers for
    learns: Tensor  # (N, A) whether it answers for one
    object: Tensor  # (N, A) which one, where it does


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, targets: Tensor) -> Assigned:
    """Args: scores (N, A, K) in [0, 1]; boxes (N, A, 4); points (A, 2); targets (N, M, 5): class (below 0: no object)
    and box, in pixels of the input."""
    labels, truth = targets[..., 0].long(), targets[..., 1:]
    n, A, K = scores.shape
    if truth.shape[1] == 0:
        nowhere = torch.zeros(n, A, dtype=torch.bool, device=scores.device)
        return Assigned(torch.zeros_like(scores), torch.zeros_like(boxes), nowhere, nowhere.long())
    there = labels >= 0  # (N, M)
    sides = torch.cat([points - truth[:, :, None, :2], truth[:, :, None, 2:] - points], -1)  # (N, M, A, 4)
    inside = (sides.amin(-1) > NEAR) & there[..., None]
    overlap = elementwise_iou(truth[:, :, None], boxes[:, None]) * inside  # (N, M, A)
    sure = scores.gather(2, labels.clamp_min(0)[:, None].expand(-1, A, -1)).transpose(1, 2)  # (N, M, A)
    fit = sure.pow(SURE) * overlap.pow(FIT) * inside
    best = fit.topk(min(PLACES, A), dim=2)
    chosen = torch.zeros_like(inside).scatter_(2, best.indices, best.values > NEAR) & inside
    contested = chosen.sum(1, keepdim=True) > 1  # a place answers for the object that it fits best
    fits_best = (overlap * chosen).transpose(1, 2).contiguous().argmax(2)
    winner = F.one_hot(fits_best, truth.shape[1]).transpose(1, 2).bool()
    chosen = torch.where(contested, winner & chosen, chosen)
    learns, index = chosen.any(1), chosen.transpose(1, 2).contiguous().to(torch.float32).argmax(2)
    fit, overlap = fit * chosen, overlap * chosen
    level = fit / fit.amax(2, keepdim=True).clamp_min(NEAR) * overlap.amax(2, keepdim=True)  # the best: its overlap
    worth = level.amax(1) * learns  # (N, A)
    label = labels.clamp_min(0).gather(1, index)
    wanted = F.one_hot(label, K).to(scores.dtype) * worth[..., None]
    return Assigned(wanted, truth.gather(1, index[..., None].expand(-1, -1, 4)), learns, index)


def aligned_loss(said: PlaceOutputs, targets: Tensor) -> Tensor:
    """Classes, boxes and the distributions of their sides, as one scalar in float32."""
    logits, boxes = said.classes.float(), said.boxes()
    assigned = assign(logits.sigmoid(), boxes.detach(), said.points, targets)
    total = assigned.scores.sum().clamp_min(1.0)
    classes = F.binary_cross_entropy_with_logits(logits, assigned.scores, reduction="sum") / total
    learns = assigned.learns
    if not bool(learns.any()):
        return WEIGHTS["classes"] * classes + 0.0 * said.sides.float().sum()
    worth = assigned.scores.sum(-1)[learns]
    apart = 1 - complete_iou(boxes[learns], assigned.boxes[learns])
    sides = _side_loss(said, assigned.boxes, learns)
    return (
        WEIGHTS["classes"] * classes
        + WEIGHTS["boxes"] * (apart * worth).sum() / total
        + WEIGHTS["sides"] * (sides * worth).sum() / total
    )


def _side_loss(said: PlaceOutputs, boxes: Tensor, learns: Tensor) -> Tensor:
    """(L,) cross-entropy against the two whole distances on either side of the true one (arXiv:2006.04388, eq. 6)."""
    distances = torch.cat([said.points - boxes[..., :2], boxes[..., 2:] - said.points], -1) / said.strides[:, None]
    wanted = distances[learns].clamp(0, BINS - 1 - 0.01)  # (L, 4)
    below = wanted.long()
    log_p = said.sides.float()[learns].log_softmax(-1)
    above_share = wanted - below
    low = log_p.gather(-1, below[..., None])[..., 0]
    high = log_p.gather(-1, below[..., None] + 1)[..., 0]
    return -((1 - above_share) * low + above_share * high).mean(-1)
