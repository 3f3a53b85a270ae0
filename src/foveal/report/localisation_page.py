"""The report of a network that places one object a picture."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foveal import __version__
from foveal.data.augment import in_words
from foveal.data.dataset import Boxes
from foveal.detector import Detector
from foveal.files.durable import write_text
from foveal.report import plots
from foveal.report.detection_page import original, placed_card, training_pictures
from foveal.report.page import durations, inline_chart, page_file, page_template, recipe_sections, split_word
from foveal.report.pictures import evenly
from foveal.tasks.answers import Detections
from foveal.tasks.localisation_scores import LocalisationScores
from foveal.training.detecting import DetectionSetup
from foveal.training.fit import Fitted

__all__ = ["write_localisation_report"]

SHOWN = 8  # pictures


def write_localisation_report(
    name: str,
    setup: DetectionSetup,
    fitted: Fitted[Detector],
    on: str,
    found: Sequence[Detections],
    scores: LocalisationScores,
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
    history = [vars(row) for row in fitted.history]
    order = np.argsort(scores.iou, kind="stable")
    text = page_template("localisation.html.jinja").render(
        name=name, scores=scores, version=__version__, style=page_file("page.css"),
        script=(script := page_file("page.js")),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        split=split_word(on), origin=setup.dataset.origin, notes=setup.dataset.notes, warnings=warnings,
        metrics=metrics, file_bytes=file_bytes, recipe=recipe_sections(setup.recipe.to_toml()),
        durations=durations(metrics["seconds"]), augment_words=in_words(setup.recipe.augment),
        samples=_cards(setup, truth, found, scores, scores.pictures[evenly(len(scores.pictures), SHOWN)].tolist(), on),
        worst=_cards(setup, truth, found, scores, scores.pictures[order[:SHOWN]].tolist(), on),
        training=training_pictures(setup),
        comparison=inline_chart(plots.plot_overlaps(scores.iou, scores.constant_iou), "overlaps"),
        loss_chart=inline_chart(plots.plot_curves(history, "loss"), "loss") if history else None,
    )  # fmt: skip
    write_text(path, text)


def _cards(
    setup: DetectionSetup,
    truth: Boxes,
    found: Sequence[Detections],
    scores: LocalisationScores,
    pictures: Sequence[int],
    on: str,
) -> list[dict[str, str]]:
    """Pictures with the box that is there, dashed, and the one that was said; how well they overlap below."""
    overlap = dict(zip(scores.pictures.tolist(), scores.iou.tolist(), strict=True))
    indices = setup.splits[on]
    return [
        placed_card(original(setup, int(indices[i])), truth, found[i], i, scores.classes, f"IoU {overlap[i]:.2f}")
        for i in pictures
    ]
