"""Batches: slices of the pixel store, augmented by threads while the network computes. No worker processes.

The order of an epoch and every draw are functions of (seed, epoch, sample): one loading thread or eight give the same
batches, and a run resumed in the middle of an epoch starts at its step, with nothing to restore.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.augment import draw, mix, warp
from foveal.machine import cores_allowed
from foveal.ops.draws import shuffled
from foveal.recipe import AugmentRecipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

__all__ = ["Batch", "Rows", "TrainingBatches", "ahead", "batches_in_order"]


class Rows(Protocol):
    """What batches need of a store."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C) of all pictures."""
        ...

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, H, W, C) uint8 of some pictures."""
        ...


@dataclass(frozen=True)
class Batch:
    """One step's pictures, still uint8."""

    pixels: torch.Tensor  # (N, H, W, C) uint8
    labels: torch.Tensor  # (N,) int64, or (N, K) float32 of several; of boxes (N, M, 5) float32, see `box_batches.py`
    step: int  # in this epoch, from 0


@dataclass(frozen=True)
class TrainingBatches:
    """The training pictures, anew in each epoch. The last batch of an epoch, if smaller than half, is left out.

    A batch of one would break batch norm; a small one would be given too much weight. What is left out changes from
    epoch to epoch. When there are fewer pictures than `batch_size`, the batch is all of them.
    """

    store: Rows
    labels: NDArray[np.int64] | NDArray[np.float32]  # (all pictures of the store,), or (…, K) 0 or 1 of several labels
    indices: NDArray[np.int64]  # the training pictures
    batch_size: int
    augment: AugmentRecipe  # resolved
    fill: NDArray[np.uint8]  # (C,) what cutout shows
    seed: int
    loading_threads: int = 0  # 0: one a core; changes no bit
    classes: int = 0  # that labels count, for pictures that are mixed

    def __len__(self) -> int:
        """Steps in an epoch."""
        full, rest = divmod(len(self.indices), self.batch_size)
        return max(1, full + (rest * 2 >= self.batch_size))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from step `start` on."""
        order = shuffled(self.seed, epoch, self.indices)

        def make(step: int) -> Batch:
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            return self._batch(chosen, epoch, step)

        return ahead(make, range(start, len(self)), self.loading_threads)

    def shown(self, epoch: int, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, H, W, C) uint8: how these pictures look to the network in one epoch."""
        pictures = self.store.rows(chosen)
        height, width, channels = pictures.shape[1:]
        drawn = draw(self.augment, (height, width), channels, self.seed, epoch, chosen)
        return warp(pictures, drawn, self.fill)

    def mixed(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """A step's images (N, C, H, W) and targets: labels (N,) as they are, or shares (N, K) of what was mixed."""
        return mix(self.augment, images, labels, self.classes, self.seed, epoch, step)

    def targets(self, chosen: NDArray[np.int64]) -> torch.Tensor:
        """Labels of some pictures as they are: (n,) int64, or (n, K) float32 where there may be several."""
        import torch

        return torch.from_numpy(self.labels[chosen])

    def _batch(self, chosen: NDArray[np.int64], epoch: int, step: int) -> Batch:
        import torch

        return Batch(torch.from_numpy(self.shown(epoch, chosen)), torch.from_numpy(self.labels[chosen]), step)


def batches_in_order(store: Rows, indices: NDArray[np.int64], batch_size: int) -> Iterator[torch.Tensor]:
    """(N, H, W, C) uint8, the pictures as they are: for validation, test and prediction."""
    import torch

    def make(step: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(store.rows(indices[step * batch_size : (step + 1) * batch_size])))

    return ahead(make, range(-(-len(indices) // batch_size)), threads=1)


def ahead(make: Callable[[int], T], steps: range, threads: int) -> Iterator[T]:
    """make(step) for each step in order, prepared by threads, at most one batch a thread ahead."""
    import cv2

    threads = threads or min(2, cores_allowed())
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # our own threads are the parallel part; OpenCV's pool on top would fight the network's
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="foveal-batches") as pool:
            waiting: deque[Future[T]] = deque()
            try:
                for step in steps:
                    waiting.append(pool.submit(make, step))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        cv2.setNumThreads(before)
