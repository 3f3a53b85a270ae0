"""Short names of the recipe's keys: the options of the command and the keywords of `foveal.train` are this table.

It knows no values: what a key may be, the recipe says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from foveal.errors import BadRecipe, did_you_mean

__all__ = ["INSTEAD", "SHORT", "Change", "Short", "changes_of", "check_length"]

Change = tuple[str, Any, str]  # key of the recipe, value, and what the user typed

SHORT: dict[str, str] = {
    "network": "network.name",
    "weights": "network.weights",
    "train": "network.train",
    "detector": "network.detector",
    "epochs": "training.epochs",
    "minutes": "training.minutes",
    "size": "data.size",
    "batch": "training.batch_size",
    "seed": "training.seed",
    "task": "training.task",
    "accuracy": "training.accuracy",
    "precision": "training.precision",
    "device": "training.device",
    "threads": "training.threads",
    "split": "data.split",
    "test_if": "data.test_if",
    "exclude": "data.exclude",
    "unlabelled": "data.unlabelled",
    "box_origin": "data.box_origin",
    "contradictions": "data.contradictions",
    "labels": "data.labels",
    "label_separator": "data.label_separator",
    "group_by": "data.group_by",
    "held_out": "data.held_out",
    "white": "data.white",
    "store": "data.store",
    "max_megapixels": "data.max_megapixels",
    "exact": "training.arithmetic",  # alone it stands for fp32
}
INSTEAD: dict[str, dict[str, Any]] = {  # of two keys that say the same, the one that is typed wins over the recipe's
    "training.epochs": {"training.minutes": 0.0},
    "training.minutes": {"training.epochs": "auto"},
}


class Short(TypedDict, total=False):
    """The same for editors and type checkers; `network` is an argument of its own, which may be a module as well."""

    weights: str | Path
    train: str
    detector: str
    epochs: int | Literal["auto"]
    minutes: float
    size: int | str | tuple[int, int]
    batch: int | Literal["auto"]
    seed: int
    task: str
    accuracy: float
    precision: float
    device: str
    threads: int | Literal["auto"]
    split: str | Path
    test_if: str
    exclude: str | Path
    unlabelled: Literal["leave-out", "background"]
    box_origin: Literal["auto", "0", "1", 0, 1]
    contradictions: Literal["leave-out", "refuse"]
    labels: Literal["auto", "one", "several"]
    label_separator: str
    group_by: str
    held_out: Literal["test", "val"]
    white: float | Literal["auto", "by type"]
    store: Literal["auto", "pixels", "jpeg", "none"]
    max_megapixels: float
    exact: bool


def changes_of(given: Mapping[str, Any], others: Iterable[str] = ()) -> list[Change]:
    """What keywords change, as the recipe writes it; None stands for a keyword that is not given.

    Args:   others, keywords beside the short names, for who mistypes one.
    Raises: BadRecipe for an unknown keyword, with the nearest that exists.

    >>> changes_of({"size": (192, 256), "exact": True, "seed": None})
    [('data.size', '192x256', 'size'), ('training.arithmetic', 'fp32', 'exact')]
    """
    changes: list[Change] = []
    for name, value in given.items():
        if name not in SHORT:
            near = did_you_mean(name, [*SHORT, *others])
            raise BadRecipe(f'no keyword "{name}"{near or "; settings={...} reaches every key of the recipe."}')
        if name == "exact" and isinstance(value, bool):
            value = "fp32" if value else None
        if value is not None:
            changes.append((SHORT[name], _written(name, value), name))
    return changes


def check_length(changes: Iterable[Change], epochs: str = "epochs", minutes: str = "minutes") -> None:
    """Raises: BadRecipe where epochs and minutes are both asked for. Args: what the two are called."""
    if {"training.epochs", "training.minutes"} <= {key for key, value, _ in changes if value not in (0, "auto")}:
        raise BadRecipe(f"{epochs} and {minutes} both say how long to train; give one of them.")


def _written(name: str, value: Any) -> Any:
    """Paths, and numbers of keys that are texts, as texts."""
    if name == "size" and isinstance(value, tuple):
        return "x".join(map(str, value))
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if isinstance(value, Path) or (whole and name in ("size", "box_origin")) else value
