"""The set-up of a training: everything that is settled before the first step and stays, whatever the task.

`set_up` fills the store, builds the network that `settle` has chosen, measures the arithmetic, fits a head on frozen
features where a training starts from weights and, with --minutes, rehearses the loop to plan the epochs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.data.augment import in_words
from foveal.data.batches import TrainingBatches
from foveal.data.box_batches import BoxBatches
from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.on_device import DeviceBatches, fits
from foveal.data.store import PixelStore, open_store
from foveal.data.white import measured_white
from foveal.errors import BadData, BadRecipe, shown
from foveal.networks.catalogue import build, find
from foveal.networks.head import CUSTOM, options_of, with_random_weights
from foveal.ops.draws import evenly
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, parse_size
from foveal.tasks.heads.head import Architecture
from foveal.tasks.label_defaults import epochs_started
from foveal.tasks.task import Task, linear
from foveal.training.arithmetic import Arithmetic
from foveal.training.features import ARITHMETIC
from foveal.training.initial_weights import InitialWeights, initial_weights
from foveal.training.measuring import Measured, given
from foveal.training.optimisers import make_optimizer, slow_down
from foveal.training.planner import TIME_KEPT, Plan
from foveal.training.rehearsal import planned_epochs, seconds_afterwards, with_arithmetic
from foveal.training.settle import usual_shape
from foveal.training.started import NORMS, norms_in, with_blend, with_norms, with_soup
from foveal.training.train_state import Averaged, Origin, TrainState
from foveal.training.transfer import Room, Transfer, prepared, transfer_to
from foveal.training.unfreezing import check_stages, freeze, rates, trunk_of
from foveal.training.validation import validated

__all__ = ["Setup", "set_up", "with_statistics"]

STATISTICS_OF = 4096  # training pictures for mean and deviation
SIGHT_OF = 2048  # training pictures that a network's `prepare` sees
# Seconds for which the trunk may learn where no --minutes are given: these, or so many for each picture.
TRUNK_SECONDS, TRUNK_A_PICTURE = 150.0, 0.3
TRUNK_RATE = 0.3  # of the head's learning rate, where a detector's trunk starts from weights

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Setup:
    """What is settled before the first step and stays."""

    dataset: Dataset
    store: PixelStore
    splits: dict[str, Indices]  # indices of usable pictures
    preprocess: Preprocess
    recipe: Recipe  # nothing "auto" left
    architecture: Architecture
    network: nn.Module
    batches: TrainingBatches | BoxBatches
    task: Task
    arithmetic: Arithmetic
    measured: Measured
    start: InitialWeights | None = None  # from whose weights
    transfer: Transfer | None = None  # how much of them is trained anew, and the head that was fitted on them

    @property
    def plan(self) -> Plan:
        """The numbers that the loop reads."""
        return Plan.of(self.recipe)

    @property
    def head_alone(self) -> bool:
        """Whether a head that was fitted on a frozen trunk is all: then there is nothing for the loop."""
        return self.transfer is not None and self.transfer.train == "head"

    @property
    def trained_parameters(self) -> int:
        """How many numbers the training may change."""
        if self.transfer is not None and self.head_alone:
            return sum(p.numel() for p in self.network.get_submodule(self.transfer.path).parameters())
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def begun(self) -> TrainState:
        """A state at the start."""
        network, name = self.arithmetic.network(self.network), self.recipe.network.name
        frozen = freeze(network, name, self.recipe.network.train) if self.start else ()
        if self.recipe.network.norms == "keep":
            frozen = (*frozen, *norms_in(network))
        optimizer = make_optimizer(network, self.recipe.training)
        if self.transfer:
            slow_down(optimizer, rates(network, name, self.transfer.path))
        elif self.start and (trunk := trunk_of(network)) is not None:
            slow_down(optimizer, {id(p): TRUNK_RATE for p in trunk.parameters()})
        decay, blend = float(self.recipe.training.ema), float(self.recipe.training.blend)
        averaged = Averaged(network, decay) if decay else None
        return TrainState(network, optimizer, averaged, Origin(network, blend) if blend else None, frozen=frozen)

    def validate(self, weights: dict[str, Tensor], state: TrainState) -> tuple[float, float]:
        """Loss (without smoothing) and share of right answers on validation; NaN where there is none."""
        return validated(self, self.store, self.splits["val"], weights, state.network)


def set_up(
    task: type[Task],
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None = None,
    *,
    progress: Progress = SILENT,
    loading_threads: int = 0,
    began: float | None = None,
) -> Setup:
    """Store, preprocessing, network, arithmetic of a settled recipe. Says what was chosen.

    Args:   network, of one's own; began, of `time.perf_counter`: when the run did, for --minutes; else now.
    Raises: BadData, BadRecipe, NoSpace; nothing is written but the cache.
    """
    began = time.perf_counter() if began is None else began
    recipe = _with_white(dataset, recipe, progress)
    preprocess = _preprocess(task, dataset, recipe)
    torch.manual_seed(recipe.training.seed)
    if network is None:  # before the pictures are decoded, so that a size too small is refused at once
        architecture, network = task.built(dataset, recipe, preprocess, progress.say)
    else:
        architecture = Architecture("", CUSTOM)
    start = initial_weights(_carrier(network), recipe, progress)
    if start is not None:
        preprocess = start.prepared(preprocess)
        recipe = recipe.with_settings({"network.weights": start.setting})
    store = open_store(dataset, preprocess, recipe.data.store, progress, loading_threads or None)
    if store.note:
        progress.say(store.note)
    dataset, splits = _without_broken(task, dataset, store)
    if start is None or start.preprocess is None:
        preprocess = with_statistics(preprocess, store, splits["train"])
    if start is None and task.linear:
        _prepare(network, recipe.network.name, preprocess, store, splits["train"])
    _check_batch(network, recipe, len(splits["train"]))
    taught = task.of(dataset, splits["train"], recipe, network, parse_size(recipe.data.size))
    batches = taught.batches(store, dataset, splits["train"], recipe, preprocess, loading_threads)
    device = recipe.training.device
    if isinstance(batches, TrainingBatches) and fits(batches, device):
        batches = DeviceBatches.upload(batches, device)
    plain = Arithmetic("fp32", device)
    setup = Setup(
        dataset, store, splits, preprocess, recipe, architecture, network, batches, taught, plain, given(plain.name),
        start,
    )  # fmt: skip
    if start is not None and task.linear:
        setup = _with_transfer(setup, progress, began)
    if setup.head_alone:
        return setup
    progress.say(f"Augmentation {in_words(recipe.augment)}.")
    return _planned(with_arithmetic(setup, progress), progress, began)


def _preprocess(task: type[Task], dataset: Dataset, recipe: Recipe) -> Preprocess:
    """The size that was settled; mean and deviation come with the pictures or the weights."""
    (height, width), channels = parse_size(recipe.data.size), usual_shape(dataset)[2]
    if task.whole and recipe.from_weights:
        channels = 3
    grey, spread = (0.5,) * channels, (0.25,) * channels
    megapixels, white = recipe.data.max_megapixels, recipe.data.white
    return Preprocess(
        height, width, channels, grey, spread, max_megapixels=megapixels, whole=task.whole,
        white=None if isinstance(white, str) else white,
    )  # fmt: skip


def _with_white(dataset: Dataset, recipe: Recipe, progress: Progress) -> Recipe:
    """What is white in deep pictures measured, and said, where the recipe leaves it open and there are some."""
    if recipe.data.white != "auto":
        return recipe
    found = measured_white(dataset, dataset.indices("train"), recipe.data.max_megapixels, progress)
    if found is None:
        return recipe
    progress.say(found.sentence)
    return recipe.with_settings({"data.white": found.value})


def _carrier(network: nn.Module) -> nn.Module:
    """What published weights are for: the network of the catalogue, below a detector's head too."""
    trunk = trunk_of(network)
    return network if trunk is None else trunk.network


