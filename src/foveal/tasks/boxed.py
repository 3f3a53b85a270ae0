"""What tasks with boxes have in common: letterboxed pictures, batches with boxes, a head on a trunk's stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foveal.data.augment import resolve_boxes
from foveal.data.batches import Rows
from foveal.data.box_batches import BoxBatches
from foveal.data.dataset import Boxes, Dataset
from foveal.errors import BadData, BadRecipe, NotFinite, shown
from foveal.ops.boxes import map_boxes
from foveal.ops.geometry import inverse
from foveal.preprocess import GREY, Preprocess
from foveal.recipe import AugmentRecipe, Recipe, parse_size
from foveal.tasks.answers import Detections
from foveal.tasks.box_defaults import box_size, trunk_name, usual_boxes
from foveal.tasks.detection_trust import DetectionTrust, DetectionTrustFacts
from foveal.tasks.heads import head_of
from foveal.tasks.heads.head import Architecture, DetectorNetwork, Surroundings
from foveal.tasks.task import SHARED_KEYS, Arrays, Ask, Facts, Indices, LabelsRead

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "LEAST_HELD_OUT",
    "BoxCalibration",
    "BoxFacts",
    "BoxTask",
    "at_home",
    "check_finite",
    "relabelled",
    "stored_boxes",
]

PIXELS_AT_ONCE = {"cpu": 1_700_000}  # of input in one forward pass: what caches still hold
PIXELS_AT_ONCE_ELSEWHERE, PICTURES_AT_ONCE = 30_000_000, 64
LEAST_HELD_OUT = 10  # objects on validation, to calibrate scores: three numbers are found from them
BOX_KEYS = SHARED_KEYS | {"data.unlabelled", "data.box_origin", "augment.mosaic"}


@dataclass(frozen=True, eq=False)
class BoxCalibration:
    """How far a detector's scores carry."""

    threshold: float = 0.25  # least score that is shown: best F1 on validation
    trust: DetectionTrust | None = None  # None: scores are what the network says
    held_out: int | None = None  # objects on the pictures that this was to come from; None: nobody counted

    @property
    def remark(self) -> str:
        """That scores are no probabilities, and why; "" where they are, or where nobody knows."""
        if self.trust is not None or self.held_out is None:
            return ""
        return (
            f"Scores are not calibrated: {self.held_out} box{'es' if self.held_out != 1 else ''} on validation, at "
            f"least {LEAST_HELD_OUT} are needed."
        )

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        trust = self.trust.facts() if self.trust else None
        return {"threshold": self.threshold, "trust": trust, "held_out": self.held_out}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """None: all of it is numbers."""
        return {}


class BoxFacts(BaseModel):
    """The same in a model's metadata."""

    model_config = ConfigDict(extra="forbid", strict=True)
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    trust: DetectionTrustFacts | None = None  # older files have none
    held_out: Annotated[int, Field(ge=0, le=10**12)] | None = None  # not in older files

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """No tensors are needed."""
        return {}

    def fits(self, classes: int) -> bool:
        """Whether the scores of each class are calibrated, where any are."""
        return self.trust is None or self.trust.fits(classes)

    def calibration(self, tensors: Arrays) -> BoxCalibration:
        """As the file holds it."""
        return BoxCalibration(self.threshold, self.trust.trust() if self.trust else None, self.held_out)


