"""Ways to start: the head alone, the last stage as well, all of the network, and no weights at all, side by side.

Each gets the same share of one time budget, the same pictures and the same seed; the test pictures are looked at once
a way, for the table, and choose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import BadRecipe, leaving, shown
from foveal.files.durable import new_folder, write_text
from foveal.files.plain_json import json_text
from foveal.files.run_folder import check_place, free_folder
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.report.comparison_page import Compared, gain, write_comparison
from foveal.runs.run import Source, train

__all__ = ["STARTS", "Started", "compare_starts"]

STARTS = ("head", "last:1", "all", "scratch")
MINUTES = 8.0  # for all of them, where nothing else is asked for
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

    Args:   as of `train`; `training.minutes` is for all of them together.
    Raises: BadRecipe where the recipe names no weights to start from, and as `train`.
    """
    recipe = (recipe or Recipe()).with_settings(dict(settings or {}), "settings")
    if not recipe.from_weights:
        raise BadRecipe("--compare needs weights to start from; give --weights imagenet, a file or a run.")
    name = source if isinstance(source, str) else str(source) if isinstance(source, Path) else ""
    if out is not None:
        check_place(Path(out).expanduser(), name)
    folder = Path(out).expanduser() if out is not None else free_folder(name or "arrays", "compare")
    new_folder(folder)
    share = (recipe.training.minutes or MINUTES) / len(STARTS)
    found: list[Started] = []
    for number, word in enumerate(STARTS, 1):
        progress.say(f"{number} of {len(STARTS)}: --train {word}, {share:.2g} minutes at most.")
        asked = recipe.with_settings({"network.train": word, "training.minutes": share, "training.epochs": "auto"})
        with leaving(lambda: f"{shown(folder)} holds the runs that have ended." if found else ""):
            found.append(_one(source, folder / word.replace(":", "-"), asked, word, progress))
    write_text(folder / FILE, json_text([asdict(way) for way in found]) + "\n")
    rows = [
        Compared(w.train, w.top1, w.interval, w.seconds, w.parameters, f"{Path(w.folder).name}/report.html")
        for w in found
    ]
    write_comparison(folder.name, rows, found[0].pictures, 60 * share, folder / PAGE)
    progress.say(gain(rows, found[0].pictures))
    progress.say(f"Written: {shown(folder / PAGE)} and {shown(folder / FILE)}")
    return found


def _one(source: Source, folder: Path, recipe: Recipe, word: str, progress: Progress) -> Started:
    metrics = train(source, out=folder, recipe=recipe, progress=progress).metrics
    test = metrics["test"]
    low, high = test["top1_interval"]
    seconds, parameters = metrics["seconds"]["total"], metrics["parameters"]["trained"]
    return Started(word, test["top1"], (low, high), seconds, parameters, str(folder), test["n"])
