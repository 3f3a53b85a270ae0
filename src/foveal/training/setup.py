"""The setup that a training stands on: everything that is settled before the first step and stays.

`set_up` fills the store, builds the network that `settle` has chosen, measures the arithmetic and, with --minutes,
rehearses the loop to plan the epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from foveal.data.augment import in_words
from foveal.data.batches import TrainingBatches, batches_in_order
from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.on_device import DeviceBatches, fits
from foveal.data.store import PixelStore, open_store
from foveal.errors import BadData, BadRecipe, shown
from foveal.model import CUSTOM
from foveal.networks.catalogue import build, find
from foveal.networks.head import has_linear_head, with_random_weights
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, parse_size
from foveal.tasks.classification import Classification, balanced_weights
from foveal.training import planner
from foveal.training.arithmetic import Arithmetic
from foveal.training.initial_weights import InitialWeights, initial_weights
from foveal.training.loop import Watch, train_epochs
from foveal.training.measuring import Measured, given
from foveal.training.optimisers import make_optimizer, slow_down
from foveal.training.rehearsal import measured_anew, planned_epochs, with_arithmetic
from foveal.training.settle import usual_shape
from foveal.training.train_state import Averaged, Origin, TrainState
from foveal.training.transfer import Transfer, check_stages, freeze, prepared, rates, transfer_to

__all__ = ["Setup", "set_up", "options_of", "with_statistics"]

STATISTICS_OF = 4096  # training pictures for mean and deviation
SIGHT_OF = 2048  # training pictures that a network's `prepare` sees


@dataclass(frozen=True, eq=False)
class Setup:
    """What is settled before the first step and stays."""

    dataset: Dataset
    store: PixelStore
    splits: dict[str, NDArray[np.int64]]  # indices of usable pictures
    preprocess: Preprocess
    recipe: Recipe  # nothing "auto" left
    network: nn.Module
    batches: TrainingBatches
    task: Classification
    arithmetic: Arithmetic
    measured: Measured
    start: InitialWeights | None = None  # from whose weights
    transfer: Transfer | None = None  # how much of them is trained anew, and the head that was fitted on them

    @property
    def plan(self) -> planner.Plan:
        return planner.Plan.of(self.recipe)

    @property
    def trained_parameters(self) -> int:
        """How many numbers the training may change."""
        if self.transfer is not None and self.transfer.train == "head":
            return sum(p.numel() for p in self.network.get_submodule(self.transfer.path).parameters())
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def measured_anew(self) -> Measured:
        """The fastest way of computing as things are now."""
        return measured_anew(self)

    def state(self) -> TrainState:
        """A state at the start."""
        network, name = self.arithmetic.network(self.network), self.recipe.network.name
        frozen = freeze(network, name, self.recipe.network.train) if self.start else ()
        optimizer = make_optimizer(network, self.recipe.training)
        if self.transfer:
            slow_down(optimizer, rates(network, name, self.transfer.path))
        decay, blend = float(self.recipe.training.ema), float(self.recipe.training.blend)
        averaged = Averaged(network, decay) if decay else None
        return TrainState(network, optimizer, averaged, Origin(network, blend) if blend else None, frozen=frozen)

    def train(self, state: TrainState, watch: Watch) -> None:
        """The loop, from where the state stands."""
        train_epochs(
            state,
            self.plan,
            self.batches,
            self.task,
            self.preprocess,
            self.arithmetic,
            lambda weights: self.validate(weights, state),
            watch,
        )

    def validate(self, weights: dict[str, Tensor], state: TrainState) -> tuple[float, float]:
        """Loss (without smoothing) and top-1 on validation; NaN where there is none."""
        indices = self.splits["val"]
        if not len(indices):
            return math.nan, math.nan
        network = state.network.eval()
        loss, right = 0.0, 0
        plain = Classification(self.dataset.classes)
        labels = torch.from_numpy(self.dataset.labels[indices])
        with torch.inference_mode():
            done = 0
            for pixels in batches_in_order(self.store, indices, self.batches.batch_size):
                images = self.arithmetic.images(self.preprocess.tensor(pixels.to(self.arithmetic.device)))
                with self.arithmetic.autocast():
                    logits = functional_call(network, weights, (images,))
                logits = logits.float().cpu()
                truth = labels[done : done + len(pixels)]
                loss += float(plain.loss(logits, truth)) * len(pixels)
                right += int((logits.argmax(1) == truth).sum())
                done += len(pixels)
        return loss / len(indices), right / len(indices)


def set_up(
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None = None,
    *,
    progress: Progress = SILENT,
    loading_threads: int = 0,
) -> Setup:
    """Store, preprocessing, network, arithmetic of a settled recipe. Says what was chosen.

    Raises: BadData, BadRecipe, NoSpace; nothing is written but the cache.
    """
    size, device, name = parse_size(recipe.data.size), recipe.training.device, recipe.network.name
    channels = usual_shape(dataset)[2]
    preprocess = Preprocess(
        size[0], size[1], channels, (0.5,) * channels, (0.25,) * channels, max_megapixels=recipe.data.max_megapixels
    )
    torch.manual_seed(recipe.training.seed)
    if network is None:  # before the pictures are decoded, so that a size too small is refused at once
        network = build(name, len(dataset.classes), channels, size, options_of(recipe))
    start = initial_weights(network, recipe, progress)
    if start is not None:
        preprocess = start.prepared(preprocess)
        recipe = recipe.with_settings({"network.weights": start.setting})
    store = open_store(dataset, preprocess, recipe.data.store, progress, loading_threads or None)
    if store.note:
        progress.say(store.note)
    dataset, splits = _without_broken(dataset, store)
    if start is None or start.preprocess is None:
        preprocess = with_statistics(preprocess, store, splits["train"])
    if start is None:
        _prepare(network, name, preprocess, store, splits["train"])
    _check_batch(network, recipe, len(splits["train"]))
    counts = np.bincount(dataset.labels[splits["train"]], minlength=len(dataset.classes))
    weights = balanced_weights(counts) if recipe.training.class_weights == "balanced" else None
    task = Classification(dataset.classes, float(recipe.training.label_smoothing), weights)
    fill = np.round(np.array(preprocess.mean) * 255).astype(np.uint8)
    batches = TrainingBatches(
        store,
        dataset.labels,
        splits["train"],
        int(recipe.training.batch_size),
        recipe.augment,
        fill,
        recipe.training.seed,
        loading_threads,
    )
    if fits(batches, device):
        batches = DeviceBatches.upload(batches, device)
    progress.say(f"Augmentation {in_words(recipe.augment)}.")
    asked = Arithmetic("fp32", device)
    setup = Setup(dataset, store, splits, preprocess, recipe, network, batches, task, asked, given(asked.name), start)
    setup = with_arithmetic(setup, progress)
    if start is not None:
        setup = _with_transfer(setup, progress)
    return _planned(setup, progress)


def options_of(recipe: Recipe) -> dict[str, Any]:
    """What the recipe asks of the network's builder."""
    asked = {"dropout": recipe.network.dropout, "batch_norm": recipe.network.batch_norm}
    options: dict[str, Any] = {key: value for key, value in asked.items() if value != "auto"}
    if recipe.from_weights and has_linear_head(recipe.network.name):
        options["linear_head"] = True  # a head that is fitted as a plane must be one
    return options


