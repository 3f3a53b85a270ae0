"""Runs: `foveal.train` and `foveal.resume`. A run's folder, its lock, and train → evaluate → report, in this order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import batches_in_order
from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.sources import open_dataset
from foveal.data.split import duplicates_across
from foveal.data.store import open_store
from foveal.detection_runs import DetectionEvaluation, asked_task, evaluate_detector, run_detection
from foveal.detector import Detector
from foveal.errors import BadData, BadRecipe, FovealError, Missing, did_you_mean, shown
from foveal.files.durable import RunLock, new_folder, write_text
from foveal.files.plain_json import json_text
from foveal.files.run_folder import check_place, free_folder, leave_no_folder, logged, write_skipped
from foveal.machine import machine
from foveal.model import CUSTOM, MODEL_FILE, VIEWS, Model, Outputs, Views, load
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, read_recipe
from foveal.report.telling import story
from foveal.tasks.classification import Scores
from foveal.tasks.trust import Tried
from foveal.training.arithmetic import freed_memory_kept, threads_used
from foveal.training.baseline import Baseline, hog_baseline
from foveal.training.detecting import settle_detection
from foveal.training.finish import fit_labels
from foveal.training.fit import Fitted, fit_as_promised
from foveal.training.ground import Ground, lay_ground, settle
from foveal.training.script import as_script

__all__ = ["Evaluation", "Run", "evaluate", "loop_script", "resume", "train"]

BASELINE_SECONDS = 30.0  # and never more than the training took
BASELINE_SHARE = 0.25
TOLD_AT_MOST = 20  # pictures left out; skipped.csv has them all

Source = str | Path | tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    model: Model | Detector
    metrics: dict[str, Any]  # the content of metrics.json
    report: Path


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a model answers for pictures with labels."""

    scores: Scores
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    tried: Tried | None = None  # how the model's own bounds did; None where it has none


def train(
    source: Source,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
    progress: Progress = SILENT,
    loading_threads: int = 0,
) -> Run:
    """Train, calibrate, score and report, in a folder of its own.

    Args:   source, a folder, file or name, or arrays (X, y): see `open_dataset`.
            out, the run's folder, which must not exist or be empty; by default `runs/<source>-<network>-<n>`.
            recipe and settings (`{"training.epochs": 3}`), what is not left to the planner.
            network, a module of one's own that maps (N, C, H, W) to (N, K) logits; it is trained in place.
            loading_threads, how many load pictures while the network computes (0: as many as help); changes no bit.
    Raises: BadData, BadRecipe, Missing, NotWritable: refused, and no folder left behind.
            NoSpace, NotFinite, Interrupted: stopped midway; `resume` goes on.
    """
    began = time.perf_counter()
    recipe = (recipe or Recipe()).with_settings(dict(settings or {}), "settings")
    name = source if isinstance(source, str) else str(source) if isinstance(source, Path) else ""
    recipe = recipe.with_settings({"data.source": name})
    place = Path(out).expanduser() if out is not None else None
    if place is not None:
        check_place(place, name)
    with torch.random.fork_rng(devices=[]):
        dataset = _opened(source, recipe, progress)
        task, dataset = asked_task(dataset, recipe)
        recipe = _settled(task, dataset, recipe, network)
        folder = place or free_folder(dataset.origin.source or "arrays", recipe.network.name)
        new_folder(folder)
        try:
            with RunLock(folder), logged(folder, progress) as told:
                write_text(folder / "recipe.toml", recipe.to_toml())
                _tell(dataset, told)
                if task != "classify":
                    done = run_detection(folder, dataset, recipe, told, began, loading_threads, going_on=False)
                    return Run(folder, *done)
                return _run(folder, dataset, recipe, network, told, began, loading_threads, going_on=False)
        except FovealError as error:
            if error.exit_code == 2:  # refused before anything was trained
                leave_no_folder(folder)
            raise


