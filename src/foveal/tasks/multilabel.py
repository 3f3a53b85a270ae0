"""Several labels a picture, or none: a sigmoid for each, thresholds set label by label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foveal.data.dataset import NOTHING, Dataset, multi_hot_of, rarest
from foveal.data.formats import listed
from foveal.errors import BadData, BadRecipe, shown
from foveal.ops.sigmoids import Sigmoids, binary_log_loss, fit_sigmoids, sigmoid
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.answers import Labels
from foveal.tasks.classification_scores import finite_logits
from foveal.tasks.label_bounds import BoundsFacts, LabelBounds, TriedLabels
from foveal.tasks.label_scores import LabelScores, mean_ap, mean_ap_interval, score_several
from foveal.tasks.labelled import LABEL_KEYS, LabelOutputs, LabelTask, familiar_of, unlike_training
from foveal.tasks.task import Arrays, Ask, Facts, Indices, LabelsRead
from foveal.tasks.trust import BANK, Familiar, FamiliarFacts

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MultiLabel", "SeveralCalibration", "SeveralFacts", "asymmetric_loss"]

HALF = 0.5  # the threshold of a label that was never held against other pictures
GAMMA, MARGIN = 4.0, 0.05  # of the asymmetric loss, for labels that are not there

Truth = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeveralCalibration:
    """How sure a model of several labels may be."""

    bounds: LabelBounds | None = None  # None where no picture was held out to tell
    precision: float = 0.0  # target of each label; 0: the best F1
    familiar: Familiar | None = None

    @property
    def remark(self) -> str:
        """Labels that no held-out picture has."""
        return "" if self.bounds is not None else "Not calibrated: no picture was held out; every threshold is 0.5."

    def thresholds(self, K: int, ask: Ask) -> Floats:
        """(K,) probability from which on each label is named."""
        if ask.score is not None:
            return np.full(K, ask.score)
        if self.bounds is None:
            return np.full(K, HALF)
        return self.bounds.bounds(self.precision if ask.precision is None else ask.precision)

    def probabilities(self, logits: NDArray[Any]) -> Floats:
        """(N, K) of each label."""
        return sigmoid(logits) if self.bounds is None else self.bounds.sigmoids.probabilities(logits)

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        bounds, familiar = self.bounds, self.familiar
        return {
            "precision": self.precision,
            "bounds": bounds.facts() if bounds else None,
            "familiar": familiar.facts() if familiar else None,
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For a model's file."""
        bank = {} if self.familiar is None else {BANK: self.familiar.bank}
        return bank | (self.bounds.tensors() if self.bounds else {})


