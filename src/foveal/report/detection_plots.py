"""The charts of a detector: each draws one message, which is the figure's title.

Errors are seen on their pictures: what was missed, and what was found where nothing is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.pages.charts import DASHES, INKS, canvas, name_ticks, styled
from foveal.pages.words import clipped, decimals, percent
from foveal.report.plots import MOST_BARS
from foveal.tasks.detection_scores import DetectionScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DetectionError", "plot_ap_by_size", "plot_average_precision", "plot_confusion_with_background",
    "plot_precision_recall", "worst_alarms", "worst_misses",
]  # fmt: skip

BACKGROUND = "background"
MOST_LINES = 4  # curves with a name of their own: the weakest classes
MOST_CLASSES = 26  # up to which a confusion's cells have room for counts


@dataclass(frozen=True, eq=False)
class DetectionError:
    """An error and the picture that it is on."""

    picture: int
    xyxy: NDArray[np.float64]  # (4,)
    words: str  # "missed: dog", "dog 0.91"
    missed: bool  # or else a false alarm


@styled
def plot_precision_recall(scores: DetectionScores) -> Figure:
    """Precision by recall at IoU 0.5: a thin line a class, the weakest named, and their mean."""
    title = f"Average precision at IoU 0.5: {percent(scores.ap50, decimals(scores.objects))}"
    figure, [[axes]] = canvas(title, 3.4)
    recall, known = 100 * scores.curves.recall, np.flatnonzero(~np.isnan(scores.class_ap50))
    weakest = known[np.argsort(scores.class_ap50[known], kind="stable")][:MOST_LINES] if len(known) > 1 else known[:0]
    for k in known.tolist() if len(known) > 1 else []:
        ink, alpha = (INKS["warm"], 0.9) if k in weakest[:1] else (INKS["muted"], 0.55)
        axes.plot(recall, 100 * scores.curves.at_50[k], color=ink, alpha=alpha, linewidth=1)
    if len(known):
        axes.plot(recall, 100 * scores.curves.at_50[known].mean(axis=0), color=INKS["accent"])
        strict = 100 * scores.curves.mean[known].mean(axis=0)
        axes.plot(recall, strict, color=INKS["accent"], linestyle=DASHES, linewidth=1.2)
    rows = [("mean at IoU 0.5", scores.ap50, "accent"), ("mean over IoU 0.5 to 0.95 (dashed)", scores.ap, "accent")]
    rows += [(clipped(scores.classes[k], 18), float(scores.class_ap50[k]), "muted") for k in weakest]
    _name_lines(axes, rows, warm=2 if len(weakest) else None)
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 103))
    axes.grid()
    return figure


def _name_lines(axes: Axes, rows: Sequence[tuple[str, float, str]], warm: int | None) -> None:
    """Names and areas in the lower left corner, where good curves leave room."""
    for place, (name, area, ink) in enumerate(reversed(rows)):
        colour = INKS["warm"] if len(rows) - 1 - place == warm else INKS[ink]
        words = f"{name}: {percent(area)}"
        axes.annotate(words, (0, 0), (8, 6 + 12 * place), textcoords="offset points", color=colour, fontsize=8.5)


@styled
def plot_average_precision(scores: DetectionScores) -> Figure:
    """Average precision of each class, the weakest on top: the bar over all IoU thresholds, the dot at 0.5."""
    known = np.flatnonzero(~np.isnan(scores.class_ap))
    order = known[np.argsort(scores.class_ap[known], kind="stable")][:MOST_BARS]
    title = "No class could be scored"
    if len(order):
        title = f"Weakest class: {clipped(scores.classes[order[0]])} (AP {percent(scores.class_ap[order[0]])})"
    figure, [[axes]] = canvas(title, 0.9 + 0.21 * max(3, len(order)))
    places = np.arange(len(order))
    axes.barh(places, 100 * scores.class_ap[order], color=INKS["accent"], height=0.62, alpha=0.85)
    axes.plot(100 * scores.class_ap50[order], places, "D", color=INKS["warm"], markersize=5)
    names = [f"{clipped(scores.classes[k], 18)} ({int(scores.class_objects[k])})" for k in order]
    name_ticks(axes, "y", places.tolist(), names)
    few = f"the {len(order)} weakest of {len(known)} classes" if len(order) < len(known) else "each class (objects)"
    axes.set(xlim=(0, 104), ylim=(max(len(order), 1) - 0.4, -0.6), xlabel=f"AP of {few}, %  (diamond: at IoU 0.5)")
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


@styled
def plot_ap_by_size(scores: DetectionScores) -> Figure:
    """Average precision of small, medium and large objects, by COCO's bounds, and of all with its 95 % interval."""
    rows = [
        ("all", scores.ap),
        ("small, under 32²", scores.ap_small),
        ("medium", scores.ap_medium),
        ("large, over 96²", scores.ap_large),
    ]
    sizes = [(name, value) for name, value in rows[1:] if not math.isnan(value)]
    worst = min(sizes, key=lambda row: row[1]) if len(sizes) > 1 else None
    title = f"Average precision: {percent(scores.ap)}"
    title += f"; lowest for objects that are {worst[0].split(',')[0]}, {percent(worst[1])}" if worst else ""
    figure, [[axes]] = canvas(title, 1.9)
    for y, (_, value) in enumerate(rows):
        if math.isnan(value):
            axes.annotate("no objects", (0, y), (4, 0), textcoords="offset points", va="center", color=INKS["muted"])
            continue
        axes.barh([y], [100 * value], color=INKS["accent" if y == 0 else "muted"], height=0.6, alpha=0.85)
        end = 100 * (scores.ap_interval[1] if y == 0 and not math.isnan(scores.ap_interval[1]) else value)
        axes.annotate(f"{100 * value:.1f}", (end, y), (5, 0), textcoords="offset points", va="center")
    if not math.isnan(scores.ap_interval[0]):
        axes.plot([100 * end for end in scores.ap_interval], [0, 0], color=INKS["warm"], linewidth=3, alpha=0.8)
    name_ticks(axes, "y", range(len(rows)), [name for name, _ in rows])
    axes.set(xlim=(0, 112), ylim=(len(rows) - 0.5, -0.6), xlabel="AP, %  (warm bar: 95 % interval; sizes in pixels)")
    axes.set_xticks(range(0, 101, 25))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


