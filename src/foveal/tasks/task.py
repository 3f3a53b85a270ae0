"""What an answer is: the protocol that every task fulfils, and all that training, `Model` and the runs know of one.

A task is the part of learning that knows what the numbers mean. What differs between tasks is asked of it and stands in
its file; a list of all of them is `tasks/registry.py`. PyTorch is imported by what computes losses and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Dataset
from foveal.errors import BadRecipe
from foveal.files.tables import Table
from foveal.preprocess import Preprocess, Views
from foveal.recipe import AugmentRecipe, Recipe
from foveal.tasks.answers import Answer
from foveal.tasks.heads.head import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.data.batches import Rows, TrainingBatches
    from foveal.data.box_batches import BoxBatches

__all__ = [
    "SHARED_KEYS",
    "Arrays",
    "Ask",
    "Asked",
    "Calibration",
    "Facts",
    "Indices",
    "LabelsRead",
    "LinearTask",
    "Scores",
    "Task",
    "Tried",
    "linear",
]

Indices = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]
LabelsRead = Literal["auto", "one", "several"]  # as of `Asked.labels` in data/formats

SHARED_KEYS = frozenset({
    "data.source", "data.split", "data.test_if", "data.exclude", "data.group_by", "data.held_out",
    "data.contradictions", "data.labels", "data.label_separator", "data.size",
    "data.store", "data.max_megapixels", "data.white",
    "network.name", "network.weights", "network.train", "network.dropout", "network.batch_norm",
    "training.task", "training.epochs", "training.minutes", "training.batch_size", "training.optimizer",
    "training.learning_rate", "training.momentum", "training.weight_decay", "training.schedule", "training.warmup",
    "training.ema", "training.clip", "training.early_stopping", "training.on_nan", "training.seed",
    "training.arithmetic", "training.optimizer_arithmetic", "training.threads", "training.device", "augment.preset",
    "augment.flip", "augment.crop", "augment.zoom", "augment.translate", "augment.rotate", "augment.shear",
    "augment.pad_crop", "augment.color", "augment.cutout", "augment.mixup",
})  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is known of the data before anything is trained."""

    pictures: int  # to train on
    side: tuple[int, int]  # usual (height, width) of a picture
    channels: int
    counts: tuple[int, ...]  # training pictures of each class


KIN = {"top": "classifiers", "views": "classifiers", "accuracy": "classifiers",
       "score": "detectors and multi-label models", "precision": "detectors and multi-label models",
       "iou": "detectors", "tile": "detectors"}  # fmt: skip


IN_PYTHON_ALONE = {"iou"}  # fields of `Ask` that the command has no option for


class Asked(Protocol):
    """A task, as far as it is asked for answers."""

    @property
    def answer(self) -> type[Answer]:
        """The type of its answers."""
        ...

    @property
    def asks(self) -> frozenset[str]:
        """Fields of `Ask` that it has a use for."""
        ...

    @property
    def kind(self) -> str:
        """Of model, for people."""
        ...


@dataclass(frozen=True)
class Ask:
    """What is asked of a model beside the pictures; None and 0 where nothing is."""

    top: int | None = None  # answers a picture
    views: Views = "none"  # whose answers are averaged
    accuracy: float | None = None  # wished share of right answers
    score: float | None = None  # least score that is told
    precision: float | None = None  # wished share of right boxes
    iou: float | None = None  # above which two boxes of a class are one object
    tile: int = 0  # pixels a side: larger pictures are looked at piece by piece

    def given(self) -> list[str]:
        """The names of what is asked for."""
        plain = Ask()
        return [name for name, value in vars(self).items() if value != getattr(plain, name)]

    def check(self, task: Asked) -> None:
        """Raises: BadRecipe for what a task has no use for, and for wishes that contradict each other."""
        for name in self.given():
            if name not in task.asks:
                has = ", ".join(f"--{other}" for other in sorted(task.asks - IN_PYTHON_ALONE))
                raise BadRecipe(f"--{name} is for {KIN[name]}, but this model is {task.kind}, which takes {has}.")
        if self.score is not None and self.precision is not None:
            raise BadRecipe("--score and --precision both set the minimum score; give one of them.")


class Calibration(Protocol):
    """What a model knows of how far its answers carry."""

    @property
    def remark(self) -> str:
        """That it could not be found out, and why; "" where there is nothing to remark."""
        ...

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For a model's file, by names that no network has."""
        ...


