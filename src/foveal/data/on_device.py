"""Batches on a GPU: the store is uploaded once, and what was drawn is done to the pictures there.

The draws are those of `data/augment.py`, so an epoch shows the same pictures as on the CPU, up to the rounding of the
resample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from foveal.data.augment import Drawn, draw
from foveal.data.batches import Batch, TrainingBatches
from foveal.ops.draws import shuffled
from foveal.ops.geometry import inverse

__all__ = ["DeviceBatches", "fits", "warp_on_device"]

MEMORY_SHARE = 0.4  # of what is free on the device; the rest is for the network
_UPLOAD_ROWS = 4096


def fits(batches: TrainingBatches, device: str) -> bool:
    """Whether the training pictures fit beside the network in the device's memory."""
    if not device.startswith("cuda"):
        return False  # Apple's GPUs share the memory of the CPU: nothing would be saved
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    _, height, width, channels = batches.store.shape
    return len(batches.indices) * height * width * channels < MEMORY_SHARE * free


@dataclass(frozen=True)
class DeviceBatches(TrainingBatches):
    """`TrainingBatches` whose pictures live on a device."""

    device: str = "cpu"
    pictures: Tensor | None = None  # (n, H, W, C) uint8 on the device, in the order of `indices`

    @staticmethod
    def upload(batches: TrainingBatches, device: str) -> DeviceBatches:
        """Copy the training pictures to the device, some rows at a time."""
        parts = [
            torch.from_numpy(np.ascontiguousarray(batches.store.rows(batches.indices[i : i + _UPLOAD_ROWS]))).to(device)
            for i in range(0, len(batches.indices), _UPLOAD_ROWS)
        ]
        return DeviceBatches(**vars(batches), device=device, pictures=torch.cat(parts))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from step `start` on, already on the device."""
        assert self.pictures is not None
        order = shuffled(self.seed, epoch, self.indices)
        places = torch.from_numpy(np.searchsorted(self.indices, order)).to(self.device)
        labels = torch.from_numpy(self.labels[order]).to(self.device)
        _, height, width, channels = self.store.shape
        fill = torch.from_numpy(self.fill).to(self.device)
        for step in range(start, len(self)):
            part = slice(step * self.batch_size, (step + 1) * self.batch_size)
            drawn = draw(self.augment, (height, width), channels, self.seed, epoch, order[part])
            yield Batch(warp_on_device(self.pictures[places[part]], drawn, fill), labels[part], step)


def warp_on_device(pictures: Tensor, drawn: Drawn, fill: Tensor) -> Tensor:
    """(n, H, W, C) uint8 as drawn: what `augment.warp` does, for a whole batch at once, where the tensor is."""
    n, height, width, channels = pictures.shape
    device = pictures.device
    x = pictures.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(_sampling(drawn.matrices, width, height).to(device), [n, channels, height, width], False)
    # Reflection about the border pixels' centres, as OpenCV's REFLECT_101: align_corners decides about which line.
    x = F.grid_sample(x, _folded(grid, width, height), mode="bilinear", padding_mode="border", align_corners=False)
    if drawn.colors is not None:
        colors = torch.from_numpy(drawn.colors).float().to(device)
        x = torch.einsum("noc,nchw->nohw", colors[:, :, :channels], x.round()) + colors[:, :, channels, None, None]
    x = x.round_().clamp_(0, 255)
    if drawn.holes_xyxy is not None:
        left, top, right, bottom = torch.from_numpy(drawn.holes_xyxy).to(device).unbind(1)
        ys, xs = torch.arange(height, device=device), torch.arange(width, device=device)
        rows = (ys >= top[:, None]) & (ys < bottom[:, None])
        columns = (xs >= left[:, None]) & (xs < right[:, None])
        hidden = (rows[:, :, None] & columns[:, None, :])[:, None]
        x = torch.where(hidden, fill.float().view(1, -1, 1, 1), x)
    return x.to(torch.uint8).permute(0, 2, 3, 1)


def _sampling(matrices: NDArray[np.float64], width: int, height: int) -> Tensor:
    """(n, 2, 3): from places in the new picture to places in the old one, both in [-1, 1] as `affine_grid` has them."""
    to_pixels = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    back = inverse(to_pixels) @ inverse(matrices) @ to_pixels
    return torch.from_numpy(back[:, :2]).float()


def _folded(grid: Tensor, width: int, height: int) -> Tensor:
    """Sampling places mirrored about the centres of the border pixels, in [-1, 1] coordinates."""
    size = torch.tensor([width, height], device=grid.device, dtype=grid.dtype)
    places = (grid + 1) * size / 2 - 0.5  # pixel centres are whole numbers
    period = (2 * (size - 1)).clamp(min=1)
    places = places.remainder(period)
    places = torch.minimum(places, period - places)
    return (places + 0.5) * 2 / size - 1
