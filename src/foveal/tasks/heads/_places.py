"""What a head without anchors says of N pictures, at the places of its maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BINS", "PlaceOutputs"]

BINS = 16  # distances 0 to 15, in steps of the map


class PlaceOutputs(NamedTuple):
    """What a detector says of N pictures at the A places of its maps."""

    classes: Tensor  # (N, A, K) logits
    sides: Tensor  # (N, A, 4, BINS) logits of the distances to the left, upper, right and lower side
    points: Tensor  # (A, 2) x and y of the places, pixels of the input
    strides: Tensor  # (A,) pixels that a step of the place's map spans

    def boxes(self) -> Tensor:
        """(N, A, 4) xyxy in pixels of the input, float32."""
        steps = torch.arange(BINS, dtype=torch.float32, device=self.sides.device)
        distances = (self.sides.float().softmax(-1) @ steps) * self.strides[:, None]
        return torch.cat([self.points - distances[..., :2], self.points + distances[..., 2:]], -1)
