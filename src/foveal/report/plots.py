"""The charts of reports: each function draws one message, which is its title, and leaves showing to the caller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from foveal.ops.statistics import CalibrationBins, wilson_interval
from foveal.pages.charts import DASHES, INKS, canvas, draw_interval, label_ends, name_ticks, styled
from foveal.pages.words import clipped, decimals, percent
from foveal.report.sentences import best_epoch, bought, calibration_in_words, confusions
from foveal.tasks.classification_scores import Scores
from foveal.tasks.trust import Tried
from foveal.training.baseline import Baseline
from foveal.training.curve import LearningCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_class_f1", "plot_comparison", "plot_confusion", "plot_curves", "plot_learning_curve", "plot_overlaps",
    "plot_reliability", "plot_risk_coverage", "plot_shares",
]  # fmt: skip

MOST_NUMBERED = 26  # classes up to which a cell of the confusion matrix has room for its count
MOST_NAMED = 60  # and up to which a row has room for its name
MOST_BARS = 24


@styled
def plot_comparison(scores: Scores, baseline: Baseline) -> Figure:
    """Accuracy of the network and of the baseline, with 95 % intervals."""
    digits = decimals(scores.n)
    figure, [[axes]] = canvas(bought(scores, baseline), 0.75 + 0.42 * 2)
    draw_interval(axes, 0, scores.top1, scores.top1_interval, percent(scores.top1, digits), INKS["accent"])
    theirs = percent(baseline.score, digits)
    draw_interval(axes, 1, baseline.score, baseline.interval, theirs, INKS["muted"], mark="D", size=6)
    name_ticks(axes, "y", range(2), ["network", baseline.name])
    axes.set(ylim=(1.4, -0.85), xlabel="accuracy, %  (bar: 95 % interval)")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    return figure


@styled
def plot_learning_curve(curve: LearningCurve) -> Figure:
    """Accuracy by the number of training pictures, up to twice as many as there are."""
    figure, [[axes]] = canvas(curve.sentence, 3.0)
    axes.fill_between(curve.pictures, 100 * curve.low, 100 * curve.high, color=INKS["accent"], alpha=0.2, linewidth=0)
    axes.plot(curve.pictures, 100 * curve.accuracy, "o", color=INKS["accent"], markersize=5)
    last = int(curve.pictures[-1])
    if curve.law is not None:
        for start, end, dash in ((int(curve.pictures[0]), last, "-"), (last, 2 * last, DASHES)):
            x = np.linspace(start, end, 60)
            axes.plot(x, 100 * curve.predicted(x), color=INKS["accent"], linestyle=dash)
        bar = [100 * curve.doubled_low, 100 * curve.doubled_high]
        axes.plot([2 * last] * 2, bar, color=INKS["warm"], linewidth=5, alpha=0.4, solid_capstyle="butt")
        axes.plot([2 * last], [100 * curve.doubled], "D", color=INKS["warm"], markersize=6)
    axes.set(xlabel="training pictures", ylabel="accuracy, %")
    axes.grid(axis="y")
    return figure


@styled
def plot_overlaps(iou: NDArray[np.float64], constant: float) -> Figure:
    """How well boxes overlap with the true ones: a bar a tenth, their mean, and that of the same box everywhere."""
    mean = float(iou.mean()) if len(iou) else math.nan
    beside = f", {constant:.2f} for the best constant box" if math.isfinite(constant) else ""
    figure, [[axes]] = canvas(f"Mean overlap (IoU) {mean:.2f}{beside}", 3.0)
    counts, edges = np.histogram(iou, bins=10, range=(0, 1))
    axes.bar(edges[:-1], counts, width=0.094, align="edge", color=INKS["accent"])
    axes.axvline(mean, color=INKS["ink"], linewidth=1.5)
    if math.isfinite(constant):
        axes.axvline(constant, color=INKS["warm"], linestyle=DASHES, linewidth=1.5)
    axes.set(xlabel="IoU with the true box", ylabel="objects", xlim=(0, 1))
    axes.grid(axis="y")
    return figure


@styled
def plot_shares(rows: Sequence[tuple[str, float, tuple[float, float]]], title: str) -> Figure:
    """Shares with their 95 % intervals, one below the other; the best in the accent's ink."""
    figure, [[axes]] = canvas(title, 0.75 + 0.42 * len(rows))
    best = max(value for _, value, _ in rows)
    for y, (_, value, interval) in enumerate(rows):
        ink = INKS["accent"] if value == best else INKS["muted"]
        draw_interval(axes, y, value, interval, percent(value, 1), ink, size=7)
    name_ticks(axes, "y", range(len(rows)), [clipped(name, 28) for name, *_ in rows])
    axes.set(xlabel="accuracy, %", ylim=(len(rows) - 0.4, -0.8))
    axes.grid(axis="x")
    return figure


