"""What all tasks share that label whole pictures: one network of the catalogue, and its logits.

`Classify` gives one label a picture; others may give several, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from foveal.data.augment import resolve
from foveal.data.batches import Rows, TrainingBatches
from foveal.data.dataset import Dataset
from foveal.errors import BadData, shown
from foveal.preprocess import Preprocess
from foveal.recipe import AugmentRecipe, Recipe, parse_size
from foveal.tasks.heads.head import Architecture
from foveal.tasks.label_defaults import choose_network, choose_size, usual_labels
from foveal.tasks.task import SHARED_KEYS, Arrays, Facts, Indices
from foveal.tasks.trust import Familiar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.networks.entry import WithAuxiliary

__all__ = ["LABEL_KEYS", "LabelOutputs", "LabelTask", "familiar_of", "unlike_training"]

LABEL_KEYS = SHARED_KEYS | {
    "network.head_decay", "network.norms", "training.label_smoothing", "training.blend", "training.soup",
    "training.class_weights", "augment.cutmix",
}  # fmt: skip

# Of input in one forward pass. It bounds the memory of feature maps, which on a CPU are quickest inside its caches.
PIXELS_AT_ONCE, PIXELS_AT_ONCE_ELSEWHERE = {"cpu": 210_000}, 3_000_000


@dataclass(frozen=True, eq=False)
class LabelOutputs:
    """What a network makes of N pictures."""

    logits: NDArray[np.float32]  # (N, K)
    features: NDArray[np.float32] | None = None  # (N, D): what entered the classifier, of the picture as it is


class LabelTask:
    """Labels of K classes; the network gives (N, K) logits."""

    classes: tuple[str, ...]

    whole: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    @classmethod
    def reading(
        cls, classes: tuple[str, ...], architecture: Architecture, size: tuple[int, int], network: Any = None
    ) -> Self:
        """Logits need nothing but the classes."""
        return cls(classes=classes)  # type: ignore[call-arg]  # a dataclass

    # -- before anything is computed

    @classmethod
    def chosen(
        cls, recipe: Recipe, facts: Facts, device: str, known: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int]]:
        """Name of the network and (height, width), where the recipe leaves them open."""
        size = choose_size(recipe, facts, device, known)
        return choose_network(recipe, size, facts.channels), size

    @classmethod
    def usual(cls, recipe: Recipe, facts: Facts) -> dict[str, Any]:
        """See `label_defaults.py`."""
        return usual_labels(recipe, facts)

    @classmethod
    def augmentation(cls, recipe: Recipe, size: tuple[int, int], facts: Facts) -> AugmentRecipe:
        """Every "auto" of [augment] replaced."""
        return resolve(recipe.augment, size, facts.channels, facts.pictures)

    # -- a training

    @classmethod
    def built(
        cls, dataset: Dataset, recipe: Recipe, preprocess: Preprocess, say: Any = None
    ) -> tuple[Architecture, nn.Module]:
        """The network of the catalogue for as many classes."""
        from foveal.networks.catalogue import build
        from foveal.networks.head import options_of

        options = options_of(recipe)
        size = parse_size(recipe.data.size)
        network = build(recipe.network.name, len(dataset.classes), preprocess.channels, size, options)
        return Architecture("", recipe.network.name, options), network

    @classmethod
    def check_usable(cls, dataset: Dataset, train: Indices) -> None:
        """Raises: BadData where a class lost all its training pictures."""
        before, after = dataset.counts("train"), dataset.counts_of(train)
        for lost in np.flatnonzero((before > 0) & (after == 0)):
            place, name = shown(dataset.origin.place), shown(dataset.classes[lost])
            raise BadData(f'{place}: class "{name}" has no usable picture to train on.')

    def batches(
        self, store: Rows, dataset: Dataset, train: Indices, recipe: Recipe, preprocess: Preprocess, threads: int
    ) -> TrainingBatches:
        """Labels as the loss takes them; mixup and CutMix give shares of classes."""
        fill = np.round(np.array(preprocess.mean) * 255).astype(np.uint8)
        several = dataset.multi_hot
        return TrainingBatches(
            store, dataset.labels if several is None else several.astype(np.float32), train,
            int(recipe.training.batch_size), recipe.augment, fill, recipe.training.seed, threads, len(self.classes),
        )  # fmt: skip

    def loss(self, outputs: Tensor | WithAuxiliary, targets: Tensor) -> Tensor:
        """`loss_of` the logits; auxiliary classifiers add theirs with their weight.

        Args:   outputs, (N, K) logits of any float type.
        Source: auxiliary classifiers: Szegedy et al. 2014, arXiv:1409.4842, section 5.
        """
        if isinstance(outputs, tuple):
            beside = [self.loss_of(logits, targets) for logits in outputs.auxiliary]
            return self.loss_of(outputs.logits, targets) + outputs.weight * sum(beside)
        return self.loss_of(outputs, targets)

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Of (N, K) logits, a scalar in float32."""
        raise NotImplementedError

    def tensors(self, outputs: Tensor) -> dict[str, Tensor]:
        """logits (N, K) float32."""
        return {"logits": outputs.float()}

    # -- answers, of NumPy's arrays

    def at_once(self, size: tuple[int, int], device: str) -> int:
        """How many pictures of (H, W) go through the network at once."""
        return max(1, PIXELS_AT_ONCE.get(device, PIXELS_AT_ONCE_ELSEWHERE) // (size[0] * size[1]))

    # -- many answers

    def evidence(self, arrays: Arrays, sizes: Indices, preprocess: Preprocess) -> LabelOutputs:
        """Logits, and features where they were asked for."""
        return LabelOutputs(arrays["logits"], arrays.get("features"))

    def joined(self, parts: Iterable[LabelOutputs]) -> LabelOutputs:
        """The outputs of several batches."""
        parts = list(parts)
        if not parts:
            return LabelOutputs(np.zeros((0, len(self.classes)), np.float32))
        features = [part.features for part in parts if part.features is not None]
        return LabelOutputs(np.concatenate([p.logits for p in parts]), np.concatenate(features) if features else None)

    @staticmethod
    def scored_on(dataset: Dataset, splits: Mapping[str, Indices]) -> str:
        """The split whose figures count: test, else validation, else the training pictures."""
        return next((name for name in ("test", "val") if len(splits[name])), "train")

    def test_figures(self, evidence: LabelOutputs, truth: Any, scores: Any, calibration: Any) -> dict[str, Any]:
        """What metrics.json tells besides of the scored split."""
        return {"views": "none"}

    def for_page(self, evidence: LabelOutputs, calibration: Any) -> NDArray[np.float32]:
        """What the report draws: (n, K) logits."""
        return evidence.logits


def familiar_of(evidence: LabelOutputs, train: LabelOutputs | None) -> Familiar | None:
    """What the training looks like to the network, where its features are known.

    Where the evidence has none of its own, the training's are held against each other.
    """
    if train is None or train.features is None:
        return None
    return Familiar.of(train.features, evidence.features)


def unlike_training(outputs: LabelOutputs, familiar: Familiar | None) -> NDArray[np.bool_]:
    """(N,) whether each picture is unlike those of the training; nowhere, where the model does not know."""
    if familiar is None or outputs.features is None:
        return np.zeros(len(outputs.logits), bool)
    return familiar.unlike(outputs.features)
