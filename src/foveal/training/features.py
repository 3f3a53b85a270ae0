"""Features once: what a frozen trunk sees in stored pictures, computed without gradients and kept in the cache.

The key holds everything that a feature depends on (the trunk's weights, the pictures' contents, the preprocessing, the
arithmetic, the view), and nothing else: another seed, head or penalty finds the same features, and no forward pass is
made. View 0 is the picture as it is, view 1 its mirror image where the recipe mirrors, later ones are drawn as
training draws them, with the view's number for the epoch and a seed that never changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.augment import draw, warp
from foveal.data.batches import Rows
from foveal.errors import BadModel, FovealError
from foveal.files.places import cache_folder
from foveal.files.tensors import read_tensors, write_tensors
from foveal.networks.head import taking_features
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import AugmentRecipe
from foveal.training.arithmetic import Arithmetic

__all__ = ["ARITHMETIC", "Trunk", "pictures_at_once", "remembered", "trunk_features", "view_of"]

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]

KIND, FITTED = "features", "fitted"
ARITHMETIC = "fp32 channels-last"  # of features, as models answer: what is fitted on them holds for their answers
KEY_VERSION = 2  # raise it when features come out otherwise than before
VIEW_SEED = 0
CACHE_MAX_BYTES = 2 << 30  # of all features together; the longest unused go first
# Of input in one forward pass. Maps of few pictures stay in a processor's cache: EfficientNet-Lite0 gives 65 to 75
# pictures/s at four of 224 pixels a pass, 35 at sixty (two cores, AVX2 and AVX-512).
_BATCH_PIXELS = {"cpu": 210_000, "gpu": 3_000_000}


@dataclass(frozen=True, eq=False)
class Trunk:
    """A network up to its classifier, on stored pictures."""

    network: nn.Module
    path: str  # of the classifier
    preprocess: Preprocess
    store: Rows
    digests: NDArray[np.uint8]  # (N, 16) content hash of each stored picture
    arithmetic: Arithmetic
    augment: AugmentRecipe  # resolved; what the drawn views are made of
    progress: Progress = SILENT

    def views(self, indices: Indices, count: int) -> Floats:
        """(V, n, D) features of some pictures in `count` views, from the cache where it has them."""
        return np.stack([self.view(indices, number) for number in range(count)])

    def view(self, indices: Indices, number: int) -> Floats:
        """(n, D) features of one view."""
        place = self._place(indices, number)
        kept = _read(place, len(indices)) if place else None
        if kept is not None:
            return kept
        shown = _View(self.store, indices, number, self.augment, self.preprocess)
        found = trunk_features(
            self.network, self.path, self.preprocess, shown, np.arange(len(indices)), self.arithmetic, self.progress
        )
        if place:
            _write(place, found)
        return found

    def pass_seconds(self) -> float:
        """Of one picture's pass, timed."""
        few = np.zeros(pictures_at_once(self.store.shape[1:3], self.arithmetic.device), np.int64)
        took = []
        for _ in range(3):
            began = time.perf_counter()
            trunk_features(self.network, self.path, self.preprocess, self.store, few, self.arithmetic)
            took.append(time.perf_counter() - began)
        return min(took) / len(few)

    def _place(self, indices: Indices, number: int) -> Path | None:
        """Where they are kept; None where nothing can be."""
        with suppress(FovealError):
            return cache_folder() / KIND / f"{self._key(indices, number)}.safetensors"
        return None

    def _key(self, indices: Indices, number: int) -> str:
        drawn = self.augment.model_dump() if number > 1 else {"flip": self.augment.flip} if number else {}
        facts = [KEY_VERSION, self.path, self.preprocess.as_dict(), self.arithmetic.name, drawn, number, len(indices)]
        content = hashlib.blake2b(json.dumps([*facts, torch.__version__], sort_keys=True).encode(), digest_size=16)
        content.update(_weights_digest(self.network, self.path))
        content.update(np.ascontiguousarray(self.digests[indices]).tobytes())
        if number > 1:
            content.update(np.ascontiguousarray(indices).tobytes())  # what is drawn belongs to the place in the data
        return content.hexdigest()


