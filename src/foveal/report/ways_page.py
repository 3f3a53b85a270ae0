"""The page of `foveal train --compare`: ways to start beside each other, and what the weights brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal import __version__
from foveal.files.durable import write_text
from foveal.ops.statistics import difference_interval
from foveal.report.page import inline_chart, page_file, page_template
from foveal.report.plots import plot_ways
from foveal.report.words import percent

__all__ = ["WayRow", "gain", "write_ways"]

SCRATCH = "scratch"


@dataclass(frozen=True)
class WayRow:
    """One way, as the page tells it."""

    train: str
    top1: float
    interval: tuple[float, float]
    seconds: float
    parameters: int  # that were trained
    page: str  # of its own report, beside this one


def write_ways(name: str, ways: Sequence[WayRow], n: int, share: float, path: Path) -> None:
    """Write the page. Args: n, test pictures; share, seconds that each way was given."""
    sentence = gain(ways, n)
    rows = [(way.train, way.top1, way.interval) for way in ways]
    text = page_template("ways.html.jinja").render(
        name=name, ways=ways, n=n, share=share, sentence=sentence, version=__version__, style=page_file("page.css"),
        chart=inline_chart(plot_ways(rows, "Right, by what was trained"), "ways"),
    )  # fmt: skip
    write_text(path, text)


def gain(ways: Sequence[WayRow], n: int) -> str:
    """In one sentence what starting from weights brought, with its interval."""
    chance = next((way for way in ways if way.train == SCRATCH), None)
    started = [way for way in ways if way.train != SCRATCH]
    best = max(started, key=lambda way: way.top1)
    if chance is None:
        return f"Best: --train {best.train}, {percent(best.top1, 1)} right."
    low, high = difference_interval(round(best.top1 * n), n, round(chance.top1 * n), n)
    points = 100 * (best.top1 - chance.top1)
    return (
        f"Starting from weights brought {points:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f}): "
        f"--train {best.train} is right for {percent(best.top1, 1)}, from scratch {percent(chance.top1, 1)}."
    )
