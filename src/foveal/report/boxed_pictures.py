"""Pictures with boxes on them, for the pages of tasks that place objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.errors import BadPicture
from foveal.ops.draws import evenly
from foveal.pages.drawn_boxes import PALETTE, DrawnBox, boxes_of, corners, draw_boxes
from foveal.pages.page import Picture
from foveal.pages.pictures import data_uri, for_page
from foveal.pages.words import counted
from foveal.report.finished import FinishedRun
from foveal.tasks.answers import Detections

__all__ = ["TRUTH_INK", "scored_pictures", "training_pictures", "true_boxes", "truth_of", "with_boxes"]

TRAINING_SHOWN = 6  # pictures
TRUTH_INK = "#8a8a8a"

Pixels = NDArray[np.uint8]


def truth_of(run: FinishedRun) -> Boxes:
    """The boxes that are there, of the pictures of the split that was scored."""
    boxes: Boxes | None = run.setup.dataset.boxes
    assert boxes is not None
    return boxes.take(run.setup.splits[run.on])


def scored_pictures(run: FinishedRun) -> Callable[[int], Pixels]:
    """From the number of a scored picture to its pixels, as it is in the data set."""
    indices = run.setup.splits[run.on]
    return lambda number: _original(run.setup, int(indices[number]))


def true_boxes(truth: Boxes, number: int, scale: NDArray[np.float64]) -> list[DrawnBox]:
    """Dashed, what is there on picture `number`."""
    return [DrawnBox(corners(box * scale), ink=TRUTH_INK, dashed=True) for box in truth.xyxy[truth.of(number)]]


def with_boxes(
    pixels: Pixels, truth: Boxes, said: Detections, number: int, classes: Sequence[str], words: str
) -> Picture:
    """Picture `number` with the boxes that are there, dashed, and those that were said, in colour."""
    small, scale = for_page(pixels)
    found = boxes_of(Detections(said.xyxy * scale, said.labels, said.scores), classes)
    return Picture(data_uri(draw_boxes(small, [*true_boxes(truth, number, scale), *found])), words)


def training_pictures(setup: Any) -> list[Picture]:
    """How the network saw some pictures in its first epoch, boxes moved with them."""
    train, classes = setup.splits["train"], setup.dataset.classes
    pictures, said = setup.batches.shown_with_boxes(0, train[evenly(len(train), TRAINING_SHOWN)])
    cards = []
    for pixels, (labels, boxes) in zip(pictures, said, strict=True):
        small, scale = for_page(pixels)
        rows = [
            DrawnBox(corners(box * scale), classes[k], PALETTE[k % len(PALETTE)])
            for box, k in zip(boxes, labels.tolist(), strict=True)
        ]
        cards.append(Picture(data_uri(draw_boxes(small, rows)), counted(len(rows), "object")))
    return cards


def _original(setup: Any, index: int) -> Pixels:
    """(H, W, C) of a picture as it is; grey of its size where the file has gone."""
    pictures = setup.dataset.pictures
    try:
        pixels: Pixels = setup.preprocess.upright(pictures.content(index), pictures.name(index))
    except BadPicture:
        return np.full((*setup.dataset.boxes.sizes[index], setup.preprocess.channels), 128, np.uint8)
    return pixels
