"""Many objects a picture, proposed first and looked into then: what Faster R-CNN answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from foveal.tasks.answers import Detections
from foveal.tasks.box_targets import objects_of
from foveal.tasks.detection import LEAST_SCORE, MOST, OVERLAP
from foveal.tasks.heads._proposals import Selection
from foveal.tasks.heads._rcnn_loss import PROPOSALS
from foveal.tasks.heads.faster_rcnn import Seen

__all__ = ["RegionDetection"]

ASKED = Selection(before=1000, after=300)  # proposals of a picture that are looked into (Faster R-CNN, section 4)
LEARNT = replace(PROPOSALS, drawn=64)  # of each picture in training (Girshick 2015, arXiv:1504.08083, section 2.3)


@dataclass(frozen=True)
class RegionDetection:
    """Objects of K classes."""

    classes: tuple[str, ...]

    def loss(self, outputs: Seen, targets: Tensor) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5) float32: class (−1: filling) and box in pixels of the input.

        Which examples are drawn follows torch's random state.
        """
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        return outputs.loss(*objects_of(targets), generator, LEARNT).total

    def right(self, outputs: Seen, targets: Tensor) -> float:
        """Unknown: a picture with objects is not right or wrong."""
        return math.nan

    def decode(
        self, outputs: Seen, size: tuple[int, int], score: float = LEAST_SCORE, iou: float = OVERLAP
    ) -> list[Detections]:
        """What is said of N pictures -> their objects, in pixels of the network's input (H, W) = size."""
        return outputs.said(ASKED).objects(size, score, iou, MOST)
