"""The setup of a training with boxes: what is settled before the first step, as `setup.py` does it for labels.

The loop, the checkpoints and the arithmetic are the same; the batches carry boxes, and the network is a trunk of the
catalogue with the detector's head on its stages.
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

from foveal.data.augment import in_words, resolve_boxes
from foveal.data.batches import batches_in_order
from foveal.data.box_batches import BoxBatches, padded
from foveal.data.dataset import SPLITS, Boxes, Dataset, Skipped
from foveal.data.store import PixelStore, open_store
from foveal.detector import Detector
from foveal.errors import BadData, BadRecipe, NotFinite, shown
from foveal.networks.catalogue import full_name
from foveal.networks.stages import Stages
from foveal.ops.boxes import map_boxes
from foveal.preprocess import GREY, Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe, parse_size
from foveal.tasks.answers import Detections
from foveal.tasks.architecture import Architecture, BoxTask, OnTrunk, task_of
from foveal.tasks.detection import LEAST_SCORE
from foveal.tasks.detection_scores import DetectionScores, score_objects
from foveal.tasks.detection_trust import DetectionTrust
from foveal.tasks.heads.anchors import anchors_from, coverage
from foveal.tasks.heads.yolov3 import TINY_ANCHORS, YOLOV3_ANCHORS, scaled, strides_on
from foveal.tasks.localisation_scores import LocalisationScores, constant_box, score_placed, shares_of
from foveal.training import planner
from foveal.training.arithmetic import Arithmetic
from foveal.training.asking import check_start
from foveal.training.initial_weights import InitialWeights, initial_weights
from foveal.training.loop import Watch, train_epochs
from foveal.training.measuring import Measured, given
from foveal.training.optimisers import make_optimizer, slow_down
from foveal.training.rehearsal import measured_anew, planned_epochs, with_arithmetic
from foveal.training.settle import choose_device, usual_shape
from foveal.training.setup import options_of, with_statistics
from foveal.training.train_state import Averaged, TrainState
from foveal.training.transfer import freeze

__all__ = [
    "DetectionSetup",
    "finished_detector",
    "set_up_detection",
    "located",
    "objects_on",
    "scored",
    "settle_detection",
]

Indices = NDArray[np.int64]

TRUNK = "yolo_trunk_n"  # where none is asked for
SMALL_SIDE, LARGE_SIDE = 192, {"cpu": 320, "gpu": 640}  # pixels: smaller pictures keep their size, others get this
STEP = 32  # pixels that sides are a multiple of
STARTED_RATE = 2e-3  # where the trunk starts from weights
REGIONS_RATE = 0.1  # of these: dense layers over regions take smaller steps
TRUNK_RATE = 0.3  # of the head's learning rate, where the trunk starts from weights
WIDTHS = {"yolo_trunk_n": 128, "yolo_trunk_s": 160, "yolo_trunk_m": 224}  # channels of the pyramid
WIDTH, SMALL_WIDTH = 96, 64  # on any other trunk; for small pictures, whose finest map has many places
PICTURES_SEEN, EPOCHS = 24_000, (12, 60)  # in the whole training, and epochs between which that may lead to
USUAL: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 0.05,
    "label_smoothing": 0.0,
    "ema": 0.99,
    "blend": 0.0,
    "clip": 10.0,
    "class_weights": "none",
}
ANCHORS_A_MAP, ENOUGH_SIZES = 3, 3  # prior boxes; as many times so many different boxes are enough to find them
BATCH, SMALL_BATCH, FEW = 32, 16, 1000  # pictures a step; the smaller one below so many training pictures


@dataclass(frozen=True, eq=False)
class DetectionSetup:
    """What is settled before the first step and stays."""

    dataset: Dataset
    boxes: Boxes  # of all pictures, in pixels of the stored ones
    store: PixelStore
    splits: dict[str, Indices]  # indices of usable pictures
    preprocess: Preprocess
    recipe: Recipe  # nothing "auto" left
    architecture: Architecture
    network: OnTrunk
    batches: BoxBatches
    task: BoxTask
    arithmetic: Arithmetic
    measured: Measured
    start: InitialWeights | None = None

    @property
    def plan(self) -> planner.Plan:
        plan = planner.Plan.of(self.recipe)  # whose loop mixes labels; here the batches mix pictures with their boxes
        return replace(plan, augment=plan.augment.model_copy(update={"mixup": 0.0}))

    def measured_anew(self) -> Measured:
        """The fastest way of computing as things are now."""
        return measured_anew(self)

    def state(self) -> TrainState:
        """A state at the start."""
        network, name = self.arithmetic.network(self.network), self.recipe.network.name
        assert isinstance(network, OnTrunk)
        frozen = self._freeze(network, name) if self.start is not None else ()
        optimizer = make_optimizer(network, self.recipe.training)
        if self.start is not None:
            slow_down(optimizer, {id(p): TRUNK_RATE for p in network.trunk.parameters()})
        decay = float(self.recipe.training.ema)
        return TrainState(network, optimizer, Averaged(network, decay) if decay else None, frozen=frozen)

    def _freeze(self, network: OnTrunk, name: str) -> tuple[nn.Module, ...]:
        """Let only what the recipe names learn; returns what keeps the statistics of its batch norms."""
        train = self.recipe.network.train
        if train == "head":
            network.trunk.requires_grad_(False)
            return (network.trunk,)
        return freeze(_trunk(network), name, train) if train.startswith("last") else ()

    def train(self, state: TrainState, watch: Watch) -> None:
        """The loop, from where the state stands."""
        train_epochs(
            state, self.plan, self.batches, self.task, self.preprocess, self.arithmetic,
            lambda weights: self.validate(weights, state), watch,
        )  # fmt: skip

    def validate(self, weights: dict[str, Tensor], state: TrainState) -> tuple[float, float]:
        """Loss on validation; NaN where there is none. AP of a few pictures would tell less."""
        indices = self.splits["val"]
        if not len(indices):
            return math.nan, math.nan
        judge = _Judge(state.network.eval(), self.task, self.arithmetic)
        averaged = {f"network.{name}": value for name, value in weights.items()}
        loss, done = 0.0, 0
        with torch.inference_mode():
            for pixels in batches_in_order(self.store, indices, self.batches.batch_size):
                images = self.arithmetic.images(self.preprocess.tensor(pixels.to(self.arithmetic.device)))
                some = indices[done : done + len(pixels)]
                targets = padded([(self.boxes.labels[own], self.boxes.xyxy[own]) for own in map(self.boxes.of, some)])
                asked = (images, targets.to(self.arithmetic.device))
                loss += float(functional_call(judge, averaged, asked)) * len(pixels)
                done += len(pixels)
        return loss / len(indices), math.nan


class _Judge(nn.Module):
    """The loss of pictures, as one module, so that both stages of a detector answer with the same weights."""

    def __init__(self, network: nn.Module, task: BoxTask, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.network, self.task, self.arithmetic = network, task, arithmetic

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        with self.arithmetic.autocast():
            outputs = self.network(images)
        return self.task.loss(outputs, targets)


def _trunk(network: OnTrunk) -> nn.Module:
    """The network of the catalogue whose stages are looked at."""
    assert isinstance(network.trunk, Stages)
    return network.trunk.network


def settle_detection(dataset: Dataset, recipe: Recipe, task: str = "detect") -> Recipe:
    """Every "auto" of the recipe decided but what must be measured.

    Raises: BadRecipe, Missing, BadData.
    """
    assert dataset.boxes is not None
    device = choose_device(recipe.training.device)
    if recipe.augment.cutmix not in ("auto", 0):
        raise BadRecipe("augment.cutmix is for labels; pictures with boxes have augment.mosaic and augment.mixup.")
    name = TRUNK if recipe.network.name == "auto" else full_name(recipe.network.name)
    recipe = recipe.with_settings({"network.name": name})
    check_start(recipe)
    height, width, channels = usual_shape(dataset)
    size = _size(recipe, (height, width), device)
    pictures = len(dataset.indices("train"))
    batch = recipe.training.batch_size
    if batch == "auto":
        batch = SMALL_BATCH if pictures < FEW else BATCH
    least, most = EPOCHS
    usual = USUAL | ({"learning_rate": STARTED_RATE} if recipe.from_weights else {})
    if task == "detect" and recipe.network.detector == "faster-rcnn":
        usual |= {"learning_rate": float(usual["learning_rate"]) * REGIONS_RATE}
    usual |= {"epochs": min(most, max(least, round(PICTURES_SEEN / max(1, pictures))))}
    if recipe.training.minutes:
        del usual["epochs"]  # planned when a step has been timed
    asked = recipe.training
    settings: dict[str, Any] = {
        f"training.{key}": usual[key] for key, value in asked if value == "auto" and key in usual
    }
    settings |= {
        "training.batch_size": min(int(batch), max(1, pictures)),
        "training.device": device,
        "training.task": task,
        "data.size": f"{size[0]}x{size[1]}",
    }
    if recipe.network.train == "auto":
        settings["network.train"] = "all" if recipe.from_weights else "scratch"
    if task == "localise" and recipe.augment.mosaic == "auto":
        recipe = recipe.with_settings({"augment.mosaic": 0.0})  # which of four objects would be meant?
    resolved = recipe.with_settings(settings)
    return resolved.model_copy(update={"augment": resolve_boxes(recipe.augment, size, channels, pictures)})


def set_up_detection(
    dataset: Dataset, recipe: Recipe, *, progress: Progress = SILENT, loading_threads: int = 0
) -> DetectionSetup:
    """Store, preprocessing, network and arithmetic of a settled recipe. Says what was chosen.

    Raises: BadData, BadRecipe, NoSpace; nothing is written but the cache.
    """
    assert dataset.boxes is not None
    size, device = parse_size(recipe.data.size), recipe.training.device
    channels = 3 if recipe.from_weights else usual_shape(dataset)[2]
    preprocess = Preprocess(
        size[0], size[1], channels, (0.5,) * channels, (0.25,) * channels,
        max_megapixels=recipe.data.max_megapixels, whole=True,
    )  # fmt: skip
    torch.manual_seed(recipe.training.seed)
    architecture = architecture_of(dataset, recipe, preprocess, progress)
    network = architecture.on_trunk(len(dataset.classes), channels, size)
    start = initial_weights(_trunk(network), recipe, progress)
    if start is not None:
        preprocess = start.prepared(preprocess)
        recipe = recipe.with_settings({"network.weights": start.setting})
    store = open_store(dataset, preprocess, recipe.data.store, progress, loading_threads or None)
    if store.note:
        progress.say(store.note)
    dataset, splits = _without_broken(dataset, store)
    if start is None or start.preprocess is None:
        preprocess = with_statistics(preprocess, store, splits["train"])
    asked = Arithmetic("fp32", device)
    assert dataset.boxes is not None
    boxes = _stored(dataset.boxes, preprocess)
    batches = BoxBatches(
        store, boxes, splits["train"], int(recipe.training.batch_size), recipe.augment,
        np.full(channels, GREY, np.uint8), recipe.training.seed, _known_epochs(recipe), loading_threads,
    )  # fmt: skip
    progress.say(f"Augmentation {in_words(recipe.augment)}.")
    task = task_of(network, dataset.classes, size)
    setup = DetectionSetup(
        dataset,
        boxes,
        store,
        splits,
        preprocess,
        recipe,
        architecture,
        network,
        batches,
        task,
        asked,
        given(asked.name),
        start,
    )
    setup = with_arithmetic(setup, progress)
    return _planned(setup, progress) if recipe.training.epochs == "auto" else setup


def _known_epochs(recipe: Recipe) -> int:
    """As many as are asked for; 1 until --minutes has planned them."""
    return 1 if recipe.training.epochs == "auto" else int(recipe.training.epochs)


def _planned(setup: DetectionSetup, progress: Progress) -> DetectionSetup:
    """With --minutes: the epochs that fit; mosaics end with them."""
    epochs = planned_epochs(setup, progress)
    recipe = setup.recipe.with_settings({"training.epochs": epochs})
    return replace(setup, recipe=recipe, batches=replace(setup.batches, epochs=epochs))


def finished_detector(setup: DetectionSetup, state: TrainState) -> Detector:
    """The state's result, its scores calibrated on validation, with the bound on them that is best there.

    Raises: NotFinite when a weight is not.
    """
    network = setup.network
    network.load_state_dict({name: value.detach().clone() for name, value in state.result().items()})
    network = network.to("cpu")
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise NotFinite(f"After training, {name} has values that are not finite; try a lower learning rate.")
    trained = {
        "epochs": state.epoch,
        "pictures": len(setup.splits["train"]),
        "left_out": len(setup.dataset.skipped),
        "source": setup.dataset.origin.source,
        "weights": setup.start.as_dict() if setup.start else None,
        "train": setup.recipe.network.train,
        "recipe": setup.recipe.to_toml(),
    }
    detector = Detector(
        network, setup.preprocess, setup.dataset.classes, setup.architecture, trained=trained,
    )  # fmt: skip
    if detector.kind == "one-object":
        return replace(detector, threshold=0.5)  # of presence
    val = setup.splits["val"]
    boxes = setup.dataset.boxes
    assert boxes is not None
    if not boxes.counts[val].sum():
        return detector
    detector = replace(detector, trust=DetectionTrust.of(scored(detector, setup, val, resamples=0)))
    scores = scored(detector, setup, val, resamples=0)
    return replace(detector, threshold=scores.threshold) if scores.f1 > 0 else detector


def objects_on(
    detector: Detector,
    setup: DetectionSetup,
    indices: Indices,
    progress: Progress = SILENT,
    score: float = LEAST_SCORE,
) -> list[Detections]:
    """Objects on stored pictures, in pixels of the pictures as they are shown."""
    assert setup.dataset.boxes is not None
    found: list[Detections] = []
    sizes = setup.dataset.boxes.sizes
    with progress.task("scoring", len(indices)) as advance:
        for pixels in batches_in_order(setup.store, indices, 64):
            for objects in detector.objects(pixels, score):
                height, width = sizes[indices[len(found)]]
                found.append(detector.at_home(objects, (int(height), int(width))))
            advance(len(pixels))
    return found


def scored(
    detector: Detector, setup: DetectionSetup, indices: Indices, progress: Progress = SILENT, **asked: Any
) -> DetectionScores:
    """How well the objects of stored pictures are found."""
    assert setup.dataset.boxes is not None
    truth = setup.dataset.boxes.take(indices)
    return score_objects(objects_on(detector, setup, indices, progress), truth, setup.dataset.classes, **asked)


def located(
    detector: Detector, setup: DetectionSetup, indices: Indices, progress: Progress = SILENT
) -> tuple[list[Detections], LocalisationScores]:
    """The one object of each stored picture, and how well it is placed, beside the best constant box."""
    boxes = setup.dataset.boxes
    assert boxes is not None
    found = objects_on(detector, setup, indices, progress, score=0.0)
    constant = constant_box(shares_of(boxes.take(setup.splits["train"])))
    return found, score_placed(found, boxes.take(indices), setup.dataset.classes, constant)


def architecture_of(
    dataset: Dataset, recipe: Recipe, preprocess: Preprocess, progress: Progress = SILENT
) -> Architecture:
    """What stands on the trunk, and with which prior boxes.

    Raises: BadData when prior boxes were asked for that the data cannot give.
    """
    name, options = recipe.network.name, options_of(recipe)
    size = (preprocess.height, preprocess.width)
    if recipe.training.task == "localise":
        return Architecture("one-object", name, options, pyramid_width(name, size))
    if recipe.network.detector == "yolov3":
        return Architecture("yolov3", name, options, anchors=_anchors(dataset, recipe, preprocess, progress))
    if recipe.network.detector == "faster-rcnn":
        return Architecture("faster-rcnn", name, options, frozen_norms=recipe.from_weights)
    return Architecture("yolo", name, options, pyramid_width(name, size))


def _anchors(
    dataset: Dataset, recipe: Recipe, preprocess: Preprocess, progress: Progress
) -> tuple[tuple[float, float], ...]:
    """Three prior boxes for each map, the smallest first: of the training boxes, or the paper's in proportion."""
    assert dataset.boxes is not None
    maps = len(strides_on(recipe.network.name))
    k = ANCHORS_A_MAP * maps
    own = _stored(dataset.boxes, preprocess).take(dataset.indices("train"))
    sides = (own.xyxy[:, 2:] - own.xyxy[:, :2])[~own.crowd]
    sides = sides[(sides > 0).all(1)]
    few = len(np.unique(sides, axis=0)) < ENOUGH_SIZES * k
    if recipe.network.anchors == "own" or (recipe.network.anchors == "auto" and not few):
        found = anchors_from(sides, k, recipe.training.seed)
        progress.say(
            f"{k} prior boxes from the {len(sides)} boxes of the training pictures, which they overlap by "
            f"{coverage(sides, found):.2f} on average (IoU)."
        )
        return tuple((float(width), float(height)) for width, height in found)
    paper = TINY_ANCHORS if maps == 2 else YOLOV3_ANCHORS
    return scaled(paper[len(paper) - k :], preprocess.height, preprocess.width)


