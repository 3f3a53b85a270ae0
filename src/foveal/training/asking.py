"""What a training is asked for, checked before a picture is read, and before PyTorch is imported.

The names of tasks and heads come last: their list needs NumPy.
"""

from __future__ import annotations

import os
from pathlib import Path

from foveal.data.finding import check_source
from foveal.errors import BadData, BadRecipe, Missing, did_you_mean, shown
from foveal.files.model_file import MODEL_FILE
from foveal.files.run_folder import check_place
from foveal.files.safely import check_readable
from foveal.networks.facts import facts_of
from foveal.networks.index import CUSTOM, full_name, without_weights
from foveal.recipe import AUTO, IMAGENET, SCRATCH, Recipe, parse_train, parse_weights

__all__ = ["check_asked", "check_device", "check_start", "named", "needs_weights", "start_file"]

DEVICES = ("cpu", "cuda", "mps")


def check_asked(recipe: Recipe, source: str = "", out: Path | None = None) -> None:
    """Paths, names and words that cannot do, whatever the pictures are.

    Args:   source, as typed, where it is no pair of arrays; out, the run's folder, where one is asked for.
    Raises: Missing, NotWritable, BadData, BadRecipe.
    """
    if source:
        check_source(source)
    if out is not None:
        check_place(out, source)
    for table in (recipe.data.split, recipe.data.exclude):
        if table:
            check_readable(Path(table).expanduser(), what="table", error=BadData)
    check_device(recipe.training.device)
    check_start(named(recipe))
    from foveal.tasks.registry import check_words

    check_words(recipe)


def named(recipe: Recipe) -> Recipe:
    """With the network by the name that builds it again, wherever the run's recipe is used.

    Raises: BadRecipe with the nearest name.
    """
    name = recipe.network.name
    return recipe if name in ("auto", CUSTOM) else recipe.with_settings({"network.name": full_name(name)})


def check_device(asked: str) -> None:
    """Raises: BadRecipe for a word that is no device's; whether it is here, PyTorch knows."""
    if asked.partition(":")[0] not in ("auto", *DEVICES):
        raise BadRecipe(f'no such device: "{shown(asked)}"; devices are cpu, cuda, cuda:1, mps.')


def check_start(recipe: Recipe) -> None:
    """Whether there are the weights that a training is to start from.

    Raises: BadRecipe, Missing.
    """
    asked, name = parse_weights(recipe.network.weights)[0], recipe.network.name
    if asked == AUTO:
        return
    if not recipe.from_weights:
        if parse_train(recipe.network.train)[0] in ("head", "last"):
            raise needs_weights(recipe.network.train)
        return
    if asked == IMAGENET:
        if name == CUSTOM:
            raise BadRecipe("a custom network has no published weights; give --weights FILE.")
        if name != "auto" and facts_of(name).weights is None:
            raise without_weights(name)
        return
    if not os.path.exists(start_file(asked)):
        words = did_you_mean(asked, (AUTO, SCRATCH, IMAGENET))
        raise Missing(f"--weights {shown(asked)}: no such file{words or f'; give {SCRATCH}, {IMAGENET} or a file'}")


def needs_weights(train: str) -> BadRecipe:
    """The refusal of a part of a network to be trained that starts from chance."""
    return BadRecipe(f"--train {train} needs weights to start from; give --weights {IMAGENET}.")


def start_file(asked: str) -> Path:
    """The file of weights that is asked for; a run's folder stands for its model."""
    place = os.path.expanduser(asked)  # unlike pathlib's, these take whatever was typed
    return Path(place, MODEL_FILE) if os.path.isdir(place) else Path(place)
