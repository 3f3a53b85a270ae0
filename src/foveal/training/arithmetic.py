"""Arithmetic: in which number format and memory layout the network computes, measured on the machine at hand.

bf16 with channels last doubles the speed of most networks on processors that have it, and slows others down: no rule of
thumb picks it. So a few steps of each way are timed and the fastest sound one is taken; the timings are printed and
kept in a cache by machine, network and size.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from foveal.files.durable import write_text
from foveal.files.places import cache_folder

__all__ = ["WAYS", "Arithmetic", "Measured", "freed_memory_kept", "machine", "measure", "threads_used"]

WAYS = ("bf16 channels-last", "fp32 channels-last", "fp32", "bf16")  # in the order of hope
SECONDS_AT_MOST = 5.0
_PIXELS_A_STEP = 400_000  # enough for stable timings (8 pictures of 224², 400 of 32²), cheap enough for slow networks


@dataclass(frozen=True)
class Arithmetic:
    """One way to compute."""

    name: str  # of WAYS
    device: str = "cpu"

    @property
    def channels_last(self) -> bool:
        return self.name.endswith("channels-last")

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
        if self.name.startswith("bf16"):
            return torch.autocast(self.device.split(":")[0], torch.bfloat16)
        return contextlib.nullcontext()


@dataclass(frozen=True)
class Measured:
    """What was found."""

    arithmetic: str
    threads: int
    images_per_second: dict[str, float]  # of a training step, by way; only what was timed
    seconds: float  # that measuring took
    cached: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "chosen": self.arithmetic,
            "threads": self.threads,
            "images_per_second": self.images_per_second,
            "seconds": round(self.seconds, 3),
            "cached": self.cached,
        }


def measure(
    network: nn.Module,
    in_channels: int,
    size: tuple[int, int],
    batch_size: int,
    device: str = "cpu",
    seconds: float = SECONDS_AT_MOST,
) -> Measured:
    """Time a training step each way and take the fastest whose loss and gradients are finite.

    Args: network, left as it was; pictures of (in_channels, H, W); `seconds`, the most that it may take.
    """
    place = _cache_file(network, in_channels, size, batch_size, device)
    known = _read(place)
    if known is not None:
        return known
    start = time.perf_counter()
    pictures = max(4, min(batch_size, _PIXELS_A_STEP // (size[0] * size[1])))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((pictures, in_channels, *size), generator=generator)
    speeds: dict[str, float] = {}
    threads = torch.get_num_threads()
    with _random_state_kept():
        for tried, way in enumerate(WAYS):
            spent = time.perf_counter() - start
            if speeds and spent > seconds * 0.6:
                break
            share = (seconds * 0.85 - spent) / (len(WAYS) - tried)
            speed = _time_way(Arithmetic(way, device), network, images, share, max(speeds.values(), default=0.0))
            if speed:
                speeds[way] = speed
        best = max(speeds, key=lambda way: speeds[way]) if speeds else "fp32"
        if device == "cpu" and threads > 1 and time.perf_counter() - start < seconds * 0.85:
            threads = _fewer_threads(Arithmetic(best, device), network, images, seconds * 0.1, speeds.get(best, 0.0))
    found = Measured(best, threads, speeds, time.perf_counter() - start)
    if len(speeds) > 1:  # a machine so busy that only one way was timed deserves another look next time
        _write(place, found)
    return found


def _fewer_threads(arithmetic: Arithmetic, network: nn.Module, images: Tensor, seconds: float, with_all: float) -> int:
    """Half of the threads where they are faster: with two threads a core, or a core taken by others, they can be."""
    threads = torch.get_num_threads()
    with threads_used(threads // 2):
        halved = _time_way(arithmetic, network, images, seconds, with_all)
    return threads // 2 if halved > 1.05 * with_all else threads


def _time_way(arithmetic: Arithmetic, network: nn.Module, images: Tensor, seconds: float, best: float) -> float:
    """Images a second of a forward and backward pass, the best of a few; 0 when not sound or not possible here."""
    try:
        trial = arithmetic.network(copy.deepcopy(network)).train()
        pictures = arithmetic.images(images.to(arithmetic.device))
        end, speed, warm = time.perf_counter() + seconds, 0.0, False
        while True:
            start = time.perf_counter()
            if not _sound_step(trial, arithmetic, pictures):
                return 0.0
            took = time.perf_counter() - start
            speed = max(speed, len(images) / took)
            if (warm and time.perf_counter() + took > end) or speed * 2.5 < best:
                return speed
            warm = True
    except (RuntimeError, NotImplementedError):  # an operator that this device lacks in this format
        return 0.0


def _sound_step(network: nn.Module, arithmetic: Arithmetic, images: Tensor) -> bool:
    network.zero_grad(set_to_none=True)
    with arithmetic.autocast():
        outputs = network(images)
    answers = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]  # auxiliary classifiers' as well
    loss = torch.stack([logits.float().square().mean() for logits in answers]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    if arithmetic.device.startswith("cuda"):
        torch.cuda.synchronize()
    last = [p.grad for p in network.parameters() if p.grad is not None][-1]
    return bool(torch.isfinite(loss)) and bool(torch.isfinite(last).all())


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """Dropout in the trial must not change what the run draws."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


@contextlib.contextmanager
def threads_used(threads: int | str) -> Iterator[None]:
    """Compute with this many threads inside ("auto": as many as now); as before outside. The bits depend on it."""
    before = torch.get_num_threads()
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


@cache
def machine() -> dict[str, str]:
    """The machine and the versions that compute, as the report and the caches name them."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": processor,
        "cores": str(os.cpu_count() or 1),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cache_file(network: nn.Module, in_channels: int, size: tuple[int, int], batch_size: int, device: str) -> Path:
    shape = [(name, list(p.shape)) for name, p in network.named_parameters()]
    facts = [machine(), device, shape, in_channels, list(size), batch_size, torch.get_num_threads()]
    key = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
    return cache_folder() / "arithmetic" / f"{key}.json"


def _read(place: Path) -> Measured | None:
    """A remembered measurement; anything odd in the file means to measure anew."""
    try:
        found = json.loads(place.read_text())
        speeds = {str(k): float(v) for k, v in found["images_per_second"].items() if k in WAYS}
        if found["arithmetic"] not in WAYS:
            return None
        return Measured(found["arithmetic"], int(found["threads"]), speeds, 0.0, cached=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(place: Path, found: Measured) -> None:
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
    facts = replace(found, cached=True)
    write_text(
        place,
        json.dumps(
            {
                "arithmetic": facts.arithmetic,
                "threads": facts.threads,
                "images_per_second": {k: round(v, 2) for k, v in facts.images_per_second.items()},
            }
        ),
    )