def resume(
    folder: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
    progress: Progress = SILENT,
    source: tuple[Any, Any] | None = None,
) -> Run:
    """Go on with a run that was stopped, to the bit on the CPU; `training.epochs` may be raised.

    Args: network and source again, where the run was started with a module or with arrays of one's own.
    """
    began = time.perf_counter()
    folder = Path(folder)
    if not (folder / "recipe.toml").exists():
        raise Missing(f"{shown(folder)} is no run's folder: it holds no recipe.toml.")
    recipe = read_recipe(folder / "recipe.toml")
    changed = recipe.with_settings(dict(settings or {}), "--resume")
    _check_changes(recipe, changed, folder)
    if recipe.network.name == CUSTOM and network is None:
        raise BadRecipe(f"{shown(folder)} trains a network of one's own: foveal.resume(folder, network=TheNetwork()).")
    with torch.random.fork_rng(devices=[]), RunLock(folder), logged(folder, progress) as told:
        dataset = _opened(source if source is not None else recipe.data.source, changed, told)
        write_text(folder / "recipe.toml", changed.to_toml())
        task, dataset = asked_task(dataset, changed)
        if task != "classify":
            return Run(folder, *run_detection(folder, dataset, changed, told, began, 0, going_on=True))
        return _run(folder, dataset, changed, network, told, began, 0, going_on=True)


def evaluate(
    model_path: str | Path | Model | Detector,
    source: Source,
    *,
    on: str = "test",
    views: str = "none",
    split: str | Path | None = None,
    test_if: str | None = None,
    exclude: str | Path | None = None,
    group_by: str | None = None,
    accuracy: float | None = None,
    precision: float | None = None,
    progress: Progress = SILENT,
) -> Evaluation | DetectionEvaluation:
    """Score a model on one split of a source, or on "all". Classes are matched by name, never by position.

    Args:   accuracy, the share of right answers that is wished for, by default what the model was trained for;
            precision, of a detector: the share of right boxes that is wished for.
    Raises: BadData when no picture of a class that the model knows is there; BadRecipe for an unknown split or view.
    """
    if views not in VIEWS:
        raise BadRecipe(f'--views is one of {", ".join(VIEWS)}, got "{shown(views)}"{did_you_mean(views, VIEWS)}')
    if on not in (*SPLITS, "all"):
        raise BadRecipe(
            f'--on is one of {", ".join(SPLITS)}, all, got "{shown(on)}"{did_you_mean(on, (*SPLITS, "all"))}'
        )
    model = load(model_path) if isinstance(model_path, str | Path) else model_path
    trust = model.trust_for(accuracy) if isinstance(model, Model) else None
    asked: dict[str, Any] = {"split": split, "test_if": test_if, "exclude": exclude, "group_by": group_by}
    dataset = open_dataset(source, **asked, min_classes=1, progress=progress)
    chosen = np.arange(len(dataset)) if on == "all" else dataset.indices(on)
    if not len(chosen):
        raise BadData(f"{shown(dataset.origin.place)} has no {on} pictures; use --on all, or --split FILE.csv.")
    if isinstance(model, Detector):
        return evaluate_detector(model, dataset, chosen, precision, progress)
    if precision is not None:
        raise BadRecipe("--precision is for detectors, and this model is a classifier; it has --accuracy.")
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
    out = _all_outputs(model, store, usable, views, progress)
    scores = model.task.score(out.logits, truth[usable], model.temperature)
    tried = _tried(replace(model, trust=trust), out, truth[usable])
    return Evaluation(scores, tuple(notes), dataset.skipped + tuple(skipped), tried)


def loop_script(source: Source, recipe: Recipe | None = None, settings: Mapping[str, Any] | None = None) -> str:
    """The loop that `train` would run, as a script with the recipe's values in it."""
    if isinstance(source, tuple):
        raise BadRecipe("--show-loop needs a source that a script can open: a folder, a file or a name.")
    recipe = (recipe or Recipe()).with_settings({"data.source": str(source), **(settings or {})}, "settings")
    with torch.random.fork_rng(devices=[]):
        task, dataset = asked_task(_opened(source, recipe, SILENT), recipe)
        if task != "classify":
            raise BadRecipe("--show-loop writes out trainings with labels only as yet.")
        recipe = settle(dataset, recipe)
        with threads_used(recipe.training.threads):
            return as_script(lay_ground(dataset, recipe).recipe)


