"""What is settled of a training before anything is built: every "auto" but what must be measured.

The pictures' headers and the networks' index come first and PyTorch, which knows the device, last: so a network or a
size that does not go is refused before the seconds that PyTorch takes to import.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.data.dataset import Dataset
from foveal.errors import BadData, BadModel, BadPicture, BadRecipe, Missing, shown
from foveal.files.headers import shape_of
from foveal.files.model_file import KIND
from foveal.files.tensors import read_metadata
from foveal.networks.facts import check_size, facts_of
from foveal.networks.index import CUSTOM, full_name
from foveal.ops.draws import evenly
from foveal.recipe import AUTO, IMAGENET, SCRATCH, Recipe, parse_train, parse_weights
from foveal.tasks.label_defaults import WITH_WEIGHTS
from foveal.tasks.registry import check_of_weights, set_for_loop
from foveal.tasks.task import Facts, Task
from foveal.training import planner
from foveal.training.asking import check_device, check_start, named, needs_weights, start_file
from foveal.training.start import Start, chosen_start, looks_like_photographs, passes, trunk_here

if TYPE_CHECKING:
    from torch import nn

__all__ = ["choose_device", "facts_about", "resolved", "settle", "usual_shape"]

BY_TIME_BATCH = 64  # pictures a step, where --minutes chooses the network
LEAST_SEEN = 0.5  # share of a usual picture that the network sees: less is told
MOST_LONGER = 4  # times: how long a size is advised
LOOKED_AT = 64  # pictures whose header tells the usual size and colour


def settle(
    task: type[Task],
    dataset: Dataset,
    recipe: Recipe,
    network: nn.Module | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """Every "auto" of the recipe decided but what must be measured; quick, and writes nothing.

    What the user set wins, then what the network's record says, then the task's own values.
    Args:   say, is told what the training starts from, where that was left open.
    Raises: BadRecipe (a network or size that does not go), Missing (device), BadData.
    """
    if network is not None:
        recipe = recipe.with_settings({"network.name": CUSTOM})
    recipe = named(recipe)
    check_start(recipe)
    if task.linear and recipe.from_weights and recipe.network.name == AUTO and (file := _file_of_start(recipe)):
        recipe = recipe.with_settings({"network.name": _network_in(file)})
    facts = facts_about(dataset)
    _check(task, recipe, facts, _size_of_start(task, recipe))
    train, weights = recipe.network.train, recipe.network.weights
    if weights == AUTO and parse_train(train)[0] in ("head", "last") and not looks_like_photographs(facts):
        raise needs_weights(train)
    if train == "better" and not task.linear:
        raise BadRecipe("--train better is for classification only; give --train all.")
    device = choose_device(recipe.training.device)
    recipe = _with_start(task, dataset, recipe, facts, device, say)
    if task.linear and recipe.from_weights and recipe.network.train == AUTO and (asked := set_for_loop(recipe)):
        say(f"The whole network is fine-tuned, since {asked[0]} is set, which a head on frozen features does not use.")
        recipe = recipe.with_settings({"network.train": "all"})
    name, size = task.chosen(recipe, facts, device, _size_of_start(task, recipe))
    if task.linear and recipe.training.minutes and recipe.network.name == "auto":
        name, size = _by_time(recipe, facts, size, device, len(dataset.classes))
    if not task.whole and recipe.data.size == AUTO:
        _tell_cut(facts.side, size, say)
    return resolved(task, recipe.with_settings({"network.name": name}), facts, size, device)


def _tell_cut(side: tuple[int, int], size: tuple[int, int], say: Callable[[str], None]) -> None:
    """How little of long pictures the middle is that a network sees. Args: side, (height, width) of a usual one."""
    shape, wanted = side[0] / side[1], size[0] / size[1]
    seen = min(shape, wanted) / max(shape, wanted)
    if seen >= LEAST_SEEN:
        return
    longer = min(MOST_LONGER, max(shape, 1 / shape)) ** 0.5
    across, along = (round(math.sqrt(size[0] * size[1]) * factor) for factor in (1 / longer, longer))
    better = f"{across}x{along}" if shape < 1 else f"{along}x{across}"
    say(
        f"The network sees only the middle {seen:.0%} of each picture: pictures are {side[0]} × {side[1]} pixels, its "
        f"input is {size[0]} × {size[1]}; --size {better} shows it more."
    )


def resolved(task: type[Task], recipe: Recipe, facts: Facts, size: tuple[int, int], device: str) -> Recipe:
    """A number for every "auto" but the arithmetic, and the epochs where `minutes` plan them."""
    usual = task.usual(recipe, facts)
    if recipe.training.minutes:
        del usual["epochs"]  # planned when a step has been timed
    if task.linear and recipe.from_weights:
        del usual["blend"], usual["clip"]  # decided with what is to learn
    chosen = {key: usual[key] for key, value in recipe.training if value == "auto" and key in usual}
    settings: dict[str, Any] = {f"training.{key}": value for key, value in chosen.items()}
    settings |= {
        "training.task": task.name,
        "training.batch_size": usual["batch_size"],
        "training.device": device,
        "data.size": f"{size[0]}x{size[1]}",
    }
    if not task.linear and recipe.network.train == "auto":
        settings["network.train"] = "all" if recipe.from_weights else "scratch"
    resolved = recipe.with_settings(settings)
    return resolved.model_copy(update={"augment": task.augmentation(recipe, size, facts)})


def _with_start(
    task: type[Task], dataset: Dataset, recipe: Recipe, facts: Facts, device: str, say: Callable[[str], None]
) -> Recipe:
    """What the training starts from decided, and said. Raises: BadRecipe where more is asked for than there is."""
    weights, train = parse_weights(recipe.network.weights)[0], recipe.network.train
    if weights != AUTO and not (task.linear and weights == IMAGENET and recipe.network.name == AUTO):
        return recipe
    if not task.linear or train == SCRATCH:
        hint = trunk_here(facts) if train != SCRATCH and recipe.network.name == AUTO else ""
        start = Start(SCRATCH, recipe.network.name, hint)
    else:
        held_out = len(dataset.indices("test"))
        start = chosen_start(
            recipe, facts, passes(len(dataset) - held_out, held_out, recipe.training.minutes), device, say
        )
    if start.sentence:
        say(start.sentence)
    if start.weights == SCRATCH and parse_train(train)[0] in ("head", "last"):
        raise needs_weights(train)
    recipe = recipe.with_settings({"network.weights": start.weights, "network.name": start.network})
    check_of_weights(recipe)
    return recipe


def _check(task: type[Task], recipe: Recipe, facts: Facts, known: tuple[int, int] | None) -> None:
    """Refuse a size below the network's smallest. No device is given smaller pictures than a CPU."""
    name, size = task.chosen(recipe, facts, "cpu", known)
    if name != CUSTOM:
        check_size(name, size)


