"""What a training that starts from weights does otherwise, once its head is fitted: norms, gradients, blend, averages.

Each function takes a recipe and returns it with its own key decided; what somebody has set stays.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from foveal.files.plain_table import counted
from foveal.networks.facts import facts_of
from foveal.networks.index import CUSTOM
from foveal.recipe import AUTO, Recipe
from foveal.tasks.label_defaults import BLEND, FEW, epochs_started
from foveal.training.transfer import Near

__all__ = ["NORMS", "norms_in", "with_blend", "with_norms", "with_soup"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # whose statistics may stay
CLIP = 1.0  # largest norm of all gradients, where they stay
MOST_AVERAGED = 4  # trainings


def norms_in(network: nn.Module) -> tuple[nn.Module, ...]:
    """The batch norms of a network, whose statistics may stay."""
    return tuple(module for module in network.modules() if isinstance(module, NORMS))


def with_norms(recipe: Recipe, network: nn.Module, pictures: int) -> Recipe:
    """What batch norms do, and how long a step may be.

    Few pictures tell worse statistics than those the weights came with. But norms whose statistics stay hold back
    nothing that runs away: without a bound on the gradient, fine-tuning EfficientNet-Lite0 ended in chance on one fold
    of three.
    """
    name = recipe.network.name
    if recipe.network.norms == AUTO:
        recipe = recipe.with_settings({"network.norms": "keep" if pictures < FEW else "learn"})
    if recipe.training.clip == AUTO:
        usual = 0.0 if name == CUSTOM else float(facts_of(name).recipe.get("training.clip", 0.0))
        kept = recipe.network.norms == "keep" and any(isinstance(module, NORMS) for module in network.modules())
        recipe = recipe.with_settings({"training.clip": CLIP if kept and not usual else usual})
    return recipe


def with_blend(recipe: Recipe, near: Near | None, pictures: int) -> Recipe:
    """The start's share in the result: none where it was measured to be far from the pictures, since that is no place
    to go back to, and none with many pictures, which lead further than a straight way back."""
    if recipe.training.blend != AUTO:
        return recipe
    far = near is not None and not near.near
    return recipe.with_settings({"training.blend": 0.0 if far or pictures >= FEW else BLEND})


def with_soup(recipe: Recipe, pictures: int, say: Callable[[str], None]) -> Recipe:
    """Of many epochs that fit into --minutes several trainings, which are averaged: one that is longer only learns few
    pictures by heart.

    On SqueezeNet 1.1 three lost 0.765 nats where each by itself lost 0.803, and were right as often as the best.
    """
    if recipe.training.soup != AUTO:
        return recipe
    usual, epochs = epochs_started(pictures), int(recipe.training.epochs)
    fitting = epochs // usual if recipe.training.minutes and pictures < FEW else 1
    count = min(MOST_AVERAGED, max(1, fitting))
    if count > 1:
        epochs = min(usual, epochs // count)
        say(f"{count} trainings of {counted(epochs, 'epoch')} from the same start will be averaged.")
    return recipe.with_settings({"training.soup": count, "training.epochs": epochs})
