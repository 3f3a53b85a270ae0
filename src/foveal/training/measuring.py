"""Measuring: which way of computing is the fastest sound one on the machine at hand, and what it promises.

bf16 with channels last doubles the speed of most networks on processors that have it, and slows others down; which
memory layout suits fp32 differs from network to network: no rule of thumb picks the way. So a few whole steps of each
are timed, as they will run (`Trial`), and the fastest sound one is taken. A format that the processor only emulates is
ruled out by a probe before. What was found is printed, and kept in a cache by machine, network, size and step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foveal.errors import FovealError
from foveal.files.durable import write_text
from foveal.files.places import cache_folder
from foveal.machine import LIMITS, machine
from foveal.training.arithmetic import WAYS, Arithmetic, threads_used
from foveal.training.probe import rival_format

__all__ = ["Enough", "Measured", "Timed", "Trial", "given", "measure", "random_state_kept"]

SECONDS_AT_MOST = 5.0
VERSION = 2  # of what is timed: choices of before are forgotten
HOPELESS = 2.5  # times slower than the best way so far: more steps of it would teach nothing
FEWER_PAY = 1.05  # times faster, for half of the threads to be taken

Enough = Callable[[Sequence[float]], bool]  # of the seconds of the steps so far: have we seen what we need?


@dataclass(frozen=True)
class Timed:
    """Steps of one way of computing."""

    pictures: int  # in each of them
    seconds: tuple[float, ...]  # of each; the first one warms up
    update: float = 0.0  # seconds of a step that do not grow with its pictures: the optimiser, the average
    busy: float = 0.0  # processor seconds of a step, all threads together
    sound: bool = True  # loss and gradients were finite

    def best(self, batch: int) -> float:
        """Pictures a second in steps of `batch` pictures, by the quickest step."""
        return self._speed(self.shortest, batch)

    def usual(self, batch: int) -> float:
        """The same, by the median step."""
        return self._speed(statistics.median(self._warm), batch)

    @property
    def shortest(self) -> float:
        """Seconds of the quickest step."""
        return min(self._warm)

    @property
    def _warm(self) -> tuple[float, ...]:
        return self.seconds[1:] or self.seconds

    def _speed(self, seconds: float, batch: int) -> float:
        update = min(self.update, seconds)
        return batch / max(1e-9, (seconds - update) * batch / self.pictures + update)


Trial = Callable[[Arithmetic, Enough], Timed]  # whole steps, on a copy of the network, until they are enough


@dataclass(frozen=True)
class Measured:
    """What was found."""

    arithmetic: str
    threads: int
    images_per_second: dict[str, float]  # by way, what its steps promise; only what was timed
    seconds: float  # that measuring took
    cached: bool = False
    ruled_out: str = ""  # a format that the probe found too slow to be tried
    update_share: float = 0.0  # of a step of the way that was taken: the optimiser, the average
    busy: float = 0.0  # processor seconds a picture in it

    @property
    def promised(self) -> float | None:
        """Pictures a second of the way that was taken; None where nothing was measured."""
        return self.images_per_second.get(self.arithmetic)

    def as_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "chosen": self.arithmetic,
            "threads": self.threads,
            "images_per_second": self.images_per_second,
            "update_share": round(self.update_share, 4),
            "ruled_out": self.ruled_out,
            "seconds": round(self.seconds, 3),
            "cached": self.cached,
        }

    def __str__(self) -> str:
        told = ", ".join(f"{way} {speed:.3g}" if speed < 10 else f"{way} {speed:.0f}"
                         for way, speed in self.images_per_second.items())  # fmt: skip
        if self.ruled_out:
            told += f"; {self.ruled_out} is slower than fp32 on this processor"
        return f"{told}; {'measured earlier' if self.cached else f'measured in {self.seconds:.1f} s'}"


def given(arithmetic: str) -> Measured:
    """Nothing measured: the recipe says how to compute."""
    return Measured(arithmetic, torch.get_num_threads(), {}, 0.0)


def measure(
    trial: Trial,
    network: nn.Module,
    batch: int,
    device: str = "cpu",
    *,
    facts: Sequence[Any] = (),
    seconds: float = SECONDS_AT_MOST,
    anew: bool = False,
) -> Measured:
    """Time whole steps each way and take the fastest whose loss and gradients are finite.

    Args: network, whose kind the probe looks at; batch, the pictures of a step as it will run; facts, what the timing
          depends on besides machine, network and batch; seconds, the most that it should take, though two ways are
          always timed where the probe leaves two; anew, whatever the cache says.
    """
    place = _cache_file([*facts, batch, device], network)
    known = _read(place) if place and not anew else None
    if known is not None:
        return known
    start, threads = time.perf_counter(), torch.get_num_threads()
    timed: dict[str, Timed] = {}
    with random_state_kept():
        rival = rival_format(network, device)
        ways = [way for way in WAYS if Arithmetic(way).format in ("fp32", rival)]
        for tried, way in enumerate(ways):
            spent = time.perf_counter() - start
            if len(timed) >= 2 and spent > seconds * 0.6:
                break
            share = max(0.0, seconds * 0.8 - spent) / (len(ways) - tried)
            found = _timed(trial, Arithmetic(way, device), share, timed.get(_fastest(timed, batch)))
            if found is not None:
                timed[way] = found
        best = _fastest(timed, batch)
        if best in timed and device == "cpu" and threads > 1 and time.perf_counter() - start < seconds * 0.8:
            with threads_used(threads // 2):
                fewer = _timed(trial, Arithmetic(best, device), seconds * 0.1, timed[best])
            if fewer is not None and fewer.best(batch) > FEWER_PAY * timed[best].best(batch):
                threads, timed[best] = threads // 2, fewer
    taken = timed.get(best, Timed(batch, (1.0,)))
    found_all = Measured(
        best,
        threads,
        {way: steps.usual(batch) for way, steps in timed.items()},
        time.perf_counter() - start,
        ruled_out="" if rival or device.startswith("cuda") else "bf16",
        update_share=taken.update * taken.usual(batch) / batch,
        busy=taken.busy / taken.pictures,
    )
    if place and timed:
        _write(place, found_all)
    return found_all


def _fastest(timed: dict[str, Timed], batch: int) -> str:
    """The way whose quickest step is the quickest; fp32 where nothing went."""
    return max(timed, key=lambda way: timed[way].best(batch), default="fp32")


def _timed(trial: Trial, arithmetic: Arithmetic, share: float, rival: Timed | None) -> Timed | None:
    """Steps of one way within a share of the time, two at the least; None when not sound or not possible here."""
    end, hopeless = time.perf_counter() + share, HOPELESS * rival.shortest if rival else math.inf

    def enough(seconds: Sequence[float]) -> bool:
        if len(seconds) == 1:  # it has warmed up
            return False
        return time.perf_counter() + seconds[-1] > end or seconds[-1] > hopeless

    try:
        found = trial(arithmetic, enough)
    except (RuntimeError, NotImplementedError):  # an operator that this device lacks in this format
        return None
    return found if found.sound else None


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Dropout in the trial must not change what the run draws."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _cache_file(facts: Sequence[Any], network: nn.Module) -> Path | None:
    """Where such a measurement is remembered; None where nothing can be."""
    shape = [(name, list(p.shape)) for name, p in network.named_parameters()]
    limits = {name: os.environ[name] for name in LIMITS if name in os.environ}
    key = json.dumps([VERSION, machine(), limits, shape, torch.get_num_threads(), *facts])
    try:
        folder = cache_folder()
    except FovealError:  # the cache saves time and no more
        return None
    return folder / "arithmetic" / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.json"


def _read(place: Path) -> Measured | None:
    """A remembered measurement; anything odd in the file means to measure anew."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        speeds = {str(k): float(v) for k, v in found["images_per_second"].items() if k in WAYS}
        if found["arithmetic"] not in speeds:
            return None
        return Measured(
            found["arithmetic"],
            int(found["threads"]),
            speeds,
            0.0,
            cached=True,
            ruled_out="bf16" if found["ruled_out"] else "",
            update_share=float(found["update_share"]),
            busy=float(found["busy"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(place: Path, found: Measured) -> None:
    """A full or read-only disk is no error."""
    facts = {
        "arithmetic": found.arithmetic,
        "threads": found.threads,
        "images_per_second": {way: round(speed, 3) for way, speed in found.images_per_second.items()},
        "ruled_out": found.ruled_out,
        "update_share": found.update_share,
        "busy": found.busy,
    }
    with contextlib.suppress(OSError, FovealError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(facts))
