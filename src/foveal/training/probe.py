"""The probe: is bf16 worth trying on this processor? One convolution, or one matrix product, is asked in a blink.

A processor without an instruction for bf16 emulates it, up to forty times slower than fp32: timing whole training steps
in it would take minutes. Which processors those are is not looked up in a list, which would miss the ones that nobody
thought of and those that are made to play a smaller one: a small piece of the network's own work is timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn

from foveal.training.arithmetic import FORMATS, threads_used

__all__ = ["convolution_rate", "convolves_faster", "multiplies_faster", "rival_format"]

SECONDS = 0.3  # that a probe may take, at most
WEIGHTS = 150_000  # of the convolution that is asked, at most (128 channels of 3×3): larger ones on 4² pixels tell less
WORK = 30_000_000  # multiply-adds forward: a blink in fp32, and still a fraction of a second where bf16 is emulated
REPEATS = 7
SLOWER = 1.2  # times: what is not slower than that is worth whole steps, which then decide
# A thread's own time does not run while another program has the core. On Windows it ticks too coarsely to be used.
_CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-4 else time.perf_counter


def rival_format(network: nn.Module, device: str) -> str | None:
    """The format that is worth trying beside fp32 for this network: "bf16", or None where that is slower here."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device != "cpu":
        return "bf16"  # Apple's GPUs: whole steps decide
    convolution = _typical(network)
    shape = (64, 64, 3) if convolution is None else _shape(convolution)
    return "bf16" if convolves_faster("bf16", *shape) else None


def convolves_faster(number_format: str, in_channels: int, channels: int, kernel: int) -> bool:
    """Whether a k×k convolution, forward and backward, is about as fast in this format as in fp32, or faster."""
    side = max(kernel, min(56, math.isqrt(WORK // (in_channels * channels * kernel**2))))
    fp32, other = (_convolution(name, in_channels, channels, kernel, side) for name in ("fp32", number_format))
    return _at_least_as_fast(other, fp32)


def multiplies_faster(number_format: str, rows: int, columns: int) -> bool:
    """Whether X·Xᵀ of (rows, columns) is about as fast in this format as in fp32, or faster."""
    plain = torch.randn((rows, columns), generator=torch.Generator().manual_seed(0))
    other = plain.to(FORMATS[number_format])
    return _at_least_as_fast(lambda: other @ other.T, lambda: plain @ plain.T)


def convolution_rate(
    number_format: str, in_channels: int = 64, channels: int = 64, kernel: int = 3, side: int = 28
) -> float:
    """Multiply-adds a second of one convolution on one core, forward and backward, the best of a few."""
    once, best, end = _convolution(number_format, in_channels, channels, kernel, side), math.inf, 0.0
    with threads_used(1):
        once()
        end = time.perf_counter() + SECONDS / 2
        while best == math.inf or time.perf_counter() < end:
            best = min(best, _seconds(once))
    return 3 * in_channels * channels * kernel**2 * side**2 / max(best, 1e-9)


def _convolution(number_format: str, in_channels: int, channels: int, kernel: int, side: int) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator).to(FORMATS[number_format])
        return values.contiguous(memory_format=torch.channels_last).requires_grad_()

    weight, images = drawn(channels, in_channels, kernel, kernel), drawn(1, in_channels, side, side)

    def once() -> None:
        weight.grad = images.grad = None
        nn.functional.conv2d(images, weight, padding=kernel // 2).sum().backward()  # type: ignore[no-untyped-call]

    return once


def _at_least_as_fast(asked: Callable[[], object], usual: Callable[[], object]) -> bool:
    """In turn, the best of a few calls each after one that prepares; no more where it is far out of reach."""
    end = time.perf_counter() + SECONDS
    best = rival = math.inf
    with threads_used(1):  # what one core can is the question; two that wait for each other are easily disturbed
        usual()
        asked()
        for number in range(REPEATS):
            rival = min(rival, _seconds(usual))
            best = min(best, _seconds(asked))
            far = best > 4 * rival and number  # once alone, another program may have had the core
            if time.perf_counter() > end or far:
                break
    return best <= SLOWER * rival


def _seconds(once: Callable[[], object]) -> float:
    began = _CLOCK()
    once()
    return _CLOCK() - began


def _typical(network: nn.Module) -> nn.Conv2d | None:
    """The largest convolution over all channels that a blink is enough for; the smallest where none is."""
    dense = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    fitting = [m for m in dense if m.weight.numel() <= WEIGHTS]
    if fitting:
        return max(fitting, key=lambda m: m.weight.numel())
    return min(dense, key=lambda m: m.weight.numel(), default=None)


def _shape(convolution: nn.Conv2d) -> tuple[int, int, int]:
    return convolution.in_channels, convolution.out_channels, convolution.kernel_size[0]
