"""Which task a recipe asks for, and the data set as that task takes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import NOTHING, Boxes, Dataset
from foveal.errors import BadData, BadRecipe, shown
from foveal.recipe import Recipe
from foveal.tasks.localisation_scores import largest_boxes

__all__ = ["asked_task", "relabelled"]


def asked_task(dataset: Dataset, recipe: Recipe) -> tuple[str, Dataset]:
    """ "classify", "localise" or "detect", and the data set as that task takes it.

    Raises: BadRecipe for boxes that are not there, BadData where nothing is left to classify.
    """
    task = recipe.training.task
    if dataset.boxes is None:
        if task in ("detect", "localise"):
            raise BadRecipe(
                f"--task {task} needs boxes; {shown(dataset.origin.place)} ({dataset.origin.format}) has labels only."
            )
        return "classify", dataset
    if task == "localise":
        return task, _of_largest_alone(dataset)
    if task in ("auto", "detect"):
        return "detect", dataset
    labelled = np.flatnonzero(dataset.labels != NOTHING).astype(np.int64)
    if not len(labelled):
        raise BadData(f"{shown(dataset.origin.place)}: no picture has an object to classify.")
    note = "Each picture is classified as its largest object."
    return "classify", replace(dataset.take(labelled), boxes=None).noted(note)


def relabelled(boxes: Boxes, labels: NDArray[np.int64]) -> Boxes:
    """The boxes whose new label is none below zero."""
    kept = labels >= 0
    counts = np.bincount(boxes.pictures[kept], minlength=len(boxes.sizes))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(boxes.xyxy[kept], labels[kept], starts, boxes.sizes, boxes.crowd[kept], boxes.difficult[kept])


def _of_largest_alone(dataset: Dataset) -> Dataset:
    """Each picture with its largest object alone, and a note where there were others."""
    boxes = dataset.boxes
    assert boxes is not None
    several = int((boxes.counts > 1).sum())
    if not several:
        return dataset
    kept = np.zeros(len(boxes), bool)
    kept[largest_boxes(boxes)[1]] = True
    alone = relabelled(boxes, np.where(kept, boxes.labels, -1))
    return replace(dataset, boxes=alone).noted(f"Of several objects on {several} pictures the largest is located.")
