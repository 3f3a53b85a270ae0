"""Batches of pictures with boxes: one matrix moves a picture and its boxes, mosaics are four of them on one canvas.

As for labels alone, every draw is a function of (seed, epoch, sample), so loading order and resuming change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.data.augment import Drawn, draw, recolored, warp
from foveal.data.batches import Batch, Rows, ahead
from foveal.data.dataset import Boxes
from foveal.ops.boxes import map_boxes
from foveal.ops.draws import shuffled, uniforms
from foveal.ops.geometry import on_pixel_centres, scale_matrix, translation
from foveal.recipe import AugmentRecipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["BoxBatches", "padded"]

_MOSAIC_EPOCH = 1 << 32  # its draws are apart from those of single pictures
VISIBLE, LEAST = 0.3, 2.0  # share of a box that must stay on the picture, and pixels of its sides
CENTRE = (0.35, 0.65)  # where the four pictures of a mosaic meet, as shares of the canvas
SCALE = (0.5, 1.0)  # of a picture in a mosaic

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BoxBatches:
    """The training pictures with their boxes, anew in each epoch.

    A batch's labels are (N, M, 5) float32: class and box in pixels of the stored picture, rows of class −1 are filling.
    """

    store: Rows
    boxes: Boxes  # in pixels of the stored pictures
    indices: NDArray[np.int64]  # the training pictures
    batch_size: int
    augment: AugmentRecipe  # resolved
    fill: NDArray[np.uint8]  # (C,)
    seed: int
    epochs: int  # in all; mosaics end before the last of them, so that the network sees pictures as they will come
    loading_threads: int = 0

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

    def shown(self, epoch: int, chosen: NDArray[np.int64]) -> Pixels:
        """(n, H, W, C) uint8: how these pictures look to the network in one epoch."""
        return self.shown_with_boxes(epoch, chosen)[0]

    def shown_with_boxes(
        self, epoch: int, chosen: NDArray[np.int64]
    ) -> tuple[Pixels, list[tuple[NDArray[np.int64], Floats]]]:
        """(n, H, W, C) uint8, and of each picture labels (m,) and boxes (m, 4) in its pixels."""
        pictures = self.store.rows(chosen)
        height, width, channels = pictures.shape[1:]
        drawn = draw(self.augment, (height, width), channels, self.seed, epoch, chosen)
        out = warp(pictures, drawn, self.fill, "filled")
        said = [self._moved(int(i), drawn.matrices[n], width, height) for n, i in enumerate(chosen)]
        for n in np.flatnonzero(self._mosaics(epoch, chosen)):
            out[n], said[n] = self._mosaic(epoch, int(chosen[n]), drawn, int(n))
        if self.augment.mixup and not self._ending(epoch):
            self._mix_up(epoch, chosen, out, said)
        return out, said

    def _ending(self, epoch: int) -> bool:
        """Whether pictures come one by one: in the last quarter of the training."""
        return 4 * epoch >= 3 * self.epochs

    def _mix_up(
        self, epoch: int, chosen: NDArray[np.int64], out: Pixels, said: list[tuple[NDArray[np.int64], Floats]]
    ) -> None:
        """Blend each picture with another one, in place; the objects of both are there.

        Source: Zhang et al. 2019, "Bag of freebies for training object detection", arXiv:1902.04103, section 3.1.
        """
        from scipy.special import betaincinv

        apart = epoch + 3 * _MOSAIC_EPOCH
        u = uniforms(self.seed, apart, chosen, 2)
        others = self.indices[(u[:, 0] * len(self.indices)).astype(np.int64)]
        pictures = self.store.rows(others)
        height, width, channels = pictures.shape[1:]
        drawn = draw(self.augment, (height, width), channels, self.seed, apart, others)
        blended = warp(pictures, drawn, self.fill, "filled")
        alpha = float(self.augment.mixup)
        shares = betaincinv(alpha, alpha, u[:, 1])
        for n, share in enumerate(shares):
            both = share * out[n].astype(np.float32) + (1 - share) * blended[n].astype(np.float32)
            out[n] = np.rint(both).astype(np.uint8)
            labels, boxes = self._moved(int(others[n]), drawn.matrices[n], width, height)
            said[n] = (np.concatenate([said[n][0], labels]), np.concatenate([said[n][1], boxes]))

    def _moved(self, index: int, matrix: Floats, width: int, height: int) -> tuple[NDArray[np.int64], Floats]:
        own = self.boxes.of(index)
        ordinary = ~self.boxes.crowd[own]
        boxes, kept = map_boxes(matrix, self.boxes.xyxy[own][ordinary], width, height, VISIBLE, LEAST)
        return self.boxes.labels[own][ordinary][kept], boxes[kept]

    def _mosaics(self, epoch: int, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) which pictures become mosaics: none in the last quarter of the training."""
        if self._ending(epoch):
            return np.zeros(len(chosen), bool)
        among: NDArray[np.bool_] = uniforms(self.seed, epoch + _MOSAIC_EPOCH, chosen, 1)[:, 0] < float(
            self.augment.mosaic
        )
        return among

    def _mosaic(
        self, epoch: int, index: int, drawn: Drawn, number: int
    ) -> tuple[Pixels, tuple[NDArray[np.int64], Floats]]:
        """Four pictures about a drawn centre, the drawn one among them.

        Source: Bochkovskiy et al. 2020, arXiv:2004.10934, section 3.3.
        """
        import cv2

        u = uniforms(self.seed, epoch + 2 * _MOSAIC_EPOCH, np.array([index]), 16)[0]
        others = self.indices[(u[:3] * len(self.indices)).astype(np.int64)]
        four = np.concatenate([[index], others]).astype(np.int64)
        pictures = self.store.rows(four)
        height, width = pictures.shape[1:3]
        x, y = (width * _between(CENTRE, u[3]), height * _between(CENTRE, u[4]))
        canvas = np.empty_like(pictures[0])
        canvas[:] = self.fill
        labels, boxes = [], []
        for place, picture in enumerate(pictures):
            right, below = place % 2, place // 2
            scale = _between(SCALE, u[5 + place])
            mirrored = scale_matrix(-1.0, 1.0) if u[9 + place] < 0.5 and self.augment.flip != "none" else np.eye(3)
            if mirrored[0, 0] < 0:
                mirrored = translation(width, 0.0) @ mirrored
            corner = (x if right else x - scale * width, y if below else y - scale * height)
            matrix = translation(*corner) @ scale_matrix(scale, scale) @ mirrored
            left, top = (round(x) if right else 0), (round(y) if below else 0)
            end_x, end_y = (width if right else round(x)), (height if below else round(y))
            part = cv2.warpAffine(
                picture, on_pixel_centres(translation(-left, -top) @ matrix)[:2], (end_x - left, end_y - top),
                flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=self.fill.tolist(),
            )  # fmt: skip
            canvas[top:end_y, left:end_x] = part.reshape(end_y - top, end_x - left, -1)
            own, moved = self._moved(int(four[place]), translation(-left, -top) @ matrix, end_x - left, end_y - top)
            labels.append(own)
            boxes.append(moved + np.array([left, top, left, top]))
        return recolored(canvas, drawn, number), (np.concatenate(labels), np.concatenate(boxes))

    def mixed(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """As they are: what joins pictures is done to their pixels."""
        return images, labels

    def targets(self, chosen: NDArray[np.int64]) -> Tensor:
        """(n, M, 5) boxes of some pictures as they are."""
        return padded([(self.boxes.labels[own], self.boxes.xyxy[own]) for own in map(self.boxes.of, chosen.tolist())])

    def _batch(self, chosen: NDArray[np.int64], epoch: int, step: int) -> Batch:
        import torch

        pixels, said = self.shown_with_boxes(epoch, chosen)
        return Batch(torch.from_numpy(pixels), padded(said), step)


def padded(said: list[tuple[NDArray[np.int64], Floats]]) -> torch.Tensor:
    """(N, M, 5) float32 of the labels (m,) and boxes (m, 4) of N pictures; M is the largest m, filling has class −1."""
    import torch

    most = max((len(labels) for labels, _ in said), default=0)
    table = np.full((len(said), most, 5), -1.0, np.float32)
    for row, (labels, boxes) in zip(table, said, strict=True):
        row[: len(labels), 0], row[: len(labels), 1:] = labels, boxes
    return torch.from_numpy(table)


def _between(bounds: tuple[float, float], u: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(u)