@styled
def plot_risk_coverage(tried: Tried) -> Figure:
    """How many answers are right when only the surest share of them is given."""
    curve = tried.curve
    half = int(np.searchsorted(curve.answered, tried.n / 2))
    best = 1 - float(curve.risk[half])
    title = f"Accuracy {percent(best)} on the most confident half, {percent(1 - float(curve.risk[-1]))} on all"
    figure, [[axes]] = canvas(title, 3.0)
    bands = np.array([wilson_interval(int(r), int(a)) for r, a in zip(curve.right, curve.answered, strict=True)])
    x = 100 * curve.coverage
    axes.fill_between(x, 100 * bands[:, 0], 100 * bands[:, 1], color=INKS["accent"], alpha=0.2, linewidth=0)
    axes.plot(x, 100 * (1 - curve.risk), color=INKS["accent"], drawstyle="steps-post")
    if tried.accuracy:
        axes.axhline(100 * tried.accuracy, color=INKS["muted"], linestyle=DASHES, linewidth=1)
        if tried.answered:
            here = (100 * tried.answered / tried.n, 100 * tried.right / tried.answered)
            axes.plot(*here, "D", color=INKS["warm"], markersize=7)
    axes.set(xlabel="share of pictures answered, most confident first, %", ylabel="accuracy, %", xlim=(0, 100))
    axes.set_ylim(bottom=max(0.0, 100 * float((1 - curve.risk).min()) - 10), top=101)
    axes.grid(axis="y")
    return figure


@styled
def plot_curves(history: Sequence[Mapping[str, Any]], quantity: Literal["top1", "loss"] = "top1") -> Figure:
    """Training and validation over the epochs: accuracy in %, or loss in nats."""
    share = quantity == "top1"
    word, unit, factor = ("accuracy", "%", 100) if share else ("loss", "nats", 1)
    best = best_epoch(history, f"val_{quantity}", lowest=not share)
    if best:
        value = percent(best[1]) if share else f"{best[1]:.3f}"
        title = f"Validation {word} was best in epoch {best[0]}: {value}"
    else:
        title = f"Training {word} over the epochs"
    figure, [[axes]] = canvas(title, 3.0)
    ends = []
    for split, ink, dash in (("val", "accent", "-"), ("train", "muted", DASHES)):
        known = [(row["epoch"], row[f"{split}_{quantity}"]) for row in history if _known(row, f"{split}_{quantity}")]
        if not known:
            continue
        x, y = np.array(known, dtype=np.float64).T
        marker = "o" if len(x) == 1 else ""
        axes.plot(x, factor * y, color=INKS[ink], linestyle=dash, marker=marker, markersize=5)
        ends.append((x[-1], factor * y[-1], {"val": "validation", "train": "training"}[split], INKS[ink]))
    if best:
        axes.plot([best[0]], [factor * best[1]], "o", color=INKS["accent"], markersize=6)
    label_ends(axes, ends)
    axes.set(xlabel="epoch", ylabel=f"{word}, {unit}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y")
    return figure


@styled
def plot_confusion(scores: Scores) -> Figure:
    """What was taken for what. A row is a true class; its errors stand off the diagonal, in the warm ink."""
    worst = confusions(scores, limit=1)
    title = "No picture was misclassified"
    if worst:
        truth, guess, times = worst[0]
        title = f"Most frequent confusion: {clipped(truth)} predicted as {clipped(guess)} ({times}×)"
        title = title if times > 1 else "No two classes were confused more than once"
    K = len(scores.classes)
    figure, [[axes]] = canvas(title, 4.9)
    if K <= MOST_NUMBERED:
        _draw_cells(axes, scores, _confusion_inks(scores))
    else:
        axes.imshow(_confusion_inks(scores), interpolation="none")
    axes.set(aspect="equal", xlim=(-0.5, K - 0.5), ylim=(K - 0.5, -0.5))
    _name_classes(axes, scores.classes)
    axes.set(xlabel="predicted class", ylabel="true class")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