@dataclass(frozen=True, eq=False)
class BoxTask:
    """Objects of K classes on pictures of which nothing is cut away. What differs stands in `Detect`, `Localise`."""

    classes: tuple[str, ...]
    head: str = ""  # of `HEADS`
    size: tuple[int, int] = (0, 0)  # (H, W) pixels of the network's input
    network: DetectorNetwork | None = field(default=None, repr=False)  # what outputs are of; answers need none

    word: ClassVar[str] = "detection"
    kind: ClassVar[str] = "a detector"
    answer: ClassVar[Any] = Detections
    whole: ClassVar[bool] = True
    tried_as: ClassVar[str] = "tried"
    linear: ClassVar[bool] = False
    reads: ClassVar[LabelsRead] = "auto"
    facts: ClassVar[Any] = BoxFacts

    @classmethod
    def reading(
        cls, classes: tuple[str, ...], architecture: Architecture, size: tuple[int, int], network: Any = None
    ) -> Self:
        """The outputs are of the head that the architecture names."""
        return cls(classes, architecture.kind, size, network)

    @classmethod
    def head_for(cls, recipe: Recipe) -> str:
        """The name of the head that a recipe asks for."""
        raise NotImplementedError

    # -- before anything is computed

    @classmethod
    def chosen(
        cls, recipe: Recipe, facts: Facts, device: str, known: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int]]:
        """Name of the trunk and (height, width), where the recipe leaves them open."""
        return trunk_name(recipe), box_size(recipe, facts.side, device)

    @classmethod
    def usual(cls, recipe: Recipe, facts: Facts) -> dict[str, Any]:
        """See `box_defaults.py`."""
        return usual_boxes(recipe, facts, cls.head_for(recipe))

    @classmethod
    def augmentation(cls, recipe: Recipe, size: tuple[int, int], facts: Facts) -> AugmentRecipe:
        """Every "auto" of [augment] replaced."""
        return resolve_boxes(recipe.augment, size, facts.channels, facts.pictures)

    # -- a training

    @classmethod
    def built(
        cls, dataset: Dataset, recipe: Recipe, preprocess: Preprocess, say: Callable[[str], None]
    ) -> tuple[Architecture, nn.Module]:
        """The head on its trunk.

        Raises: BadData when prior boxes were asked for that the data cannot give; BadRecipe as of `Head`.
        """
        from foveal.networks.head import options_of

        head, size = head_of(cls.head_for(recipe)), parse_size(recipe.data.size)
        around = Surroundings(size, lambda: _sides(dataset, preprocess), say)
        architecture = head.laid_out(recipe, options_of(recipe), around)
        return architecture, head.build(architecture, len(dataset.classes), preprocess.channels, size)

    @classmethod
    def of(cls, dataset: Dataset, train: Indices, recipe: Recipe, network: Any, size: tuple[int, int]) -> Self:
        """With the network whose outputs it reads."""
        return cls(dataset.classes, cls.head_for(recipe), size, network)

    @classmethod
    def check_usable(cls, dataset: Dataset, train: Indices) -> None:
        """Raises: BadData where no picture has an object."""
        assert dataset.boxes is not None
        if not dataset.boxes.counts[train].sum():
            raise BadData(f"{shown(dataset.origin.place)}: no usable picture with an object to train on.")

    def batches(
        self, store: Rows, dataset: Dataset, train: Indices, recipe: Recipe, preprocess: Preprocess, threads: int
    ) -> BoxBatches:
        """Boxes in pixels of the stored pictures; mosaics and mixup join several pictures."""
        assert dataset.boxes is not None
        epochs = 1 if recipe.training.epochs == "auto" else int(recipe.training.epochs)
        return BoxBatches(
            store, stored_boxes(dataset.boxes, preprocess), train, int(recipe.training.batch_size), recipe.augment,
            np.full(preprocess.channels, GREY, np.uint8), recipe.training.seed, epochs, threads,
        )  # fmt: skip

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5) float32: class (−1: filling) and box in pixels of the input."""
        assert self.network is not None
        return self.network.loss(outputs, targets, self.size)

    def plain_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """The same."""
        return self.loss(outputs, targets)

    def right(self, outputs: Any, targets: Tensor) -> float:
        """Unknown: a picture with objects is not right or wrong."""
        return math.nan

    def tensors(self, outputs: Any) -> dict[str, Tensor]:
        """See `DetectorNetwork.tensors`."""
        assert self.network is not None
        return self.network.tensors(outputs, self.size)

    # -- answers

    def at_once(self, size: tuple[int, int], device: str) -> int:
        """How many pictures of (H, W) go through the network at once."""
        pixels = PIXELS_AT_ONCE.get(device, PIXELS_AT_ONCE_ELSEWHERE)
        return max(1, min(PICTURES_AT_ONCE, pixels // (size[0] * size[1])))

    def uncalibrated(self) -> BoxCalibration:
        """Of answers that are what the network says."""
        return BoxCalibration()

    def wants_features(self, ask: Ask, calibration: BoxCalibration) -> bool:
        """Never: what is unlike the training is not told of detectors."""
        return False

    def probabilities(self, arrays: Arrays, calibration: BoxCalibration) -> NDArray[np.float32]:
        """None. Raises: BadRecipe."""
        raise BadRecipe(
            f"this model is {self.kind}, which gives boxes their scores and classes no probabilities; predict."
        )

    def joined(self, parts: Iterable[list[Detections]]) -> list[Detections]:
        """The objects of several batches, picture by picture."""
        return [objects for part in parts for objects in part]

    def matched(self, dataset: Dataset) -> tuple[Dataset, list[str]]:
        """All pictures with the boxes of classes that the model knows, and what is left out.

        Raises: BadData without boxes, or none of a class that the model knows.
        """
        place = shown(dataset.origin.place)
        if dataset.boxes is None:
            raise BadData(f"{place} has labels but no boxes; a detector is evaluated on boxes.")
        index_of = {name: i for i, name in enumerate(self.classes)}
        known = np.array([index_of.get(name, -1) for name in dataset.classes], np.int64)
        unknown = [shown(name) for name, index in zip(dataset.classes, known, strict=True) if index < 0]
        boxes = relabelled(dataset.boxes, known[dataset.boxes.labels])
        if not len(boxes):
            raise BadData(f"{place}: no box of a class that the detector knows.")
        note = f"The detector does not know {', '.join(unknown[:10])}: their boxes are skipped."
        theirs = replace(dataset, boxes=boxes, labels=boxes.of_largest, classes=self.classes)
        return theirs, [note] if unknown else []

    @staticmethod
    def scored_on(dataset: Dataset, splits: Mapping[str, Indices]) -> str:
        """The split whose figures count: test, else validation, where they show an object; else the training."""
        assert dataset.boxes is not None
        counts = dataset.boxes.counts
        return next((name for name in ("test", "val") if counts[splits[name]].sum()), "train")

    def figures(
        self, dataset: Dataset, splits: Mapping[str, Indices], calibration: BoxCalibration, tried: Any
    ) -> dict[str, Any]:
        """What metrics.json tells besides of a run."""
        assert dataset.boxes is not None
        counts = dataset.boxes.counts
        boxes = {name: int(counts[indices].sum()) for name, indices in splits.items()}
        return {"threshold": calibration.threshold, "boxes": boxes}

    def truth(self, dataset: Dataset, indices: Indices) -> Boxes:
        """The boxes of some pictures."""
        assert dataset.boxes is not None
        return dataset.boxes.take(indices)


def check_finite(arrays: Arrays, *names: str) -> None:
    """Raises: NotFinite where a network's answer is infinite or NaN: nothing seen would be the wrong thing to say."""
    if not all(np.isfinite(arrays[name]).all() for name in names):
        raise NotFinite("The network's output is not finite (NaN or infinity); its weights or its input are damaged.")


