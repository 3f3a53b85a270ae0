"""The report of a network that places one object a picture: how well its box overlaps with the true one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.data.augment import in_words
from foveal.files.plain_table import in_thousandths
from foveal.ops.draws import evenly
from foveal.pages.charts import inline_chart
from foveal.pages.page import Answer, Columns, Fact, Heading, Page, Paragraph, Picture, Pictures, Section, marked
from foveal.pages.words import count, counted, percent, split_word
from foveal.report import plots
from foveal.report.boxed_pictures import scored_pictures, training_pictures, truth_of, with_boxes
from foveal.report.every_page import curve_chart, facts_of_training, origin_section, time_card
from foveal.report.finished import FinishedRun

__all__ = ["page"]

SHOWN = 8  # pictures


def page(run: FinishedRun) -> Page:
    """What is told of one object a picture. The answers are a list of Detections."""
    scores = run.scores
    overlap, classes = in_thousandths(scores.mean_iou), counted(len(scores.classes), "class", "classes")
    return Page(
        run.name,
        f"localisation of {classes}, pictures from {run.setup.dataset.origin.source}",
        f"mean IoU {overlap}",
        [_placed_section(run), _learning_section(run), origin_section(run)],
        _answer(run),
        warnings=run.warnings,
        facts=[
            Fact("Presence", percent(scores.presence), "object or no object predicted correctly"),
            Fact("Class", percent(scores.top1), "correct, whatever the box"),
            Fact("Placed", percent(scores.located), "IoU of at least 0.5 and the class correct"),
            *facts_of_training(run),
        ],
        description=f"Mean IoU {overlap} on {count(scores.n)} {split_word(run.on)} pictures",
    )


def _answer(run: FinishedRun) -> Answer:
    scores = run.scores
    low, high = map(in_thousandths, scores.mean_iou_interval)
    return Answer(
        marked(
            "Mean overlap (IoU) of the predicted box with the true one, on <strong>{}</strong> {} pictures.",
            count(scores.objects), split_word(run.on),
        ),
        f"95 % confidence interval: {low} to {high}. Baseline, the best constant box on every picture: "
        f"{in_thousandths(scores.constant_iou)}.",
        in_thousandths(scores.mean_iou),
        inline_chart(plots.plot_overlaps(scores.iou, scores.constant_iou), "overlaps"),
    )  # fmt: skip


def _placed_section(run: FinishedRun) -> Section:
    pictures = run.scores.pictures
    some = pictures[evenly(len(pictures), SHOWN)]
    worst = pictures[np.argsort(run.scores.iou, kind="stable")[:SHOWN]]
    return Section(
        "Predicted boxes",
        [Pictures(_cards(run, some.tolist())), Heading("The worst"), Pictures(_cards(run, worst.tolist()))],
        f"Some of the {split_word(run.on)} pictures. Dashed: the true box; in colour: the predicted one.",
    )


def _cards(run: FinishedRun, numbers: Sequence[int]) -> list[Picture]:
    """Pictures with the box that is there, dashed, and the one that was said; how well they overlap below."""
    scores, truth, picture = run.scores, truth_of(run), scored_pictures(run)
    overlap = dict(zip(scores.pictures.tolist(), scores.iou.tolist(), strict=True))
    return [with_boxes(picture(i), truth, run.answers[i], i, scores.classes, f"IoU {overlap[i]:.2f}") for i in numbers]


def _learning_section(run: FinishedRun) -> Section:
    columns = [curve_chart(run, "loss"), time_card(run)]
    return Section(
        "Training",
        [
            Columns([column for column in columns if column]),
            Heading("Training pictures"),
            Paragraph(f"Augmentation: {in_words(run.setup.recipe.augment)}. The boxes move with the pictures."),
            Pictures(training_pictures(run.setup)),
        ],
    )