@styled
def plot_reliability(bins: CalibrationBins) -> Figure:
    """Of the answers given with about p %, how many were right? On the dashed line the probabilities are honest."""
    figure, axes = canvas(calibration_in_words(bins), 3.9, nrows=2, sharex=True, height_ratios=[4, 1])
    upper, lower = axes[:, 0]
    full = np.flatnonzero(bins.count)
    upper.plot([0, 100], [0, 100], color=INKS["muted"], linestyle=DASHES, linewidth=1)
    for b in full:
        low, high = wilson_interval(round(bins.accuracy[b] * bins.count[b]), int(bins.count[b]))
        upper.plot([100 * bins.confidence[b]] * 2, [100 * low, 100 * high], color=INKS["accent"], alpha=0.35, lw=4)
    sizes = 25 + 55 * bins.count[full] / max(1, bins.count.max())  # square points: the fuller the bin, the larger
    upper.scatter(100 * bins.confidence[full], 100 * bins.accuracy[full], s=sizes, color=INKS["accent"], zorder=3)
    upper.set(xlim=(0, 101), ylim=(0, 103), ylabel="correct, %")
    upper.grid()
    centres, width = (bins.edges[1:] + bins.edges[:-1]) * 50, 90 / len(bins.count)
    lower.bar(centres, bins.count, width=width, color=INKS["muted"])
    lower.set(xlabel="predicted probability, %  (bar on a dot: 95 % interval)", ylabel="answers (log)", yscale="symlog")
    lower.set_yticks([0, int(bins.count.max(initial=1))])
    lower.minorticks_off()
    lower.yaxis.set_major_formatter("{x:.0f}")
    return figure


@styled
def plot_class_f1(scores: Scores) -> Figure:
    """F1 of each class, the weakest on top; of many classes, the weakest only."""
    defined = np.flatnonzero(~np.isnan(scores.f1))
    order = defined[np.argsort(scores.f1[defined], kind="stable")][:MOST_BARS]
    names = [clipped(scores.classes[k], 18) for k in order]
    values = 100 * scores.f1[order]
    title = f"Weakest class: {names[0]} (F1 {percent(values[0] / 100)})" if len(order) else "No class could be scored"
    if len(order) and values[0] == 100:
        title = "Every class was predicted without a mistake"
    figure, [[axes]] = canvas(title, 0.9 + 0.21 * max(3, len(order)))
    axes.barh(range(len(order)), values, color=INKS["accent"], height=0.62, alpha=0.85)
    for y, value in enumerate(values):
        axes.annotate(f"{value:.1f}", (value, y), (4, 0), textcoords="offset points", va="center", color=INKS["ink"])
    name_ticks(axes, "y", range(len(order)), names)
    few = f"the {len(order)} weakest of {len(defined)} classes" if len(order) < len(defined) else "each class"
    axes.set(xlim=(0, 110), ylim=(len(order) - 0.4, -0.6), xlabel=f"F1 of {few}, %", xticks=range(0, 101, 25))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


def _known(row: Mapping[str, Any], key: str) -> bool:
    return row.get(key) is not None and math.isfinite(row[key])


def _confusion_inks(scores: Scores) -> NDArray[np.float64]:
    """(K, K, 4): recall on the diagonal in the accent; errors in the warm ink, by the square root of their share.

    Errors of a good classifier are few beside its hits: on one scale for both they would all be white.
    """
    from matplotlib.colors import to_rgb

    shares = scores.confusion / np.maximum(scores.support[:, None], 1)
    right = np.eye(len(shares), dtype=bool)
    errors = np.where(right, 0.0, shares)
    alpha = np.where(right, 0.1 + 0.75 * shares, 0.8 * np.sqrt(errors / max(errors.max(), 0.02)))
    alpha[right & (scores.support[:, None] == 0)] = 0
    inks = np.where(right[..., None], to_rgb(INKS["accent"]), to_rgb(INKS["warm"]))
    return np.concatenate([inks, alpha[..., None]], axis=2)


def _draw_cells(axes: Axes, scores: Scores, inks: NDArray[np.float64]) -> None:
    """A square and a number for each cell that is not 0, on a faint grid."""
    from matplotlib.patches import Rectangle

    K = len(scores.classes)
    edges = np.arange(K + 1) - 0.5
    axes.hlines(edges, -0.5, K - 0.5, color=INKS["rule"], linewidth=0.5)
    axes.vlines(edges, -0.5, K - 0.5, color=INKS["rule"], linewidth=0.5)
    size = 9 if K <= 12 else 6
    for truth, guess in np.argwhere(scores.confusion).tolist():
        fill = inks[truth, guess]
        axes.add_patch(Rectangle((guess - 0.46, truth - 0.46), 0.92, 0.92, facecolor=fill, edgecolor="none"))
        ink, weight = (INKS["paper"], "bold") if truth == guess and fill[3] > 0.6 else (INKS["ink"], "normal")
        number = str(scores.confusion[truth, guess])
        axes.text(guess, truth, number, ha="center", va="center", fontsize=size, color=ink, fontweight=weight)


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Names where there is room; above that, numbers of the classes."""
    K = len(classes)
    if K > MOST_NAMED:
        return
    size = 8.5 if K <= 16 else max(4.0, 8.5 * 16 / K)
    names = [clipped(name, 14) for name in classes]
    name_ticks(axes, "x", range(K), names)
    name_ticks(axes, "y", range(K), names)
    axes.tick_params(labelsize=size, length=0)
    if max(map(len, names)) > 3 or K > 16:
        axes.tick_params(axis="x", labelrotation=90)
