"""The rehearsal: the loop itself, for some seconds on a copy of the network, before anything is decided about it.

It tells which way of computing is the fastest here, and how many epochs fit into --minutes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from foveal.errors import BadRecipe
from foveal.files.plain_table import counted
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.tasks.trust import MOST_KEPT
from foveal.training import planner
from foveal.training.arithmetic import Arithmetic
from foveal.training.baseline import baseline_seconds
from foveal.training.measuring import Measured, Trial, given, measure
from foveal.training.optimisers import fastest_format
from foveal.training.trainable import Trainable, Trained, with_replaced
from foveal.training.trials import fitting_pictures, looping, rehearsed

__all__ = ["measured_anew", "planned_epochs", "with_arithmetic"]

SECONDS = 4.0  # of the loop, to plan the epochs
SHARE = 0.03  # and never more than this of the minutes
REPORT_SECONDS = 6.0  # with its charts, the libraries that draw them, and how long Python took to start


def with_arithmetic(setup: Trained, progress: Progress = SILENT) -> Trained:
    """The setup with what its recipe says about computing, else with the fastest sound way as measured."""
    device = setup.arithmetic.device
    recipe = with_optimizer_arithmetic(setup.recipe, setup.network, device)
    setup, asked = with_replaced(setup, recipe=recipe), recipe.training
    measured = _measured(setup) if asked.arithmetic == "auto" else given(asked.arithmetic)
    if asked.threads == "auto":
        torch.set_num_threads(measured.threads)
    threads = torch.get_num_threads()
    if asked.arithmetic == "auto":
        on = f"{threads} thread{'s' if threads > 1 else ''} of {device}"
        progress.say(f"Arithmetic {measured.arithmetic} on {on} (pictures/s: {measured}).")
    settings = {"training.arithmetic": measured.arithmetic, "training.threads": threads}
    return with_replaced(
        setup,
        recipe=recipe.with_settings(settings),
        arithmetic=Arithmetic(measured.arithmetic, device),
        measured=measured,
    )


def measured_anew(setup: Trainable) -> Measured:
    """Once more, whatever is remembered: what a machine promised it does not keep."""
    return _measured(setup, anew=True)


def _measured(setup: Trainable, anew: bool = False) -> Measured:
    trial, facts = _trial(setup)
    return measure(trial, setup.network, setup.batches.batch_size, setup.arithmetic.device, facts=facts, anew=anew)


def _trial(setup: Trainable) -> tuple[Trial, Sequence[Any]]:
    """What is timed, whole steps of the loop, and what the timing depends on."""
    preprocess, t = setup.preprocess, setup.recipe.training
    size: tuple[int, int] = (preprocess.height, preprocess.width)
    on_cpu = setup.arithmetic.device == "cpu"
    pictures = fitting_pictures(setup.batches.batch_size, size) if on_cpu else setup.batches.batch_size
    facts = [
        "steps", t.task, setup.recipe.network.train, setup.recipe.network.norms, t.optimizer, t.optimizer_arithmetic,
        bool(t.ema), bool(t.blend), preprocess.channels, size, pictures, setup.recipe.augment.model_dump(),
    ]  # fmt: skip
    return looping(setup, pictures), facts


def with_optimizer_arithmetic(recipe: Recipe, network: nn.Module, device: str) -> Recipe:
    """With the format in which the optimiser multiplies: what the recipe says, else the fastest sound one here.

    Raises: BadRecipe for a format that the optimiser has no use for.
    """
    asked, optimizer = recipe.training.optimizer_arithmetic, recipe.training.optimizer
    if asked not in ("auto", "fp32") and optimizer != "muon":
        raise BadRecipe(
            f"training.optimizer_arithmetic = {asked} is for muon only; {optimizer} always computes in fp32."
        )
    if asked != "auto":
        return recipe
    return recipe.with_settings({"training.optimizer_arithmetic": fastest_format(network, optimizer, device)})


def planned_epochs(setup: Trainable, progress: Progress, began: float | None = None) -> int:
    """The epochs with which the whole run ends within --minutes: what has passed, training and validation, and then
    scores, baseline and report.

    Args:   began, of `time.perf_counter`, when the run began; now where that is not known.
    Raises: BadRecipe when not even one does.
    """
    now = time.perf_counter()
    minutes, began = setup.recipe.training.minutes, now if began is None else began
    end = now + min(SECONDS, SHARE * minutes * 60)
    timed, state = rehearsed(setup, lambda seconds: len(seconds) > 1 and time.perf_counter() > end)
    started = time.perf_counter()
    setup.validate(state.result(), state)
    validation = time.perf_counter() - started
    step = statistics.mean(timed.seconds[1:])
    spent = time.perf_counter() - began + seconds_afterwards(setup, 1 / timed.usual(setup.batches.batch_size))
    epochs = planner.epochs_in(minutes, len(setup.batches) * step + validation, spent)
    progress.say(f"{counted(epochs, 'epoch')} fit{'s' * (epochs == 1)} into {minutes:g} minutes.")
    return epochs


def seconds_afterwards(setup: Trainable, step: float) -> float:
    """What calibration, scores, baseline and report are likely to take.

    Args: step, seconds of a training step for each of its pictures: a pass forward is a third of it.
    """
    held_out, train = (len(setup.dataset.indices(split)) for split in ("test", "train"))
    passes = held_out + min(train, MOST_KEPT)
    hog = baseline_seconds(setup.store.rows, train, held_out) if setup.task.linear else 0.0
    return passes * step / 3 + hog + REPORT_SECONDS
