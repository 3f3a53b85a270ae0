"""The padded table of a batch's objects, picture by picture."""

from __future__ import annotations

from torch import Tensor

__all__ = ["objects_of"]


def objects_of(targets: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes (n, 4) and labels (n,) int64 of each picture, those without an area left out.

    Args: targets (N, M, 5): class (−1: filling) and xyxy in pixels of the input.
    """
    sides = targets[..., 3:] - targets[..., 1:3]
    there = (targets[..., 0] >= 0) & (sides > 0).all(-1)
    rows = [picture[own] for picture, own in zip(targets, there, strict=True)]
    return [row[:, 1:] for row in rows], [row[:, 0].long() for row in rows]