def _with_transfer(setup: Setup, progress: Progress) -> Setup:
    """The head fitted on frozen features, and what else is to be trained decided."""
    recipe, name = setup.recipe, setup.recipe.network.name
    check_stages(setup.network, name, recipe.network.train)

    def rival() -> nn.Module:
        """The same network with random weights."""
        if name == CUSTOM:
            return with_random_weights(setup.network)
        size = (setup.preprocess.height, setup.preprocess.width)
        return build(name, len(setup.dataset.classes), setup.preprocess.channels, size, options_of(recipe))

    transfer = transfer_to(
        setup.network, name, recipe, setup.preprocess, setup.store, setup.dataset, setup.splits,
        setup.arithmetic, setup.task.class_weights is not None, rival, progress,
    )  # fmt: skip
    if transfer is None:
        return replace(setup, recipe=recipe.with_settings({"network.train": "all", "training.blend": 0.0}))
    prepared(setup.network, transfer)
    progress.say(transfer.reason)
    if transfer.curve is not None:
        progress.say(transfer.curve.sentence)
    return replace(setup, transfer=transfer, recipe=recipe.with_settings({"network.train": transfer.train}))


def _without_broken(dataset: Dataset, store: PixelStore) -> tuple[Dataset, dict[str, NDArray[np.int64]]]:
    """Broken pictures leave their splits and are told; a class that loses all its training pictures stops the run."""
    broken = np.array([index for index, _ in store.broken], np.int64)
    splits = {name: np.setdiff1d(dataset.indices(name), broken) for name in SPLITS}
    skipped = [Skipped(dataset.pictures.name(index), reason) for index, reason in store.broken]
    place = shown(dataset.origin.place)
    if not len(splits["train"]):
        raise BadData(
            f"{place}: no usable picture to train on ({skipped[0].name} {skipped[0].reason})."
            if skipped
            else f"{place}: no picture to train on."
        )
    before = dataset.counts("train")
    after = np.bincount(dataset.labels[splits["train"]], minlength=len(before))
    for lost in np.flatnonzero((before > 0) & (after == 0)):
        raise BadData(f'{place}: class "{shown(dataset.classes[lost])}" has no usable picture to train on.')
    return dataset.noted(skipped=skipped), splits


