"""The report of a detector: average precision first, then what was found, missed and made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.data.augment import in_words
from foveal.data.dataset import Boxes
from foveal.files.plain_table import in_thousandths
from foveal.ops.draws import evenly
from foveal.pages.charts import inline_chart
from foveal.pages.drawn_boxes import PALETTE, DrawnBox, corners, draw_boxes
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
    Table,
    marked,
)  # fmt: skip
from foveal.pages.pictures import data_uri, for_page
from foveal.pages.words import count, counted, split_word
from foveal.report import detection_plots, plots
from foveal.report.assignments import assigned_pictures
from foveal.report.boxed_pictures import scored_pictures, training_pictures, true_boxes, truth_of, with_boxes
from foveal.report.every_page import curve_chart, facts_of_training, origin_section, time_card
from foveal.report.finished import FinishedRun
from foveal.tasks.detection_scores import DetectionScores
from foveal.tasks.detection_trust import DetectionTrust, reliability

__all__ = ["page"]

SHOWN = 8  # pictures
PRECISIONS = (0.8, 0.9, 0.95, 0.99)  # that are tried


def page(run: FinishedRun) -> Page:
    """What is told of a detector. Its answers are a list of Detections."""
    scores = run.scores
    ap50, classes = in_thousandths(scores.ap50), counted(len(scores.classes), "class", "classes")
    sections = [
        _found_section(run),
        _errors_section(run),
        _objects_section(scores),
        _trust_section(run),
        _learning_section(run),
        origin_section(run),
    ]
    return Page(
        run.name,
        f"detection of {classes}, pictures from {run.setup.dataset.origin.source}",
        f"AP50 {ap50}",
        sections,
        _answer(run),
        warnings=run.warnings,
        facts=_facts(run),
        description=f"AP50 {ap50} on {count(scores.n)} {split_word(run.on)} pictures",
    )


def _answer(run: FinishedRun) -> Answer:
    scores = run.scores
    low, high = map(in_thousandths, scores.ap50_interval)
    return Answer(
        marked(
            "Average precision at IoU 0.5 on <strong>{}</strong> objects of {} {} pictures.",
            count(scores.objects), count(scores.n), split_word(run.on),
        ),
        f"95 % confidence interval: {low} to {high}. Mean over IoU 0.5 to 0.95: {in_thousandths(scores.ap)}.",
        in_thousandths(scores.ap50),
        inline_chart(detection_plots.plot_precision_recall(scores), "precision_recall"),
    )  # fmt: skip


def _facts(run: FinishedRun) -> list[Fact]:
    scores, threshold = run.scores, run.model.threshold
    low, high = map(in_thousandths, scores.ap_interval)
    best = f"at a score of {scores.threshold:.2f}; predict shows boxes from {threshold:.2f} on"
    return [
        Fact("AP", in_thousandths(scores.ap), f"95 % interval {low} to {high}"),
        Fact("AP75", in_thousandths(scores.ap75), "at IoU 0.75"),
        Fact("AR100", in_thousandths(scores.ar100), "average recall with 100 boxes a picture"),
        Fact("Best F1", in_thousandths(scores.f1), best),
        *facts_of_training(run),
    ]


def _found_section(run: FinishedRun) -> Section:
    scores, truth, picture = run.scores, truth_of(run), scored_pictures(run)
    cards = []
    for i in evenly(len(run.answers), SHOWN).tolist():
        sure = run.answers[i].take(run.answers[i].scores >= scores.threshold)
        words = counted(len(sure), "object") + " found"
        cards.append(with_boxes(picture(i), truth, sure, i, scores.classes, words))
    return Section(
        "Detections",
        [Pictures(cards)],
        f"Some {split_word(run.on)} pictures. Dashed: the true boxes; in colour: the detected ones, with their score.",
    )


def _errors_section(run: FinishedRun) -> Section:
    truth, picture = truth_of(run), scored_pictures(run)
    misses = _errors(detection_plots.worst_misses(run.scores, truth), truth, picture)
    alarms = _errors(detection_plots.worst_alarms(run.scores), truth, picture)
    blocks: list[Block] = [Paragraph("No misses.")]
    if misses:
        blocks = [Heading("Misses, the largest first"), Pictures(misses)]
    if alarms:
        look = Paragraph("Look closely: the box may be missing from the labels.")
        blocks += [Heading("False positives, the most confident first"), Pictures(alarms), look]
    else:
        blocks.append(Paragraph("No false positives."))
    return Section("Mistakes", blocks)


def _errors(
    errors: Sequence[detection_plots.DetectionError], truth: Boxes, picture: Callable[[int], NDArray[np.uint8]]
) -> list[Picture]:
    cards = []
    for error in errors:
        pixels, scale = for_page(picture(error.picture))
        wrong = DrawnBox(corners(error.xyxy * scale), error.words, PALETTE[1], error.missed)
        drawn = draw_boxes(pixels, [*true_boxes(truth, error.picture, scale), wrong])
        cards.append(Picture(data_uri(drawn), error.words))
    return cards


def _objects_section(scores: DetectionScores) -> Section:
    charts = [
        inline_chart(detection_plots.plot_ap_by_size(scores), "by_size"),
        inline_chart(detection_plots.plot_confusion_with_background(scores), "confusion"),
    ]
    if len(scores.classes) > 1:
        charts.append(inline_chart(detection_plots.plot_average_precision(scores), "by_class"))
    table = Table(_class_rows(scores), ("class", "objects", "AP", "AP50"), "sortable", about="Scores of each class")
    return Section("Scores by size and class", [Columns(charts), Card([table], "Scores of each class")])


def _class_rows(scores: DetectionScores) -> list[list[str | Cell]]:
    rows: list[list[str | Cell]] = []
    columns = (scores.classes, scores.class_objects.tolist(), scores.class_ap.tolist(), scores.class_ap50.tolist())
    for name, n, *shares in zip(*columns, strict=True):
        figures = [Cell(in_thousandths(share), share, None if np.isnan(share) else share) for share in shares]
        rows.append([name, Cell(count(n), n), *figures])
    return rows


def _trust_section(run: FinishedRun) -> Section:
    if remark := run.model.calibration.remark:
        return Section("Calibration of the scores", [Card([Paragraph(remark)])])
    chart = inline_chart(plots.plot_reliability(reliability(run.scores)), "reliability")
    blocks: list[Block] = [Paragraph("There were no validation pictures with objects to choose thresholds on.")]
    if rows := _promises(run.model.trust, run.scores):
        command = marked("The thresholds were chosen on validation pictures: <code>{}</code>.",
                         "foveal predict MODEL PICTURES --precision 0.9")  # fmt: skip
        head = ("target precision", "minimum score", "precision here", "recall here")
        blocks = [Table(rows, head), Paragraph(command)]
    calibration = run.metrics["test"]["calibration"]
    if calibration.get("ece_before") is not None:
        gap, before = in_thousandths(calibration["ece"]), in_thousandths(calibration["ece_before"])
        words = "Scores are calibrated class by class: mean gap between score and share of correct boxes"
        blocks.append(Paragraph(f"{words} {gap}, before calibration {before}."))
    return Section("Calibration of the scores", [Columns([chart, Card(blocks, "Target precision")])])


def _promises(trust: DetectionTrust | None, scores: DetectionScores) -> list[tuple[str, str, str, str]]:
    """From which score on boxes are as right as wished, and what that gave here."""
    if trust is None or not trust.curve.n:
        return []
    rows = []
    for precision in PRECISIONS:
        tried = trust.tried(scores, precision).as_dict()
        bound = "not reached" if tried["bound"] is None else f"{tried['bound']:.2f}"
        right = "–" if tried["right"] is None else f"{100 * tried['right']:.0f} % of {tried['told']}"
        found = f"{100 * tried['found']:.0f} %" if tried["found"] is not None and tried["told"] else "–"
        rows.append((f"{100 * precision:g} %", bound, right, found))
    return rows


def _learning_section(run: FinishedRun) -> Section:
    columns = [curve_chart(run, "loss"), time_card(run)]
    blocks: list[Block] = [
        Columns([column for column in columns if column]),
        Heading("Training pictures"),
        Paragraph(f"Augmentation: {in_words(run.setup.recipe.augment)}. The boxes move with the pictures."),
        Pictures(training_pictures(run.setup)),
    ]
    assigned, words = assigned_pictures(run)
    if assigned:
        blocks += [Heading("Which predictions are assigned to which object"), Paragraph(words), Pictures(assigned)]
    return Section("Training", blocks)
