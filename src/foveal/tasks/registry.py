"""All tasks, and which of them a recipe, a data set or a model's file means."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from foveal.data.dataset import Dataset
from foveal.data.sources import Reading, reading_of
from foveal.errors import BadRecipe, did_you_mean, shown
from foveal.recipe import SCRATCH, Recipe, parse_weights
from foveal.tasks.heads import HEADS, heads_for
from foveal.tasks.names import HOMES
from foveal.tasks.task import Task

__all__ = [
    "TASKS",
    "asked_task",
    "check_keys",
    "check_of_weights",
    "check_typed",
    "check_words",
    "reading_for",
    "set_for_loop",
    "task_of_file",
    "unread_keys",
]

TASKS: tuple[type[Task], ...] = tuple(getattr(import_module(home), kind) for _, home, kind in HOMES.values())
OF_WEIGHTS = (
    "network.head_decay",
    "network.norms",
    "training.blend",
    "training.soup",
)  # read where a network starts from weights
OF_LOOP = frozenset(f"training.{key}" for key in (
    "epochs", "batch_size", "optimizer", "optimizer_arithmetic", "learning_rate", "momentum", "weight_decay",
    "schedule", "warmup", "loss", "label_smoothing", "ema", "blend", "soup", "clip", "early_stopping", "on_nan",
))  # fmt: skip
UNSET = ("auto", "none", "", 0, 0.0, False)  # values that ask for nothing


def check_words(recipe: Recipe) -> None:
    """Raises: BadRecipe for a task or a head that there is not."""
    names = ["auto", *(task.name for task in TASKS)]
    if recipe.training.task not in names:
        raise BadRecipe(_no_such("training.task", recipe.training.task, names))
    trained = heads_for("detect")
    if recipe.network.detector not in trained:
        raise BadRecipe(_no_such("network.detector", recipe.network.detector, trained))


def asked_task(dataset: Dataset, recipe: Recipe) -> tuple[type[Task], Dataset]:
    """The task that a recipe asks for, and the data set as that task takes it.

    Raises: BadRecipe for boxes that are not there, BadData where nothing is left to classify.
    """
    check_words(recipe)
    asked = recipe.training.task
    for task in TASKS:
        if asked in ("auto", task.name) and (taken := task.takes(dataset, recipe)) is not None:
            return task, taken
    place, kind = shown(dataset.origin.place), shown(dataset.origin.format)
    raise BadRecipe(f"--task {asked} does not fit the data in {place} ({kind}).")


def reading_for(recipe: Recipe) -> Reading:
    """How a recipe reads its source: how many labels a picture may have is left to the task that it names."""
    reading = reading_of(recipe.data)
    if recipe.data.labels == "auto":
        reading["labels"] = next((task.reads for task in TASKS if task.name == recipe.training.task), "auto")
    return reading


def unread_keys(task: type[Task], recipe: Recipe) -> list[str]:
    """Keys that are set and that the task does not read."""
    head = HEADS[recipe.network.detector]
    read = task.keys | (head.keys if head.task == task.name else frozenset())
    usual, set_ = Recipe().model_dump(), recipe.model_dump()
    return [
        f"{section}.{key}"
        for section, keys in set_.items()
        for key, value in keys.items()
        if f"{section}.{key}" not in read and value != usual[section][key] and value not in UNSET
    ]


def check_keys(task: type[Task], recipe: Recipe, boxes: bool) -> None:
    """Raises: BadRecipe for a key that is set and that nobody reads. Args: boxes, whether the source has them: what
    becomes of its pictures without any is settled before a task is known."""
    unread = [key for key in unread_keys(task, recipe) if not (boxes and key in ("data.unlabelled", "data.box_origin"))]
    if not unread:
        return check_of_weights(recipe)
    reading = [other.name for other in TASKS if unread[0] in other.keys]
    readers = [name for name, entry in HEADS.items() if unread[0] in entry.keys]
    who = f"--task {' or '.join(reading)} does" if reading else f"--detector {' or '.join(readers)} does"
    raise BadRecipe(f"{unread[0]} is set, but --task {task.name} does not use it; {who}. Remove it.")


def check_of_weights(recipe: Recipe) -> None:
    """Raises: BadRecipe for a key that is set and that only a network which starts from weights reads."""
    if parse_weights(recipe.network.weights)[0] != SCRATCH:
        return
    for section, key in (name.split(".") for name in OF_WEIGHTS):
        if getattr(getattr(recipe, section), key) not in UNSET:
            raise BadRecipe(
                f"{section}.{key} is set, but is only used with pretrained weights: give --weights, or remove it."
            )


def set_for_loop(recipe: Recipe) -> list[str]:
    """Keys that are set and that only training step by step reads."""
    usual, asked = Recipe().training, recipe.training
    names = sorted(key.partition(".")[2] for key in OF_LOOP)
    return [f"training.{name}" for name in names if getattr(asked, name) != getattr(usual, name)]


def check_typed(recipe: Recipe, typed: Mapping[str, str]) -> None:
    """What was typed, and is read nowhere in such a training. A recipe that a run saved holds every key, and is none of
    this: it repeats the run.

    Args:   typed, key -> the option that a user typed for it.
    Raises: BadRecipe.
    """
    if recipe.network.train != "head":
        return
    for key, option in typed.items():
        if key in OF_LOOP:
            name = key if option == "--set" else option
            raise BadRecipe(
                f"{name} is for training in steps, and --train head fits the head in one step: remove it, or "
                "give --train last:1."
            )


def task_of_file(word: str, head: str) -> type[Task] | None:
    """The task of a model's file, by its word for it and the head that the file names; None for an unknown one."""
    trained = HEADS[head].task if head in HEADS else ""
    fitting = [task for task in TASKS if task.word == word]
    return next((task for task in fitting if task.name == trained), fitting[-1] if fitting else None)


def _no_such(key: str, value: str, known: list[str]) -> str:
    return f'{key} must be one of {", ".join(known)}, is "{shown(value[:60])}"{did_you_mean(value[:60], known)}'