def _with_transfer(setup: Setup, progress: Progress, began: float) -> Setup:
    """The head fitted on frozen features, and what else is to be trained decided."""
    recipe, name = setup.recipe, setup.recipe.network.name
    check_stages(setup.network, name, recipe.network.train)

    def rival() -> nn.Module:
        """The same network with random weights."""
        if name == CUSTOM:
            return with_random_weights(setup.network)
        size = (setup.preprocess.height, setup.preprocess.width)
        return build(name, len(setup.dataset.classes), setup.preprocess.channels, size, options_of(recipe))

    balanced = recipe.training.class_weights == "balanced"
    asked = recipe.training.arithmetic if recipe.network.train == "head" else "auto"
    frozen = Arithmetic(ARITHMETIC if asked == "auto" else asked, setup.arithmetic.device)
    transfer = transfer_to(
        setup.network, name, recipe, setup.preprocess, setup.store, setup.dataset, setup.splits, linear(setup.task),
        frozen, balanced, rival, _room(setup, began), progress,
    )  # fmt: skip
    recipe = with_norms(recipe, setup.network, len(setup.splits["train"]))
    if transfer is None:
        return replace(setup, recipe=recipe.with_settings({"network.train": "all", "training.blend": 0.0}))
    recipe = with_blend(recipe, transfer.near, len(setup.splits["train"]))
    prepared(setup.network, transfer)
    progress.say(transfer.reason)
    if transfer.curve is not None:
        progress.say(transfer.curve.sentence)
    setup = replace(setup, transfer=transfer, recipe=recipe.with_settings({"network.train": transfer.train}))
    if not setup.head_alone:
        return setup
    chosen = {
        "training.arithmetic": frozen.name,
        "training.optimizer_arithmetic": "fp32",
        "training.threads": torch.get_num_threads(),
    }
    return replace(setup, recipe=setup.recipe.with_settings(chosen), arithmetic=frozen, measured=given(frozen.name))


