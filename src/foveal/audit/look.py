"""How a data set's pictures look to a network that knows ImageNet: numbers in which like pictures lie close together.

The network takes no part in what is learnt here; it only looks: the first of TRUNKS whose published weights are on this
machine. Each of its later maps is averaged over the picture and the averages are joined: early ones know texture and
colour, late ones things: on small pictures with planted mistakes they found more of them than the last map alone.
Where no file of weights lies here, gradients (HOG) and colours do the looking: nothing is ever fetched for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import Rows
from foveal.networks.catalogue import build, find
from foveal.networks.folding import folded
from foveal.networks.taps import take
from foveal.networks.weights import find_published, fit_weights, looked_at, lying_here
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.training.baseline import hog_features
from foveal.training.initial_weights import weights_in
from foveal.training.probe import rival_format

__all__ = ["TRUNKS", "Look", "Trunk", "look", "principal"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

SIDE = 128  # pixels that the network is shown; smaller pictures are enlarged
BATCH = 128  # pictures of that side: 25 MB of input
COLORS = 4  # cells a side in which mean and spread of each colour are taken
COMPONENTS = 512  # numbers a picture that are kept


@dataclass(frozen=True)
class Trunk:
    """A network that can look."""

    network: str
    called: str
    maps: tuple[str, ...]  # whose means are taken


_ENDS = tuple(f"blocks.{number}" for number in (6, 10, 14, 19, 20))  # of stages, in Lite1 and Lite2
TRUNKS = (  # the first one that is here looks; Lite0 finds more than SqueezeNet in less than twice the time
    Trunk(
        "efficientnet_lite0",
        "EfficientNet-Lite0",
        ("blocks.4", "blocks.7", "blocks.10", "blocks.14", "blocks.15", "head"),
    ),
    Trunk("efficientnet_lite1", "EfficientNet-Lite1", (*_ENDS, "head")),
    Trunk("efficientnet_lite2", "EfficientNet-Lite2", (*_ENDS, "head")),
    Trunk("squeezenet1_1", "SqueezeNet 1.1", tuple(f"features.{number}" for number in (4, 7, 9, 10, 11, 12))),
)


@dataclass(frozen=True, eq=False)
class Look:
    """(n, D) numbers of each picture, and who looked."""

    features: Floats
    by: str  # a phrase for the page: "EfficientNet-Lite0 with ImageNet weights", …
    knows_things: bool  # False: only gradients and colours were compared


def look(store: Rows, indices: Indices, progress: Progress = SILENT, trunks: Sequence[Trunk] = TRUNKS) -> Look:
    """Features of stored pictures, their COMPONENTS strongest directions, each with the weight that it has.

    Args:   trunks, the best one first: the first that is here looks; gradients and colours where none is.
    Raises: BadModel when a file of weights lies there and is damaged.
    """
    for trunk in trunks:
        network = _here(trunk)
        if network is not None:
            seen = _seen(network, trunk, store, indices, progress)
            return Look(principal(seen), f"{trunk.called} with ImageNet weights", True)
    return Look(principal(_classic(store, indices, progress)), "gradients (HOG) and colours", False)


def _here(trunk: Trunk) -> nn.Module | None:
    """The network with its published weights; None where those are not on this machine."""
    entry = find(trunk.network)
    here = lying_here(entry)
    if here is None:
        return None
    found = find_published(entry) if here.where == "package" else looked_at(here.path)  # a package's: its very file
    network = build(trunk.network, 1000, 3, (224, 224))
    fit_weights(network, weights_in(found, network), source=str(found.path), entry=entry)
    return network


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


def _seen(network: nn.Module, trunk: Trunk, store: Rows, indices: Indices, progress: Progress) -> Floats:
    """(n, D): the means of the trunk's maps."""
    record = find(trunk.network).weights
    assert record is not None
    network = folded(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = rival_format(network, "cpu") == "bf16"  # where the processor has no instruction for it, it is slower
    parts: list[torch.Tensor] = []
    with torch.inference_mode(), progress.task("looking at pictures", len(indices)) as done:
        for start in range(0, len(indices), BATCH):
            images = _images(store.rows(indices[start : start + BATCH]), record.preprocess)
            with torch.autocast("cpu", torch.bfloat16, enabled=quick):
                taken = take(network, images, outputs=trunk.maps, keep=_mean)
            parts.append(torch.cat([taken.outputs[name] for name in trunk.maps], 1))
            done(len(images))
    out: Floats = torch.cat(parts).numpy()
    return out


def _images(pixels: NDArray[np.uint8], preprocess: Preprocess) -> torch.Tensor:
    """(n, 3, SIDE, SIDE) as the network is used to them."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (preprocess.mean, preprocess.std))
    images = torch.from_numpy(_enlarged(pixels)).permute(0, 3, 1, 2).float().sub_(mean).div_(std)
    return images.contiguous(memory_format=torch.channels_last)


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
