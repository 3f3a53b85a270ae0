"""One figure of `machines.py`, in a process of its own: the class of processor is set in its environment.

Prints one line of JSON. Threads wait as the command lets them wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.machine import prepare_threads

if TYPE_CHECKING:
    from foveal.training.setup import Setup
    from foveal.training.train_state import TrainState

# What is trained, how large, from what, with which batch.
CASES = {
    "resnet18": ("clothing", 224, 32),
    "squeezenet1_1": ("clothing", 224, 32),
    "efficientnet_lite0": ("clothing", 224, 32),
    "speednet": ("clothing", 32, 512),
    "speednet_small": ("digits", 24, 64),
}
LOOKED_AFTER = 30.0  # seconds of the first epoch
HOPELESS = 4.0  # times slower than what was chosen: two small steps show it


def main() -> None:
    """Measure what is asked for."""
    asked = argparse.ArgumentParser()
    asked.add_argument("figure", choices=("arithmetic", "busy"))
    asked.add_argument("network", choices=CASES)
    asked.add_argument("--seconds", type=float, default=12.0, help="of each way, at the least")
    asked.add_argument("--table", type=Path, required=True, help="of `clothing`, all to train on")
    arguments = asked.parse_args()
    prepare_threads(os.environ)
    from foveal.training.arithmetic import freed_memory_kept, threads_used

    with threads_used("auto"), freed_memory_kept():
        found = {"arithmetic": arithmetic, "busy": busy}[arguments.figure](arguments)
    print(json.dumps(found))


def arithmetic(asked: argparse.Namespace) -> dict[str, Any]:
    """What measuring chooses and promises, what the first epoch reaches, and all ways timed at length, in turn."""
    import torch

    from foveal.training.arithmetic import WAYS, Arithmetic
    from foveal.training.trials import fitting_pictures, looping

    setup = laid(asked.network, asked.table)
    measured = setup.measured
    reached = epoch_speed(setup)
    batch, speeds = setup.batches.batch_size, {way: [] for way in WAYS}
    hopeless: set[str] = set()
    small = fitting_pictures(batch, (setup.preprocess.height, setup.preprocess.width))
    for part in (0.5, 0.5):
        for way in [way for way in WAYS if way not in hopeless]:
            quick = looping(setup, small)(Arithmetic(way), lambda seconds: len(seconds) >= 2).best(batch)
            if quick * HOPELESS < measured.promised:
                speeds[way].append(quick)
                hopeless.add(way)
                continue
            end = time.perf_counter() + part * asked.seconds
            timed = looping(setup, batch)(Arithmetic(way), lambda s, end=end: len(s) > 2 and time.perf_counter() > end)
            speeds[way].append(timed.usual(batch))
    at_length = {way: max(found) for way, found in speeds.items()}
    return {
        "network": asked.network, "batch": batch, "threads": torch.get_num_threads(), "chosen": measured.arithmetic,
        "ruled_out": measured.ruled_out, "promised": measured.promised, "reached": reached,
        "measuring_seconds": measured.seconds, "update_share": measured.update_share, "at_length": at_length,
        "of_best": at_length[measured.arithmetic] / max(at_length.values()),
    }  # fmt: skip


def busy(asked: argparse.Namespace) -> dict[str, Any]:
    """Speed alone and beside a process that is always busy, in turn."""
    from foveal.training.trials import looping

    setup = laid(asked.network, asked.table)
    trial = looping(setup, setup.batches.batch_size)
    alone, beside = [], []
    for _ in range(3):
        for speeds, others in ((alone, 0), (beside, 1)):
            load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
            try:
                end = time.perf_counter() + asked.seconds / 3
                timed = trial(setup.arithmetic, lambda s, end=end: len(s) > 2 and time.perf_counter() > end)
                speeds.append(timed.usual(setup.batches.batch_size))
            finally:
                for process in load:
                    process.kill()
                    process.wait()
    return {
        "network": asked.network, "alone": alone, "beside": beside,
        "share": statistics.median(b / a for a, b in zip(alone, beside, strict=True)),
    }  # fmt: skip


def laid(network: str, table: Path) -> Setup:
    """The setup as `foveal train` lays it, its arithmetic measured."""
    from foveal.data.sources import open_dataset
    from foveal.recipe import Recipe
    from foveal.tasks.classify import Classify
    from foveal.training.settle import settle
    from foveal.training.setup import set_up

    source, size, batch = CASES[network]
    name = str(table) if source == "clothing" else source
    settings = {"data.source": name, "network.name": network, "data.size": str(size), "training.batch_size": batch}
    dataset = open_dataset(name)
    return set_up(Classify, dataset, settle(Classify, dataset, Recipe().with_settings(settings)))


def epoch_speed(setup: Setup) -> float:
    """Pictures a second of the first epoch, or of its first 30 seconds, as the run looks at it."""
    state = setup.begun()
    watch = Looking()
    with suppress(Enough):
        setup.train(state, watch)
    return watch.seen / watch.seconds


class Enough(Exception):
    """An epoch has ended, or 30 seconds of it."""


class Looking:
    """Takes pictures and seconds from the loop's own tally."""

    seen, seconds = 0, 0.0

    def after_step(self, state: TrainState, steps: int) -> None:
        self.seen, self.seconds = state.tally.seen, state.tally.seconds
        if self.seconds > LOOKED_AFTER or state.step == steps:
            raise Enough

    def after_epoch(self, state: TrainState) -> None:
        raise Enough


if __name__ == "__main__":
    main()