def _room(setup: Setup, began: float) -> Room:
    """The time there is for more than a head: what is left of --minutes, else what people wait for."""
    minutes, pictures = setup.recipe.training.minutes, len(setup.splits["train"])
    learnt = epochs_started(pictures) * pictures
    if not minutes:
        return Room(lambda _: max(TRUNK_SECONDS, TRUNK_A_PICTURE * pictures), learnt)

    def left(a_pass: float) -> float:
        spent = time.perf_counter() - began + seconds_afterwards(setup, 3 * a_pass)
        return minutes * 60 * (1 - TIME_KEPT) - spent

    return Room(left, learnt, short=True)


def _without_broken(task: type[Task], dataset: Dataset, store: PixelStore) -> tuple[Dataset, dict[str, Indices]]:
    """Broken pictures leave their splits and are told; too few that are left stop the run."""
    broken = np.array([index for index, _ in store.broken], np.int64)
    splits = {name: np.setdiff1d(dataset.indices(name), broken) for name in SPLITS}
    skipped = [Skipped(dataset.pictures.name(index), reason) for index, reason in store.broken]
    if not len(splits["train"]):
        place = shown(dataset.origin.place)
        raise BadData(
            f"{place}: no usable picture to train on ({skipped[0].name} {skipped[0].reason})."
            if skipped
            else f"{place}: no picture to train on."
        )
    task.check_usable(dataset, splits["train"])
    return dataset.noted(skipped=skipped), splits


def with_statistics(preprocess: Preprocess, store: PixelStore, train: Indices) -> Preprocess:
    """Mean and deviation of each channel over some training pictures, rounded as one would print them."""
    some = train[evenly(len(train), STATISTICS_OF)]
    count, total, squares = 0, np.zeros(preprocess.channels), np.zeros(preprocess.channels)
    for start in range(0, len(some), 256):
        values = store.rows(some[start : start + 256]).reshape(-1, preprocess.channels).astype(np.float64) / 255
        count, total, squares = count + len(values), total + values.sum(0), squares + np.square(values).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return replace(
        preprocess, mean=tuple(round(float(m), 4) for m in mean), std=tuple(max(0.01, round(float(s), 4)) for s in std)
    )


def _prepare(network: nn.Module, name: str, preprocess: Preprocess, store: PixelStore, train: Indices) -> None:
    """Let the network see some training pictures first, where its record asks for it."""
    prepare = None if name == CUSTOM else find(name).prepare
    if prepare:
        some = train[evenly(len(train), SIGHT_OF)]
        prepare(network, preprocess.tensor(torch.from_numpy(store.rows(some))))


def _check_batch(network: nn.Module, recipe: Recipe, pictures: int) -> None:
    if min(int(recipe.training.batch_size), pictures) == 1 and any(isinstance(m, NORMS) for m in network.modules()):
        raise BadRecipe("batch norm needs at least 2 pictures a step; use a larger --batch, or a network without it.")


def _planned(setup: Setup, progress: Progress, began: float) -> Setup:
    """With --minutes: the epochs that fit; mosaics end with them."""
    recipe, batches = setup.recipe, setup.batches
    if setup.head_alone:
        return setup
    if recipe.training.epochs == "auto":
        recipe = recipe.with_settings({"training.epochs": planned_epochs(setup, progress, began)})
    if setup.transfer is not None:
        recipe = with_soup(recipe, len(setup.splits["train"]), progress.say)
    if isinstance(batches, BoxBatches):
        batches = replace(batches, epochs=int(recipe.training.epochs))
    return replace(setup, recipe=recipe, batches=batches)