def _settled(task: str, dataset: Dataset, recipe: Recipe, network: nn.Module | None) -> Recipe:
    if task == "classify":
        return settle(dataset, recipe, network)
    if network is not None:
        raise BadRecipe("a network of one's own has no stages to detect on; name a trunk of the catalogue.")
    return settle_detection(dataset, recipe, task)


def _run(
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None,
    progress: Progress,
    began: float,
    loading_threads: int,
    going_on: bool,
) -> Run:
    """Ground, training, model, scores, baseline, report; each written as soon as it stands."""
    own = None if network is None else {name: value.clone() for name, value in network.state_dict().items()}

    def lay(recipe: Recipe) -> Ground:
        if network is not None and own is not None:
            network.load_state_dict(own)  # as it was given, also where the training begins anew
        ground = lay_ground(dataset, recipe, network, progress=progress, loading_threads=loading_threads)
        write_text(folder / "recipe.toml", ground.recipe.to_toml())
        write_skipped(folder, ((row.name, row.reason) for row in ground.dataset.skipped))
        _tell_plan(ground, progress)
        return ground

    def fit_on(ground: Ground) -> Fitted[Model]:
        return fit_labels(ground, folder, resume=going_on, progress=progress)

    with threads_used(recipe.training.threads), freed_memory_kept():
        ground, fitted = fit_as_promised(lay, fit_on, recipe, folder, progress)
        fitted.model.save(folder / MODEL_FILE)
        return _scored(folder, ground, fitted, progress, began)


def _scored(folder: Path, ground: Ground, fitted: Fitted[Model], progress: Progress, began: float) -> Run:
    on = "test" if len(ground.splits["test"]) else "val" if len(ground.splits["val"]) else "train"
    indices = ground.splits[on]
    started = time.perf_counter()
    out = _all_outputs(fitted.model, ground.store, indices, "none", progress)
    scores = fitted.model.task.score(out.logits, ground.dataset.labels[indices], fitted.model.temperature)
    tried = _tried(fitted.model, out, ground.dataset.labels[indices])
    for sentence in tried.sentences if tried else ():
        progress.say(sentence)
    tested = time.perf_counter() - started
    warnings = _warnings(ground.dataset, on)
    for sentence in warnings:
        progress.say(sentence)
    baseline = _baseline(ground, on, fitted.seconds, progress)
    metrics: dict[str, Any] = {
        "test": {**scores.as_dict(), "split": on, "views": "none"},
        "baseline": baseline.as_dict() if baseline else {"top1": None},
        "weights": ground.start.as_dict() if ground.start else None,
        "transfer": ground.transfer.as_dict() if ground.transfer else None,
        "learning_curve": ground.transfer.curve.as_dict() if ground.transfer and ground.transfer.curve else None,
        "parameters": {
            "all": sum(p.numel() for p in ground.network.parameters()),
            "trained": ground.trained_parameters,
        },
        "temperature": fitted.model.temperature,
        "trust": tried.as_dict() if tried else None,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "pictures": {name: len(i) for name, i in ground.splits.items()},
        "left_out": len(ground.dataset.skipped),
        "warnings": warnings,
        "leak": len(duplicates_across(ground.dataset)),
        "seconds": {
            "store": round(ground.store.seconds, 3),
            "measure": round(ground.measured.seconds, 3),
            "train": round(fitted.seconds, 3),
            "test": round(tested, 3),
            "baseline": round(baseline.seconds, 3) if baseline else 0.0,
            "total": round(time.perf_counter() - began, 3),
        },
        "arithmetic": {
            **ground.measured.as_dict(),
            "chosen": ground.arithmetic.name,
            "device": ground.arithmetic.device,
        },
        "machine": machine(),
    }
    from foveal.report.page import write_report  # with its plotting library: only a finished run needs it

    report = folder / "report.html"
    size = (folder / MODEL_FILE).stat().st_size
    write_report(
        story(folder.name, ground, fitted, on, out.logits, scores, tried, baseline, metrics, machine(), warnings, size),
        report,
    )
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    write_text(folder / "metrics.json", json_text(metrics) + "\n")
    return Run(folder, fitted.model, metrics, report)


def _all_outputs(model: Model, store: Any, indices: Any, views: Views, progress: Progress) -> Outputs:
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


