"""COCO's own scorer, asked about boxes in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.tasks.answers import Detections

__all__ = ["CocoTables", "coco_tables"]

Floats = NDArray[np.float64]

MOST_FOUND = (1, 10, 100)  # boxes of a class on a picture
SIZES = ("all", "small", "medium", "large")  # of the true box: under 32², to 96², above


@dataclass(frozen=True, eq=False)
class CocoTables:
    """What the scorer answers; -1 where a class (or a size) has nothing to find."""

    precision: Floats  # (10 IoU, 101 recalls, K, 4 sizes, 3 numbers of boxes)
    recall: Floats  # (10, K, 4, 3)
    scores: Floats  # (10, 101, K, 4, 3) of the box at which the recall was reached

    def ap(self, iou: slice | int = slice(None), size: str = "all") -> float:
        """Mean over IoU thresholds, recalls and classes; NaN where there is nothing to find."""
        return _mean(self.precision[iou, ..., SIZES.index(size), -1])

    def ar(self, most: int) -> float:
        """The recall with so many boxes a picture and class, mean over IoU thresholds and classes."""
        return _mean(self.recall[..., 0, MOST_FOUND.index(most)])

    def class_ap(self, iou: slice | int = slice(None)) -> Floats:
        """(K,) NaN for a class with nothing to find."""
        K = self.precision.shape[2]
        return np.array([_mean(self.precision[iou][..., k, 0, -1]) for k in range(K)])


def _mean(values: NDArray[Any]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def coco_tables(found: Sequence[Detections], truth: Boxes, crowd: NDArray[np.bool_], K: int) -> CocoTables:
    """faster-coco-eval's tables for K classes; crowd (M,) marks what is neither right nor wrong to find."""
    from faster_coco_eval import COCO, COCOeval_faster

    head = {
        "images": [
            {"id": i, "height": int(h), "width": int(w), "file_name": ""} for i, (h, w) in enumerate(truth.sizes)
        ],
        "categories": [{"id": k, "name": str(k)} for k in range(K)],
    }
    right = _annotations(truth.xyxy, truth.labels, truth.pictures)
    for row, one in zip(right, crowd.tolist(), strict=True):
        row["iscrowd"] = int(one)
    boxes, labels, scores = (
        np.concatenate([empty, *(getattr(each, name) for each in found)])
        for name, empty in (("xyxy", np.zeros((0, 4))), ("labels", np.zeros(0, np.int64)), ("scores", np.zeros(0)))
    )
    answers = _annotations(boxes, labels, np.repeat(np.arange(len(found)), [len(each) for each in found]))
    for row, score in zip(answers, scores.tolist(), strict=True):
        row["score"] = score
    scorer = COCOeval_faster(
        COCO(head | {"annotations": right}), COCO(head | {"annotations": answers}), "bbox", print_function=_quietly
    )
    scorer.params.maxDets = list(MOST_FOUND)
    scorer.evaluate()
    scorer.accumulate()
    T, R = len(scorer.params.iouThrs), len(scorer.params.recThrs)
    shape = (T, R, K, len(SIZES), len(MOST_FOUND))
    precision, reached = (np.asarray(scorer.eval[key], np.float64).reshape(shape) for key in ("precision", "scores"))
    recall = np.asarray(scorer.eval["recall"], np.float64).reshape(T, K, len(SIZES), len(MOST_FOUND))
    return CocoTables(precision, recall, reached)


def _annotations(xyxy: Floats, labels: NDArray[np.int64], pictures: NDArray[np.int64]) -> list[dict[str, Any]]:
    wh = xyxy[:, 2:] - xyxy[:, :2]
    boxes = np.concatenate([xyxy[:, :2], wh], axis=1).tolist()
    columns = zip(boxes, wh.prod(axis=1).tolist(), labels.tolist(), pictures.tolist(), strict=True)
    return [
        {"id": i + 1, "image_id": on, "category_id": label, "bbox": box, "area": area, "iscrowd": 0}
        for i, (box, area, label, on) in enumerate(columns)
    ]


def _quietly(*_: object) -> None:
    return
