"""Runs: `foveal.train`, `foveal.resume`, `foveal.evaluate`. The pictures, what is settled about them, a run's folder.

What computes (`label_runs`, `detection_runs`) is imported where it begins: PyTorch takes seconds to import, and what is
wrong with names, sizes, paths and folders is refused before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.finding import check_source
from foveal.data.sources import open_dataset
from foveal.errors import BadData, BadRecipe, FovealError, did_you_mean, shown
from foveal.files.durable import RunLock, new_folder, write_text
from foveal.files.model_file import model_file
from foveal.files.run_folder import check_run, free_folder, leave_no_folder, logged, tell_left_out
from foveal.networks.index import CUSTOM
from foveal.preprocess import VIEWS
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, read_recipe
from foveal.tasks.asked import asked_task
from foveal.training.asking import check_asked
from foveal.training.settle import settle

if TYPE_CHECKING:
    from torch import nn

    from foveal.detector import Detector
    from foveal.model import Model
    from foveal.runs.detection_runs import DetectionEvaluation
    from foveal.runs.label_runs import Evaluation

__all__ = ["Run", "evaluate", "loop_script", "resume", "train"]

Source = str | Path | tuple[Any, Any]

CLASSIFIER = "--precision is for detectors, and this model is a classifier; it has --accuracy."


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    model: Model | Detector
    metrics: dict[str, Any]  # the content of metrics.json
    report: Path


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
    if network is not None:
        recipe = recipe.with_settings({"network.name": CUSTOM})
    place = Path(out).expanduser() if out is not None else None
    check_asked(recipe, name, place)
    task, dataset = asked_task(_opened(source, recipe, progress), recipe)
    recipe = _settled(task, dataset, recipe, network)
    folder = place or free_folder(dataset.origin.source or "arrays", recipe.network.name)
    new_folder(folder)
    try:
        with RunLock(folder), logged(folder, progress) as told:
            write_text(folder / "recipe.toml", recipe.to_toml())
            _tell(dataset, told)
            return _carried_out(task, folder, dataset, recipe, network, told, began, loading_threads)
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
    check_run(folder)
    recipe = read_recipe(folder / "recipe.toml")
    changed = recipe.with_settings(dict(settings or {}), "--resume")
    _check_changes(recipe, changed, folder)
    if recipe.network.name == CUSTOM and network is None:
        raise BadRecipe(f"{shown(folder)} trains a network of one's own: foveal.resume(folder, network=TheNetwork()).")
    with RunLock(folder), logged(folder, progress) as told:
        dataset = _opened(source if source is not None else recipe.data.source, changed, told)
        write_text(folder / "recipe.toml", changed.to_toml())
        task, dataset = asked_task(dataset, changed)
        return _carried_out(task, folder, dataset, changed, network, told, began, going_on=True)


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
    if isinstance(model_path, str | Path) and not model_file(model_path).detects and precision is not None:
        raise BadRecipe(CLASSIFIER)
    if isinstance(source, str | Path):
        check_source(str(source))
    asked: dict[str, Any] = {"split": split, "test_if": test_if, "exclude": exclude, "group_by": group_by}
    dataset = open_dataset(source, **asked, min_classes=1, progress=progress)
    chosen = np.arange(len(dataset)) if on == "all" else dataset.indices(on)
    if not len(chosen):
        raise BadData(f"{shown(dataset.origin.place)} has no {on} pictures; use --on all, or --split FILE.csv.")
    from foveal.detector import Detector
    from foveal.model import load
    from foveal.runs.detection_runs import evaluate_detector
    from foveal.runs.label_runs import evaluate_classifier

    model = load(model_path) if isinstance(model_path, str | Path) else model_path
    if isinstance(model, Detector):
        return evaluate_detector(model, dataset, chosen, precision, progress)
    if precision is not None:
        raise BadRecipe(CLASSIFIER)
    return evaluate_classifier(model, dataset, chosen, views, accuracy, progress)


def loop_script(source: Source, recipe: Recipe | None = None, settings: Mapping[str, Any] | None = None) -> str:
    """The loop that `train` would run, as a script with the recipe's values in it."""
    if isinstance(source, tuple):
        raise BadRecipe("--show-loop needs a source that a script can open: a folder, a file or a name.")
    recipe = (recipe or Recipe()).with_settings({"data.source": str(source), **(settings or {})}, "settings")
    check_asked(recipe, recipe.data.source)
    task, dataset = asked_task(_opened(source, recipe, SILENT), recipe)
    if task != "classify":
        raise BadRecipe("--show-loop writes out trainings with labels only as yet.")
    recipe = settle(dataset, recipe)
    from foveal.runs.label_runs import script_of

    return script_of(dataset, recipe)


def _settled(task: str, dataset: Dataset, recipe: Recipe, network: nn.Module | None) -> Recipe:
    if task == "classify":
        return settle(dataset, recipe, network)
    if network is not None:
        raise BadRecipe("a network of one's own has no stages to detect on; name a trunk of the catalogue.")
    from foveal.training.detecting import settle_detection

    return settle_detection(dataset, recipe, task)


def _carried_out(
    task: str,
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None,
    progress: Progress,
    began: float,
    loading_threads: int = 0,
    going_on: bool = False,
) -> Run:
    """Train, score and report. PyTorch is imported here."""
    if task == "classify":
        from foveal.runs.label_runs import run_labels

        done = run_labels(folder, dataset, recipe, network, progress, began, loading_threads, going_on)
        return Run(folder, *done)
    from foveal.runs.detection_runs import run_detection

    return Run(folder, *run_detection(folder, dataset, recipe, progress, began, loading_threads, going_on))


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
    tell_left_out([(row.name, row.reason) for row in dataset.skipped], progress)


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
