"""What a detector says of one picture: boxes with a class and a score each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detections"]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found on a picture, the surest first."""

    xyxy: NDArray[np.float64]  # (n, 4) pixels of the picture as it is shown
    labels: NDArray[np.int64]  # (n,) index into the classes
    scores: NDArray[np.float64]  # (n,) in [0, 1], descending

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Detections:
        """Some of them."""
        return Detections(self.xyxy[chosen], self.labels[chosen], self.scores[chosen])