@styled
def plot_confusion_with_background(scores: DetectionScores) -> Figure:
    """What was taken for what; the last column was missed, the last row was found where nothing is."""
    K = len(scores.classes)
    missed, alarms = int(scores.confusion[:K, K].sum()), int(scores.confusion[K, :K].sum())
    mistaken = int(scores.confusion[:K, :K].sum() - np.trace(scores.confusion[:K, :K]))
    told = f"{missed} missed, {alarms} false positives" + (f", {mistaken} predicted as another class" if K > 1 else "")
    title = f"Of {scores.objects} objects, at a minimum score of {scores.threshold:.2f}: {told}"
    figure, [[axes]] = canvas(title, 4.9)
    inks = _cell_inks(scores.confusion)
    axes.imshow(inks, interpolation="none")
    if K <= MOST_CLASSES:
        _count_cells(axes, scores.confusion, inks)
        names = [*(clipped(name, 14) for name in scores.classes), BACKGROUND]
        name_ticks(axes, "x", range(K + 1), names)
        name_ticks(axes, "y", range(K + 1), names)
        axes.tick_params(axis="x", labelrotation=90)
    axes.axhline(K - 0.5, color=INKS["rule"], linewidth=1)
    axes.axvline(K - 0.5, color=INKS["rule"], linewidth=1)
    axes.tick_params(length=0, labelsize=8.5 if K <= 16 else 5.5)
    axes.set(xlabel="predicted class", ylabel="true class")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def _cell_inks(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K + 1, K + 1, 4): hits in the accent by their share, errors in the warm ink by its square root."""
    from matplotlib.colors import to_rgb

    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(confusion), dtype=bool)
    right[-1, -1] = False
    shares[-1] = confusion[-1] / max(1, confusion.sum())  # of background there is no number: a share of all boxes
    errors = np.where(right, 0.0, shares)
    alpha = np.where(right & (confusion > 0), 0.1 + 0.75 * shares, 0.8 * np.sqrt(errors / max(errors.max(), 0.02)))
    inks = np.where(right[..., None], to_rgb(INKS["accent"]), to_rgb(INKS["warm"]))
    return np.concatenate([inks, alpha[..., None]], axis=2)


def _count_cells(axes: Axes, confusion: NDArray[np.int64], inks: NDArray[np.float64]) -> None:
    size = 9 if len(confusion) <= 13 else 6
    for truth, guess in np.argwhere(confusion).tolist():
        strong = inks[truth, guess, 3] > 0.6
        number = axes.text(guess, truth, str(confusion[truth, guess]), ha="center", va="center", fontsize=size)
        number.set(color=INKS["paper" if strong else "ink"], fontweight="bold" if strong else "normal")


def worst_misses(scores: DetectionScores, truth: Boxes, most: int = 12) -> list[DetectionError]:
    """The missed objects that fill the largest share of their picture, one a picture."""
    areas = (truth.xyxy[:, 2:] - truth.xyxy[:, :2]).prod(axis=1) / truth.sizes[truth.pictures].prod(axis=1)
    order = scores.missed[np.argsort(-areas[scores.missed], kind="stable")]
    pictures, names = truth.pictures, [scores.classes[k] for k in truth.labels[order]]
    rows = [
        DetectionError(int(pictures[m]), truth.xyxy[m], name, missed=True)
        for m, name in zip(order.tolist(), names, strict=True)
    ]
    return _one_a_picture(rows, most)


def worst_alarms(scores: DetectionScores, most: int = 12) -> list[DetectionError]:
    """The boxes with the highest scores where nothing is, one a picture."""
    table = scores.matches
    alarms = np.flatnonzero(scores.given == -1)
    order = alarms[np.argsort(-table.scores[alarms], kind="stable")]
    rows = [
        DetectionError(
            int(table.pictures[d]),
            table.xyxy[d],
            f"{scores.classes[table.labels[d]]} {table.scores[d]:.2f}",
            missed=False,
        )
        for d in order.tolist()
    ]
    return _one_a_picture(rows, most)


def _one_a_picture(errors: Sequence[DetectionError], most: int) -> list[DetectionError]:
    first: dict[int, DetectionError] = {}
    for error in errors:
        first.setdefault(error.picture, error)
    return list(first.values())[:most]
