"""Many objects a picture: boxes out of what a network's places say, class by class without doubles.

The network says the same at every place of its maps, whatever the picture: shapes are fixed, and what depends on the
content, the choice among overlapping boxes, stands here. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes, Dataset
from foveal.errors import BadRecipe, shown
from foveal.ops.boxes import clip_boxes
from foveal.ops.suppression import suppressed
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.answers import Detections
from foveal.tasks.boxed import BOX_KEYS, LEAST_HELD_OUT, BoxCalibration, BoxTask, at_home, check_finite
from foveal.tasks.detection_scores import DetectionScores, plain, score_objects
from foveal.tasks.detection_trust import DetectionTrust, reliability
from foveal.tasks.heads import HEADS
from foveal.tasks.task import Arrays, Ask, Indices

if TYPE_CHECKING:
    from foveal.tasks.detection_trust import TriedPrecision

__all__ = ["LEAST_SCORE", "MOST", "OVERLAP", "Detect", "objects_in"]

LEAST_SCORE = 0.005  # of what is scored; lower ones change AP by nothing that one could see
OVERLAP = 0.6  # IoU above which two boxes of a class are one object
MOST = 100  # objects a picture, as COCO counts


class Detect(BoxTask):
    """Objects of K classes."""

    name: ClassVar[str] = "detect"
    aim: ClassVar[str] = "to be detected"
    keys: ClassVar[frozenset[str]] = BOX_KEYS | {"network.detector"}
    asks: ClassVar[frozenset[str]] = frozenset({"score", "precision", "iou", "tile"})

    @classmethod
    def head_for(cls, recipe: Recipe) -> str:
        """As the recipe names it."""
        return recipe.network.detector

    @classmethod
    def takes(cls, dataset: Dataset, recipe: Recipe) -> Dataset | None:
        """Boxes. Raises: BadRecipe for labels only, where boxes are asked for."""
        if dataset.boxes is None:
            if recipe.training.task == cls.name:
                raise needs_boxes(cls.name, dataset)
            return None
        return dataset

    def check_ask(self, ask: Ask, calibration: BoxCalibration) -> None:
        """Raises: BadRecipe for a precision where the detector was never tried on pictures held out."""
        if ask.precision is None:
            return
        if calibration.trust is None or not calibration.trust.curve.n:
            raise BadRecipe(
                "--precision needs a detector whose scores were calibrated on validation pictures, which this one's "
                f"were not; give --score, or train it again. {calibration.remark}".rstrip()
            )

    def promise(self, ask: Ask, calibration: BoxCalibration) -> str:
        """What the wished precision does, or why scores are no probabilities."""
        if ask.precision is None or calibration.trust is None:
            return calibration.remark
        return calibration.trust.promise(ask.precision)

    def answers(
        self,
        arrays: Arrays,
        sizes: Sequence[tuple[int, int]],
        preprocess: Preprocess,
        calibration: BoxCalibration,
        ask: Ask,
    ) -> list[Detections]:
        """Objects from a score on, in pixels of the pictures.

        Scores are calibrated where the detector knows how; up to LEAST_SCORE, `ask.score` bounds what the network says.
        """
        score = calibration.threshold if ask.score is None else ask.score
        if ask.precision is not None and calibration.trust is not None:
            score = min(calibration.trust.bound_for(ask.precision), 2.0)  # above 1 where that is out of reach
        trust = calibration.trust
        least = score if trust is None else max(LEAST_SCORE, trust.maps.lowest(score))
        found = self._found(
            arrays, (preprocess.height, preprocess.width), least, OVERLAP if ask.iou is None else ask.iou
        )
        if trust is not None:
            found = [trust.calibrated(objects) for objects in found]
            if score > LEAST_SCORE:
                found = [objects.take(objects.scores >= score) for objects in found]
        return [at_home(objects, size, preprocess) for objects, size in zip(found, sizes, strict=True)]

    def evidence(self, arrays: Arrays, sizes: Indices, preprocess: Preprocess) -> list[Detections]:
        """All objects that could be scored, with what the network says, in pixels of the pictures."""
        found = self._found(arrays, (preprocess.height, preprocess.width), LEAST_SCORE, OVERLAP)
        return [at_home(objects, (int(h), int(w)), preprocess) for objects, (h, w) in zip(found, sizes, strict=True)]

    def calibrate(self, evidence: list[Detections], truth: Boxes, recipe: Recipe, train: Any = None) -> BoxCalibration:
        """Scores made probabilities class by class, and the bound on them with the best F1.

        As trained, where pictures that were not learnt from show too few objects.
        """
        held_out = int(truth.counts.sum())
        if not held_out:
            return BoxCalibration(held_out=0)
        if held_out < LEAST_HELD_OUT:
            bare = score_objects(evidence, truth, self.classes, resamples=0)
            plain = BoxCalibration(held_out=held_out)
            return replace(plain, threshold=bare.threshold) if bare.f1 > 0 else plain
        trust = DetectionTrust.of(score_objects(evidence, truth, self.classes, resamples=0))
        scores = score_objects(calibrated(evidence, trust), truth, self.classes, resamples=0)
        known = BoxCalibration(trust=trust, held_out=held_out)
        return replace(known, threshold=scores.threshold) if scores.f1 > 0 else known

    def score(
        self, evidence: list[Detections], truth: Boxes, calibration: BoxCalibration, train: Any = None
    ) -> DetectionScores:
        """Raises: BadData when the numbers of pictures differ."""
        return score_objects(calibrated(evidence, calibration.trust), truth, self.classes)

    def tried(
        self,
        evidence: list[Detections],
        truth: Boxes,
        scores: DetectionScores,
        calibration: BoxCalibration,
        ask: Ask = Ask(),  # noqa: B008 - frozen
    ) -> TriedPrecision | None:
        """What a wished precision came to; None where none was wished for."""
        if calibration.trust is None or ask.precision is None:
            return None
        return calibration.trust.tried(scores, ask.precision)

    def test_figures(
        self, evidence: list[Detections], truth: Boxes, scores: DetectionScores, calibration: BoxCalibration
    ) -> dict[str, Any]:
        """How well calibrated the scores are, before and after."""
        told = reliability(scores)
        figures: dict[str, Any] = {"boxes": int(told.count.sum()), "ece": plain(told.error)}
        if calibration.remark:  # then nobody claims that scores are probabilities, and nothing is off
            figures |= {"ece": None, "reason": calibration.remark}
        if calibration.trust is not None:
            before = reliability(score_objects(evidence, truth, self.classes, resamples=0))
            figures["ece_before"] = plain(before.error)
        return {"calibration": figures}

    def for_page(self, evidence: list[Detections], calibration: BoxCalibration) -> list[Detections]:
        """What the report draws: objects with calibrated scores."""
        return calibrated(evidence, calibration.trust)

    def _found(self, arrays: Arrays, size: tuple[int, int], score: float, iou: float) -> list[Detections]:
        check_finite(arrays, "scores")  # boxes of no score may be anything
        most = HEADS[self.head].candidates if self.head in HEADS else MOST_CANDIDATES
        pictures = zip(arrays["boxes"], arrays["scores"], strict=True)
        return [
            replace(objects_in(boxes, scores, size, score, iou, candidates=most), classes=self.classes)
            for boxes, scores in pictures
        ]


MOST_CANDIDATES = 1000


def objects_in(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    size: tuple[int, int],
    score: float = LEAST_SCORE,
    iou: float = OVERLAP,
    most: int = MOST,
    candidates: int = MOST_CANDIDATES,
) -> Detections:
    """The objects of one picture, the surest first, clipped to the input of (H, W) = size.

    Args: boxes (P, 4), or (P, K, 4) where each class has its own; scores (P, K); score, above which a class is told;
          iou, above which two boxes of a class are one object; candidates, (box, class) pairs that reach suppression.
    """
    places, labels = np.nonzero(np.isfinite(scores) & (scores > score))  # weights may be anything
    own = boxes[places, labels] if boxes.ndim == 3 else boxes[places]
    sound = np.isfinite(own).all(1)
    own, labels, sure = own[sound].astype(np.float64), labels[sound].astype(np.int64), scores[places, labels][sound]
    if len(sure) > candidates:
        best = np.argsort(-sure, kind="stable")[:candidates]
        own, labels, sure = own[best], labels[best], sure[best]
    kept = suppressed(own, sure, labels, iou, most)
    return Detections(clip_boxes(own[kept], size[1], size[0]), labels[kept], sure[kept].astype(np.float64))


def calibrated(found: list[Detections], trust: DetectionTrust | None) -> list[Detections]:
    """The same objects with scores that are probabilities of being right, down to LEAST_SCORE."""
    if trust is None:
        return found
    lowest = max(LEAST_SCORE, trust.maps.lowest(LEAST_SCORE))
    return [trust.calibrated(objects.take(objects.scores > lowest)) for objects in found]


def needs_boxes(task: str, dataset: Dataset) -> BadRecipe:
    """What is said where a task with boxes is asked of labels."""
    place, kind = shown(dataset.origin.place), dataset.origin.format
    return BadRecipe(f"--task {task} needs boxes; {place} ({kind}) has labels only.")