def _baseline(ground: Ground, on: str, trained: float, progress: Progress) -> Baseline | None:
    """HOG and a linear classifier on the same split, in a share of the time that the network had."""
    if on == "train":
        return None
    seconds = max(2.0, min(BASELINE_SECONDS, BASELINE_SHARE * trained))
    found = hog_baseline(
        ground.store.rows,
        ground.dataset.labels,
        ground.splits["train"],
        ground.splits[on],
        ground.dataset.classes,
        seconds,
        progress,
    )
    note = f" {found.note}" if found.note else ""
    progress.say(f"Baseline {found.name}: {found.top1:.2%} in {found.seconds:.1f} s.{note}")
    return found


def _warnings(dataset: Dataset, on: str) -> list[str]:
    """What takes something away from the score."""
    warnings = []
    if on != "test":
        warnings.append(
            f"There are no test pictures: the score is on {on}, which the training has used; it is too good."
        )
    pairs = duplicates_across(dataset)
    if pairs:
        first, second = (shown(name) for name in pairs[0])
        rest = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
        warnings.append(
            f"{first} and {second} are the same picture on both sides of the split{rest}: the score is too good."
        )
    return warnings


def _opened(source: Source, recipe: Recipe, progress: Progress) -> Dataset:
    return open_dataset(
        source,
        split=recipe.data.split or None,
        test_if=recipe.data.test_if or None,
        exclude=recipe.data.exclude or None,
        group_by=recipe.data.group_by or None,
        unlabelled=recipe.data.unlabelled,
        progress=progress,
    )


def _tell(dataset: Dataset, progress: Progress) -> None:
    counts = ", ".join(f"{len(dataset.indices(s))} {s}" for s in SPLITS)
    K = len(dataset.classes)
    of = f"{K} class{'es' if K != 1 else ''}"
    what = of if dataset.boxes is None else f"{len(dataset.boxes):,} objects of {of}, to be detected"
    progress.say(
        f"{shown(dataset.origin.source or 'arrays')}: {dataset.origin.format}, {len(dataset)} pictures of {what} "
        f"({counts}; split by {dataset.origin.split_by})."
    )
    for note in dataset.notes:
        progress.say(note)
    _tell_left_out([(row.name, row.reason) for row in dataset.skipped], progress)


def _tell_left_out(rows: Sequence[tuple[str, str]], progress: Progress) -> None:
    for name, reason in rows[:TOLD_AT_MOST]:
        progress.say(f"{shown(name)} {reason}: left out.")
    if len(rows) > TOLD_AT_MOST:
        progress.say(f"and {len(rows) - TOLD_AT_MOST} more, see skipped.csv.")


def _tell_plan(ground: Ground, progress: Progress) -> None:
    broken = [(ground.dataset.pictures.name(index), reason) for index, reason in ground.store.broken]
    _tell_left_out(broken, progress)
    t = ground.recipe.training
    parameters = sum(p.numel() for p in ground.network.parameters())
    if ground.recipe.network.train == "head":
        progress.say(f"{ground.recipe.network.name} ({parameters:,} parameters) on {ground.recipe.data.size}.")
        return
    progress.say(
        f"{ground.recipe.network.name} ({parameters:,} parameters) on {ground.recipe.data.size}, {t.epochs} epochs of "
        f"{len(ground.batches)} steps of {t.batch_size}, {t.optimizer} at {t.learning_rate:g}, {t.schedule}."
    )


def _check_changes(was: Recipe, now: Recipe, folder: Path) -> None:
    """Only what leaves the steps already taken valid may change."""
    allowed = {"training.epochs", "training.device"}
    before, after = was.model_dump(), now.model_dump()
    for section, keys in before.items():
        for key, value in keys.items():
            if after[section][key] != value and f"{section}.{key}" not in allowed:
                raise BadRecipe(
                    f"{shown(folder)} was started with {section}.{key} = {value}, now {after[section][key]} is asked "
                    "for; leave it as it was, or start anew."
                )
    if isinstance(was.training.epochs, int) and int(now.training.epochs) < was.training.epochs:
        raise BadRecipe(f"{shown(folder)} was started for {was.training.epochs} epochs; only more can be asked for.")