def _file_of_start(recipe: Recipe) -> str:
    """The file of weights as typed; "" where they are published ones."""
    asked = parse_weights(recipe.network.weights)[0]
    return "" if asked == IMAGENET else asked


def _size_of_start(task: type[Task], recipe: Recipe) -> tuple[int, int] | None:
    """(height, width) of the pictures that the weights were found on; None where nobody says, or none are asked for."""
    if not recipe.from_weights or not task.linear:
        return None
    if file := _file_of_start(recipe):
        return _size_in(start_file(file))
    name = recipe.network.name
    return None if name == CUSTOM else facts_of(WITH_WEIGHTS if name == "auto" else name).weights


def _network_in(file: str) -> str:
    """The network of a model. Raises: BadRecipe for any other file of weights."""
    try:
        name = read_metadata(start_file(file), KIND)["network"]["name"]
    except (BadModel, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or name == CUSTOM:
        raise BadRecipe(
            f"--weights {shown(file)} needs --network: a weights file does not say which network it is for."
        )
    return full_name(name)


def _size_in(file: Path) -> tuple[int, int] | None:
    """(height, width) of the pictures of a model; None for any other file, and for a model that is damaged: it is
    refused when it is read."""
    try:
        written = read_metadata(file, KIND)["preprocess"]
        height, width = written["height"], written["width"]
    except (BadModel, KeyError, TypeError):
        return None
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _by_time(
    recipe: Recipe, facts: Facts, size: tuple[int, int], device: str, classes: int
) -> tuple[str, tuple[int, int]]:
    """Network and size whose usual epochs fit into --minutes: one rung is timed, the others follow from their FLOPs."""
    import torch

    from foveal.networks.catalogue import build, forward_flops
    from foveal.training.measuring import measure
    from foveal.training.trials import fitting_pictures, learning

    rungs = planner.ladder(recipe, size, facts.channels)
    if len(rungs) == 1:
        return rungs[0]
    timed = len(rungs) // 2
    name, timed_size = rungs[timed]
    with torch.random.fork_rng(devices=[]):
        trial = build(name, classes, facts.channels, timed_size)
    pictures = fitting_pictures(BY_TIME_BATCH, timed_size)
    images = torch.randn((pictures, facts.channels, *timed_size), generator=torch.Generator().manual_seed(0))
    measured = measure(learning(trial, images), trial, BY_TIME_BATCH, device, facts=["a step", *images.shape])
    fastest = max(measured.images_per_second.values())
    work = [forward_flops(name, classes, facts.channels, size) for name, size in rungs]
    return rungs[
        planner.choose_by_time(
            recipe.training.minutes, facts.pictures, rungs, lambda rung: fastest * work[timed] / work[rung]
        )
    ]


def choose_device(asked: str) -> str:
    """ "auto" is the best present; a device that is not there is refused."""
    check_device(asked)
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if asked == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    kind, _, number = asked.partition(":")
    if kind == "cpu" and not number:
        return asked
    if kind == "cuda" and cuda and (not number or (number.isdigit() and int(number) < torch.cuda.device_count())):
        return asked
    if kind == "mps" and mps and not number:
        return asked
    raise Missing(f"there is no {shown(asked)} device here; use --device cpu.")


def facts_about(dataset: Dataset) -> Facts:
    """What is known of the data before anything is trained. Raises: BadData as `usual_shape`."""
    height, width, channels = usual_shape(dataset)
    return Facts(len(dataset.indices("train")), (height, width), channels, tuple(dataset.counts("train")))


def usual_shape(dataset: Dataset) -> tuple[int, int, int]:
    """The median height and width of some pictures, and the channels that all of them have, or 3."""
    train = dataset.indices("train")
    some = train[evenly(len(train), LOOKED_AT)]
    shapes = []
    for index in some:
        with contextlib.suppress(BadPicture):
            shapes.append(shape_of(dataset.pictures.content(int(index)), dataset.pictures.name(int(index))))
    if not shapes:
        raise BadData(f"{shown(dataset.origin.place)}: no usable picture among the first {len(some)} looked at.")
    median = np.median(np.array(shapes), axis=0)
    channels = {s[2] for s in shapes}
    return int(median[0]), int(median[1]), channels.pop() if len(channels) == 1 else 3
