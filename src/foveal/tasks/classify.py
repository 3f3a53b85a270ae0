"""One label a picture: softmax, cross-entropy, calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from foveal.data.dataset import NOTHING, Dataset
from foveal.errors import BadData, BadRecipe, shown
from foveal.ops.statistics import negative_log_likelihood, softmax, wilson_interval
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.answers import Label
from foveal.tasks.classification_scores import Scores, finite_logits, fit_temperature, score_labels
from foveal.tasks.labelled import LABEL_KEYS, LabelOutputs, LabelTask, familiar_of, unlike_training
from foveal.tasks.task import Arrays, Ask, Indices, LabelsRead
from foveal.tasks.trust import BANK, Tried, Trust, TrustFacts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.networks.entry import WithAuxiliary

__all__ = ["Classify", "LabelCalibration", "LabelOutputs", "balanced_weights"]

USUAL_TOP = 5  # answers a picture


@dataclass(frozen=True, eq=False)
class LabelCalibration:
    """How sure a classifier may be."""

    temperature: float = 1.0  # fitted on validation, or out of fold
    trust: Trust | None = None  # how far its answers carry; None where no picture was kept aside to tell

    def facts(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {"temperature": self.temperature, "trust": self.trust.facts() if self.trust else None}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For a model's file."""
        familiar = self.trust.familiar if self.trust else None
        return {} if familiar is None else {BANK: familiar.bank}

    @property
    def remark(self) -> str:
        """Nothing: a temperature is found from any picture."""
        return ""

    def asked(self, accuracy: float | None) -> Trust | None:
        """What is known of the answers, for another wished accuracy where one is given."""
        return self.trust.asking(accuracy) if self.trust else None


