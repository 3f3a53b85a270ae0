"""A run: set-up, training, calibration, scores, baseline, report; each written as soon as it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foveal.data.dataset import Dataset
from foveal.errors import BadRecipe
from foveal.files.durable import write_text
from foveal.files.model_file import MODEL_FILE
from foveal.files.plain_table import counted
from foveal.files.run_folder import tell_left_out, write_skipped
from foveal.model import Model
from foveal.model_files import check_storable
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.runs.scoring import scored
from foveal.tasks.task import Scores, Task
from foveal.training.arithmetic import freed_memory_kept, threads_used
from foveal.training.calibrate import calibrated
from foveal.training.fit import Fitted, begun_anew, fit
from foveal.training.judged import Judged, judged
from foveal.training.promise import BeginAnew
from foveal.training.script import as_script
from foveal.training.setup import Setup, set_up
from foveal.training.soup import averaged, others_of

__all__ = ["carried_out", "computing", "finished", "script_of"]


@contextmanager
def computing(recipe: Recipe) -> Iterator[None]:
    """Within the block a run computes: with as many threads as its recipe says, and draws that nobody else notices."""
    with torch.random.fork_rng(devices=[]), threads_used(recipe.training.threads), freed_memory_kept():
        yield


def carried_out(
    task: type[Task],
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None,
    progress: Progress,
    began: float,
    loading_threads: int = 0,
    going_on: bool = False,
) -> tuple[Setup, Fitted, Model]:
    """Train and calibrate, within `computing`; the folder gets recipe, history and checkpoints. Nothing is scored.

    It begins once anew where the first epoch shows that another way of computing is faster.
    Args: began, of `time.perf_counter`; going_on, from the newest checkpoint.
    """
    if network is not None:
        check_storable(network)
    own = None if network is None else {name: value.clone() for name, value in network.state_dict().items()}

    def laid(recipe: Recipe, progress: Progress = progress) -> Setup:
        if network is not None and own is not None:
            network.load_state_dict(own)  # as it was given, also where the training begins anew
        setup = set_up(task, dataset, recipe, network, progress=progress, loading_threads=loading_threads, began=began)
        write_text(folder / "recipe.toml", setup.recipe.to_toml())
        write_skipped(folder, ((row.name, row.reason) for row in setup.dataset.skipped))
        _tell_plan(setup, progress)
        return setup

    setup = laid(recipe)
    if setup.head_alone and setup.transfer is not None:
        fitted = Fitted(None, [], setup.transfer.seconds, 0, False)
    else:
        others = others_of(setup)
        try:
            fitted = fit(setup, folder, resume=going_on, progress=progress)
        except BeginAnew as slower:
            setup = laid(begun_anew(recipe, folder, slower, progress))
            others = others_of(setup)
            fitted = fit(setup, folder, progress=progress)
        fitted = averaged(fitted, others, folder, resume=going_on, progress=progress)
    model = calibrated(setup, fitted.state)
    if verdict := judged(setup, model):
        progress.say(verdict.sentence)
        if verdict.head_is_better:
            setup = _head_of(setup, verdict, laid)
            fitted = Fitted(None, [], fitted.seconds, 0, False)
            model = calibrated(setup, None)
        else:
            setup = replace(setup, recipe=setup.recipe.with_settings({"network.train": "all"}))
            text = setup.recipe.to_toml()
            write_text(folder / "recipe.toml", text)
            model = replace(model, trained={**model.trained, "train": "all", "recipe": text})
    return setup, fitted, model


def finished(
    folder: Path, setup: Setup, fitted: Fitted, model: Model, progress: Progress, began: float
) -> tuple[Model, dict[str, Any], Path, Scores]:
    """What `carried_out` gave, within the same `computing`: the model's file, the scores and the report written."""
    model.save(folder / MODEL_FILE)
    return model, *scored(folder, setup, fitted, model, progress, began)


def _head_of(setup: Setup, verdict: Judged, laid: Callable[[Recipe, Progress], Setup]) -> Setup:
    """The same training with a head alone; its features are remembered, and so is its recipe now."""
    recipe = setup.recipe.with_settings({"network.train": "head", "training.arithmetic": "auto"})
    alone = laid(recipe, SILENT)
    assert alone.transfer is not None
    assert setup.transfer is not None
    return replace(alone, transfer=replace(alone.transfer, reason=verdict.sentence, near=setup.transfer.near))


def script_of(task: type[Task], dataset: Dataset, recipe: Recipe) -> str:
    """The loop that would run with a settled recipe, as a script with its values in it: once, where several trainings
    would be averaged, and kept, where it would be judged.

    Raises: BadRecipe where none would run.
    """
    with torch.random.fork_rng(devices=[]), threads_used(recipe.training.threads):
        setup = set_up(task, dataset, recipe)
    if setup.head_alone:
        raise BadRecipe(
            "--show-loop: there is no training loop, since only the head is fitted, in one step; give --train all."
        )
    once = {"training.soup": 1} if setup.transfer else {}
    kept = {"network.train": "all"} if setup.recipe.network.train == "better" else {}
    return as_script(replace(setup, recipe=setup.recipe.with_settings(once | kept)))


def _tell_plan(setup: Setup, progress: Progress) -> None:
    broken = [(setup.dataset.pictures.name(index), reason) for index, reason in setup.store.broken]
    tell_left_out(broken, progress)
    t, name, size = setup.recipe.training, setup.recipe.network.name, setup.recipe.data.size
    parameters = f"{sum(p.numel() for p in setup.network.parameters()):,} parameters"
    if setup.head_alone:
        progress.say(f"{name} ({parameters}) on {size}.")
        return
    who = f"{name} ({parameters})" if setup.task.linear else f"Detecting with {name} as trunk ({parameters} in all)"
    steps = f"{counted(int(t.epochs), 'epoch')} of {counted(len(setup.batches), 'step')} of {t.batch_size}"
    progress.say(f"{who} on {size}, {steps}, {t.optimizer} at {t.learning_rate:g}, {t.schedule}.")