class CalibrationFacts(Protocol):
    """The same out of a file, checked; a pydantic model."""

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of the tensors that must be in the file."""
        ...

    def fits(self, classes: int) -> bool:
        """Whether it is for so many classes."""
        ...

    def calibration(self, tensors: Arrays) -> Calibration:
        """As `Calibration.facts` and `Calibration.tensors` told it."""
        ...


class Scores(Protocol):
    """How well a split was answered."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        ...

    def headline(self) -> list[str]:
        """What matters most, in one line or two."""
        ...

    def table(self) -> Table:
        """A row a class."""
        ...

    def lines(self, on: str, views: str = "none") -> list[str]:
        """A page for a terminal. Args: on, the name of the split."""
        ...


class Tried(Protocol):
    """What became of a wish on labelled pictures."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for people."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ...


class Task(Protocol):
    """Targets, loss, answers, scores; of the data set's or the model's classes."""

    name: ClassVar[str]  # in recipes: "classify"
    word: ClassVar[str]  # in models' files: "classification"
    kind: ClassVar[str]  # of model, for people: "a classifier"
    aim: ClassVar[str]  # what becomes of objects, for people: "to be detected"
    answer: ClassVar[Any]  # a type of `Answer`
    keys: ClassVar[frozenset[str]]  # of the recipe, that it reads; any other that is set is refused
    asks: ClassVar[frozenset[str]]  # fields of `Ask` that it has a use for
    whole: ClassVar[bool]  # pictures are letterboxed, so that no object is lost; else their centre is cut out
    tried_as: ClassVar[str]  # key of what `tried` gives, in JSON
    linear: ClassVar[bool]  # its head is a plane on features: it is a `LinearTask`
    reads: ClassVar[LabelsRead]  # how many labels a picture may have in its sources
    facts: ClassVar[Any]  # of its calibration in a model's metadata: a pydantic model, `CalibrationFacts`

    @property
    def classes(self) -> tuple[str, ...]:
        """What is told apart."""
        ...

    @classmethod
    def reading(
        cls, classes: tuple[str, ...], architecture: Architecture, size: tuple[int, int], network: Any = None
    ) -> Task:
        """The task that reads what a network says of (H, W) = size pictures; without one its named arrays alone."""
        ...

    # -- before anything is computed

    @classmethod
    def takes(cls, dataset: Dataset, recipe: Recipe) -> Dataset | None:
        """The data set as the task takes it; None where it is none of its own.

        Raises: BadRecipe where the task is asked for by name and cannot; BadData where nothing is left.
        """
        ...

    @classmethod
    def chosen(cls, recipe: Recipe, facts: Facts, device: str, known: tuple[int, int] | None) -> Any:
        """Name of the network and (height, width), where the recipe leaves them open.

        Args: known, size of the pictures that the weights were found on which a training starts from.
        """
        ...

    @classmethod
    def usual(cls, recipe: Recipe, facts: Facts) -> dict[str, Any]:
        """Its values for [training], of a recipe whose network and size are chosen: the task's, and over them those of
        the network's record. What the user set wins over both."""
        ...

    @classmethod
    def augmentation(cls, recipe: Recipe, size: tuple[int, int], facts: Facts) -> AugmentRecipe:
        """Every "auto" of [augment] replaced."""
        ...

    # -- a training

    @classmethod
    def built(cls, dataset: Dataset, recipe: Recipe, preprocess: Preprocess, say: Any) -> Any:
        """(architecture, network) with random weights, for what is to be learnt."""
        ...

    @classmethod
    def of(cls, dataset: Dataset, train: Indices, recipe: Recipe, network: nn.Module, size: tuple[int, int]) -> Task:
        """The task of a training, its pictures settled."""
        ...

    @classmethod
    def check_usable(cls, dataset: Dataset, train: Indices) -> None:
        """Raises: BadData where the pictures that could be read are too few to learn from."""
        ...

    def batches(
        self, store: Rows, dataset: Dataset, train: Indices, recipe: Recipe, preprocess: Preprocess, threads: int
    ) -> TrainingBatches | BoxBatches:
        """The training pictures with their targets; what mixes pictures happens there."""
        ...

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """A scalar to go down, in float32."""
        ...

    def plain_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """As `loss`, of what is measured on validation: without smoothing and weights."""
        ...

    def right(self, outputs: Any, targets: Tensor) -> float:
        """How many of N pictures were answered rightly; NaN where that is no question."""
        ...

    def tensors(self, outputs: Any) -> dict[str, Tensor]:
        """What a network gives, as named tensors of fixed shapes: what an exported network gives as well."""
        ...

    # -- answers, of NumPy's arrays

    def at_once(self, size: tuple[int, int], device: str) -> int:
        """How many pictures of (H, W) go through the network at once."""
        ...

    def check_ask(self, ask: Ask, calibration: Any) -> None:
        """Raises: BadRecipe for what the calibration knows nothing about."""
        ...

    def promise(self, ask: Ask, calibration: Any) -> str:
        """What a wish does, in one sentence; "" where there is none."""
        ...

    def uncalibrated(self) -> Any:
        """The calibration of a network that was never held against other pictures."""
        ...

    def wants_features(self, ask: Ask, calibration: Any) -> bool:
        """Whether the answers need what enters the classifier."""
        ...

    def answers(
        self, arrays: Arrays, sizes: Sequence[tuple[int, int]], preprocess: Preprocess, calibration: Any, ask: Ask
    ) -> list[Any]:
        """Thresholds, suppression, top k: an answer a picture. Args: sizes, (height, width) of the upright pictures."""
        ...

    def probabilities(self, arrays: Arrays, calibration: Any) -> NDArray[np.float32]:
        """(N, K) of each class, calibrated. Raises: BadRecipe where not every class gets one."""
        ...

    # -- many answers

    def evidence(self, arrays: Arrays, sizes: Indices, preprocess: Preprocess) -> Any:
        """What calibration and scores need of some pictures."""
        ...

    def joined(self, parts: Iterable[Any]) -> Any:
        """The evidence of several batches."""
        ...

    def matched(self, dataset: Dataset) -> tuple[Dataset, list[str]]:
        """The pictures of other data that can be scored, with the model's classes (by name), and notes on what cannot.

        Raises: BadData where nothing of what the model knows is there.
        """
        ...

    @staticmethod
    def scored_on(dataset: Dataset, splits: Mapping[str, Indices]) -> str:
        """The split whose figures count."""
        ...

    def figures(self, dataset: Dataset, splits: Mapping[str, Indices], calibration: Any, tried: Any) -> dict[str, Any]:
        """What metrics.json tells besides of a run."""
        ...

    def test_figures(self, evidence: Any, truth: Any, scores: Any, calibration: Any) -> dict[str, Any]:
        """What metrics.json tells besides of the scored split."""
        ...

    def for_page(self, evidence: Any, calibration: Any) -> Any:
        """What the report draws of the scored pictures."""
        ...

    def truth(self, dataset: Dataset, indices: Indices) -> Any:
        """What is to be answered of some pictures."""
        ...

    def calibrate(self, evidence: Any, truth: Any, recipe: Recipe, train: Any = None) -> Any:
        """From pictures that were not learnt from. Args: train, evidence of those that were."""
        ...

    def score(self, evidence: Any, truth: Any, calibration: Any, train: Any = None) -> Any:
        """Figures of many pictures. Args: train, the truth of the training pictures.

        Raises: BadData when there is nothing to score.
        """
        ...

    def tried(self, evidence: Any, truth: Any, scores: Any, calibration: Any, ask: Ask) -> Tried | None:
        """What became of the model's own bounds, or of a wish, on these pictures; None where it has none."""
        ...


class LinearTask(Task, Protocol):
    """A task whose head may be fitted on a frozen trunk, and held against a classic baseline.

    Its truth is an array: (n,) class indices, or (n, K) whether a picture has a label.
    """

    measure: ClassVar[str]  # key of its headline figure in metrics.json; its interval stands under <measure>_interval
    measured_as: ClassVar[str]  # the same for people: "accuracy"

    def measured(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """The headline figure of (n, K) logits: a share, 1 where all is right."""
        ...

    def interval(self, logits: NDArray[Any], truth: NDArray[Any]) -> tuple[float, float]:
        """95 % interval of it."""
        ...

    def surprise(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """Loss of (n, K) logits once they are calibrated on these very pictures, in nats."""
        ...


def linear(task: Task) -> LinearTask:
    """The task, of which is known that it is linear."""
    assert task.linear
    return cast(LinearTask, task)
