"""The page of `foveal train --compare`: runs that start from weights in several ways, and what the weights brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.ops.statistics import difference_interval
from foveal.pages.charts import inline_chart
from foveal.pages.page import Answer, Card, Page, Section, Table, marked
from foveal.pages.render import write_page
from foveal.pages.words import count, percent, seconds_in_words
from foveal.report.plots import plot_shares

__all__ = ["Compared", "comparison", "gain", "write_comparison"]

SCRATCH = "scratch"
HEAD = ("train", "right", "95 % interval", "time", "parameters trained", "report")


@dataclass(frozen=True)
class Compared:
    """One of the runs, as the page tells it."""

    train: str  # what of the network was trained
    top1: float
    interval: tuple[float, float]
    seconds: float
    parameters: int  # that were trained
    page: str  # of its own report, beside this one


def write_comparison(name: str, runs: Sequence[Compared], n: int, share: float, path: Path) -> None:
    """Write the page. Args: n, test pictures; share, seconds that each run was given.

    Raises: NotWritable or NoSpace when the place refuses it.
    """
    write_page(comparison(name, runs, n, share), path)


def comparison(name: str, runs: Sequence[Compared], n: int, share: float) -> Page:
    """What is told of runs beside each other."""
    figure = plot_shares([(run.train, run.top1, run.interval) for run in runs], "Accuracy, by what was trained")
    conditions = f"Each way had {seconds_in_words(share)}, the same {count(n)} test pictures and the same seed."
    return Page(
        name,
        "ways to train a pretrained network, side by side",
        "ways to start",
        [Section("Each way", [Card([Table([_row(run) for run in runs], HEAD)])])],
        Answer(gain(runs, n), f"{conditions} Bars are 95 % intervals.", chart=inline_chart(figure, "ways")),
    )


def _row(run: Compared) -> list[str]:
    low, high = (percent(end) for end in run.interval)
    return [
        marked("<b>{}</b>", run.train), percent(run.top1), f"{low} to {high}", seconds_in_words(run.seconds),
        count(run.parameters), marked('<a href="{page}">{page}</a>', page=run.page),
    ]  # fmt: skip


def gain(runs: Sequence[Compared], n: int) -> str:
    """In one sentence what starting from weights brought, with its interval."""
    chance = next((run for run in runs if run.train == SCRATCH), None)
    started = [run for run in runs if run.train != SCRATCH]
    best = max(started, key=lambda run: run.top1)
    if chance is None:
        return f"Best: --train {best.train}, accuracy {percent(best.top1)}."
    low, high = difference_interval(round(best.top1 * n), n, round(chance.top1 * n), n)
    points = 100 * (best.top1 - chance.top1)
    return (
        f"Pretrained weights change the accuracy by {points:+.1f} points (95 % interval {100 * low:+.1f} to "
        f"{100 * high:+.1f}): {percent(best.top1)} with --train {best.train}, {percent(chance.top1)} from scratch."
    )
