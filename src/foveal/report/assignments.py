"""Which places, or which prior boxes, answer for which object: drawn on pictures of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.data.box_batches import padded
from foveal.detector import Detector
from foveal.pages.drawn_boxes import PALETTE, DrawnBox, corners, draw_boxes
from foveal.pages.pictures import data_uri, evenly, for_page
from foveal.pages.words import counted
from foveal.tasks.anchored_detection import AnchoredDetection
from foveal.tasks.heads import _rcnn_loss, yolov3_loss
from foveal.tasks.heads._assignment import assign
from foveal.tasks.heads.faster_rcnn import Seen
from foveal.tasks.heads.yolo import Said
from foveal.tasks.region_detection import RegionDetection
from foveal.training.detecting import DetectionSetup

__all__ = ["ANCHORS", "DOTS", "PRIORS", "assigned_pictures"]

SHOWN = 4  # pictures
DOT = 2  # pixels about a place that learns
DOTS = (
    "Each dot is a place of a map that learns to say the box of its colour: the few that are surest of the class and "
    "whose boxes fit best."
)
PRIORS = (
    "Dashed: what is there. In colour: for each object the prior box whose shape fits it best, at the place of its map "
    "that answers for it (the dot)."
)
ANCHORS = (
    "Dashed: what is there. In colour: the anchors that are taught to propose it, because they overlap it well or best."
)

Own = tuple[NDArray[np.int64], NDArray[np.float64]]  # labels (m,) and boxes (m, 4) of a picture
Shape = Sequence[tuple[float, float, float, float]]


def assigned_pictures(setup: DetectionSetup, detector: Detector) -> tuple[list[dict[str, str]], str]:
    """Cards for some training pictures, and what is to be seen on them in one sentence."""
    train = setup.splits["train"]
    chosen = train[evenly(len(train), SHOWN)]
    pictures = setup.store.rows(chosen)
    own = [(setup.boxes.labels[part], setup.boxes.xyxy[part]) for part in map(setup.boxes.of, chosen.tolist())]
    said = [next(iter(detector.said(torch.from_numpy(picture[None])))) for picture in pictures]
    task, size = detector.task, detector.size
    cards = []
    for pixels, answer, (labels, boxes) in zip(pictures, said, own, strict=True):
        small, scale = for_page(pixels)
        if isinstance(task, RegionDetection):
            drawn, words = _anchors(answer, (labels, boxes), scale)
        elif isinstance(task, AnchoredDetection):
            drawn, words = _priors(answer, task, (labels, boxes), size, scale)
        else:
            drawn, words = _dots(answer, (labels, boxes), scale)
        cards.append({"uri": data_uri(draw_boxes(small, drawn)), "words": words})
    sentences = {AnchoredDetection: PRIORS, RegionDetection: ANCHORS}
    return cards, sentences.get(type(task), DOTS)


def _dots(said: Said, own: Own, scale: NDArray[np.float64]) -> tuple[list[DrawnBox], str]:
    labels, boxes = own
    drawn = [DrawnBox(corners(box * scale), "", PALETTE[n % len(PALETTE)]) for n, box in enumerate(boxes)]
    assigned = assign(said.classes.float().sigmoid(), said.boxes(), said.points, padded([own]))
    places = assigned.learns[0].nonzero()[:, 0].tolist()
    for place in places:
        ink = PALETTE[int(assigned.object[0, place]) % len(PALETTE)]
        drawn.append(_dot(said.points[place].double().numpy() * scale[:2], ink))
    return drawn, f"{counted(len(places), 'place')} for {counted(len(labels), 'object')}"


def _priors(
    outputs: Sequence[Any], task: AnchoredDetection, own: Own, size: tuple[int, int], scale: NDArray[np.float64]
) -> tuple[list[DrawnBox], str]:
    labels, boxes = torch.from_numpy(own[0]), torch.from_numpy(own[1])
    sound = (boxes[:, 2:] > boxes[:, :2]).all(1)
    grids = [(output.shape[2], output.shape[3]) for output in outputs]
    maps = yolov3_loss.assign([boxes[sound]], [labels[sound]], task.priors, grids, size)
    drawn = [DrawnBox(corners(box * scale), ink="#8a8a8a", dashed=True) for box in own[1]]
    count = 0
    for assigned, priors, (rows, columns) in zip(maps, task.priors, grids, strict=True):
        for prior, row, column in zip(assigned.prior, assigned.row, assigned.column, strict=True):
            ink = PALETTE[count % len(PALETTE)]
            centre = np.array([(int(column) + 0.5) * size[1] / columns, (int(row) + 0.5) * size[0] / rows])
            half = np.array(priors.anchors[int(prior)]) / 2
            drawn.append(DrawnBox(corners(np.concatenate([centre - half, centre + half]) * scale), "", ink))
            drawn.append(_dot(centre * scale[:2], ink))
            count += 1
    return drawn, f"{counted(count, 'prior box', 'prior boxes')} for {counted(len(labels), 'object')}"


def _anchors(seen: Seen, own: Own, scale: NDArray[np.float64]) -> tuple[list[DrawnBox], str]:
    labels, boxes = own
    drawn = [DrawnBox(corners(box * scale), ink="#8a8a8a", dashed=True) for box in boxes]
    anchors = seen.proposed.anchors
    matched = _rcnn_loss.match(anchors, torch.from_numpy(boxes).to(anchors), _rcnn_loss.ANCHORS)
    on = (matched >= 0).nonzero()[:, 0].tolist()
    for place in on:
        ink = PALETTE[int(matched[place]) % len(PALETTE)]
        drawn.append(DrawnBox(corners(anchors[place].double().numpy() * scale), "", ink))
    return drawn, f"{counted(len(on), 'anchor')} for {counted(len(labels), 'object')}"


def _dot(at: NDArray[np.float64], ink: str) -> DrawnBox:
    x, y = at.tolist()
    return DrawnBox((x - DOT, y - DOT, x + DOT, y + DOT), "", ink)
