"""Which places, prior boxes or anchors answer for which object: drawn on pictures of the training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.ops.draws import evenly
from foveal.pages.drawn_boxes import PALETTE, DrawnBox, corners, draw_boxes
from foveal.pages.page import Picture
from foveal.pages.pictures import data_uri, for_page
from foveal.pages.words import counted
from foveal.report.finished import FinishedRun
from foveal.tasks.heads.head import Assigned, DetectorNetwork

__all__ = ["assigned_pictures"]

SHOWN = 4  # pictures
DOT = 2  # pixels about a place that learns
TRUTH_INK = "#8a8a8a"


def assigned_pictures(run: FinishedRun) -> tuple[list[Picture], str]:
    """Cards for some training pictures, and what is to be seen on them in one sentence."""
    train, boxes, model = run.setup.splits["train"], run.setup.batches.boxes, run.model
    network: DetectorNetwork = model.network
    chosen = train[evenly(len(train), SHOWN)]
    cards = []
    for pixels, index in zip(run.setup.store.rows(chosen), chosen.tolist(), strict=True):
        labels, own = _objects(boxes, index)
        assigned = network.assigned(model.engine.outputs(pixels[None]), labels, own, model.size)
        small, scale = for_page(pixels)
        words = f"{counted(len(assigned.objects), *assigned.words)} for {counted(len(labels), 'object')}"
        cards.append(Picture(data_uri(draw_boxes(small, _drawn(assigned, own, scale))), words))
    return cards, network.ASSIGNED


def _objects(boxes: Boxes, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    own = boxes.of(index)
    return boxes.labels[own], boxes.xyxy[own]


def _drawn(assigned: Assigned, own: NDArray[np.float64], scale: NDArray[np.float64]) -> list[DrawnBox]:
    """In colour what answers, dashed what is there; where places alone answer, the objects are in their colours."""
    plain = not len(assigned.boxes)
    drawn = [
        DrawnBox(corners(box * scale), "", _ink(n)) if plain else
        DrawnBox(corners(box * scale), ink=TRUTH_INK, dashed=True)
        for n, box in enumerate(own)
    ]  # fmt: skip
    for n, box in zip(assigned.objects.tolist(), assigned.boxes, strict=False):
        drawn.append(DrawnBox(corners(box * scale), "", _ink(n)))
    for n, (x, y) in zip(assigned.objects.tolist(), assigned.points * scale[:2], strict=False):
        drawn.append(DrawnBox((x - DOT, y - DOT, x + DOT, y + DOT), "", _ink(n)))
    return drawn


def _ink(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
