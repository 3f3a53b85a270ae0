"""One object a picture: presence, box and class as targets, loss and answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.tasks.answers import Detections
from foveal.tasks.heads.one_object import Placed, placed_loss

__all__ = ["Localisation"]


@dataclass(frozen=True)
class Localisation:
    """At most one object of K classes on pictures of (H, W) = size pixels, as the network sees them."""

    classes: tuple[str, ...]
    size: tuple[int, int]

    def loss(self, outputs: Placed, targets: Tensor) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5) float32: class (−1: filling) and box in pixels of the input."""
        return placed_loss(outputs, targets, self.size)

    def right(self, outputs: Placed, targets: Tensor) -> float:
        """Unknown: a box is not right or wrong."""
        return math.nan

    def decode(self, outputs: Placed, size: tuple[int, int], score: float = 0.0, iou: float = 0.0) -> list[Detections]:
        """One object each where its presence is at least `score`, in pixels of the network's input."""
        edge = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float64)
        boxes = (outputs.shares().cpu().double().clamp(0, 1) * edge).numpy()
        presence = outputs.presence.float().sigmoid().cpu().double().numpy()
        labels = outputs.classes.float().argmax(1).cpu().numpy()
        whole = [Detections(boxes[i : i + 1], labels[i : i + 1], presence[i : i + 1]) for i in range(len(boxes))]
        return [one.take(one.scores >= score) for one in whole]
