"""What the pages of all tasks tell alike: the model and its training in figures, time, data, machine and recipe."""

from __future__ import annotations

import math
from collections.abc import Collection

from foveal.pages.charts import inline_chart
from foveal.pages.page import Block, Card, Chart, Columns, Details, Fact, Paragraph, Section, Table, marked
from foveal.pages.words import bytes_in_words, count, counted, durations, seconds_in_words
from foveal.recipe import AugmentRecipe
from foveal.report import plots
from foveal.report.finished import FinishedRun
from foveal.tasks.registry import OF_LOOP

UNREAD_BY_HEADS = OF_LOOP | {f"augment.{key}" for key in AugmentRecipe.model_fields if key != "flip"}

__all__ = ["curve_chart", "facts_of_training", "origin_section", "recipe_groups", "time_card"]


def facts_of_training(run: FinishedRun) -> list[Fact]:
    """How large the model is, and how long it took."""
    ways = "a head on frozen features" if run.setup.head_alone else counted(len(run.history), "epoch")
    return [
        Fact("Model", count(run.metrics["parameters"]["all"]), f"parameters, {bytes_in_words(run.file_bytes)}"),
        Fact(
            "Trained in",
            seconds_in_words(run.metrics["seconds"]["train"]),
            f"{ways}, {run.metrics['arithmetic']['chosen']}",
        ),
    ]


def curve_chart(run: FinishedRun, quantity: str) -> Chart | None:
    """Accuracy ("top1") or "loss" over the epochs; None where no epoch knows it."""
    keys = (f"train_{quantity}", f"val_{quantity}")
    if not any(row.get(key) is not None and math.isfinite(row[key]) for row in run.history for key in keys):
        return None
    name = "accuracy" if quantity == "top1" else "loss"
    return inline_chart(plots.plot_curves(run.history, "top1" if quantity == "top1" else "loss"), f"{name}_chart")


def time_card(run: FinishedRun, *more: Block) -> Card:
    """What took how long, and what else belongs beside it."""
    return Card([Table(durations(run.metrics["seconds"])), *more], "Time")


def origin_section(run: FinishedRun) -> Section:
    """Data, machine and recipe: what it takes to do it again."""
    machine = Card([Table(list(run.metrics["machine"].items()), look="terms")], "Machine")
    summary = marked("The recipe: <code>foveal train --recipe recipe.toml</code> repeats it")
    without = UNREAD_BY_HEADS if run.setup.head_alone else frozenset()
    recipe = Details(summary, recipe_groups(run.setup.recipe.to_toml(), without))
    return Section("Data, machine and recipe", [Columns([_data_card(run), machine]), recipe])


def _data_card(run: FinishedRun) -> Card:
    dataset, metrics = run.setup.dataset, run.metrics
    origin, left_out = dataset.origin, metrics["left_out"]
    rows = [("source", f"{origin.source} ({origin.format})"), ("place", origin.place)]
    for split, n in metrics["pictures"].items():
        objects = f", {count(metrics['boxes'][split])} objects" if "boxes" in metrics else ""
        rows.append((split, f"{count(n)} pictures{objects}"))
    rows += [("split by", origin.split_by)] if origin.split_by else []
    rows.append(("skipped", count(left_out) + (" (listed in skipped.csv)" if left_out else "")))
    return Card([Table(rows, look="terms"), *map(Paragraph, dataset.notes)], "Data")


def recipe_groups(toml: str, without: Collection[str] = ()) -> list[tuple[str, list[tuple[str, str]]]]:
    """[(section, [(key, value)])] of the recipe's own TOML. Args: without, keys that nothing in the run has read."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    for line in toml.splitlines():
        if line.startswith("["):
            groups.append((line.strip("[]"), []))
        elif "=" in line and groups:
            key, _, value = line.partition("=")
            if f"{groups[-1][0]}.{key.strip()}" not in without:
                groups[-1][1].append((key.strip(), value.strip()))
    return groups
