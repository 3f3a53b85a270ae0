"""The report of a classifier: how often it is right, where it was wrong, and how far to trust a probability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foveal.ops.statistics import calibration_bins, softmax
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
)  # fmt: skip
from foveal.pages.pictures import data_uri, shrunk
from foveal.pages.words import count, decimals, percent, split_word
from foveal.report import plots, sentences
from foveal.report.every_page import curve_chart, facts_of_training, origin_section
from foveal.report.finished import FinishedRun
from foveal.report.label_sections import filters_section, learning_curve_chart, learning_section, shown_section

__all__ = ["page"]

Probabilities = NDArray[np.float64]

MISTAKE_SIDE = 192  # pixels, twice what a card shows: sharp on fine screens
MOST_MISTAKES = 24
MOST_ROWS = 1200  # of the per-class table; more would make the page heavy and tell nobody anything
FEW_CLASSES = 14  # up to which the list of frequent mistakes stands under the bars, which grow with the classes

PRECISION_AND_RECALL = (
    "Precision: share of the pictures predicted as this class that are of it. Recall: share of its pictures that are "
    "predicted as it."
)


def page(run: FinishedRun) -> Page:
    """What is told of a classifier. Its answers are logits (N, K)."""
    scores, dataset = run.scores, run.setup.dataset
    accuracy = percent(scores.top1, decimals(scores.n))
    pictures = sum(len(indices) for indices in run.setup.splits.values())
    probabilities = softmax(np.asarray(run.answers, np.float64) / run.model.temperature)
    sections = [
        _mistakes_section(run, probabilities),
        _confusion_section(run),
        _trust_section(run, probabilities),
        learning_section(run),
        shown_section(run),
        filters_section(run),
        origin_section(run),
    ]
    return Page(
        run.name,
        f"classification of {count(len(dataset.classes))} classes, {count(pictures)} pictures from "
        f"{dataset.origin.source}",
        accuracy,
        [section for section in sections if section],
        _answer(run),
        reason=run.setup.transfer.reason if run.setup.transfer else "",
        warnings=run.warnings,
        facts=_facts(run),
        description=f"{accuracy} of {count(scores.n)} {split_word(run.on)} pictures",
    )


def _answer(run: FinishedRun) -> Answer:
    scores, digits = run.scores, decimals(run.scores.n)
    low, high = (percent(end, digits) for end in scores.top1_interval)
    chart = None
    if run.baseline:
        doubt = sentences.doubt(scores, run.baseline)
        chart = inline_chart(plots.plot_comparison(scores, run.baseline), "comparison", doubt)
    return Answer(
        marked("Correct on <strong>{}</strong> of {} {} pictures.", count(scores.right), count(scores.n),
               split_word(run.on)),
        f"95 % confidence interval of the accuracy: {low} to {high}.",
        percent(scores.top1, digits),
        chart,
    )  # fmt: skip


def _facts(run: FinishedRun) -> list[Fact]:
    scores = run.scores
    facts = [Fact("Calibration error", percent(scores.ece), f"loss {scores.loss:.3f} nats"), *facts_of_training(run)]
    if scores.top5 is None:
        return facts
    return [Fact("Top-5 accuracy", percent(scores.top5, decimals(scores.n))), *facts]


def _mistakes_section(run: FinishedRun, probabilities: Probabilities) -> Section:
    """The pictures that were taken for something else, the surest first."""
    scores, split = run.scores, split_word(run.on)
    errors, cards = scores.n - scores.right, list(_mistakes(run, probabilities))
    title = "Mistakes"
    if not cards:
        return Section(title, [], f"No mistakes: all {count(scores.n)} {split} pictures are classified correctly.")
    if errors == 1:
        amount = "The only mistake."
    elif len(cards) < errors:
        amount = f"{len(cards)} of {count(errors)} mistakes, the most confident first."
    else:
        amount = f"{'Both' if errors == 2 else f'All {errors}'} mistakes, the most confident first."
    return Section(title, [Pictures(cards, small=True)], f"{amount} Look closely: the label itself may be wrong.")


def _mistakes(run: FinishedRun, probabilities: Probabilities) -> Iterator[Picture]:
    dataset, indices = run.setup.dataset, run.setup.splits[run.on]
    truth, guess, sure = dataset.labels[indices], probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(guess != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:MOST_MISTAKES]
    for i, pixels in zip(wrong.tolist(), run.setup.store.rows(indices[wrong]), strict=True):
        is_, taken_for = dataset.classes[truth[i]], dataset.classes[guess[i]]
        words = marked(
            '<strong>{}</strong> predicted as <b>{}</b>, {} confident<small title="{name}">{name}</small>',
            is_, taken_for, percent(sure[i]), name=dataset.pictures.name(int(indices[i])),
        )  # fmt: skip
        alt = f"{is_}, predicted as {taken_for}"
        yield Picture(data_uri(shrunk(pixels, MISTAKE_SIDE)), words, alt, sharp=max(pixels.shape[:2]) < 64)


def _confusion_section(run: FinishedRun) -> Section:
    scores, frequent = run.scores, list(_frequent_mistakes(run))
    few = len(scores.classes) <= FEW_CLASSES
    left = [inline_chart(plots.plot_confusion(scores), "confusion"), *([] if few else frequent)]
    right = [inline_chart(plots.plot_class_f1(scores), "class_f1"), *(frequent if few else [])]
    hidden = max(0, len(scores.classes) - MOST_ROWS)
    more = f" {count(hidden)} more classes are in metrics.json." if hidden else ""
    table = Table(
        _class_rows(run),
        ("class", "trained on", split_word(run.on), "precision", "recall", "F1"),
        "sortable",
        about="Scores of each class",
    )
    return Section(
        "Confusions",
        [Columns([left, right]), Card([table, Paragraph(PRECISION_AND_RECALL + more)], "Scores of each class")],
        "Rows are the true classes, columns the predicted ones. Correct answers are on the diagonal, mistakes off it.",
    )


def _frequent_mistakes(run: FinishedRun) -> Iterator[Card]:
    rows = [
        (marked("<b>{}</b> predicted as <b>{}</b>", truth, guess), f"{count(times)}×")
        for truth, guess, times in sentences.confusions(run.scores)
    ]
    if rows:
        yield Card([Table(rows)], "The most frequent mistakes")


def _class_rows(run: FinishedRun) -> list[list[str | Cell]]:
    scores, dataset = run.scores, run.setup.dataset
    learnt_from = run.setup.transfer.indices if run.setup.head_alone else run.setup.splits["train"]
    trained_on = np.bincount(dataset.labels[learnt_from], minlength=len(scores.classes))
    rows: list[list[str | Cell]] = []
    for k, name in enumerate(scores.classes[:MOST_ROWS]):
        numbers = [int(trained_on[k]), int(scores.support[k])]
        shares = [float(scores.precision[k]), float(scores.recall[k]), float(scores.f1[k])]
        figures = [Cell(percent(share), share, None if np.isnan(share) else share) for share in shares]
        rows.append([name, *(Cell(count(n), n) for n in numbers), *figures])
    return rows


def _trust_section(run: FinishedRun, probabilities: Probabilities) -> Section:
    setup, model = run.setup, run.model
    bins = calibration_bins(probabilities, setup.dataset.labels[setup.splits[run.on]])
    temperature = sentences.temperature_in_words(model.temperature)
    charts: list[Block | None] = [inline_chart(plots.plot_reliability(bins), "reliability", temperature)]
    if run.tried:
        promise = [model.trust.promise] if model.trust else []
        told = " ".join(filter(None, [*promise, *run.tried.sentences]))
        charts.append(inline_chart(plots.plot_risk_coverage(run.tried), "risk_coverage", told))
    charts.append(curve_chart(run, "loss"))
    charts.append(learning_curve_chart(run))
    return Section(
        "Calibration of the probabilities",
        [Columns([chart for chart in charts if chart])],
        "On the dashed line the probabilities are calibrated: of the answers given with 80 %, 80 % are correct. Above "
        "it the network is underconfident, below it overconfident.",
    )
