"""Schedules: the learning rate as a pure function of how far the training is. Nothing to save, nothing to restore."""

from __future__ import annotations

import math

__all__ = ["rate_factor"]


def rate_factor(schedule: str, warmup: float, step: int, steps: int) -> float:
    """The share of the peak rate in step `step` (from 0) of `steps`.

    `warmup` is the share of all steps in which the rate rises. "cosine" and "linear" rise in a line and fall to 0 along
    their curve; "one-cycle" rises along a cosine from 1/25 of the peak and falls along one to 1/250,000; "constant"
    rises and stays.
    Source: Loshchilov and Hutter 2016, arXiv:1608.03983, equation 5; Smith and Topin 2017, arXiv:1708.07120, section 3.
    """
    done = step / max(1, steps)
    if done < warmup:
        rising = (step + 1) / max(1.0, warmup * steps)
        return _between(1 / 25, 1.0, rising) if schedule == "one-cycle" else min(1.0, rising)
    falling = (done - warmup) / (1 - warmup)
    if schedule == "cosine":
        return _between(1.0, 0.0, falling)
    if schedule == "one-cycle":
        return _between(1.0, 1 / 250_000, falling)
    return 1 - falling if schedule == "linear" else 1.0


def _between(start: float, end: float, way: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, way))) / 2
