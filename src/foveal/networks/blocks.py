"""Pieces that more than one paper uses: sums, products and joins as modules, so that any of them can be observed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Add", "Concat", "Multiply"]


class Add(nn.Module):
    """The sum of feature maps of one shape: a shortcut's addition."""

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:  # (N, C, H, W) each
        for other in others:
            x = x + other
        return x


class Concat(nn.Module):
    """Feature maps laid behind one another along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:  # (N, Cᵢ, H, W) each -> (N, ΣCᵢ, H, W)
        return torch.cat(maps, dim=1)


class Multiply(nn.Module):
    """Feature maps times a gate for each channel: what squeeze-and-excite ends with."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # (N, C, H, W), (N, C, 1, 1)
        return x * gate
