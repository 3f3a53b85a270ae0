"""How a data set's pictures look to a network that knows ImageNet: numbers in which like pictures lie close together.

SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360) takes no part in what is learnt here; it only looks. Each of its
later maps is averaged over the picture and the averages are joined: early ones know texture and colour, late ones
things: on small pictures with planted mistakes the six together found more of them than the last map alone. Where no
file of its weights lies on this machine, gradients (HOG) and colours do the looking: nothing is ever fetched for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import Rows
from foveal.files.foreign import read_foreign
from foveal.networks.catalogue import build, find
from foveal.networks.taps import taking
from foveal.networks.weights import fit_weights, lying_here
from foveal.progress import SILENT, Progress
from foveal.training.baseline import hog_features
from foveal.training.probe import rival_format

__all__ = ["Look", "look", "principal"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

NETWORK = "squeezenet1_1"
MAPS = ("features.4", "features.7", "features.9", "features.10", "features.11", "features.12")
SIDE = 128  # pixels that the network is shown; smaller pictures are enlarged
BATCH = 128  # pictures of that side: 25 MB of input
COLORS = 4  # cells a side in which mean and spread of each colour are taken
COMPONENTS = 512  # numbers a picture that are kept


@dataclass(frozen=True, eq=False)
class Look:
    """(n, D) numbers of each picture, and who looked."""

    features: Floats
    by: str  # a phrase for the page: "SqueezeNet 1.1 with ImageNet weights", …
    knows_things: bool  # False: only gradients and colours were compared


def look(store: Rows, indices: Indices, progress: Progress = SILENT) -> Look:
    """Features of stored pictures, their COMPONENTS strongest directions, each with the weight that it has.

    Raises: BadModel when a file of weights lies there and is damaged.
    """
    here = lying_here(find(NETWORK))
    if here is None:
        return Look(principal(_classic(store, indices, progress)), "gradients (HOG) and colours", False)
    network = build(NETWORK, 1000, 3, (224, 224))
    fit_weights(network, read_foreign(here.path), source=str(here.path), entry=find(NETWORK))
    return Look(principal(_seen(network, store, indices, progress)), "SqueezeNet 1.1 with ImageNet weights", True)


def principal(features: Floats, components: int = COMPONENTS) -> Floats:
    """(n, min(D, components)) coordinates of standardised features along their directions of largest variance."""
    table = features - features.mean(0)
    table /= np.sqrt(np.square(table).mean(0)) + 1e-6
    n, D = table.shape
    if n < D:  # the small side's products are enough
        values, left = np.linalg.eigh((table @ table.T).astype(np.float64))
        kept = np.argsort(-values)[: min(components, n)]
        coordinates: Floats = (left[:, kept] * np.sqrt(np.maximum(values[kept], 0))).astype(np.float32)
        return coordinates
    _, directions = np.linalg.eigh((table.T @ table).astype(np.float64))
    coordinates = table @ directions[:, ::-1][:, :components].astype(np.float32)
    return coordinates


def _seen(network: nn.Module, store: Rows, indices: Indices, progress: Progress) -> Floats:
    """(n, 2176): the means of MAPS."""
    record = find(NETWORK).weights
    assert record is not None
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (record.preprocess.mean, record.preprocess.std))
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = rival_format(network, "cpu") == "bf16"  # where the processor has no instruction for it, it is slower
    parts: list[torch.Tensor] = []
    with (
        torch.inference_mode(),
        taking(network, outputs=MAPS, keep=_mean) as taken,
        progress.task("looking at pictures", len(indices)) as done,
    ):
        for start in range(0, len(indices), BATCH):
            pixels = _enlarged(store.rows(indices[start : start + BATCH]))
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub_(mean).div_(std)
            with torch.autocast("cpu", torch.bfloat16, enabled=quick):
                network.features(images.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
            parts.append(torch.cat([taken.outputs[name] for name in MAPS], 1))
            done(len(pixels))
    out: Floats = torch.cat(parts).numpy()
    return out


def _mean(maps: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, C) float32, over the places."""
    return maps.mean((2, 3), dtype=torch.float32)


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, H, W, 3) at SIDE × SIDE."""
    import cv2

    if pixels.shape[1:3] == (SIDE, SIDE):
        return pixels
    return np.stack([cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for picture in pixels])


def _classic(store: Rows, indices: Indices, progress: Progress) -> Floats:
    """(n, D): HOG, and the mean and spread of each colour in COLORS × COLORS cells."""
    parts: list[Floats] = []
    with progress.task("looking at pictures", len(indices)) as done:
        for start in range(0, len(indices), BATCH):
            pixels = store.rows(indices[start : start + BATCH])
            parts.append(np.concatenate([hog_features(pixels), _colors(pixels)], axis=1))
            done(len(pixels))
    return np.concatenate(parts)


def _colors(pixels: NDArray[np.uint8]) -> Floats:
    cells = [cell for strip in np.array_split(pixels, COLORS, axis=1) for cell in np.array_split(strip, COLORS, axis=2)]
    flat = [cell.reshape(len(pixels), -1, pixels.shape[3]).astype(np.float32) for cell in cells]
    return np.concatenate([part for cell in flat for part in (cell.mean(1), cell.std(1))], axis=1)
