"""`foveal.evaluate`: how good is a model on these pictures?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from foveal.console import Heard, heard
from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.finding import check_source
from foveal.data.sources import Reading, open_dataset
from foveal.errors import BadData, BadModel, BadRecipe, check_kind, did_you_mean, shown
from foveal.files.model_file import model_file
from foveal.files.tables import Table
from foveal.model_files import task_of
from foveal.preprocess import VIEWS, Views
from foveal.progress import SILENT, Progress
from foveal.runs.run import Source
from foveal.tasks.task import Ask, Scores, Tried

if TYPE_CHECKING:
    from foveal.model import Model

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """How well a model answers for pictures whose truth is known.

    >>> evaluation
    Evaluation(accuracy ... % on 360 pictures (95 % interval ... % to ... %))
    """

    scores: Any  # the task's: `Scores`
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    tried: Tried | None = None  # how the model's own bounds did, or what a wish came to; None where it has none
    besides: Mapping[str, Any] = field(default_factory=dict)  # of the same, for JSON

    def table(self) -> Table:
        """A row a class: of a classifier pictures, precision, recall and F1; of a detector objects, AP and AP50.

        >>> evaluation.table().rows[0]["class"]
        '0'
        """
        found: Table = self.scores.table()
        return found

    def __repr__(self) -> str:
        beside = f", {len(self.skipped)} left out" * bool(self.skipped)
        return f"Evaluation({'; '.join(self.scores.headline())}{beside})"

    def _repr_html_(self) -> str:
        return f"<p>{escape('; '.join(self.scores.headline()))}</p>{self.table()._repr_html_()}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        >>> evaluation.as_dict()["n"]
        360
        """
        skipped = [{"name": row.name, "reason": row.reason} for row in self.skipped]
        return {**self.scores.as_dict(), **self.besides, "notes": list(self.notes), "skipped": skipped}


def evaluate(
    model: str | Path | Model,
    source: Source,
    *,
    on: str = "test",
    views: str = "none",
    accuracy: float | None = None,
    precision: float | None = None,
    progress: Heard = "auto",
    **reading: Unpack[Reading],
) -> Evaluation:
    """Score a model on one split of a source, or on "all". Classes are matched by name, never by position.

    Args:   accuracy, of a classifier: the target accuracy, by default the one that the model was trained for;
            precision, of a detector or a multi-label model: the target precision. reading:
            `split`, `test_if`, `exclude`, `group_by` and the others that tell `open_dataset` how to read the source.
    Raises: BadData when no picture of a class that the model knows is there; BadRecipe for an unknown split or view,
            and for what the model has no use for.

    >>> foveal.evaluate(model, "digits", on="val").table().columns
    ('class', 'pictures', 'precision', 'recall', 'f1')
    """
    progress = heard(progress)
    from foveal.model import Model, load

    check_kind(model, str | Path | Model, "a model is a Model, a run's folder or a file", BadModel)
    ask = Ask(views=_checked(views, on), accuracy=accuracy, precision=precision)
    _read_as(model, ask, reading)
    if isinstance(source, str | Path):
        check_source(str(source))
    dataset = open_dataset(source, **reading, min_classes=1, progress=progress)
    chosen = np.arange(len(dataset)) if on == "all" else dataset.indices(on)
    if not len(chosen):
        raise BadData(f"{shown(dataset.origin.place)} has no {on} pictures; use --on all, or --split FILE.csv.")
    loaded = load(model) if isinstance(model, str | Path) else model
    loaded.check(ask)
    return scored_on(loaded, dataset.take(chosen), ask, progress)


def _read_as(model: str | Path | Model, ask: Ask, reading: Reading) -> None:
    """A wrong path or wish told before anything is read, and labels read as the model's task needs them."""
    if isinstance(model, str | Path):
        task = task_of(model_file(model))
        if task is not None:
            ask.check(task)
    else:
        task = type(model.task)
    if task is not None and task.reads == "several" and reading.get("labels", "auto") == "auto":
        reading["labels"] = "several"


def scored_on(model: Model, dataset: Dataset, ask: Ask, progress: Progress = SILENT) -> Evaluation:
    """How well a model answers for all pictures of a data set. Raises: BadData where it knows none of the classes."""
    from foveal.data.store import open_store

    task = model.task
    known, notes = task.matched(dataset)
    store = open_store(known, model.preprocess, "auto", progress)
    broken = np.array([i for i, _ in store.broken], np.int64)
    usable = np.setdiff1d(np.arange(len(known)), broken)
    skipped = tuple(Skipped(known.pictures.name(i), reason) for i, reason in store.broken)
    if not len(usable):
        raise BadData(f"{shown(dataset.origin.place)}: no usable picture of a class that the model knows.")
    sizes: NDArray[np.int64] | None = None if known.boxes is None else known.boxes.sizes[usable]
    features = task.wants_features(ask, model.calibration)
    evidence = model.evidence(store, usable, sizes, views=ask.views, features=features, progress=progress)
    truth = task.truth(known, usable)
    scores: Scores = task.score(evidence, truth, model.calibration)
    tried = task.tried(evidence, truth, scores, model.calibration, ask)
    besides: dict[str, Any] = {"views": ask.views} if "views" in task.asks else {}
    besides[task.tried_as] = tried.as_dict() if tried else None
    if remark := model.calibration.remark:
        notes = [*notes, remark]
    return Evaluation(scores, (*dataset.notes, *notes), dataset.skipped + skipped, tried, besides)


def _checked(views: str, on: str) -> Views:
    """Raises: BadRecipe for words that are none, with the nearest that is."""
    if on not in (*SPLITS, "all"):
        raise BadRecipe(
            f'--on is one of {", ".join(SPLITS)}, all, got "{shown(on)}"{did_you_mean(on, (*SPLITS, "all"))}'
        )
    for known in VIEWS:
        if known == views:
            return known
    raise BadRecipe(f'--views is one of {", ".join(VIEWS)}, got "{shown(views)}"{did_you_mean(views, VIEWS)}')
