"""Where a training starts: from chance, or from weights that were found on other pictures."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from foveal.errors import BadModel, FovealError, shown
from foveal.files.foreign import read_foreign
from foveal.files.places import cache_folder
from foveal.files.tensors import read_tensors, write_tensors
from foveal.model_files import description_of
from foveal.networks.catalogue import find
from foveal.networks.entry import Entry
from foveal.networks.index import CUSTOM
from foveal.networks.weights import Found, find_published, fit_weights, looked_at
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import IMAGENET, Recipe, parse_weights
from foveal.training.asking import check_start, start_file

__all__ = ["InitialWeights", "initial_weights", "weights_in"]

KIND = "converted"  # a file of weights that is no safetensors, as safetensors
ROOM = 4  # times the network's own bytes: a training script may have kept its optimiser's tensors in the file
SPARE = 64 << 20  # and bytes for whatever else


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a network started from."""

    asked: str  # "imagenet", or a file as typed
    found: Found
    preprocess: Preprocess | None  # of the pictures that they were found on, where that is known
    notes: tuple[str, ...]  # what was done to make them fit

    @property
    def setting(self) -> str:
        """For the run's recipe: this file and no other."""
        return f"{self.asked}@sha256:{self.found.sha256}"

    def as_dict(self) -> dict[str, Any]:
        """For metrics.json and the model's file."""
        package = {"package": self.found.package} if self.found.package else {}
        return {"from": self.asked, "file": self.found.path.name, "sha256": self.found.sha256} | package

    def prepared(self, preprocess: Preprocess) -> Preprocess:
        """The same size, with the mean, deviation and interpolation that the weights are used to."""
        if self.preprocess is None:
            return preprocess
        mean, std = (_for_channels(v, preprocess.channels) for v in (self.preprocess.mean, self.preprocess.std))
        return replace(preprocess, mean=mean, std=std, interpolation=self.preprocess.interpolation)

    def __str__(self) -> str:
        done = "; ".join(self.notes) or "all of them"
        usual = "" if self.preprocess else " Mean and standard deviation are those of the training pictures."
        package = f"package {self.found.package}, " if self.found.package else ""
        return f"Weights from {shown(self.found.path)} ({package}sha256 {self.found.sha256[:12]}): {done}.{usual}"


def initial_weights(network: nn.Module, recipe: Recipe, progress: Progress = SILENT) -> InitialWeights | None:
    """Put the weights that the recipe names into the network; None where it starts from chance.

    Raises: BadModel (damaged, hostile, another network's, not the very file), BadRecipe, Missing, BadData.
    """
    if not recipe.from_weights:
        return None
    check_start(recipe)
    asked, pinned = parse_weights(recipe.network.weights)
    entry = None if recipe.network.name == CUSTOM else find(recipe.network.name)
    found = find_published(entry, progress) if asked == IMAGENET and entry else looked_at(start_file(asked))
    if not found.sha256.startswith(pinned):
        raise BadModel(
            f"{shown(found.path)} is not the file that the recipe names (its sha256 is {found.sha256[:12]}, not "
            f"{pinned[:12]}); to use it anyway, add --weights {shown(asked)}."
        )
    known = description_of(found.path)
    tensors = weights_in(found, network)
    for name in known.calibration.shapes() if known else ():  # what a model knows of its answers is no network's
        tensors.pop(name, None)
    ours = known.preprocess if known else None
    notes = fit_weights(network, tensors, source=str(found.path), entry=_named(entry, ours))
    start = InitialWeights(asked, found, ours or (entry.weights.preprocess if entry and entry.weights else None), notes)
    progress.say(str(start))
    return start


def weights_in(found: Found, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file that may hold a network's weights.

    A `.pth` is read by a process with its own PyTorch: what it gave is kept in the cache.

    Raises: BadModel when it is damaged, hostile, or much larger than the network.
    """
    most = _most(network)
    if found.path.suffix == ".safetensors" or found.path.stat().st_size > most:
        return read_foreign(found.path, most=most)
    with suppress(FovealError, OSError):  # nothing kept, or not what was written
        return read_tensors(_kept(found), KIND)[0]
    tensors = read_foreign(found.path, most=most)
    with suppress(FovealError, OSError):
        _kept(found).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_tensors(_kept(found), tensors, {}, KIND)
    return tensors


def _kept(found: Found) -> Path:
    return cache_folder() / "weights" / f"{found.sha256}.{KIND}.safetensors"


def _named(entry: Entry | None, ours: Preprocess | None) -> Entry | None:
    """A model of ours needs no renaming."""
    return replace(entry, weights=None) if entry and ours else entry


def _most(network: nn.Module) -> int:
    most: int = SPARE + ROOM * sum(int(value.numel()) * value.element_size() for value in network.state_dict().values())
    return most


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value a channel: for grey pictures and a fourth band the mean of those for RGB, for RGB that of grey."""
    mean = round(sum(values) / len(values), 4)
    if channels > len(values) > 1:
        return values + (mean,) * (channels - len(values))
    return values if len(values) == channels else (mean,) * channels
