"""Fitting: the loop run in a folder, with its checkpoints, its history and its signals, until there is a model."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import shutil
import signal
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from foveal.errors import BadData, BadModel, Interrupted, shown
from foveal.files.durable import write_text
from foveal.progress import SILENT, Advance, Progress
from foveal.recipe import Recipe
from foveal.training import checkpoint, planner
from foveal.training.loop import train_epochs
from foveal.training.promise import BeginAnew, Promise
from foveal.training.rehearsal import measured_anew
from foveal.training.train_state import Epoch, TrainState
from foveal.training.trainable import Trainable

__all__ = ["Ended", "Fitted", "begun_anew", "fit", "write_history"]

CHECKPOINT_SECONDS = 45.0  # in the middle of an epoch; below the promised minute, since a step may take long
EPOCH_CHECKPOINT_SECONDS = 5.0  # at the end of one: shorter epochs are cheaper to repeat than to write


class Ended(Protocol):
    """A training that has ended."""

    @property
    def epoch(self) -> int:
        """How many there were."""
        ...

    def result(self) -> dict[str, Tensor]:
        """The state dict that gets used."""
        ...


@dataclass(frozen=True, eq=False)
class Fitted:
    """What came out."""

    state: Ended | None  # None: a fitted head needed no loop
    history: list[Epoch]
    seconds: float  # of training, over all sittings
    best_epoch: int
    stopped_early: bool
    earlier: float = 0.0  # seconds of that in sittings before this one


def fit(setup: Trainable, folder: Path, *, resume: bool = False, progress: Progress = SILENT) -> Fitted:
    """Train in a run's folder: checkpoints and history.csv are written there.

    Raises: NotFinite and NoSpace (the last good checkpoint stands), Interrupted after SIGINT or SIGTERM (saved first),
            BeginAnew when the speed that was measured is not kept and another way of computing is faster now.
    """
    state = setup.begun()
    checkpoints = folder / "checkpoint"
    checkpoints.mkdir(exist_ok=True)
    facts = _run_facts(setup)
    if resume:
        _take_up(checkpoints, state, facts, progress)
    pictures = len(setup.batches) * setup.batches.batch_size * (setup.plan.epochs - state.epoch)
    with _Signals() as signals, progress.task("training", pictures) as advance:
        promise = None if resume else Promise(setup.measured, lambda: measured_anew(setup), progress)
        watch = _Keeper(folder, setup.batches.batch_size, facts, setup.plan, signals, progress, advance, promise)
        began = time.perf_counter()
        train_epochs(state, setup, watch)
    seconds = sum(row.seconds for row in state.history)
    earlier = max(0.0, seconds - (time.perf_counter() - began)) if resume else 0.0
    early, history = state.epoch < setup.plan.epochs, state.history
    kept = checkpoint.best(checkpoints)
    if setup.plan.early_stopping and kept is not None:
        checkpoint.restore(kept, state)
    return Fitted(state, history, seconds, state.best_epoch, early, earlier)


def begun_anew(recipe: Recipe, folder: Path, slower: BeginAnew, progress: Progress) -> Recipe:
    """The recipe of a training that begins anew, since another way of computing turned out to be the fastest."""
    found = slower.measured
    progress.say(f"Training starts again with {found.arithmetic} (pictures/s: {found}).")
    torch.set_num_threads(found.threads)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # of a training that no recipe would repeat
    (folder / "history.csv").unlink(missing_ok=True)
    chosen = {"training.arithmetic": found.arithmetic, "training.threads": found.threads}
    return recipe.with_settings(chosen)


def _run_facts(setup: Trainable) -> dict[str, Any]:
    """What a checkpoint belongs to: resuming with other pictures or classes is refused."""
    dataset = setup.dataset
    content = hashlib.blake2b(digest_size=16)
    boxes = None if dataset.boxes is None else dataset.boxes.xyxy
    for part in (dataset.digests, dataset.labels, dataset.splits, boxes, dataset.multi_hot):
        if part is not None:
            content.update(np.ascontiguousarray(part).tobytes())
    return {
        "data": content.hexdigest(),
        "classes": list(dataset.classes),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _take_up(checkpoints: Path, state: TrainState, facts: dict[str, Any], progress: Progress) -> None:
    path, damaged = checkpoint.newest(checkpoints)
    for sentence in damaged:
        progress.say(f"{sentence} Resuming from the one before.")
    if path is None:
        progress.say("No checkpoint was written yet: training starts from the beginning.")
        return
    was = checkpoint.restore(path, state)
    if was.get("classes") != facts["classes"]:
        raise BadModel(f"{shown(path)}: the run was started with other classes than the data has now; start a new run.")
    if was.get("data") != facts["data"]:
        raise BadData(
            f"{shown(path)}: the pictures have changed since the run was started; start a new run with another --out."
        )
    if (was.get("torch"), was.get("instructions")) != (facts["torch"], facts["instructions"]):
        progress.say(
            "The run was started with another PyTorch or processor: it resumes, but is no longer bit-identical."
        )
    progress.say(f"Resuming from epoch {state.epoch + 1}, step {state.step + 1} ({shown(path.name)}).")


@dataclass
class _Keeper:
    """Looks on while the loop runs: progress, history, checkpoints, signals."""

    folder: Path
    batch_size: int
    facts: dict[str, Any]
    plan: planner.Plan
    signals: _Signals
    progress: Progress
    advance: Advance
    promise: Promise | None
    saved: float = 0.0

    def __post_init__(self) -> None:
        self.saved = time.monotonic()

    def after_step(self, state: TrainState, steps: int) -> None:
        self.advance(self.batch_size, _how_it_goes(state))
        if self.signals.came:
            self._save(state)
            name, code = ("SIGTERM", 143) if self.signals.came == signal.SIGTERM else ("SIGINT", 130)
            raise Interrupted(
                f"Stopped by {name} in epoch {state.epoch + 1} after step {state.step} of {steps}; "
                f"resume with: foveal train --resume {shown(self.folder)}",
                code,
            )
        if self.promise:
            self.promise.after_step(state)
        if time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            self._save(state)

    def after_epoch(self, state: TrainState) -> None:
        row = state.history[-1]
        write_history(self.folder / "history.csv", state.history)
        parts = [("train ", row.train_top1, ".2%"), ("val ", row.val_top1, ".2%"), ("val loss ", row.val_loss, ".4f")]
        known = "".join(f"{word}{value:{form}}, " for word, value, form in parts if not math.isnan(value))
        self.progress.say(
            f"epoch {row.epoch}/{self.plan.epochs}: loss {row.train_loss:.4f}, {known}"
            f"{row.images_per_second:.0f} pictures/s, {row.seconds:.1f} s"
        )
        if self.promise:
            self.promise.after_epoch()
        if self.plan.early_stopping and state.best_epoch == state.epoch:
            checkpoint.save_best(self.folder / "checkpoint", state, self.facts)
        if time.monotonic() - self.saved > EPOCH_CHECKPOINT_SECONDS:
            self._save(state)

    def _save(self, state: TrainState) -> None:
        checkpoint.save(self.folder / "checkpoint", state, self.facts)
        self.saved = time.monotonic()


def _how_it_goes(state: TrainState) -> str:
    """Loss and accuracy of the epoch so far, and its speed."""
    tally = state.tally
    if not tally.seen:
        return ""
    speed = tally.seen / max(tally.seconds, 1e-9)
    right = "" if math.isnan(tally.right) else f"{tally.right / tally.seen:.1%} accuracy, "
    return f"loss {tally.loss / tally.seen:.3f}, {right}{speed:.0f} pictures/s"


def write_history(path: Path, history: list[Epoch]) -> None:
    """A row an epoch, each exactly once."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    write_text(path, text.getvalue())


class _Signals:
    """The first SIGINT or SIGTERM is remembered, for the loop to stop at the next step; a second one acts at once."""

    def __init__(self) -> None:
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.came = number
        signal.signal(number, self._before[number])

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
