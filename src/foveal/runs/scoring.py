"""How good a run's result is: scores on pictures not learnt from, the baseline beside them, report and metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foveal.data.split import duplicates_across, score_warnings
from foveal.files.durable import write_text
from foveal.files.model_file import MODEL_FILE
from foveal.files.plain_json import json_text
from foveal.machine import machine
from foveal.model import Model
from foveal.progress import Progress
from foveal.runs.mending import mend
from foveal.tasks.task import Ask, Scores, Tried, linear
from foveal.training.baseline import Baseline, hog_baseline
from foveal.training.calibrate import evidence_of, outputs_of_head
from foveal.training.fit import Fitted
from foveal.training.setup import Setup

__all__ = ["scored"]


def scored(
    folder: Path, setup: Setup, fitted: Fitted, model: Model, progress: Progress, began: float
) -> tuple[dict[str, Any], Path, Scores]:
    """The content of metrics.json, and the report's place, both written; and the scores."""
    task, on = model.task, setup.task.scored_on(setup.dataset, setup.splits)
    started, truth = time.perf_counter(), task.truth(setup.dataset, setup.splits[on])
    evidence = _evidence(setup, model, on, progress)
    scores: Scores = task.score(evidence, truth, model.calibration, task.truth(setup.dataset, setup.splits["train"]))
    tried: Tried | None = task.tried(evidence, truth, scores, model.calibration, Ask())
    tested, warnings = time.perf_counter() - started, score_warnings(setup.dataset, on)
    if remark := model.calibration.remark:
        warnings = [*warnings, remark]
    baseline = _baseline(setup, on, progress) if task.linear else None
    below = mend(setup, scores.as_dict()[linear(task).measure], baseline) if task.linear else None
    warnings += [below.sentence] if below else []
    for sentence in (*(tried.sentences if tried else ()), *warnings):
        progress.say(sentence)
    metrics = {
        **_common(setup, fitted, warnings),
        **task.figures(setup.dataset, setup.splits, model.calibration, tried),
        "test": {**scores.as_dict(), "split": on, **task.test_figures(evidence, truth, scores, model.calibration)},
    }
    if task.linear:
        metrics["baseline"] = baseline.as_dict() if baseline else {linear(task).measure: None}
        metrics["mend"] = below.as_dict() if below else None
        metrics["leak"] = len(duplicates_across(setup.dataset))
    metrics["seconds"] |= {"test": round(tested, 3), "baseline": round(baseline.seconds, 3) if baseline else 0.0}
    began -= fitted.earlier  # so that a run that was resumed took at least as long as its training
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    report, size = folder / "report.html", (folder / MODEL_FILE).stat().st_size
    from foveal.report.finished import FinishedRun, write_report  # with its plotting library: a finished run needs it

    shown = task.for_page(evidence, model.calibration)
    run = FinishedRun(folder.name, setup, fitted, model, on, shown, scores, metrics, warnings, size, baseline, tried)
    write_report(run, task.name, report)
    metrics["seconds"]["total"] = round(time.perf_counter() - began, 3)
    write_text(folder / "metrics.json", json_text(metrics) + "\n")
    return metrics, report, scores


def _evidence(setup: Setup, model: Model, on: str, progress: Progress) -> Any:
    """What the model makes of a split; where a head was fitted on features, of these."""
    if setup.head_alone:
        return outputs_of_head(setup, model, setup.splits[on], progress)
    features = model.task.wants_features(Ask(), model.calibration)
    return evidence_of(model, setup, setup.splits[on], features, progress)


def _common(setup: Setup, fitted: Fitted, warnings: Sequence[str]) -> dict[str, Any]:
    """What metrics.json tells of every run."""
    transfer = setup.transfer
    return {
        "task": setup.task.name,
        "weights": setup.start.as_dict() if setup.start else None,
        "transfer": transfer.as_dict() if transfer else None,
        "learning_curve": transfer.curve.as_dict() if transfer and transfer.curve else None,
        "parameters": {
            "all": sum(p.numel() for p in setup.network.parameters()),
            "trained": setup.trained_parameters,
        },
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "pictures": {name: len(i) for name, i in setup.splits.items()},
        "left_out": len(setup.dataset.skipped),
        "warnings": list(warnings),
        "seconds": {
            "store": round(setup.store.seconds, 3),
            "measure": round(setup.measured.seconds, 3),
            "train": round(fitted.seconds, 3),
        },
        "arithmetic": {
            **setup.measured.as_dict(),
            "chosen": setup.arithmetic.name,
            "device": setup.arithmetic.device,
        },
        "machine": machine(),
    }


def _baseline(setup: Setup, on: str, progress: Progress) -> Baseline | None:
    """HOG and a linear classifier on the same split."""
    if on == "train":
        return None
    found = hog_baseline(
        setup.store.rows,
        setup.task.truth(setup.dataset, np.arange(len(setup.dataset))),
        setup.splits["train"],
        setup.splits[on],
        linear(setup.task),
        progress,
    )
    note = f" {found.note}" if found.note else ""
    progress.say(f"Baseline {found.name}{note}: {found.score:.2%} in {found.seconds:.1f} s.")
    return found
