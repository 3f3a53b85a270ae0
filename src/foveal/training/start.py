"""Where a training starts: from chance, or from weights that were found on other pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from foveal.errors import BadModel, shown
from foveal.files.foreign import read_foreign
from foveal.model import CUSTOM, prepared_for, without_trust
from foveal.networks.catalogue import find
from foveal.networks.entry import Entry
from foveal.networks.weights import Found, find_published, fit_weights, looked_at
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.recipe import IMAGENET, Recipe, parse_weights
from foveal.training.asking import check_start, start_file

__all__ = ["Start", "start_from"]

ROOM = 4  # times the network's own bytes: a training script may have kept its optimiser's tensors in the file
SPARE = 64 << 20  # and bytes for whatever else


@dataclass(frozen=True)
class Start:
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
        usual = "" if self.preprocess else " Mean and deviation are those of the training pictures."
        package = f"package {self.found.package}, " if self.found.package else ""
        return f"Weights from {shown(self.found.path)} ({package}sha256 {self.found.sha256[:12]}): {done}.{usual}"


def start_from(network: nn.Module, recipe: Recipe, progress: Progress = SILENT) -> Start | None:
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
            f"{shown(found.path)} is not the file that the recipe means (its sha256 is {found.sha256[:12]}, not "
            f"{pinned[:12]}); to use it all the same, add --weights {shown(asked)}."
        )
    ours = prepared_for(found.path)
    tensors = read_foreign(found.path, most=_most(network))
    notes = fit_weights(
        network, without_trust(tensors) if ours else tensors, source=str(found.path), entry=_named(entry, ours)
    )
    start = Start(asked, found, ours or (entry.weights.preprocess if entry and entry.weights else None), notes)
    progress.say(str(start))
    return start


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
