"""Receptive fields: which stretch of the input each unit of a feature map sees, along one side.

Unit i of a map sees the input's pixels low + i·stride … high + i·stride. A sliding window turns the interval of its
input into that of its output; where branches meet, intervals unite. Source: Araujo, Norris, Sim 2019, "Computing
receptive fields of convolutional neural networks", Distill, sections 2 and 3 (there for padding as well).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["EVERYTHING", "PIXEL", "Reach", "united"]


@dataclass(frozen=True)
class Reach:
    """What the units of a map see along one side; below 0 and past the last pixel lies padding."""

    low: float  # first pixel that unit 0 sees
    high: float  # last pixel that unit 0 sees
    stride: float  # pixels of the input from one unit to the next

    @property
    def size(self) -> float:
        """Pixels that one unit sees: the receptive field. Infinite when it sees the whole input."""
        return self.high - self.low + 1

    @property
    def offset(self) -> float:
        """Input coordinate of the centre of unit 0, in pixels; pixel 0 has its centre at 0."""
        return (self.low + self.high) / 2

    @property
    def everything(self) -> bool:
        """Whether each unit sees the whole input, however large."""
        return math.isinf(self.high)

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
        """After a convolution or pooling.

        >>> PIXEL.window(3, stride=2, padding=1).window(3)
        Reach(low=-1, high=5, stride=2)
        """
        if self.everything:
            return self
        low = self.low - padding * self.stride
        return Reach(low, self.high + (dilation * (kernel - 1) - padding) * self.stride, self.stride * stride)

    def spread(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
        """After a transposed convolution: between units of the finer map the field differs; this holds them all."""
        if self.everything:
            return self
        fine = self.stride / stride
        return Reach(self.low + (padding - dilation * (kernel - 1)) * fine, self.high + padding * fine, fine)

    def sliced(self, start: int, step: int) -> Reach:
        """After taking every `step`-th unit from `start` on."""
        return Reach(self.low + start * self.stride, self.high + start * self.stride, self.stride * step)


PIXEL = Reach(0, 0, 1)
EVERYTHING = Reach(-math.inf, math.inf, math.inf)


def united(reaches: list[Reach]) -> Reach:
    """Where branches meet: from the first pixel that one of them sees to the last.

    Units of a single pixel (a gate beside a map) have no stride of their own: the map's is kept.
    """
    if any(reach.everything for reach in reaches):
        return EVERYTHING
    return Reach(min(r.low for r in reaches), max(r.high for r in reaches), min(r.stride for r in reaches))
