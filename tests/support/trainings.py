"""Trainings of a blink: a few small pictures in memory, wider than high, and a network of some hundred numbers."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from foveal.data.dataset import SPLITS, ArrayPictures, Boxes, Dataset, Origin
from foveal.recipe import Recipe
from foveal.tasks.classify import Classify
from foveal.tasks.localise import Localise
from foveal.training.settle import settle
from foveal.training.setup import Setup, set_up

HEIGHT, WIDTH = 8, 10
TINY = "conv 4 3x3, pool 2, flatten, dense classes"
QUICK = {
    "network.name": TINY,
    "data.size": f"{HEIGHT}x{WIDTH}",
    "training.arithmetic": "fp32",
    "training.threads": 1,
    "training.epochs": 2,
    "training.batch_size": 8,
    "training.optimizer": "sgd",
    "augment.preset": "off",
}
PARTS = {"train": 20, "val": 7, "test": 5}


def pictures(seed: int = 0, channels: int = 1, parts: dict[str, int] = PARTS) -> Dataset:
    """Pictures of two classes, of which the second is brighter on its left side; noise hides some of it."""
    rng = np.random.default_rng(seed)
    n = sum(parts.values())
    labels = rng.permutation(np.arange(n) % 2)
    pixels = rng.integers(0, 200, (n, HEIGHT, WIDTH, channels)).astype(np.uint8)
    pixels[labels == 1, :, : WIDTH // 2] += 55
    splits = rng.permutation(np.repeat(np.arange(len(parts)), list(parts.values())))
    return _dataset(pixels, labels, splits, ("dark", "bright"))


def boxed(seed: int = 0, size: tuple[int, int] = (32, 48)) -> Dataset:
    """The same with one rectangle on most pictures, of two classes."""
    rng = np.random.default_rng(seed)
    n, (height, width) = sum(PARTS.values()), size
    pixels = rng.integers(90, 130, (n, height, width, 3)).astype(np.uint8)
    has = np.arange(n) % 5 > 0
    corner = np.stack([rng.integers(0, width - 20, n), rng.integers(0, height - 16, n)], 1)
    xyxy = np.concatenate([corner, corner + rng.integers(8, 16, (n, 2))], 1)[has].astype(np.float64)
    kinds = rng.integers(0, 2, len(xyxy))
    for at, (left, top, right, bottom), kind in zip(np.flatnonzero(has), xyxy.astype(int), kinds, strict=True):
        pixels[at, top:bottom, left:right] = (230, 40, 40) if kind else (40, 60, 230)
    starts = np.concatenate([[0], np.cumsum(has)]).astype(np.int64)
    none = np.zeros(len(xyxy), bool)
    boxes = Boxes(xyxy, kinds.astype(np.int64), starts, np.tile([[height, width]], (n, 1)), none, none)
    splits = rng.permutation(np.repeat(np.arange(3), list(PARTS.values())))
    return _dataset(pixels, boxes.of_largest, splits, ("blue", "red"), boxes)


def quick(dataset: Dataset | None = None, network: nn.Module | None = None, **settings: Any) -> Setup:
    """A set-up with labels. Args: settings, of the recipe, with __ for the point: `training__epochs=3`."""
    return _laid(Classify, pictures() if dataset is None else dataset, QUICK, network, settings)


def quick_boxed(dataset: Dataset | None = None, **settings: Any) -> Setup:
    """A set-up that locates one object on each picture."""
    usual = QUICK | {"network.name": "yolo_trunk_n", "data.size": "32x48"}
    return _laid(Localise, boxed() if dataset is None else dataset, usual, None, settings)


def saved_weights(folder: Path) -> tuple[nn.Module, Path]:
    """A network of one's own, and a file of other weights for it."""
    torch.manual_seed(5)
    parts = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4 * 6, 2)]
    network, place = nn.Sequential(*parts), folder / "weights.safetensors"
    save_file({name: torch.randn_like(value) * 0.2 for name, value in network.state_dict().items()}, place)
    return network, place


def recipe(**settings: Any) -> Recipe:
    """Args: settings, with __ for the point."""
    return Recipe().with_settings(_keys(settings))


def _laid(task: Any, dataset: Dataset, usual: dict[str, Any], network: nn.Module | None, settings: Any) -> Setup:
    asked = Recipe().with_settings(usual | {"training.task": task.name} | _keys(settings))
    return set_up(task, dataset, settle(task, dataset, asked, network), network)


def _keys(settings: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in settings.items()}


def _dataset(
    pixels: NDArray[np.uint8], labels: NDArray[Any], splits: NDArray[Any], classes: tuple[str, ...], boxes: Any = None
) -> Dataset:
    digests = np.stack([np.frombuffer(blake2b(p.tobytes(), digest_size=16).digest(), np.uint8) for p in pixels])
    names = tuple(f"{SPLITS[split]}[{i}]" for i, split in enumerate(splits))
    origin = Origin("small", "memory", "arrays", "hand")
    where = splits.astype(np.int8)
    return Dataset(
        ArrayPictures(pixels, names), labels.astype(np.int64), classes, where, origin, digests=digests, boxes=boxes
    )
