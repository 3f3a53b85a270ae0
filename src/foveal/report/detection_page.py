"""The report of a detector: one offline HTML file, the answer first, then what was found, missed and made up.

It shares the look, the charts' way onto the page and the offline policy with the report of a classifier.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal import __version__
from foveal.data.augment import in_words
from foveal.data.dataset import Boxes
from foveal.detector import Detector
from foveal.errors import BadPicture, shown
from foveal.files.durable import write_text
from foveal.files.pictures import read_image
from foveal.report import detection_plots, plots
from foveal.report.assignments import assigned_pictures
from foveal.report.drawn_boxes import PALETTE, DrawnBox, boxes_of, corners, draw_boxes
from foveal.report.page import Chart, durations, inline_chart, page_file, page_template, recipe_sections, split_word
from foveal.report.pictures import data_uri, evenly, for_page
from foveal.report.words import counted
from foveal.tasks.answers import Detections
from foveal.tasks.detection_scores import DetectionScores
from foveal.tasks.detection_trust import DetectionTrust, reliability
from foveal.training.detecting import DetectionSetup
from foveal.training.fit import Fitted

__all__ = ["original", "placed_card", "training_pictures", "write_detection_report"]

SHOWN, TRAINING_SHOWN = 8, 6  # pictures
PRECISIONS = (0.8, 0.9, 0.95, 0.99)  # that are tried

Pixels = NDArray[np.uint8]
Picture = Callable[[int], Pixels]


def write_detection_report(
    name: str,
    setup: DetectionSetup,
    fitted: Fitted[Detector],
    on: str,
    found: Sequence[Detections],
    scores: DetectionScores,
    metrics: Mapping[str, Any],
    warnings: Sequence[str],
    file_bytes: int,
    path: Path,
) -> None:
    """Write the page. Args: found, the objects on the pictures of split `on`, in its order.

    Raises: NotWritable or NoSpace when the place refuses it.
    """
    indices, boxes = setup.splits[on], setup.dataset.boxes
    assert boxes is not None
    truth = boxes.take(indices)

    def picture(number: int) -> Pixels:
        return original(setup, int(indices[number]))

    assigned, assigned_words = assigned_pictures(setup, fitted.model)
    text = page_template("detection.html.jinja").render(
        name=name,
        scores=scores,
        version=__version__,
        style=page_file("page.css"),
        script=(script := page_file("page.js")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        split=split_word(on),
        origin=setup.dataset.origin,
        notes=setup.dataset.notes,
        warnings=warnings,
        metrics=metrics,
        file_bytes=file_bytes,
        threshold=fitted.model.threshold,
        recipe=recipe_sections(setup.recipe.to_toml()),
        durations=durations(metrics["seconds"]),
        augment_words=in_words(setup.recipe.augment),
        class_rows=_class_rows(scores),
        samples=[_sample(picture, truth, found, i, scores) for i in evenly(len(indices), SHOWN)],
        misses=_errors(detection_plots.worst_misses(scores, truth), truth, picture),
        alarms=_errors(detection_plots.worst_alarms(scores), truth, picture),
        training=training_pictures(setup),
        promises=_promises(fitted.model.trust, scores),
        calibration=metrics["test"]["calibration"],
        assigned=assigned,
        assigned_words=assigned_words,
        **_charts(scores, [vars(row) for row in fitted.history]),
    )
    write_text(path, text)


def _charts(scores: DetectionScores, history: Sequence[Mapping[str, Any]]) -> dict[str, Chart | None]:
    figures = {
        "precision_recall": detection_plots.plot_precision_recall(scores),
        "by_size": detection_plots.plot_ap_by_size(scores),
        "by_class": detection_plots.plot_average_precision(scores) if len(scores.classes) > 1 else None,
        "confusion": detection_plots.plot_confusion_with_background(scores),
        "reliability": plots.plot_reliability(reliability(scores)),
        "loss_chart": plots.plot_curves(history, "loss") if history else None,
    }
    return {name: inline_chart(figure, name) if figure else None for name, figure in figures.items()}


def _promises(trust: DetectionTrust | None, scores: DetectionScores) -> list[dict[str, Any]]:
    """From which score on boxes are as right as wished, and what that gave here."""
    if trust is None or not trust.curve.n:
        return []
    return [
        {"wished": f"{100 * precision:g} %", **trust.tried(scores, precision).as_dict()} for precision in PRECISIONS
    ]


def _class_rows(scores: DetectionScores) -> list[dict[str, Any]]:
    rows = zip(scores.classes, scores.class_objects, scores.class_ap, scores.class_ap50, strict=True)
    return [{"name": shown(name), "objects": int(n), "figures": (float(ap), float(ap50))} for name, n, ap, ap50 in rows]


def _sample(
    picture: Picture, truth: Boxes, found: Sequence[Detections], number: int, scores: DetectionScores
) -> dict[str, str]:
    """A picture with what was found on it, and dashed what is there."""
    sure = found[number].take(found[number].scores >= scores.threshold)
    return placed_card(picture(number), truth, sure, number, scores.classes, counted(len(sure), "object") + " found")


def placed_card(
    picture: Pixels, truth: Boxes, said: Detections, number: int, classes: Sequence[str], words_: str
) -> dict[str, str]:
    """Picture `number` with the boxes that are there, dashed, and those that were said, in colour."""
    pixels, scale = for_page(picture)
    there = [DrawnBox(corners(box * scale), ink="#8a8a8a", dashed=True) for box in truth.xyxy[truth.of(number)]]
    found = boxes_of(Detections(said.xyxy * scale, said.labels, said.scores), classes)
    return {"uri": data_uri(draw_boxes(pixels, [*there, *found])), "words": words_}


def _errors(errors: Sequence[detection_plots.DetectionError], truth: Boxes, picture: Picture) -> list[dict[str, str]]:
    cards = []
    for error in errors:
        pixels, scale = for_page(picture(error.picture))
        there = [DrawnBox(corners(b * scale), ink="#8a8a8a", dashed=True) for b in truth.xyxy[truth.of(error.picture)]]
        ink = PALETTE[1]
        drawn = draw_boxes(pixels, [*there, DrawnBox(corners(error.xyxy * scale), error.words, ink, error.missed)])
        cards.append({"uri": data_uri(drawn), "words": shown(error.words)})
    return cards


def training_pictures(setup: DetectionSetup) -> list[dict[str, str]]:
    """How the network saw some pictures in its first epoch, boxes moved with them."""
    train = setup.splits["train"]
    chosen = train[evenly(len(train), TRAINING_SHOWN)]
    pictures, said = setup.batches.shown_with_boxes(0, chosen)
    cards = []
    for pixels, (labels, boxes) in zip(pictures, said, strict=True):
        small, scale = for_page(pixels)
        rows = [
            DrawnBox(corners(box * scale), setup.dataset.classes[k], PALETTE[k % len(PALETTE)])
            for box, k in zip(boxes, labels.tolist(), strict=True)
        ]
        cards.append({"uri": data_uri(draw_boxes(small, rows)), "words": counted(len(rows), "object")})
    return cards


def original(setup: DetectionSetup, index: int) -> Pixels:
    """(H, W, C) of a picture as it is; grey of its size where the file has gone."""
    boxes = setup.dataset.boxes
    assert boxes is not None
    pictures = setup.dataset.pictures
    try:
        return read_image(pictures.content(index), name=pictures.name(index), channels=setup.preprocess.channels)
    except BadPicture:
        return np.full((*boxes.sizes[index], setup.preprocess.channels), 128, np.uint8)