@dataclass(frozen=True)
class _View:
    """Rows of a store as one view shows them."""

    store: Rows
    indices: Indices
    number: int
    augment: AugmentRecipe
    preprocess: Preprocess

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.store.shape

    def rows(self, indices: Indices) -> NDArray[np.uint8]:
        chosen = self.indices[indices]
        pixels = self.store.rows(chosen)
        if self.number == 0:
            return pixels
        mirrored = self.augment.flip in ("horizontal", "both")
        if self.number == 1 and mirrored:
            return np.ascontiguousarray(pixels[:, :, ::-1])
        height, width, channels = pixels.shape[1:]
        fill = np.round(np.array(self.preprocess.mean) * 255).astype(np.uint8)
        return warp(pixels, draw(self.augment, (height, width), channels, VIEW_SEED, self.number, chosen), fill)


def view_of(
    store: Rows, indices: Indices, number: int, augment: AugmentRecipe, preprocess: Preprocess
) -> NDArray[np.uint8]:
    """(n, H, W, C) pixels of some stored pictures in one view, as a frozen trunk sees them."""
    return _View(store, indices, number, augment, preprocess).rows(np.arange(len(indices)))


def trunk_features(
    network: nn.Module,
    path: str,
    preprocess: Preprocess,
    store: Rows,
    indices: Indices,
    arithmetic: Arithmetic,
    progress: Progress = SILENT,
) -> Floats:
    """(n, D) float32: what enters the classifier at `path` for stored pictures; the network is left as it was."""
    step = pictures_at_once(store.shape[1:3], arithmetic.device)
    was_training = network.training
    network = arithmetic.network(network).eval()
    parts: list[torch.Tensor] = []
    with (
        torch.inference_mode(),
        taking_features(network, path) as taken,
        progress.task("features", len(indices)) as advance,
    ):
        for start in range(0, len(indices), step):
            pixels = torch.from_numpy(np.ascontiguousarray(store.rows(indices[start : start + step])))
            images = arithmetic.images(preprocess.tensor(pixels.to(arithmetic.device)))
            with arithmetic.autocast():
                network(images)
            parts.append(taken.take().cpu())
            advance(len(pixels))
    network.train(was_training)
    out: Floats = torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)
    return out


def pictures_at_once(size: tuple[int, int], device: str) -> int:
    """How many pictures of (H, W) go through a trunk in one pass."""
    return max(1, min(256, _BATCH_PIXELS["cpu" if device == "cpu" else "gpu"] // (size[0] * size[1])))


def remembered(
    what: Sequence[object], inputs: Sequence[NDArray[Any]], compute: Callable[[], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Arrays that follow from features, from the cache where it has them.

    Args: what, plain values that they depend on besides the arrays of `inputs`, the kind of computation first.
    """
    facts = json.dumps([KEY_VERSION, *what, torch.__version__, np.__version__, torch.get_num_threads()])
    content = hashlib.blake2b(facts.encode(), digest_size=16)
    for array in inputs:
        content.update(f"{array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    with suppress(OSError, FovealError):
        place = cache_folder() / KIND / f"{content.hexdigest()}.safetensors"
        if place.is_file():
            tensors, _ = read_tensors(place, FITTED)
            return {name: value.numpy() for name, value in tensors.items()}
    found = compute()
    with suppress(OSError, FovealError):
        place = cache_folder() / KIND / f"{content.hexdigest()}.safetensors"
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_tensors(place, {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in found.items()}, {}, FITTED)
    return found


def _weights_digest(network: nn.Module, path: str) -> bytes:
    """Of everything below the classifier."""
    content = hashlib.blake2b(digest_size=16)
    for name, value in network.state_dict().items():
        if not name.startswith(f"{path}.") and not name.endswith("num_batches_tracked"):
            content.update(name.encode())
            content.update(value.detach().cpu().contiguous().numpy().tobytes())
    return content.digest()


def _read(place: Path, pictures: int) -> Floats | None:
    """Features of the cache; nothing where there are none, or the file is not what was written."""
    if not place.is_file():
        return None
    try:
        tensors, _ = read_tensors(place, KIND)
    except BadModel:
        return None
    found = tensors.get("features")
    if found is None or found.ndim != 2 or len(found) != pictures or found.dtype != torch.float32:
        return None
    with suppress(OSError):
        os.utime(place)
    kept: Floats = found.numpy()
    return kept


def _write(place: Path, features: Floats) -> None:
    """The cache saves time and no more: a full or read-only disk is no error."""
    with suppress(OSError, FovealError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_tensors(place, {"features": torch.from_numpy(np.ascontiguousarray(features))}, {}, KIND)
        _bound(place)


def _bound(keep: Path) -> None:
    files = sorted(keep.parent.glob("*.safetensors"), key=lambda path: -path.stat().st_mtime)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > CACHE_MAX_BYTES and path != keep:
            path.unlink()
