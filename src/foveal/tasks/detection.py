"""Many objects a picture: which places learn what, and boxes out of what the places say.

The network says the same at every place of its maps, whatever the picture: shapes are fixed, and what depends on the
content, the choice among overlapping boxes, stands here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.ops.suppression import batched_nms
from foveal.tasks.answers import Detections
from foveal.tasks.heads._assignment import aligned_loss
from foveal.tasks.heads.yolo import Said

__all__ = ["LEAST_SCORE", "Detection", "objects_said"]

LEAST_SCORE = 0.005  # of what is scored; lower ones change AP by nothing that one could see
OVERLAP = 0.6  # IoU above which two boxes of a class are one object
MOST = 100  # objects a picture, as COCO counts
CANDIDATES = 1000  # of a picture that reach suppression, the surest first


@dataclass(frozen=True)
class Detection:
    """Objects of K classes."""

    classes: tuple[str, ...]

    def loss(self, outputs: Said, targets: Tensor) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5) float32: class (−1: filling) and box in pixels of the input."""
        return aligned_loss(outputs, targets)

    def right(self, outputs: Said, targets: Tensor) -> float:
        """Unknown: a picture with objects is not right or wrong."""
        return math.nan

    def decode(
        self, outputs: Said, size: tuple[int, int], score: float = LEAST_SCORE, iou: float = OVERLAP
    ) -> list[Detections]:
        """What is said of N pictures -> their objects, in pixels of the network's input (H, W) = size."""
        return objects_said(outputs, size, score, iou)


def objects_said(
    outputs: Said, size: tuple[int, int], score: float = LEAST_SCORE, iou: float = OVERLAP, most: int = MOST
) -> list[Detections]:
    """Boxes above a score, class by class without doubles, clipped to the input; at most `most` a picture."""
    boxes = outputs.boxes().cpu()
    scores = outputs.classes.float().sigmoid().cpu()
    edge = torch.tensor([size[1], size[0], size[1], size[0]], dtype=boxes.dtype)
    return [_one(b.clamp_min(0).minimum(edge), s, score, iou, most) for b, s in zip(boxes, scores, strict=True)]


def _one(boxes: Tensor, scores: Tensor, score: float, iou: float, most: int) -> Detections:
    places, labels = (scores > score).nonzero(as_tuple=True)
    sure = scores[places, labels]
    if len(sure) > CANDIDATES:
        sure, order = sure.topk(CANDIDATES)
        places, labels = places[order], labels[order]
    kept = batched_nms(boxes[places], sure, labels, iou)[:most]
    found = boxes[places][kept].double().numpy()
    return Detections(found, labels[kept].numpy(), sure[kept].double().numpy())
