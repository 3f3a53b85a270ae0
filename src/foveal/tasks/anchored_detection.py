"""Many objects a picture, said as offsets from prior boxes: what YOLOv3 and Darknet's networks answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from foveal.tasks.answers import Detections
from foveal.tasks.box_targets import objects_of
from foveal.tasks.detection import LEAST_SCORE, MOST, OVERLAP
from foveal.tasks.heads._yolo_boxes import Priors, decode
from foveal.tasks.heads.yolov3_loss import yolov3_loss

__all__ = ["AnchoredDetection"]


@dataclass(frozen=True)
class AnchoredDetection:
    """Objects of K classes, on pictures of (H, W) = size pixels as the network sees them."""

    classes: tuple[str, ...]
    priors: tuple[Priors, ...]  # of each output map
    size: tuple[int, int]

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5) float32: class (−1: filling) and box in pixels of the input."""
        return yolov3_loss(outputs, *objects_of(targets), self.priors, self.size).total

    def right(self, outputs: Sequence[Tensor], targets: Tensor) -> float:
        """Unknown: a picture with objects is not right or wrong."""
        return math.nan

    def decode(
        self, outputs: Sequence[Tensor], size: tuple[int, int], score: float = LEAST_SCORE, iou: float = OVERLAP
    ) -> list[Detections]:
        """What is said of N pictures -> their objects, in pixels of the network's input (H, W) = size."""
        return decode(outputs, self.priors, size, score, iou, MOST)