def at_home(objects: Detections, size: tuple[int, int], preprocess: Preprocess) -> Detections:
    """Objects in pixels of the network's input -> in those of an upright picture of (height, width) pixels."""
    boxes, kept = map_boxes(inverse(preprocess.matrix(*size)), objects.xyxy, size[1], size[0], 0.0, 1e-6)
    return replace(objects, xyxy=boxes).take(kept)


def stored_boxes(boxes: Boxes, preprocess: Preprocess) -> Boxes:
    """The boxes in pixels of the pictures as `preprocess` gives them."""
    matrices = np.stack([preprocess.matrix(int(h), int(w)) for h, w in boxes.sizes]) if len(boxes.sizes) else np.eye(3)
    moved, _ = map_boxes(matrices[boxes.pictures], boxes.xyxy, preprocess.width, preprocess.height, 0.0, 0.0)
    sizes = np.tile(np.array([[preprocess.height, preprocess.width]]), (len(boxes.sizes), 1))
    return replace(boxes, xyxy=moved, sizes=sizes)


def relabelled(boxes: Boxes, labels: NDArray[np.int64]) -> Boxes:
    """The boxes whose new label is none below zero."""
    kept = labels >= 0
    counts = np.bincount(boxes.pictures[kept], minlength=len(boxes.sizes))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(boxes.xyxy[kept], labels[kept], starts, boxes.sizes, boxes.crowd[kept], boxes.difficult[kept])


def _sides(dataset: Dataset, preprocess: Preprocess) -> NDArray[np.float64]:
    """(n, 2) width and height of the training pictures' boxes that have an area, in pixels of the input."""
    assert dataset.boxes is not None
    own = stored_boxes(dataset.boxes, preprocess).take(dataset.indices("train"))
    sides = (own.xyxy[:, 2:] - own.xyxy[:, :2])[~own.crowd]
    large: NDArray[np.float64] = sides[(sides > 0).all(1)]
    return large
