"""Trunk and head: where a network's classifier is, what enters it, and how another one is put in its place."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import find
from foveal.networks.entry import main_logits
from foveal.networks.index import CUSTOM
from foveal.networks.taps import taking
from foveal.ops.logistic import Linear
from foveal.recipe import Recipe

__all__ = [
    "CUSTOM", "Taken", "classifier_path", "has_bias", "has_linear_head", "options_of", "put_head", "scale_behind",
    "taking_features", "with_random_weights",
]  # fmt: skip


class Taken:
    """What entered the classifier in the last forward pass."""

    def __init__(self, entered: Mapping[str, Tensor], path: str) -> None:
        self._entered, self._path = entered, path

    def take(self) -> Tensor:
        """(N, D) float32; of a map the mean over its places, with which a 1×1 convolution and an average commute."""
        assert self._path in self._entered, "no forward pass yet"
        features = self._entered[self._path].float()
        return features.mean((2, 3)) if features.ndim == 4 else features.flatten(1)


def classifier_path(network: nn.Module, name: str) -> str:
    """The path of the layer that makes the logits: the record's, or the last linear layer of a network of one's own.

    Raises: BadRecipe for a network that has no linear classifier to replace.
    """
    if name != CUSTOM:
        path = find(name).classifier
    else:
        path = next((path for path, m in reversed(list(network.named_modules())) if isinstance(m, nn.Linear)), "")
    layer = network.get_submodule(path) if path else None
    if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)):
        return path
    raise BadRecipe(
        f"{shown(name)} has no linear classifier that could be replaced; train it whole (--train all), or take another."
    )


@contextmanager
def taking_features(network: nn.Module, path: str) -> Iterator[Taken]:
    """Inside, each forward pass leaves what entered the classifier in the value that is given."""
    with taking(network, inputs=[path], keep=Tensor.detach) as values:
        yield Taken(values.inputs, path)


def has_linear_head(name: str) -> bool:
    """Whether a network's builder must be asked for a classifier without a non-linearity behind it."""
    return name != CUSTOM and "linear_head" in inspect.signature(find(name).build).parameters


def options_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe asks of the network's builder."""
    asked = {"dropout": recipe.network.dropout, "batch_norm": recipe.network.batch_norm}
    options: dict[str, Any] = {key: value for key, value in asked.items() if value != "auto"}
    if recipe.from_weights and has_linear_head(recipe.network.name):
        options["linear_head"] = True  # a head that is fitted as a plane must be one
    return options


def has_bias(network: nn.Module, path: str) -> bool:
    """Whether the classifier can hold an intercept."""
    return getattr(network.get_submodule(path), "bias", None) is not None


def with_random_weights(network: nn.Module) -> nn.Module:
    """A copy whose layers were all initialised anew, as each layer's own class does."""
    fresh = copy.deepcopy(network)
    for module in fresh.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return fresh


@torch.no_grad()
def put_head(network: nn.Module, path: str, head: Linear, scale: float = 1.0) -> None:
    """Make the classifier's logits those of `head`.

    Args: scale, what the network multiplies the classifier's outputs with (`scale_behind`).
    """
    layer = network.get_submodule(path)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    layer.weight.copy_(torch.from_numpy(head.weight / scale).reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(head.bias / scale))


@torch.no_grad()
def scale_behind(network: nn.Module, path: str, images: Tensor) -> float:
    """The factor between the classifier's outputs and the network's logits (1 for nearly all).

    Raises: BadRecipe where something else than a factor and an average lies between them.
    """
    was_training = network.training
    try:
        with taking(network, outputs=[path]) as values:
            logits = main_logits(network.eval()(images)).double()
    finally:
        network.train(was_training)
    out = values.outputs[path].double()
    out = out.mean((2, 3)) if out.ndim == 4 else out.flatten(1)
    factor = float((out * logits).sum() / out.square().sum().clamp_min(1e-30))
    if factor <= 0 or (logits - factor * out).abs().max() > 1e-4 * logits.abs().max().clamp_min(1e-6):
        raise BadRecipe("the network changes its classifier's outputs by more than a factor; use --train all.")
    return factor
