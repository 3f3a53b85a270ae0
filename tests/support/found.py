"""What a head's tensors come to, without a model around them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from foveal.tasks.answers import Detections
from foveal.tasks.detect import objects_in

__all__ = ["found_in"]


def found_in(
    named: Mapping[str, Tensor], size: tuple[int, int], score: float = 0.25, iou: float = 0.45, most: int = 300
) -> list[Detections]:
    """The objects of each picture of (H, W) = size."""
    pictures = zip(named["boxes"].detach().numpy(), named["scores"].detach().numpy(), strict=True)
    return [objects_in(boxes, scores, size, score, iou, most, 30_000) for boxes, scores in pictures]
