"""One object a picture: is there one, of which class, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from foveal.data.dataset import Boxes, Dataset
from foveal.preprocess import Preprocess
from foveal.recipe import AugmentRecipe, Recipe
from foveal.tasks.answers import Detections
from foveal.tasks.boxed import BOX_KEYS, BoxCalibration, BoxTask, at_home, check_finite, relabelled
from foveal.tasks.detect import needs_boxes
from foveal.tasks.localisation_scores import LocalisationScores, constant_box, largest_boxes, score_placed, shares_of
from foveal.tasks.task import Arrays, Ask, Facts, Indices

__all__ = ["Localise"]

PRESENT = 0.5  # probability from which an object is said to be there


class Localise(BoxTask):
    """At most one object of K classes."""

    name: ClassVar[str] = "localise"
    aim: ClassVar[str] = "the largest of each picture to be localised"
    keys: ClassVar[frozenset[str]] = BOX_KEYS
    asks: ClassVar[frozenset[str]] = frozenset({"score"})

    @classmethod
    def head_for(cls, recipe: Recipe) -> str:
        """There is one."""
        return "one-object"

    @classmethod
    def takes(cls, dataset: Dataset, recipe: Recipe) -> Dataset | None:
        """Each picture with its largest object alone, and a note where there were others.

        Raises: BadRecipe for labels only.
        """
        if recipe.training.task != cls.name:
            return None
        if dataset.boxes is None:
            raise needs_boxes(cls.name, dataset)
        several = int((dataset.boxes.counts > 1).sum())
        if not several:
            return dataset
        kept = np.zeros(len(dataset.boxes), bool)
        kept[largest_boxes(dataset.boxes)[1]] = True
        alone = relabelled(dataset.boxes, np.where(kept, dataset.boxes.labels, -1))
        return replace(dataset, boxes=alone).noted(
            f"On {several} pictures with several objects, the largest is localised."
        )

    @classmethod
    def augmentation(cls, recipe: Recipe, size: tuple[int, int], facts: Facts) -> AugmentRecipe:
        """No mosaics unless they are asked for: which of four objects would be meant?"""
        if recipe.augment.mosaic == "auto":
            recipe = recipe.with_settings({"augment.mosaic": 0.0})
        return super().augmentation(recipe, size, facts)

    def check_ask(self, ask: Ask, calibration: BoxCalibration) -> None:
        """Anything goes."""

    def uncalibrated(self) -> BoxCalibration:
        """Presence is taken at its word."""
        return BoxCalibration(threshold=PRESENT)

    def promise(self, ask: Ask, calibration: BoxCalibration) -> str:
        """None."""
        return ""

    def answers(
        self,
        arrays: Arrays,
        sizes: Sequence[tuple[int, int]],
        preprocess: Preprocess,
        calibration: BoxCalibration,
        ask: Ask,
    ) -> list[Detections]:
        """The object of each picture where its presence is at least `ask.score`."""
        least = calibration.threshold if ask.score is None else ask.score
        found = self.evidence(arrays, np.array(sizes, np.int64).reshape(-1, 2), preprocess)
        return [one.take(one.scores >= least) for one in found]

    def evidence(self, arrays: Arrays, sizes: Indices, preprocess: Preprocess) -> list[Detections]:
        """One object a picture, whatever its presence."""
        check_finite(arrays, "boxes", "classes", "presence")
        labels = arrays["classes"].argmax(1).astype(np.int64)
        boxes, presence = arrays["boxes"].astype(np.float64), arrays["presence"].astype(np.float64)
        whole = [
            Detections(boxes[i : i + 1], labels[i : i + 1], presence[i : i + 1], self.classes)
            for i in range(len(presence))
        ]
        return [at_home(one, (int(h), int(w)), preprocess) for one, (h, w) in zip(whole, sizes, strict=True)]

    def calibrate(self, evidence: list[Detections], truth: Boxes, recipe: Recipe, train: Any = None) -> BoxCalibration:
        """Presence is taken at its word."""
        return self.uncalibrated()

    def score(
        self, evidence: list[Detections], truth: Boxes, calibration: BoxCalibration, train: Boxes | None = None
    ) -> LocalisationScores:
        """Args: train, the boxes of the training, for the best constant box beside it."""
        constant = None if train is None else constant_box(shares_of(train))
        return score_placed(evidence, truth, self.classes, constant)

    def tried(
        self,
        evidence: list[Detections],
        truth: Boxes,
        scores: LocalisationScores,
        calibration: BoxCalibration,
        ask: Ask = Ask(),  # noqa: B008 - frozen
    ) -> None:
        """Nothing is promised."""

    def test_figures(
        self, evidence: list[Detections], truth: Boxes, scores: LocalisationScores, calibration: BoxCalibration
    ) -> dict[str, Any]:
        """Nothing besides."""
        return {}

    def for_page(self, evidence: list[Detections], calibration: BoxCalibration) -> list[Detections]:
        """What the report draws: the object of each picture."""
        return evidence
