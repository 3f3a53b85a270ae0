"""A run with labels: train → evaluate → report in a run's folder, and how good a classifier is on other pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import batches_in_order
from foveal.data.dataset import Dataset, Skipped
from foveal.data.split import duplicates_across, score_warnings
from foveal.data.store import PixelStore, open_store
from foveal.errors import BadData, shown
from foveal.files.durable import write_text
from foveal.files.model_file import MODEL_FILE
from foveal.files.plain_json import json_text
from foveal.files.run_folder import tell_left_out, write_skipped
from foveal.machine import machine
from foveal.model import Model, Outputs, Views
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.report.telling import story
from foveal.tasks.classification import Scores
from foveal.tasks.trust import Tried
from foveal.training.arithmetic import freed_memory_kept, threads_used
from foveal.training.baseline import Baseline, hog_baseline
from foveal.training.calibrate import fit_labels, outputs_of_head
from foveal.training.fit import Fitted, fit_as_promised
from foveal.training.script import as_script
from foveal.training.setup import Setup, set_up

__all__ = ["Evaluation", "all_outputs", "evaluate_classifier", "run_labels", "script_of"]

BASELINE_SECONDS = 30.0  # and never more than the training took
BASELINE_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a model answers for pictures with labels."""

    scores: Scores
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    tried: Tried | None = None  # how the model's own bounds did; None where it has none


def run_labels(
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None,
    progress: Progress,
    began: float,
    loading_threads: int,
    going_on: bool,
) -> tuple[Model, dict[str, Any], Path]:
    """Setup, training, model, scores, baseline, report; each written as soon as it stands."""
    own = None if network is None else {name: value.clone() for name, value in network.state_dict().items()}

    def lay(recipe: Recipe) -> Setup:
        if network is not None and own is not None:
            network.load_state_dict(own)  # as it was given, also where the training begins anew
        setup = set_up(dataset, recipe, network, progress=progress, loading_threads=loading_threads)
        write_text(folder / "recipe.toml", setup.recipe.to_toml())
        write_skipped(folder, ((row.name, row.reason) for row in setup.dataset.skipped))
        _tell_plan(setup, progress)
        return setup

    def fit_on(setup: Setup) -> Fitted[Model]:
        return fit_labels(setup, folder, resume=going_on, progress=progress)

    with torch.random.fork_rng(devices=[]), threads_used(recipe.training.threads), freed_memory_kept():
        setup, fitted = fit_as_promised(lay, fit_on, recipe, folder, progress)
        fitted.model.save(folder / MODEL_FILE)
        return _scored(folder, setup, fitted, progress, began)


def script_of(dataset: Dataset, recipe: Recipe) -> str:
    """The loop that would run with a settled recipe, as a script with its values in it."""
    with torch.random.fork_rng(devices=[]), threads_used(recipe.training.threads):
        return as_script(set_up(dataset, recipe).recipe)


