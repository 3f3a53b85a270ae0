"""Ways to start: the head alone, the last stage as well, all of the network, and no weights at all, side by side.

Each gets the same share of one time budget, the same pictures and the same seed; what fits into it is planned for all
of them before one is trained. The test pictures are looked at once a way, for the table, and choose nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import BadRecipe, FovealError, Stopped, leaving, shown
from foveal.files.durable import new_folder, write_text
from foveal.files.plain_json import json_text
from foveal.files.run_folder import check_place, free_folder
from foveal.progress import SILENT, Progress
from foveal.recipe import SCRATCH, Recipe
from foveal.report.comparison_page import Compared, gain, write_comparison
from foveal.runs.run import Source, asked_data, train
from foveal.training.asking import check_asked
from foveal.training.planner import TooShort
from foveal.training.settle import settle

__all__ = ["STARTS", "Started", "compare_starts"]

STARTS = ("head", "last:1", "all", "scratch")
MINUTES = 8.0  # for all of them, where nothing else is asked for
NEEDS_WEIGHTS = "--compare needs weights to start from; give --weights imagenet, a file or a run."
FILE, PAGE = "comparison.json", "comparison.html"


@dataclass(frozen=True)
class Started:
    """What came of one way to start."""

    train: str  # of STARTS
    top1: float
    interval: tuple[float, float]  # 95 %, Wilson
    seconds: float  # of the whole run
    parameters: int  # that were trained
    folder: str
    pictures: int  # of the test


def compare_starts(
    source: Source,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> list[Started]:
    """A run for each way, in folders of one folder; the table is written beside them as comparison.json.

    Where one fails or is stopped, the table of those that ended is written all the same.

    Args:   as of `train`; `training.minutes` is for all of them together.
    Raises: BadRecipe where the recipe names no weights to start from, or where the ways do not fit into the minutes:
            then nothing is trained; and as `train`.
    """
    recipe = (recipe or Recipe()).with_settings(dict(settings or {}), "settings")
    if SCRATCH in (recipe.network.weights, recipe.network.train):
        raise BadRecipe(NEEDS_WEIGHTS)
    name = source if isinstance(source, str) else str(source) if isinstance(source, Path) else ""
    if out is not None:
        check_place(Path(out).expanduser(), name)
    folder = Path(out).expanduser() if out is not None else free_folder(name or "arrays", "compare")
    check_asked(recipe, name)
    share = (recipe.training.minutes or MINUTES) / len(STARTS)
    ways = _planned(source, recipe.with_settings({"data.source": name}), share, progress)
    new_folder(folder)
    found: list[Started] = []
    try:
        for number, (word, asked) in enumerate(ways.items(), 1):
            progress.say(f"{number} of {len(STARTS)}: --train {word}, {share:.2g} minutes at most.")
            with leaving(lambda: f"{shown(folder)} holds the finished runs." if found else ""):
                found.append(_one(source, folder / word.replace(":", "-"), asked, word, progress))
    except (FovealError, Stopped):
        if found:
            with contextlib.suppress(FovealError):  # what stopped the run may stop this as well
                _write(found, folder, share, progress)
        raise
    _write(found, folder, share, progress)
    return found


def _planned(source: Source, recipe: Recipe, share: float, progress: Progress) -> dict[str, Recipe]:
    """The recipe of each way, with the epochs that fit into its minutes. What is set up for it is kept for the runs.

    Raises: BadRecipe with the minutes that are needed.
    """
    import torch

    from foveal.training.arithmetic import threads_used
    from foveal.training.setup import set_up

    task, dataset = asked_data(source, recipe, progress)
    if getattr(task, "measure", "") != "top1":  # the table counts pictures
        raise BadRecipe(f"--compare is for one label a picture, not for --task {task.name}; drop --compare.")
    start = settle(task, dataset, recipe.with_settings({"training.minutes": share}), say=progress.say).network
    if start.weights == SCRATCH:
        raise BadRecipe(NEEDS_WEIGHTS)
    recipe = recipe.with_settings({"network.weights": start.weights, "network.name": start.name})
    progress.say(f"Planning: what fits into {share:.2g} minutes for each of {len(STARTS)} ways to start.")
    ways, short = {}, {}
    for word in STARTS:
        asked = recipe.with_settings({"network.train": word, "training.minutes": share, "training.epochs": "auto"})
        try:
            with torch.random.fork_rng(devices=[]), threads_used(asked.training.threads):
                epochs = set_up(task, dataset, settle(task, dataset, asked)).recipe.training.epochs
        except TooShort as error:
            short[word] = error.needed
        else:
            ways[word] = asked.with_settings({"training.epochs": epochs})
    if short:
        slowest = max(short, key=lambda word: short[word])
        needed = math.ceil(10 * len(STARTS) * short[slowest]) / 10
        raise BadRecipe(
            f"--compare has {share:.2g} minutes for each of {len(STARTS)} ways, and one epoch of --train {slowest} "
            f"takes {short[slowest]:.2g}: give --minutes {needed:g} or more, or a smaller --size or --network."
        )
    return ways


def _write(found: list[Started], folder: Path, share: float, progress: Progress) -> None:
    """The table and the page of the ways that ended."""
    write_text(folder / FILE, json_text([asdict(way) for way in found]) + "\n")
    rows = [
        Compared(w.train, w.top1, w.interval, w.seconds, w.parameters, f"{Path(w.folder).name}/report.html")
        for w in found
    ]
    write_comparison(folder.name, rows, found[0].pictures, 60 * share, folder / PAGE)
    progress.say(gain(rows, found[0].pictures))
    if len(found) < len(STARTS):
        progress.say(f"{len(found)} of {len(STARTS)} ways finished.")
    progress.say(f"Written: {shown(folder / PAGE)} and {shown(folder / FILE)}")


def _one(source: Source, folder: Path, recipe: Recipe, word: str, progress: Progress) -> Started:
    metrics = train(source, out=folder, recipe=recipe, progress=progress).metrics
    test = metrics["test"]
    low, high = test["top1_interval"]
    seconds, parameters = metrics["seconds"]["total"], metrics["parameters"]["trained"]
    return Started(word, test["top1"], (low, high), seconds, parameters, str(folder), test["n"])