def with_statistics(preprocess: Preprocess, store: PixelStore, train: NDArray[np.int64]) -> Preprocess:
    """Mean and deviation of each channel over some training pictures, rounded as one would print them."""
    some = train[np.linspace(0, len(train) - 1, min(STATISTICS_OF, len(train))).astype(np.int64)]
    count, total, squares = 0, np.zeros(preprocess.channels), np.zeros(preprocess.channels)
    for start in range(0, len(some), 256):
        values = store.rows(some[start : start + 256]).reshape(-1, preprocess.channels).astype(np.float64) / 255
        count, total, squares = count + len(values), total + values.sum(0), squares + np.square(values).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return replace(
        preprocess, mean=tuple(round(float(m), 4) for m in mean), std=tuple(max(0.01, round(float(s), 4)) for s in std)
    )


def _prepare(
    network: nn.Module, name: str, preprocess: Preprocess, store: PixelStore, train: NDArray[np.int64]
) -> None:
    """Let the network see some training pictures first, where its record asks for it."""
    prepare = None if name == CUSTOM else find(name).prepare
    if prepare:
        some = train[np.linspace(0, len(train) - 1, min(SIGHT_OF, len(train))).astype(np.int64)]
        prepare(network, preprocess.tensor(torch.from_numpy(store.rows(some))))


def _check_batch(network: nn.Module, recipe: Recipe, pictures: int) -> None:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    if min(int(recipe.training.batch_size), pictures) == 1 and any(isinstance(m, norms) for m in network.modules()):
        raise BadRecipe("batch norm needs at least 2 pictures a step; use a larger --batch, or a network without it.")


def _planned(setup: Setup, progress: Progress) -> Setup:
    """With --minutes: the epochs that fit."""
    asked = setup.recipe
    if not asked.training.minutes or asked.training.epochs != "auto" or asked.network.train == "head":
        return setup
    return replace(setup, recipe=asked.with_settings({"training.epochs": planned_epochs(setup, progress)}))