class SeveralFacts(BaseModel):
    """The same in a model's metadata."""

    model_config = ConfigDict(extra="forbid", strict=True)
    precision: float = Field(ge=0, lt=1, allow_inf_nan=False)
    bounds: BoundsFacts | None
    familiar: FamiliarFacts | None

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Of the tensors that must be in the file."""
        bank: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
        if self.familiar:
            bank[BANK] = (self.familiar.shape, np.float16)
        return bank | (self.bounds.shapes() if self.bounds else {})

    def fits(self, classes: int) -> bool:
        """Whether there is a threshold for each class."""
        return self.bounds is None or self.bounds.labels == classes

    def calibration(self, tensors: Arrays) -> SeveralCalibration:
        """As the file holds it."""
        bounds = self.bounds.bounds(tensors) if self.bounds else None
        familiar = self.familiar.familiar(tensors.get(BANK)) if self.familiar else None
        return SeveralCalibration(bounds, self.precision, familiar)


@dataclass(frozen=True, eq=False)
class MultiLabel(LabelTask):
    """Any number of K labels a picture; the network gives (N, K) logits."""

    classes: tuple[str, ...]
    asymmetric: bool = False
    label_smoothing: float = 0.0
    weights: Tensor | None = field(default=None)  # (2, K) float32: of pictures without each label, and of those with it

    name: ClassVar[str] = "multilabel"
    word: ClassVar[str] = "multi-label classification"
    kind: ClassVar[str] = "a multi-label model"
    aim: ClassVar[str] = "whose classes on a picture are its labels"
    answer: ClassVar[Any] = Labels
    keys: ClassVar[frozenset[str]] = LABEL_KEYS | {"training.loss", "training.precision"}
    asks: ClassVar[frozenset[str]] = frozenset({"views", "score", "precision"})
    tried_as: ClassVar[str] = "trust"
    measure: ClassVar[str] = "mAP"
    measured_as: ClassVar[str] = "mAP"
    reads: ClassVar[LabelsRead] = "several"
    facts: ClassVar[Any] = SeveralFacts

    # -- before anything is computed

    @classmethod
    def takes(cls, dataset: Dataset, recipe: Recipe) -> Dataset | None:
        """Several labels a picture; where it is asked for by name also one label, or the classes of all its boxes."""
        if dataset.multi_hot is not None:
            return _told(dataset)
        if recipe.training.task != cls.name:
            return None
        if dataset.boxes is None:
            return _labelled(dataset, np.arange(len(dataset)), dataset.labels).noted(
                "Each picture has one label alone; none of the others counts as shown."
            )
        boxes = dataset.boxes
        found = _labelled(dataset, boxes.pictures, boxes.labels)
        return found.noted("The labels of a picture are the classes of its boxes.")

    @classmethod
    def usual(cls, recipe: Recipe, facts: Facts) -> dict[str, Any]:
        """As of one label, without smoothing, and with the asymmetric loss.

        In the same time mAP on validation was 44.8 % with it and 37.0 % with cross-entropy, on pairs of CIFAR-10
        pictures with a hundred times as many of one label as of another (52.8 % with balanced weights as well, which
        such counts bring); 97.0 and 94.6 %, 94.9 and 88.6 % with two seeds after one epoch of pairs of MNIST's.
        """
        return super().usual(recipe, facts) | {"label_smoothing": 0.0, "loss": "asymmetric"}

    # -- a training

    @classmethod
    def of(
        cls, dataset: Dataset, train: Indices, recipe: Recipe, network: nn.Module, size: tuple[int, int]
    ) -> MultiLabel:
        """With loss, smoothing and weights as the recipe has them."""
        asked = recipe.training
        weights = _balanced(dataset.counts_of(train), len(train)) if asked.class_weights == "balanced" else None
        return cls(dataset.classes, asked.loss == "asymmetric", float(asked.label_smoothing), weights)

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy or the asymmetric loss, summed over labels, mean over pictures.

        Args: targets (N, K) in [0, 1]: fractions where pictures are mixed.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        z, y = logits.float(), targets.float()
        if self.label_smoothing:
            y = y * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.asymmetric:
            losses = asymmetric_loss(z, y)
        else:
            losses = binary_cross_entropy_with_logits(z, y, reduction="none")
        if self.weights is not None:
            without, with_it = self.weights.to(z.device)
            losses = losses * (without + (with_it - without) * y)
        return losses.sum(1).mean()

    def plain_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy without smoothing and weights."""
        return MultiLabel(self.classes).loss(outputs, targets)

    def right(self, outputs: Any, targets: Tensor) -> float:
        """Of N pictures the share of right labels among those that are named (from 0.5 on) or there, summed."""
        z: Tensor = getattr(outputs, "logits", outputs).detach()
        named, there = z > 0, targets > HALF
        both, either = (named & there).sum(1), (named | there).sum(1)
        return float(both.div(either.clamp(min=1)).add((either == 0).to(z.dtype)).sum())

    # -- answers, of NumPy's arrays

    def check_ask(self, ask: Ask, calibration: SeveralCalibration) -> None:
        """Raises: BadRecipe for what is no share, and for a precision of which nothing is known."""
        for name, value in (("confidence", ask.score), ("target precision", ask.precision)):
            if value is not None and not 0 <= value < 1:
                raise BadRecipe(f"the {name} is a share such as 0.95, got {value:g}")
        if ask.precision is not None and calibration.bounds is None:
            raise BadRecipe("this model cannot tell when it is right: no picture was held out when it was trained.")

    def promise(self, ask: Ask, calibration: SeveralCalibration) -> str:
        """What a target precision does, in one sentence."""
        precision = calibration.precision if ask.precision is None else ask.precision
        if calibration.bounds is None or not precision or ask.score is not None:
            return ""
        thresholds = calibration.thresholds(len(self.classes), ask)
        never = [name for name, bound in zip(self.classes, thresholds, strict=True) if math.isinf(bound)]
        some = thresholds[np.isfinite(thresholds)]
        if not len(some):
            return f"No threshold gives a label a precision of {100 * precision:g} %: none is named; ask for less."
        lost = f" Out of reach, so never named: {listed(never, 5)}."
        return (
            f"For a target precision of {100 * precision:g} %, thresholds were set label by label on held-out "
            f"pictures: probabilities of {some.min():.3f} to {some.max():.3f}.{lost if never else ''}"
        )

    def uncalibrated(self) -> SeveralCalibration:
        """Of probabilities that are what the network says."""
        return SeveralCalibration()

    def wants_features(self, ask: Ask, calibration: SeveralCalibration) -> bool:
        """Where the model can tell what is unlike the training."""
        return calibration.familiar is not None

    def probabilities(self, arrays: Arrays, calibration: SeveralCalibration) -> NDArray[np.float32]:
        """(N, K) of each label, calibrated; they do not exclude each other."""
        return calibration.probabilities(finite_logits(arrays["logits"], len(self.classes))).astype(np.float32)

    def answers(
        self,
        arrays: Arrays,
        sizes: Sequence[tuple[int, int]],
        preprocess: Preprocess,
        calibration: SeveralCalibration,
        ask: Ask,
    ) -> list[Labels]:
        """The labels whose probability reaches their threshold, the likeliest first.

        Raises: NotFinite when a logit is infinite or NaN.
        """
        p = calibration.probabilities(finite_logits(arrays["logits"], len(self.classes)))
        named = p >= calibration.thresholds(len(self.classes), ask)
        outputs = LabelOutputs(arrays["logits"], arrays.get("features"))
        unlike = unlike_training(outputs, calibration.familiar)
        order = np.argsort(-p, axis=1, kind="stable")
        return [
            Labels(
                tuple(self.classes[k] for k in ranked if shows[k]),
                dict(zip(self.classes, row.tolist(), strict=True)),
                bool(strange),
            )
            for row, shows, ranked, strange in zip(p, named, order.tolist(), unlike, strict=True)
        ]

    # -- many answers

    def matched(self, dataset: Dataset) -> tuple[Dataset, list[str]]:
        """All pictures, with the model's classes, and notes on labels that are not known on one side.

        Raises: BadData where no label is known on both.
        """
        asked = Recipe().with_settings({"training.task": self.name})
        taken = dataset if dataset.multi_hot is not None else self.takes(dataset, asked)
        assert taken is not None
        assert taken.multi_hot is not None
        index_of = {name: k for k, name in enumerate(taken.classes)}
        if not index_of.keys() & set(self.classes):
            raise BadData(f"{shown(dataset.origin.place)}: no picture has a label that the model knows.")
        multi_hot = np.zeros((len(taken), len(self.classes)), bool)
        for k, name in enumerate(self.classes):
            if name in index_of:
                multi_hot[:, k] = taken.multi_hot[:, index_of[name]]
        unknown = sorted(index_of.keys() - set(self.classes))
        absent = sorted(set(self.classes) - index_of.keys())
        notes = [
            f"{len(names)} label{'s' * (len(names) > 1)} ({', '.join(shown(name) for name in names[:10])}) {what}."
            for names, what in ((unknown, "the model does not know: not scored"), (absent, "no picture here has"))
            if names
        ]
        known = replace(taken, labels=rarest(multi_hot), multi_hot=multi_hot, classes=self.classes)
        return known, [*taken.notes[len(dataset.notes) :], *notes]

    def figures(
        self, dataset: Dataset, splits: Mapping[str, Indices], calibration: SeveralCalibration, tried: Any
    ) -> dict[str, Any]:
        """What metrics.json tells besides of a run."""
        return {"trust": tried.as_dict() if tried else None}

    def truth(self, dataset: Dataset, indices: Indices) -> Truth:
        """(n, K) which labels each picture has."""
        assert dataset.multi_hot is not None
        return dataset.multi_hot[indices]

    def calibrate(
        self, evidence: LabelOutputs, truth: Truth, recipe: Recipe, train: LabelOutputs | None = None
    ) -> SeveralCalibration:
        """Sigmoids and thresholds. Args: train, with features: see `familiar_of`."""
        bounds = LabelBounds.of(evidence.logits, truth)
        return SeveralCalibration(bounds, recipe.training.precision, familiar_of(evidence, train))

    def measured(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """Mean average precision of (n, K) logits; 0 where no picture has a label."""
        found = mean_ap(logits, truth)
        return 0.0 if math.isnan(found) else found

    def interval(self, logits: NDArray[Any], truth: NDArray[Any]) -> tuple[float, float]:
        """95 % interval of it, by bootstrap."""
        return mean_ap_interval(logits, truth)

    def surprise(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """Loss of calibrated labels, in nats a label."""
        return _loss(fit_sigmoids(logits, truth), logits, truth)

    def score(
        self, evidence: LabelOutputs, truth: Truth, calibration: SeveralCalibration, train: Any = None
    ) -> LabelScores:
        """Raises: BadData when there is nothing to score; NotFinite when a logit is infinite or NaN."""
        p = calibration.probabilities(finite_logits(evidence.logits, len(self.classes)))
        return score_several(p, truth, calibration.thresholds(len(self.classes), Ask()), self.classes)

    def tried(
        self, evidence: LabelOutputs, truth: Truth, scores: LabelScores, calibration: SeveralCalibration, ask: Ask
    ) -> TriedLabels | None:
        """What became of a target precision; None where there is none."""
        precision = calibration.precision if ask.precision is None else ask.precision
        if not precision or calibration.bounds is None:
            return None
        named = calibration.probabilities(evidence.logits) >= calibration.thresholds(len(self.classes), ask)
        return TriedLabels(precision, int(named.sum()), int((named & truth).sum()), int(truth.sum()))


def asymmetric_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """(N, K) losses −y·log p − (1 − y)·qᵞ·log(1 − q) with q = max(p − m, 0): easy labels that are absent count little.

    Args:   logits (N, K) float32; targets (N, K) in [0, 1].
    Source: Ridnik et al. 2021, arXiv:2009.14119, equations 5 to 7, with γ₊ = 0, γ₋ = 4, m = 0.05.
    """
    from torch.nn.functional import logsigmoid

    q = (logits.sigmoid() - MARGIN).clamp(min=0)
    absent = q**GAMMA * -(1 - q).clamp(min=1e-8).log()
    loss: Tensor = -targets * logsigmoid(logits) + (1 - targets) * absent
    return loss


def _loss(sigmoids: Sigmoids, logits: NDArray[Any], truth: NDArray[Any]) -> float:
    return binary_log_loss(sigmoids.slopes * logits + sigmoids.offsets, truth)


def _balanced(counts: Indices, pictures: int) -> Tensor:
    """(2, K) weights under which the pictures with a label count as much as those without; their mean is 1."""
    import torch

    sides = np.stack([pictures - counts, counts])
    return torch.from_numpy((pictures / (2 * np.maximum(sides, 1))).astype(np.float32))


def _told(dataset: Dataset) -> Dataset:
    """With a note on labels that every training picture has."""
    train = len(dataset.indices("train"))
    everywhere = [shown(name) for name, n in zip(dataset.classes, dataset.counts("train"), strict=True) if n == train]
    if not train or not everywhere:
        return dataset
    return dataset.noted(
        f"Every training picture has the label{'s' * (len(everywhere) > 1)} {', '.join(everywhere[:5])}: there is "
        "nothing to tell apart."
    )


def _labelled(dataset: Dataset, rows: Indices, labels: Indices) -> Dataset:
    """The same pictures with the labels of some rows, as several."""
    some = labels != NOTHING
    multi_hot = multi_hot_of(rows[some], labels[some], (len(dataset), len(dataset.classes)))
    return replace(dataset, multi_hot=multi_hot, labels=rarest(multi_hot), boxes=None)