def pyramid_width(trunk: str, size: tuple[int, int]) -> int:
    """Channels of the pyramid on a trunk, for pictures of (H, W) pixels."""
    width = WIDTHS.get(trunk, WIDTH)
    return min(width, SMALL_WIDTH) if max(size) <= SMALL_SIDE else width


def _size(recipe: Recipe, side: tuple[int, int], device: str) -> tuple[int, int]:
    """(height, width): small pictures keep theirs, made up to whole steps of the coarsest map; others a square."""
    if recipe.data.size != "auto":
        return parse_size(recipe.data.size)
    if max(side) <= SMALL_SIDE:
        return math.ceil(side[0] / STEP) * STEP, math.ceil(side[1] / STEP) * STEP
    square = LARGE_SIDE["cpu" if device == "cpu" else "gpu"]
    return square, square


def _stored(boxes: Boxes, preprocess: Preprocess) -> Boxes:
    """The boxes in pixels of the pictures as `preprocess` gives them."""
    matrices = np.stack([preprocess.matrix(int(h), int(w)) for h, w in boxes.sizes]) if len(boxes.sizes) else np.eye(3)
    moved, _ = map_boxes(matrices[boxes.pictures], boxes.xyxy, preprocess.width, preprocess.height, 0.0, 0.0)
    sizes = np.tile(np.array([[preprocess.height, preprocess.width]]), (len(boxes.sizes), 1))
    return replace(boxes, xyxy=moved, sizes=sizes)


def _without_broken(dataset: Dataset, store: PixelStore) -> tuple[Dataset, dict[str, Indices]]:
    """Broken pictures leave their splits and are told."""
    broken = np.array([index for index, _ in store.broken], np.int64)
    splits = {name: np.setdiff1d(dataset.indices(name), broken) for name in SPLITS}
    skipped = [Skipped(dataset.pictures.name(index), reason) for index, reason in store.broken]
    boxes = dataset.boxes
    assert boxes is not None
    if not len(splits["train"]) or not boxes.counts[splits["train"]].sum():
        raise BadData(f"{shown(dataset.origin.place)}: no usable picture with an object to train on.")
    return dataset.noted(skipped=skipped), splits