def evaluate_classifier(
    model: Model,
    dataset: Dataset,
    chosen: NDArray[np.int64],
    views: Views,
    accuracy: float | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a classifier on some pictures of a data set. Classes are matched by name, never by position.

    Args:   accuracy, the share of right answers that is wished for, by default what the model was trained for.
    Raises: BadRecipe for an accuracy that the model knows nothing about; BadData when no picture of a class that the
            model knows is there.
    """
    trust = model.trust_for(accuracy)
    dataset = dataset.take(chosen)
    index_of = {name: i for i, name in enumerate(model.classes)}
    unknown = sorted(set(dataset.classes) - set(model.classes))
    notes = list(dataset.notes)
    if unknown:
        names = ", ".join(shown(n) for n in unknown[:10])
        notes.append(f"The model does not know {len(unknown)} of the classes ({names}): their pictures are left out.")
    truth = np.array([index_of.get(dataset.classes[k], -1) for k in dataset.labels], np.int64)
    store = open_store(dataset, model.preprocess, "auto", progress)
    broken = np.array([i for i, _ in store.broken], np.int64)
    usable = np.setdiff1d(np.flatnonzero(truth >= 0), broken)
    skipped = [Skipped(dataset.pictures.name(i), reason) for i, reason in store.broken]
    if not len(usable):
        raise BadData(f"{shown(dataset.origin.place)}: no usable picture of a class that the model knows.")
    out = all_outputs(model, store, usable, views, progress)
    scores = model.task.score(out.logits, truth[usable], model.temperature)
    tried = _tried(replace(model, trust=trust), out, truth[usable])
    return Evaluation(scores, tuple(notes), dataset.skipped + tuple(skipped), tried)


def _scored(
    folder: Path, setup: Setup, fitted: Fitted[Model], progress: Progress, began: float
) -> tuple[Model, dict[str, Any], Path]:
    on = "test" if len(setup.splits["test"]) else "val" if len(setup.splits["val"]) else "train"
    indices = setup.splits[on]
    started = time.perf_counter()
    if setup.transfer is not None and setup.transfer.train == "head":
        out = outputs_of_head(setup, fitted.model, indices, progress)
    else:
        out = all_outputs(fitted.model, setup.store, indices, "none", progress)
    scores = fitted.model.task.score(out.logits, setup.dataset.labels[indices], fitted.model.temperature)
    tried = _tried(fitted.model, out, setup.dataset.labels[indices])
    for sentence in tried.sentences if tried else ():
        progress.say(sentence)
    tested = time.perf_counter() - started
    warnings = score_warnings(setup.dataset, on)
    for sentence in warnings:
        progress.say(sentence)
    baseline = _baseline(setup, on, fitted.seconds, progress)
    metrics: dict[str, Any] = {
        "test": {**scores.as_dict(), "split": on, "views": "none"},
        "baseline": baseline.as_dict() if baseline else {"top1": None},
        "weights": setup.start.as_dict() if setup.start else None,
        "transfer": setup.transfer.as_dict() if setup.transfer else None,
        "learning_curve": setup.transfer.curve.as_dict() if setup.transfer and setup.transfer.curve else None,
        "parameters": {
            "all": sum(p.numel() for p in setup.network.parameters()),
            "trained": setup.trained_parameters,
        },
        "temperature": fitted.model.temperature,
        "trust": tried.as_dict() if tried else None,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "pictures": {name: len(i) for name, i in setup.splits.items()},
        "left_out": len(setup.dataset.skipped),
        "warnings": warnings,
        "leak": len(duplicates_across(setup.dataset)),
        "seconds": {
            "store": round(setup.store.seconds, 3),
            "measure": round(setup.measured.seconds, 3),
            "train": round(fitted.seconds, 3),
            "test": round(tested, 3),
            "baseline": round(baseline.seconds, 3) if baseline else 0.0,
            "total": round(time.perf_counter() - began, 3),
        },
        "arithmetic": {
            **setup.measured.as_dict(),
            "chosen": setup.arithmetic.name,
            "device": setup.arithmetic.device,
        },
        "machine": machine(),
    }
    from foveal.report.page import write_report  # with its plotting library: only a finished run needs it

    report = folder / "report.html"
    size = (folder / MODEL_FILE).stat().st_size
    write_report(
        story(folder.name, setup, fitted, on, out.logits, scores, tried, baseline, metrics, machine(), warnings, size),
        report,
    )
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    write_text(folder / "metrics.json", json_text(metrics) + "\n")
    return fitted.model, metrics, report


def all_outputs(
    model: Model, store: PixelStore, indices: NDArray[np.int64], views: Views, progress: Progress
) -> Outputs:
    """Features beside the logits, where the model makes use of them."""
    through = model.outputs if model.trust and model.trust.familiar else model.plain_outputs
    parts = []
    with progress.task("scoring", len(indices)) as advance:
        for pixels in batches_in_order(store, indices, 512):
            parts.append(through(pixels, views))
            advance(len(pixels))
    return Outputs.joined(parts, len(model.classes))


def _tried(model: Model, out: Outputs, truth: NDArray[np.int64]) -> Tried | None:
    if model.trust is None:
        return None
    return model.trust.tried(out.logits.numpy(), truth, model.temperature, model.unlike(out))


def _baseline(setup: Setup, on: str, trained: float, progress: Progress) -> Baseline | None:
    """HOG and a linear classifier on the same split, in a share of the time that the network had."""
    if on == "train":
        return None
    seconds = max(2.0, min(BASELINE_SECONDS, BASELINE_SHARE * trained))
    found = hog_baseline(
        setup.store.rows,
        setup.dataset.labels,
        setup.splits["train"],
        setup.splits[on],
        setup.dataset.classes,
        seconds,
        progress,
    )
    note = f" {found.note}" if found.note else ""
    progress.say(f"Baseline {found.name}: {found.top1:.2%} in {found.seconds:.1f} s.{note}")
    return found


def _tell_plan(setup: Setup, progress: Progress) -> None:
    broken = [(setup.dataset.pictures.name(index), reason) for index, reason in setup.store.broken]
    tell_left_out(broken, progress)
    t = setup.recipe.training
    parameters = sum(p.numel() for p in setup.network.parameters())
    if setup.recipe.network.train == "head":
        progress.say(f"{setup.recipe.network.name} ({parameters:,} parameters) on {setup.recipe.data.size}.")
        return
    progress.say(
        f"{setup.recipe.network.name} ({parameters:,} parameters) on {setup.recipe.data.size}, {t.epochs} epochs of "
        f"{len(setup.batches)} steps of {t.batch_size}, {t.optimizer} at {t.learning_rate:g}, {t.schedule}."
    )
