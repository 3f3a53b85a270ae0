"""Arithmetic: in which number format and memory layout a network computes, and what else its bits depend on.

Which of the ways is the fastest one here is measured: `training/measuring.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foveal.machine import THREADS_SET_BY, cores_allowed

__all__ = ["FORMATS", "WAYS", "Arithmetic", "freed_memory_kept", "threads_used"]

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
WAYS = ("bf16 channels-last", "fp32 channels-last", "fp32", "bf16")  # in the order of hope


@dataclass(frozen=True)
class Arithmetic:
    """One way to compute."""

    name: str  # of WAYS
    device: str = "cpu"

    @property
    def channels_last(self) -> bool:
        """Whether a pixel's channels lie together in memory."""
        return self.name.endswith("channels-last")

    @property
    def format(self) -> str:
        """Of FORMATS."""
        return self.name.partition(" ")[0]

    def network(self, network: nn.Module) -> nn.Module:
        """The same network on the device, in this layout."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        moved: nn.Module = network.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]
        return moved

    def images(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in this layout."""
        return images.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside, convolutions and matrix products run in this format; outside, everything is float32."""
        if self.format != "fp32":
            return torch.autocast(self.device.split(":")[0], FORMATS[self.format])
        return contextlib.nullcontext()


@contextlib.contextmanager
def threads_used(threads: int | str) -> Iterator[None]:
    """Compute with this many threads inside; as before outside. The bits of a result depend on it.

    "auto" is as many as PyTorch takes by itself, and no more than a container's quota pays for.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads if isinstance(threads, int) else _usual_threads(before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _usual_threads(now: int) -> int:
    """What OMP_NUM_THREADS says stays."""
    return now if any(name in os.environ for name in THREADS_SET_BY) else min(now, cores_allowed())


# glibc's mallopt: parameter, value inside, and the value that it starts with (malloc.h; man 3 mallopt).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = (-1, 2**31 - 1, 128 * 1024), (-4, 0, 65_536)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, memory that tensors give back stays with the process, for the next step's tensors.

    glibc hands every large block back to the system and asks for it anew: some 70,000 page faults in a training step of
    ResNet-18, an eighth of its time. Elsewhere (macOS, Windows, musl) nothing is changed.
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    for parameter, inside, _ in (_M_TRIM_THRESHOLD, _M_MMAP_MAX):
        mallopt(parameter, inside)
    try:
        yield
    finally:
        for parameter, _, usual in (_M_TRIM_THRESHOLD, _M_MMAP_MAX):
            mallopt(parameter, usual)


def _mallopt() -> Callable[[int, int], int] | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    function: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    return function
