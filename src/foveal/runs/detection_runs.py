"""A run with boxes: train → score → report in a run's folder, and how good a detector is on other pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.data.dataset import Dataset, Skipped
from foveal.data.split import score_warnings
from foveal.detector import Detector
from foveal.errors import BadData, shown
from foveal.files.durable import write_text
from foveal.files.model_file import MODEL_FILE
from foveal.files.plain_json import json_text
from foveal.files.run_folder import write_skipped
from foveal.machine import machine
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.tasks.answers import Detections
from foveal.tasks.asked import relabelled
from foveal.tasks.detection import LEAST_SCORE
from foveal.tasks.detection_scores import DetectionScores, plain, score_objects
from foveal.tasks.detection_trust import TriedPrecision, reliability
from foveal.tasks.localisation_scores import LocalisationScores, score_placed
from foveal.training.arithmetic import freed_memory_kept, threads_used
from foveal.training.detecting import DetectionSetup, finished_detector, located, objects_on, set_up_detection
from foveal.training.fit import Fitted, fit, fit_as_promised

__all__ = ["DetectionEvaluation", "evaluate_detector", "run_detection"]


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """How well a detector finds what is labelled."""

    scores: DetectionScores | LocalisationScores
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    tried: TriedPrecision | None = None  # what a wished precision came to


def run_detection(
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    progress: Progress,
    began: float,
    loading_threads: int,
    going_on: bool,
) -> tuple[Detector, dict[str, Any], Path]:
    """Setup, training, detector, scores, report; each written as soon as it stands."""

    def lay(recipe: Recipe) -> DetectionSetup:
        setup = set_up_detection(dataset, recipe, progress=progress, loading_threads=loading_threads)
        write_text(folder / "recipe.toml", setup.recipe.to_toml())
        write_skipped(folder, ((row.name, row.reason) for row in setup.dataset.skipped))
        _tell_plan(setup, progress)
        return setup

    def fit_on(setup: DetectionSetup) -> Fitted[Detector]:
        return fit(setup, folder, finished_detector, resume=going_on, progress=progress)

    with torch.random.fork_rng(devices=[]), threads_used(recipe.training.threads), freed_memory_kept():
        setup, fitted = fit_as_promised(lay, fit_on, recipe, folder, progress)
        fitted.model.save(folder / MODEL_FILE)
        scored = _placed if fitted.model.kind == "one-object" else _scored
        return scored(folder, setup, fitted, progress, began)


def evaluate_detector(
    detector: Detector,
    dataset: Dataset,
    chosen: NDArray[np.int64],
    precision: float | None = None,
    progress: Progress = SILENT,
) -> DetectionEvaluation:
    """Score a detector on some pictures of a data set. Classes are matched by name, never by position.

    Args:   precision, the share of right boxes that is wished for.
    Raises: BadRecipe when the detector does not know how to reach a precision; BadData when the data has no boxes, or
            none of a class that the detector knows.
    """
    if dataset.boxes is None:
        raise BadData(f"{shown(dataset.origin.place)} has labels and no boxes; a detector is scored against boxes.")
    if precision is not None:
        detector.score_for(precision)  # refused before anything is read
    dataset = dataset.take(chosen)
    assert dataset.boxes is not None
    index_of = {name: i for i, name in enumerate(detector.classes)}
    known = np.array([index_of.get(name, -1) for name in dataset.classes], np.int64)
    unknown = [name for name, index in zip(dataset.classes, known, strict=True) if index < 0]
    truth = relabelled(dataset.boxes, known[dataset.boxes.labels])
    notes = list(dataset.notes)
    if unknown:
        notes.append(
            f"The detector does not know {', '.join(shown(n) for n in unknown[:10])}: their boxes are left out."
        )
    if not len(truth):
        raise BadData(f"{shown(dataset.origin.place)}: no box of a class that the detector knows.")
    found: list[Detections] = []
    usable, skipped = [], []
    pictures = [dataset.pictures.content(i) for i in range(len(dataset))]
    one_object = detector.kind == "one-object"
    for i, answer in enumerate(detector.stream(pictures, score=0.0 if one_object else LEAST_SCORE, progress=progress)):
        if answer.objects is None:
            skipped.append(Skipped(dataset.pictures.name(i), answer.reason))
        else:
            usable.append(i)
            found.append(answer.objects)
    truth = truth.take(np.array(usable, np.int64))
    left_out = dataset.skipped + tuple(skipped)
    if one_object:
        return DetectionEvaluation(score_placed(found, truth, detector.classes), tuple(notes), left_out)
    scores = score_objects(found, truth, detector.classes)
    tried = detector.trust.tried(scores, precision) if detector.trust and precision is not None else None
    return DetectionEvaluation(scores, tuple(notes), left_out, tried)


def _scored(
    folder: Path, setup: DetectionSetup, fitted: Fitted[Detector], progress: Progress, began: float
) -> tuple[Detector, dict[str, Any], Path]:
    boxes = setup.dataset.boxes
    assert boxes is not None
    on = next((name for name in ("test", "val") if boxes.counts[setup.splits[name]].sum()), "train")
    indices = setup.splits[on]
    started = time.perf_counter()
    truth, classes, model = boxes.take(indices), setup.dataset.classes, fitted.model
    found = objects_on(replace(model, trust=None), setup, indices, progress)
    calibration: dict[str, Any] = {}
    if model.trust is not None:
        said = reliability(score_objects(found, truth, classes, resamples=0))
        found = [model.trust.calibrated(objects) for objects in found]
        calibration = {"ece_before": plain(said.error)}
    scores = score_objects(found, truth, classes)
    told = reliability(scores)
    calibration = {"boxes": int(told.count.sum()), "ece": plain(told.error), **calibration}
    tested = time.perf_counter() - started
    warnings = score_warnings(setup.dataset, on)
    for sentence in warnings:
        progress.say(sentence)
    test = {**scores.as_dict(), "split": on, "calibration": calibration}
    metrics = _metrics(setup, fitted, "detect", test, warnings, tested, began)
    from foveal.report.detection_page import write_detection_report  # with its plotting library

    report = folder / "report.html"
    size = (folder / MODEL_FILE).stat().st_size
    write_detection_report(folder.name, setup, fitted, on, found, scores, metrics, warnings, size, report)
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    write_text(folder / "metrics.json", json_text(metrics) + "\n")
    return fitted.model, metrics, report


def _placed(
    folder: Path, setup: DetectionSetup, fitted: Fitted[Detector], progress: Progress, began: float
) -> tuple[Detector, dict[str, Any], Path]:
    """As `_scored`, of one object a picture."""
    boxes = setup.dataset.boxes
    assert boxes is not None
    on = next((name for name in ("test", "val") if boxes.counts[setup.splits[name]].sum()), "train")
    started = time.perf_counter()
    found, scores = located(fitted.model, setup, setup.splits[on], progress)
    tested = time.perf_counter() - started
    warnings = score_warnings(setup.dataset, on)
    for sentence in warnings:
        progress.say(sentence)
    metrics = _metrics(setup, fitted, "localise", {**scores.as_dict(), "split": on}, warnings, tested, began)
    from foveal.report.localisation_page import write_localisation_report

    report = folder / "report.html"
    size = (folder / MODEL_FILE).stat().st_size
    write_localisation_report(folder.name, setup, fitted, on, found, scores, metrics, warnings, size, report)
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    write_text(folder / "metrics.json", json_text(metrics) + "\n")
    return fitted.model, metrics, report


def _metrics(
    setup: DetectionSetup,
    fitted: Fitted[Detector],
    task: str,
    test: dict[str, Any],
    warnings: list[str],
    tested: float,
    began: float,
) -> dict[str, Any]:
    """The content of metrics.json."""
    boxes = setup.dataset.boxes
    assert boxes is not None
    return {
        "task": task,
        "test": test,
        "weights": setup.start.as_dict() if setup.start else None,
        "threshold": fitted.model.threshold,
        "parameters": {
            "all": sum(p.numel() for p in setup.network.parameters()),
            "trained": sum(p.numel() for p in setup.network.parameters() if p.requires_grad),
        },
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "pictures": {name: len(i) for name, i in setup.splits.items()},
        "boxes": {name: int(boxes.counts[i].sum()) for name, i in setup.splits.items()},
        "left_out": len(setup.dataset.skipped),
        "warnings": warnings,
        "seconds": {
            "store": round(setup.store.seconds, 3),
            "measure": round(setup.measured.seconds, 3),
            "train": round(fitted.seconds, 3),
            "test": round(tested, 3),
            "total": round(time.perf_counter() - began, 3),
        },
        "arithmetic": {
            **setup.measured.as_dict(), "chosen": setup.arithmetic.name, "device": setup.arithmetic.device,
        },
        "machine": machine(),
    }  # fmt: skip


def _tell_plan(setup: DetectionSetup, progress: Progress) -> None:
    t = setup.recipe.training
    parameters = sum(p.numel() for p in setup.network.parameters())
    progress.say(
        f"Detecting with {setup.recipe.network.name} as trunk ({parameters:,} parameters in all) on "
        f"{setup.recipe.data.size}, {t.epochs} epochs of {len(setup.batches)} steps of {t.batch_size}, {t.optimizer} "
        f"at {t.learning_rate:g}, {t.schedule}."
    )
