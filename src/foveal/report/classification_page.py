"""The report of a classifier: how often it is right, where it was wrong, and how far to trust a probability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.augment import in_words
from foveal.ops.draws import evenly
from foveal.ops.statistics import calibration_bins, softmax
from foveal.pages.charts import inline_chart
from foveal.pages.page import (
    Answer,
    Block,
    Card,
    Cell,
    Columns,
    Fact,
    Heading,
    Page,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Sheet,
    Table,
    marked,
)  # fmt: skip
from foveal.pages.pictures import FILTER_COLUMNS, contact_sheet, data_uri, filter_sheet, sheet, shrunk
from foveal.pages.words import count, decimals, percent, split_word
from foveal.report import plots, sentences
from foveal.report.every_page import curve_chart, facts_of_training, origin_section, time_card
from foveal.report.finished import FinishedRun
from foveal.training.features import view_of
from foveal.training.setup import Setup

__all__ = ["first_filters", "page"]

Probabilities = NDArray[np.float64]

MISTAKE_SIDE = 192  # pixels, twice what a card shows: sharp on fine screens
MOST_MISTAKES = 24
MOST_ROWS = 1200  # of the per-class table; more would make the page heavy and tell nobody anything
FEW_CLASSES = 14  # up to which the list of frequent mistakes stands under the bars, which grow with the classes
SHEET_ROWS, SHEET_VERSIONS = 6, 7
FILTER_WIDTH = 62  # pixels of the page for each filter of a row

CURVE_NOTE = (
    "Accuracy on held-out pictures of heads fitted on frozen features; the shaded band is a 95 % interval, the dashed "
    "line a fitted power law."
)
SHOWN = "Training pictures"
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
        _learning_section(run),
        _shown_section(run),
        _filters_section(run),
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
    if setup.transfer and setup.transfer.curve:
        figure = plots.plot_learning_curve(setup.transfer.curve)
        charts.append(inline_chart(figure, "learning_curve", CURVE_NOTE))
    return Section(
        "Calibration of the probabilities",
        [Columns([chart for chart in charts if chart])],
        "On the dashed line the probabilities are calibrated: of the answers given with 80 %, 80 % are correct. Above "
        "it the network is underconfident, below it overconfident.",
    )


def _learning_section(run: FinishedRun) -> Section:
    measured = sorted(run.setup.measured.images_per_second.items(), key=lambda row: -row[1])
    chosen = run.setup.arithmetic.name
    rows = [
        (marked("<b>{}</b> (chosen)", way) if way == chosen else way, f"{count(speed)} pictures/s")
        for way, speed in measured
    ]
    timings = [Heading("Arithmetic, measured on this machine"), Table(rows)] if rows else []
    columns = [curve_chart(run, "top1"), time_card(run, *timings)]
    return Section("Training", [Columns([column for column in columns if column])])


def _shown_section(run: FinishedRun) -> Section | None:
    """Some training pictures, and how the network saw each of them in its first epochs."""
    setup = run.setup
    train = setup.splits["train"]
    if not len(train):
        return None
    chosen = train[evenly(len(train), SHEET_ROWS)]
    originals = setup.store.rows(chosen)
    if setup.head_alone:
        return _views_section(setup, chosen, originals)
    versions = [setup.batches.shown(epoch, chosen) for epoch in range(SHEET_VERSIONS)]
    drawn = np.stack(versions, axis=1).reshape(-1, *originals.shape[1:])
    alt = f"Rows of pictures: each original and {SHEET_VERSIONS} augmented versions of it"
    return Section(
        SHOWN,
        [Sheet(data_uri(contact_sheet(originals, drawn)), alt)],
        marked(
            "Left, the stored picture; to its right, {} augmented versions of it. <br>Augmentation: {}.",
            SHEET_VERSIONS, in_words(setup.recipe.augment),
        ),
    )  # fmt: skip


def _views_section(setup: Setup, chosen: NDArray[np.int64], originals: NDArray[np.uint8]) -> Section:
    """The views of some pictures on which a head was fitted: nothing else was drawn."""
    assert setup.transfer is not None
    number = setup.transfer.views
    views = [view_of(setup.store, chosen, view, setup.recipe.augment, setup.preprocess) for view in range(1, number)]
    mirrored = number == 2 and setup.recipe.augment.flip in ("horizontal", "both")
    other = "its mirror image" if mirrored else "its other views"
    told = f"Above, the stored pictures; below each, {other}." if views else "The stored pictures."
    return Section(
        SHOWN,
        [Sheet(data_uri(sheet([list(rows) for rows in (originals, *views)])), told)],
        f"{told} The head was fitted on the features that the frozen trunk computed from these, without any other "
        "augmentation.",
    )


def _filters_section(run: FinishedRun) -> Section | None:
    filters = first_filters(run.model.network)
    if filters is None or not filters.size:
        return None
    count_, _, height, width = filters.shape
    small = Sheet(
        data_uri(filter_sheet(filters)),
        "The filters of the first convolution as small pictures",
        sharp=True,
        width=FILTER_WIDTH * min(count_, FILTER_COLUMNS),
    )
    return Section(
        "Filters of the first layer",
        [small],
        f"{height} × {width} weights each, scaled to the largest weight; mid-grey is 0.",
    )


def first_filters(network: nn.Module) -> NDArray[np.float32] | None:
    """(O, C, h, w) of the first convolution, where it looks at the picture itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.detach().to(torch.float32).cpu().numpy()
            return weights if weights.shape[1] in (1, 3) and weights.shape[2] > 1 else None
    return None