class LabelFacts(BaseModel):
    """The same in a model's metadata."""

    model_config = ConfigDict(extra="forbid", strict=True)
    temperature: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
    trust: TrustFacts | None  # not in older files

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Of the tensors that must be in the file."""
        return {BANK: (self.trust.shape, np.float16)} if self.trust and self.trust.shape else {}

    def fits(self, classes: int) -> bool:
        """For any number of them: one temperature is for all."""
        return True

    def calibration(self, tensors: Arrays) -> LabelCalibration:
        """As the file holds it."""
        return LabelCalibration(self.temperature, self.trust.trust(tensors.get(BANK)) if self.trust else None)


@dataclass(frozen=True, eq=False)
class Classify(LabelTask):
    """One of K classes a picture; the network gives (N, K) logits."""

    classes: tuple[str, ...]
    label_smoothing: float = 0.0  # the share of the target that is spread over all classes
    class_weights: Tensor | None = field(default=None)  # (K,) float32

    name: ClassVar[str] = "classify"
    word: ClassVar[str] = "classification"
    kind: ClassVar[str] = "a classifier"
    aim: ClassVar[str] = "each picture classified as its largest object"
    answer: ClassVar[Any] = Label
    keys: ClassVar[frozenset[str]] = LABEL_KEYS | {"training.accuracy"}
    asks: ClassVar[frozenset[str]] = frozenset({"top", "views", "accuracy"})
    tried_as: ClassVar[str] = "trust"
    measure: ClassVar[str] = "top1"
    measured_as: ClassVar[str] = "accuracy"
    reads: ClassVar[LabelsRead] = "auto"
    facts: ClassVar[Any] = LabelFacts

    # -- before anything is computed

    @classmethod
    def takes(cls, dataset: Dataset, recipe: Recipe) -> Dataset | None:
        """Labels; boxes where it is asked to classify each picture as its largest object.

        Raises: BadData where no picture has one; BadRecipe where a picture may have several and one is asked for.
        """
        if dataset.multi_hot is not None:
            if recipe.training.task == cls.name:
                raise BadRecipe(
                    f"--task {cls.name} gives a picture one label, and those of {shown(dataset.origin.place)} may have "
                    "several or none; leave --task out."
                )
            return None
        if dataset.boxes is None:
            return dataset
        if recipe.training.task != cls.name:
            return None
        labelled = np.flatnonzero(dataset.labels != NOTHING).astype(np.int64)
        if not len(labelled):
            raise BadData(f"{shown(dataset.origin.place)}: no picture has an object to classify.")
        note = "Each picture is classified as its largest object."
        return replace(dataset.take(labelled), boxes=None).noted(note)

    # -- a training

    @classmethod
    def of(
        cls, dataset: Dataset, train: Indices, recipe: Recipe, network: nn.Module, size: tuple[int, int]
    ) -> Classify:
        """With smoothing and weights as the recipe has them."""
        counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
        weights = balanced_weights(counts) if recipe.training.class_weights == "balanced" else None
        return cls(dataset.classes, float(recipe.training.label_smoothing), weights)

    def plain_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy without smoothing and weights."""
        return Classify(self.classes).loss(outputs, targets)

    def right(self, outputs: Tensor | WithAuxiliary, targets: Tensor) -> float:
        """How many of N pictures were answered rightly; of mixed ones their shares."""
        guesses = (outputs.logits if isinstance(outputs, tuple) else outputs).detach().argmax(1)
        if targets.ndim == 1:
            return float((guesses == targets).sum())
        return float(targets.gather(1, guesses[:, None]).sum())

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy.

        Args:   targets (N,) int64, or (N, K) float32 whose rows sum to 1 (mixup).
        Source: label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7.
        """
        from torch.nn.functional import cross_entropy

        logits = logits.float()  # bf16 has 8 bits of mantissa: differences of near-equal logits would be lost
        weights = None if self.class_weights is None else self.class_weights.to(logits.device, logits.dtype)
        smoothing = self.label_smoothing
        if targets.ndim == 1 or weights is None:
            return cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
        # PyTorch divides index targets by their summed weight but soft ones by N; here both by the weight, so that a
        # one-hot row costs what its index costs.
        total = cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum")
        return total / (targets.to(weights.dtype) @ weights).sum()

    # -- answers

    def check_ask(self, ask: Ask, calibration: LabelCalibration) -> None:
        """Raises: BadRecipe for an accuracy that is no share, or of which nothing is known."""
        if ask.accuracy is None:
            return
        if not 0 <= ask.accuracy < 1:
            raise BadRecipe(f"the target accuracy must be at least 0 and below 1, such as 0.95, got {ask.accuracy:g}")
        if calibration.trust is None:
            raise BadRecipe("this model cannot aim at an accuracy: no pictures were held out when it was trained.")

    def promise(self, ask: Ask, calibration: LabelCalibration) -> str:
        """What the wished accuracy does, in one sentence."""
        trust = calibration.asked(ask.accuracy)
        return trust.promise if trust else ""

    def uncalibrated(self) -> LabelCalibration:
        """Of answers that are what the network says."""
        return LabelCalibration()

    def wants_features(self, ask: Ask, calibration: LabelCalibration) -> bool:
        """Where the model can tell what is unlike the training."""
        return calibration.trust is not None and calibration.trust.familiar is not None

    def answers(
        self,
        arrays: Arrays,
        sizes: Sequence[tuple[int, int]],
        preprocess: Preprocess,
        calibration: LabelCalibration,
        ask: Ask,
    ) -> list[Label]:
        """The likeliest classes, at most `ask.top` of them, with calibrated probabilities.

        Raises: NotFinite when a logit is infinite or NaN.
        """
        trust = calibration.asked(ask.accuracy)
        bound = trust.bound if trust else 0.0
        unlike = unlike_training(
            LabelOutputs(arrays["logits"], arrays.get("features")), trust.familiar if trust else None
        )
        ranked = self.ranked(arrays["logits"], calibration.temperature, USUAL_TOP if ask.top is None else ask.top)
        return [
            Label(best[0][0], best[0][1], tuple(best[1:]), best[0][1] < bound, bool(strange))
            for best, strange in zip(ranked, unlike, strict=True)
        ]

    def probabilities(self, arrays: Arrays, calibration: LabelCalibration) -> NDArray[np.float32]:
        """(N, K) of which each row sums to 1. Raises: NotFinite when a logit is infinite or NaN."""
        return softmax(finite_logits(arrays["logits"], len(self.classes)) / calibration.temperature).astype(np.float32)

    def ranked(self, logits: NDArray[Any], temperature: float = 1.0, top: int = 5) -> list[list[tuple[str, float]]]:
        """(N, K) logits -> of each picture at most `top` classes and their probabilities, the likeliest first.

        Raises: NotFinite when a logit is infinite or NaN.
        """
        probabilities = softmax(finite_logits(logits, len(self.classes)) / temperature)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top)]  # stable: equals in class order
        return [
            [(self.classes[k], float(row[k])) for k in best] for row, best in zip(probabilities, order, strict=True)
        ]

    # -- many answers

    def matched(self, dataset: Dataset) -> tuple[Dataset, list[str]]:
        """The pictures of a class that the model knows, with its classes, and what is left out.

        Raises: BadData where there is none.
        """
        if dataset.multi_hot is not None:
            raise BadData(
                f"{shown(dataset.origin.place)}: its pictures may have several labels or none, and this model gives "
                "one."
            )
        index_of = {name: i for i, name in enumerate(self.classes)}
        labels = np.array([index_of.get(dataset.classes[k], NOTHING) for k in dataset.labels], np.int64)
        unknown = sorted(set(dataset.classes) - set(self.classes))
        names = ", ".join(shown(name) for name in unknown[:10])
        note = f"The model does not know {len(unknown)} of the classes ({names}): their pictures are skipped."
        usable = np.flatnonzero(labels != NOTHING).astype(np.int64)
        if not len(usable):
            raise BadData(f"{shown(dataset.origin.place)}: no usable picture of a class that the model knows.")
        known = replace(dataset.take(usable), labels=labels[usable], classes=self.classes, boxes=None)
        return known, [note] if unknown else []

    def figures(
        self, dataset: Dataset, splits: Mapping[str, Indices], calibration: LabelCalibration, tried: Tried | None
    ) -> dict[str, Any]:
        """What metrics.json tells besides of a run."""
        return {"temperature": calibration.temperature, "trust": tried.as_dict() if tried else None}

    def truth(self, dataset: Dataset, indices: Indices) -> NDArray[np.int64]:
        """(n,) class indices."""
        return dataset.labels[indices]

    def calibrate(
        self, evidence: LabelOutputs, truth: NDArray[np.int64], recipe: Recipe, train: LabelOutputs | None = None
    ) -> LabelCalibration:
        """Temperature, and the bounds of trust. Args: train, with features: see `familiar_of`."""
        temperature = fit_temperature(evidence.logits, truth)
        trust = Trust.of(evidence.logits, truth, temperature, recipe.training.accuracy)
        return LabelCalibration(temperature, replace(trust, familiar=familiar_of(evidence, train)))

    def measured(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """The share of (n, K) logits whose highest is the truth, (n,)."""
        return float((logits.argmax(1) == truth).mean())

    def interval(self, logits: NDArray[Any], truth: NDArray[Any]) -> tuple[float, float]:
        """95 % interval of it, Wilson's."""
        return wilson_interval(int((logits.argmax(1) == truth).sum()), len(truth))

    def surprise(self, logits: NDArray[Any], truth: NDArray[Any]) -> float:
        """Loss at the best temperature, in nats."""
        return negative_log_likelihood(logits / fit_temperature(logits, truth), truth)

    def score(
        self, evidence: LabelOutputs, truth: NDArray[np.int64], calibration: LabelCalibration, train: Any = None
    ) -> Scores:
        """Raises: BadData when there is nothing to score."""
        return score_labels(evidence.logits, truth, self.classes, calibration.temperature)

    def tried(
        self,
        evidence: LabelOutputs,
        truth: NDArray[np.int64],
        scores: Scores,
        calibration: LabelCalibration,
        ask: Ask = Ask(),  # noqa: B008 - frozen
    ) -> Tried | None:
        """How the model's own bounds do on other pictures; None where it has none."""
        trust = calibration.asked(ask.accuracy)
        if trust is None:
            return None
        return trust.tried(evidence.logits, truth, calibration.temperature, unlike_training(evidence, trust.familiar))


def balanced_weights(counts: ArrayLike) -> Tensor:
    """(K,) training pictures of each class -> (K,) float32 weights under which every class counts the same.

    wₖ = N / (K · nₖ) over the K classes that have pictures (the mean weight of a picture is 1); 1 for a class without.
    Source: King and Zeng 2001, Political Analysis 9:137–163.
    """
    import torch

    n = np.asarray(counts, dtype=np.float64)
    present = n > 0
    weights = np.ones_like(n)
    weights[present] = n.sum() / (present.sum() * n[present])
    return torch.from_numpy(weights.astype(np.float32))
