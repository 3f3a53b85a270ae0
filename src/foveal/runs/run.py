"""Runs: `foveal.train`, `foveal.resume`. The pictures, what is settled about them, a run's folder.

What computes (`training_run.py`) is imported where it begins: PyTorch takes seconds to import, and what is wrong with
names, sizes, paths and folders is refused before.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

from foveal.console import Heard, duration, heard
from foveal.data.dataset import SPLITS, Dataset
from foveal.data.sources import open_dataset
from foveal.errors import BadRecipe, brief, check_kind, kind_of, leaving, shown
from foveal.files.durable import RunLock, new_folder, write_text
from foveal.files.plain_table import counted, percent
from foveal.files.run_folder import begun_run, check_run, free_folder, logged, tell_left_out, way_on
from foveal.model_files import check_keepable
from foveal.networks.index import CUSTOM
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, read_recipe
from foveal.runs.history import History, history_of
from foveal.short_names import INSTEAD, Short, changes_of, check_length
from foveal.tasks.registry import asked_task, check_keys, check_typed, reading_for
from foveal.tasks.task import Task
from foveal.training.asking import check_asked
from foveal.training.curve import LearningCurve
from foveal.training.settle import settle

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from foveal.model import Model

__all__ = ["Run", "Source", "asked_data", "loop_script", "resume", "train"]

Source = str | Path | tuple[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run.

    >>> run
    Run(...: classify, test accuracy ... % on 360 pictures (95 % interval ... % to ... %), ...)
    >>> run.metrics["epochs"], run.report.name
    (2, 'report.html')
    """

    folder: Path
    model: Model
    metrics: dict[str, Any]  # the content of metrics.json
    report: Path
    scores: Any  # on the split that counts: the task's `Scores`

    @property
    def history(self) -> History:
        """A row an epoch; without any, and with the reason, where a head alone was fitted.

        >>> [row["epoch"] for row in run.history]
        [1, 2]
        """
        return history_of(self.folder, self.metrics["epochs"])

    def plot(self) -> Figure:
        """Training and validation over the epochs; where there were none, accuracy by the number of pictures.

        Raises: BadRecipe where there is neither.

        >>> run.plot().axes[0].get_xlabel()
        'epoch'
        """
        history, curve = self.history, self.metrics["learning_curve"]
        if not history and not curve:
            raise BadRecipe(f"{shown(self.folder)} has no curve to plot: {history.reason}; its report has the rest.")
        from foveal.report.plots import plot_curves, plot_learning_curve

        if not history:
            return plot_learning_curve(LearningCurve.of(curve))
        shares = any(math.isfinite(row[key]) for row in history for key in ("train_top1", "val_top1"))
        return plot_curves(history, "top1" if shares else "loss")

    def __repr__(self) -> str:
        name = brief(shown(self.folder), 80)
        said = brief("; ".join(self.scores.headline()), 200)
        return f"Run({name}: {self.metrics['task']}, {self.metrics['test']['split']} {said}, {self._time()})"

    def _repr_html_(self) -> str:
        baseline = self.metrics.get("baseline") or {}
        rows = [("run", shown(self.folder)), ("task", self.metrics["task"])]
        rows += [(self.metrics["test"]["split"], line) for line in self.scores.headline()]
        if (theirs := baseline.get(baseline.get("measure", "top1"))) is not None:
            low, high = (percent(end) for end in baseline["interval"])
            said = f"{percent(theirs)} ({baseline['name']}; 95 % interval {low} to {high})"
            rows.append(("baseline", said))
        rows.append(("time", self._time()))
        cells = "".join(f"<tr><th style='text-align:left'>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
        link = f"<a href='{quote(self.report.as_posix())}' target='_blank'>{escape(shown(self.report))}</a>"
        return f"<table>{cells}<tr><th style='text-align:left'>report</th><td>{link}</td></tr></table>"

    def _time(self) -> str:
        return duration(self.metrics["seconds"]["total"])


def train(
    source: Source,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    network: nn.Module | str | None = None,
    progress: Heard = "auto",
    loading_threads: int = 0,
    **short: Unpack[Short],
) -> Run:
    """Train, calibrate, score and report, in a folder of its own.

    Args:   source, a folder, file or name, or arrays (X, y): see `open_dataset`.
            out, the run's folder, which must not exist or be empty; by default `runs/<source>-<network>-<n>`.
            recipe and settings (`{"training.momentum": 0.8}`), what is not left to the planner.
            network, a name of the catalogue (`foveal networks` lists them), or a module of one's own that maps
            (N, C, H, W) to (N, K) logits; it is trained in place.
            progress, where it tells how it gets on: by default bars on a terminal and in a notebook, else lines on
            stderr; None: nowhere.
            loading_threads, how many load pictures while the network computes (0: as many as help); changes no bit.
            short, the options of the command as keywords, such as `epochs=3`, `weights="imagenet"`, `size=64`: see
            `Short`. What is given so wins over the recipe.
    Raises: BadData, BadRecipe, Missing, NotWritable: refused, and no folder left behind.
            NoSpace, NotFinite, Interrupted: stopped midway; `resume` goes on.

    >>> small = foveal.train((pictures, labels), network="mlp", epochs=1, size=8, exact=True)
    >>> small.folder.name, small.model.size
    ('X-y-mlp-1', (8, 8))
    """
    began, progress = time.perf_counter(), heard(progress)
    check_kind(out, str | Path | None, "out is a str or Path", BadRecipe)
    own = None if isinstance(network, str) else network
    named = {"network": network} if isinstance(network, str) else {}
    recipe = _recipe_of(source, recipe, settings, own, {**named, **short})
    place = Path(out).expanduser() if out is not None else None
    check_asked(recipe, recipe.data.source, place)
    task, dataset = asked_data(source, recipe, progress)
    if own is not None and not task.linear:
        raise BadRecipe("a custom network has no known stages to detect on; choose a trunk listed by foveal networks.")
    notes: list[str] = []
    recipe = settle(task, dataset, recipe, own, notes.append)
    check_keepable(task, dataset.classes, recipe, dataset.origin.place)
    folder = place or free_folder(dataset.origin.source or "arrays", recipe.network.name)
    new_folder(folder)
    with leaving(lambda: way_on(folder)), begun_run(folder), RunLock(folder), logged(folder, progress) as told:
        write_text(folder / "recipe.toml", recipe.to_toml())
        _tell(task, dataset, told)
        for note in notes:
            told.say(note)
        from foveal.runs.training_run import carried_out, computing, finished  # with PyTorch

        with computing(recipe):
            done = carried_out(task, folder, dataset, recipe, own, told, began, loading_threads)
            return Run(folder, *finished(folder, *done, told, began))


def resume(
    folder: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
    progress: Heard = "auto",
    source: tuple[Any, Any] | None = None,
) -> Run:
    """Go on with a run that was stopped, to the bit on the CPU; `training.epochs` may be raised.

    Args: network and source again, where the run was started with a module or with arrays of one's own.

    >>> first = foveal.train((pictures, labels), out="first", network="mlp", epochs=1, size=8, exact=True)
    >>> more = foveal.resume("first", settings={"training.epochs": 2}, source=(pictures, labels))
    >>> [row["epoch"] for row in more.history]
    [1, 2]
    """
    began, progress = time.perf_counter(), heard(progress)
    check_kind(folder, str | Path, "a run is a folder", BadRecipe)
    check_kind(settings, Mapping | None, "settings are a mapping, key -> value", BadRecipe)
    folder = Path(folder)
    check_run(folder)
    recipe = read_recipe(folder / "recipe.toml")
    changed = recipe.with_settings(dict(settings or {}), "--resume")
    _check_changes(recipe, changed, folder)
    if recipe.network.name == CUSTOM and network is None:
        raise BadRecipe(f"{shown(folder)} trains a custom network: use foveal.resume(folder, network=TheNetwork()).")
    with leaving(lambda: way_on(folder)), RunLock(folder), logged(folder, progress) as told:
        opened = opened_as_asked(source if source is not None else recipe.data.source, changed, told)
        write_text(folder / "recipe.toml", changed.to_toml())
        task, dataset = asked_task(opened, changed)
        from foveal.runs.training_run import carried_out, computing, finished

        with computing(changed):
            done = carried_out(task, folder, dataset, changed, network, told, began, going_on=True)
            return Run(folder, *finished(folder, *done, told, began))


def _recipe_of(source: Source, recipe: Any, settings: Any, own: Any, short: Mapping[str, Any]) -> Recipe:
    """What the arguments of `train` ask for. Args: own, a module that is given. Raises: BadRecipe."""
    check_kind(recipe, Recipe | None, "recipe is a Recipe", BadRecipe)
    check_kind(settings, Mapping | None, "settings are a mapping, key -> value", BadRecipe)
    asked = with_short(recipe or Recipe(), short, settings or {})
    asked = asked.with_settings({"data.source": str(source) if isinstance(source, str | Path) else ""})
    return asked if own is None else _of_ones_own(asked, own)


def with_short(recipe: Recipe, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Recipe:
    """A recipe with settings, and with keywords that are short for some; each refusal names the one it is about.

    Raises: BadRecipe, also for two that say the same or contradict each other.
    """
    changes = changes_of(given, inspect.signature(train).parameters)
    for key, _, name in changes:
        if key in settings:
            raise BadRecipe(f'{name} and settings["{key}"] both set {key}; give one of them.')
    if changes:
        check_length([*changes, *((key, value, "settings") for key, value in settings.items())])
    recipe = recipe.with_settings(dict(settings), "settings")
    for key, value, name in changes:
        recipe = recipe.with_settings({key: value} | INSTEAD.get(key, {}), where=name)
    check_typed(recipe, {key: name for key, _, name in changes})
    return recipe


def _of_ones_own(recipe: Recipe, network: Any) -> Recipe:
    """For a module that is given. Raises: BadRecipe for what builds a network of the catalogue, which nobody reads."""
    if not hasattr(network, "state_dict"):
        raise BadRecipe(f"network is a name of the catalogue or an nn.Module; got {kind_of(network)}.")
    for key, unset in (("name", ("auto", CUSTOM)), ("dropout", ("auto",)), ("batch_norm", ("auto",))):
        if getattr(recipe.network, key) not in unset:
            raise BadRecipe(f"network.{key} is for foveal's own networks, and a custom network is given; drop the key.")
    return recipe.with_settings({"network.name": CUSTOM})


def loop_script(source: Source, recipe: Recipe | None = None, settings: Mapping[str, Any] | None = None) -> str:
    """The loop that `train` would run, as a script with the recipe's values in it."""
    if isinstance(source, tuple):
        raise BadRecipe("--show-loop needs a source that a script can open: a folder, a file or a name.")
    recipe = (recipe or Recipe()).with_settings({"data.source": str(source), **(settings or {})}, "settings")
    check_asked(recipe, recipe.data.source)
    task, dataset = asked_data(source, recipe, SILENT)
    recipe = settle(task, dataset, recipe)
    from foveal.runs.training_run import script_of

    return script_of(task, dataset, recipe)


def asked_data(source: Source, recipe: Recipe, progress: Progress) -> tuple[type[Task], Dataset]:
    """The task, and its data set. Raises: BadRecipe for a key that nobody reads; as `open_dataset`, `asked_task`."""
    opened = opened_as_asked(source, recipe, progress)
    task, dataset = asked_task(opened, recipe)
    check_keys(task, recipe, opened.boxes is not None)
    return task, dataset


def opened_as_asked(source: Source, recipe: Recipe, progress: Progress) -> Dataset:
    """The pictures, as a recipe says how to read and split them."""
    return open_dataset(source, **reading_for(recipe), progress=progress)


def _tell(task: type[Task], dataset: Dataset, progress: Progress) -> None:
    counts = ", ".join(f"{len(dataset.indices(s))} {s}" for s in SPLITS)
    of = counted(len(dataset.classes), "class", "classes")
    what = of if dataset.boxes is None else f"{counted(len(dataset.boxes), 'object')} of {of}, {task.aim}"
    what += ", several a picture or none" if dataset.multi_hot is not None else ""
    pictures = f"{len(dataset)} picture{'s' * (len(dataset) != 1)}"
    progress.say(
        f"{shown(dataset.origin.source or 'arrays')}: {dataset.origin.format}, {pictures} of {what} "
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
                    f"{shown(folder)} was started with {section}.{key} = {value}, which cannot become "
                    f"{after[section][key]} now; keep it as it was, or start a new run."
                )
    if isinstance(was.training.epochs, int) and int(now.training.epochs) < was.training.epochs:
        raise BadRecipe(f"{shown(folder)} was started for {was.training.epochs} epochs; give at least as many.")
