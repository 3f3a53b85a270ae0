"""The padded table of a batch's objects, picture by picture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["objects_of", "padded_one"]


def objects_of(targets: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes (n, 4) and labels (n,) int64 of each picture, those without an area left out.

    Args: targets (N, M, 5): class (−1: filling) and xyxy in pixels of the input.
    """
    sides = targets[..., 3:] - targets[..., 1:3]
    there = (targets[..., 0] >= 0) & (sides > 0).all(-1)
    rows = [picture[own] for picture, own in zip(targets, there, strict=True)]
    return [row[:, 1:] for row in rows], [row[:, 0].long() for row in rows]


def padded_one(labels: NDArray[np.int64], boxes: NDArray[np.float64]) -> Tensor:
    """(1, m, 5) float32: the table of one picture with labels (m,) and boxes (m, 4)."""
    table = np.concatenate([np.asarray(labels, np.float64)[:, None], boxes.reshape(-1, 4)], 1)
    return torch.from_numpy(table.astype(np.float32))[None]
