"""The report of several labels a picture: how well each is ranked and named, the worst mistakes, its probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foveal.pages.charts import inline_chart
from foveal.pages.page import (
    Answer,
    Block,
    Card,
    Cell,
    Columns,
    Fact,
    Page,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
    marked,
)
from foveal.pages.pictures import data_uri, shrunk
from foveal.pages.words import count, counted, decimals, percent, split_word
from foveal.report import plots
from foveal.report.every_page import curve_chart, facts_of_training, origin_section
from foveal.report.finished import FinishedRun
from foveal.report.label_sections import filters_section, learning_curve_chart, learning_section, shown_section

__all__ = ["page"]

DIGITS = 1  # of mAP, which no count of pictures makes exact
MISTAKE_SIDE = 192  # pixels, twice what a card shows
MOST_BARS, MOST_ROWS = 30, 1200  # labels in the chart and in the table
MOST_LABELS, OF_EACH = 12, 3  # labels whose mistakes are shown, and misses and false positives of each
TERMS = (
    "AP: average precision, 100 % when all pictures with the label are ranked above all without it. Precision: of the "
    "pictures given the label, the share that has it. Recall: of the pictures that have it, the share given it."
)


def page(run: FinishedRun) -> Page:
    """What is told of several labels a picture. The answers are logits (N, K)."""
    scores, dataset = run.scores, run.setup.dataset
    figure = percent(scores.mean_ap, DIGITS)
    pictures = sum(len(indices) for indices in run.setup.splits.values())
    probabilities = run.model.calibration.probabilities(run.answers)
    sections = [
        _labels_section(run),
        _mistakes_section(run, probabilities),
        _trust_section(run),
        learning_section(run),
        shown_section(run),
        filters_section(run),
        origin_section(run),
    ]
    return Page(
        run.name,
        f"{counted(len(dataset.classes), 'label')}, several a picture or none, {count(pictures)} pictures from "
        f"{dataset.origin.source}",
        f"mAP {figure}",
        [section for section in sections if section],
        _answer(run, figure),
        reason=run.setup.transfer.reason if run.setup.transfer else "",
        warnings=run.warnings,
        facts=_facts(run),
        description=f"mAP {figure} on {count(scores.n)} {split_word(run.on)} pictures",
    )


def _answer(run: FinishedRun, figure: str) -> Answer:
    scores, chart = run.scores, None
    low, high = (percent(end, DIGITS) for end in scores.mean_ap_interval)
    if run.baseline:
        rows = [("network", scores.mean_ap, scores.mean_ap_interval),
                (run.baseline.name, run.baseline.score, run.baseline.interval)]  # fmt: skip
        note = f"Baseline {run.baseline.note}." if run.baseline.note else ""
        figure_of = plots.plot_shares(rows, "Network and classic baseline", "mAP")
        chart = inline_chart(figure_of, "comparison", note)
    return Answer(
        marked("Mean average precision of {} on <strong>{}</strong> {} pictures.",
               counted(len(scores.classes), "label"), count(scores.n), split_word(run.on)),
        f"95 % confidence interval: {low} to {high}.",
        figure,
        chart,
    )  # fmt: skip


def _facts(run: FinishedRun) -> list[Fact]:
    scores, digits = run.scores, decimals(run.scores.n)
    return [
        Fact("F1, micro", percent(scores.micro_f1, digits), f"macro {percent(scores.macro_f1, digits)}"),
        Fact("All labels correct", percent(scores.subset, digits), "of the pictures (subset accuracy)"),
        Fact("Calibration error", percent(scores.bins.error), f"loss {scores.loss:.3f} nats a label"),
        *facts_of_training(run),
    ]


def _labels_section(run: FinishedRun) -> Section:
    """Each label's average precision and what naming it from its threshold on gives."""
    scores = run.scores
    known = [k for k in np.argsort(-scores.ap, kind="stable").tolist() if not np.isnan(scores.ap[k])]
    bars = [(scores.classes[k], float(scores.ap[k]), tuple(scores.ap_interval[k])) for k in known]
    shown = bars if len(bars) <= MOST_BARS else [*bars[: MOST_BARS // 2], *bars[-(MOST_BARS // 2) :]]
    title = "Average precision of each label" if shown == bars else "Average precision: the best and the worst labels"
    charts: list[Block] = [inline_chart(plots.plot_shares(shown, title, "AP"), "ap")] if shown else []
    hidden = max(0, len(scores.classes) - MOST_ROWS)
    more = f" {count(hidden)} more labels stand in metrics.json." if hidden else ""
    heads = ("label", "train", split_word(run.on), "AP", "threshold", "precision", "recall", "F1")
    table = Table(list(_rows(run)), heads, "sortable", about="Figures of each label")
    return Section(
        "Label by label",
        [*charts, Card([table, Paragraph(TERMS + more)], "Every label")],
        "A picture is given a label when the probability reaches the label's own threshold, set on held-out pictures "
        + (f"for a precision of {100 * run.model.calibration.precision:g} %." if run.model.calibration.precision
           else "for the best F1."),
    )  # fmt: skip


def _rows(run: FinishedRun) -> Iterator[list[str | Cell]]:
    setup, scores = run.setup, run.scores
    learnt_from = setup.transfer.indices if setup.head_alone else setup.splits["train"]
    trained_on = setup.dataset.counts_of(learnt_from)
    for k, row in enumerate(scores.table().rows[:MOST_ROWS]):
        numbers = [int(trained_on[k]), row["pictures"]]
        threshold = row["threshold"]
        bound = Cell(f"{threshold:.3f}" if np.isfinite(threshold) else "never", min(threshold, 1.0))
        shares = [Cell(percent(row[name]), row[name], None if np.isnan(row[name]) else row[name])
                  for name in ("ap", "precision", "recall", "f1")]  # fmt: skip
        yield [row["label"], *(Cell(count(n), n) for n in numbers), shares[0], bound, *shares[1:]]


def _mistakes_section(run: FinishedRun, probabilities: NDArray[np.float64]) -> Section:
    """Of the labels with most mistakes, the pictures that were missed most surely and named most surely."""
    scores, title = run.scores, "The worst misses and false positives of each label"
    wrong = scores.counts.false + scores.counts.missed
    worst = [k for k in np.argsort(-wrong, kind="stable").tolist() if wrong[k]][:MOST_LABELS]
    if not worst:
        return Section(title, [], f"None: the labels of all {count(scores.n)} pictures are correct.")
    cards = [
        Card([Pictures(list(_mistakes(run, probabilities, k)), small=True)],
             f"{scores.classes[k]}: {counted(int(scores.counts.missed[k]), 'miss', 'misses')}, "
             f"{counted(int(scores.counts.false[k]), 'false positive')}")
        for k in worst
    ]  # fmt: skip
    rest = int((wrong > 0).sum()) - len(worst)
    more = f" {count(rest)} more labels have mistakes." if rest else ""
    return Section(title, list(cards), f"The most confident first. Check them: some labels may be wrong.{more}")


def _mistakes(run: FinishedRun, probabilities: NDArray[np.float64], k: int) -> Iterator[Picture]:
    dataset, indices, scores = run.setup.dataset, run.setup.splits[run.on], run.scores
    there, p = dataset.multi_hot[indices, k], probabilities[:, k]
    named = p >= scores.thresholds[k]
    misses = _first(there & ~named, p)
    alarms = _first(~there & named, -p)
    for rows, verdict in ((misses, "missed"), (alarms, "not there")):
        for i, pixels in zip(rows.tolist(), run.setup.store.rows(indices[rows]), strict=True):
            index = int(indices[i])
            others = ", ".join(dataset.names(index)) or "no label"
            words = marked(
                '<strong>{}</strong> {}, probability {}<small title="{name}">labelled: {others}<br>{name}</small>',
                scores.classes[k], verdict, percent(p[i]), name=dataset.pictures.name(index), others=others,
            )  # fmt: skip
            sharp = max(pixels.shape[:2]) < 64
            yield Picture(data_uri(shrunk(pixels, MISTAKE_SIDE)), words, f"{scores.classes[k]}, {verdict}", sharp=sharp)


def _first(chosen: NDArray[np.bool_], order: NDArray[np.float64]) -> NDArray[np.int64]:
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(order[rows], kind="stable")][:OF_EACH]


def _trust_section(run: FinishedRun) -> Section:
    told = " ".join(run.tried.sentences) if run.tried else ""
    charts = [
        inline_chart(plots.plot_reliability(run.scores.bins), "reliability", told),
        curve_chart(run, "loss"),
        learning_curve_chart(run),
    ]
    return Section(
        "How far to trust a probability",
        [Columns([chart for chart in charts if chart])],
        "All labels together. On the dashed line, 80 % of the labels with a probability of 80 % are there.",
    )
