"""What options say of themselves that are short for keys of the recipe; the list of them is `short_names.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from foveal.short_names import SHORT, Change, check_length
from foveal.tasks.heads import heads_for
from foveal.tasks.names import TASK_NAMES

if TYPE_CHECKING:
    from foveal.data.sources import Reading

__all__ = ["FLAGS", "Change", "Flag", "changed_keys", "reading", "reading_flags", "white_of", "with_flags"]


@dataclass(frozen=True)
class Flag:
    """An option that is short for a key of the recipe."""

    key: str
    metavar: str
    help: str
    number: bool = False  # written without quotes in TOML
    value: str = ""  # what the flag alone stands for; "": it takes a value


READING = (
    "--split",
    "--test-if",
    "--exclude",
    "--group-by",
    "--held-out",
    "--unlabelled",
    "--box-origin",
    "--contradictions",
    "--labels",
    "--label-separator",
)
HEAD_NAMES = ", ".join(heads_for("detect"))
TASKS = ", ".join(f"{name} ({gives})" for name, gives in TASK_NAMES.items())

FLAGS: dict[str, Flag] = {
    "--network": Flag(SHORT["network"], "NAME", "See `foveal networks`. [the best for the pictures and the time]"),
    "--weights": Flag(
        SHORT["weights"],
        "auto|scratch|imagenet|FILE",
        "Initial weights. [photographs: the best pretrained weights on this machine]",
    ),
    "--train": Flag(
        SHORT["train"],
        "PART",
        "With pretrained weights, what to train: head, last:K stages, all, better (of head and all), scratch. "
        "[what the time allows]",
    ),
    "--detector": Flag(SHORT["detector"], "KIND", f"Detection head, with boxes: {HEAD_NAMES}. [yolo]"),
    "--epochs": Flag(SHORT["epochs"], "N", "Passes over the training pictures.", number=True),
    "--minutes": Flag(SHORT["minutes"], "M", "Plan the whole run to finish within M minutes.", number=True),
    "--size": Flag(SHORT["size"], "S|HxW", "Input size: pixels a side, or height x width."),
    "--batch": Flag(SHORT["batch"], "B", "Batch size: pictures a step.", number=True),
    "--seed": Flag(SHORT["seed"], "N", "Seed of all random numbers. [0]", number=True),
    "--task": Flag(SHORT["task"], "KIND", f"{TASKS}. [detect where there are boxes]"),
    "--accuracy": Flag(SHORT["accuracy"], "A", "Target accuracy, such as 0.99; abstains when less sure.", number=True),
    "--precision": Flag(
        SHORT["precision"],
        "P",
        "Of several labels a picture: target precision of each, such as 0.95. [best F1]",
        number=True,
    ),
    "--device": Flag(SHORT["device"], "D", "cpu, cuda, mps. [the best available]"),
    "--threads": Flag(SHORT["threads"], "N", "Number of compute threads.", number=True),
    "--split": Flag(SHORT["split"], "FILE", "CSV with columns path and split."),
    "--test-if": Flag(SHORT["test_if"], "REGEX", "Pictures whose path matches become the test set."),
    "--exclude": Flag(SHORT["exclude"], "FILE", "CSV of paths to exclude."),
    "--unlabelled": Flag(
        SHORT["unlabelled"],
        "KIND",
        "With boxes, what to do with pictures without annotation: leave-out, background. [leave-out]",
    ),
    "--box-origin": Flag(
        SHORT["box_origin"], "auto|0|1", "Index of the first pixel in box coordinates: 0 or 1. [auto]"
    ),
    "--contradictions": Flag(
        SHORT["contradictions"],
        "KIND",
        "What to do with identical pictures under two labels: leave-out, refuse. [leave-out]",
    ),
    "--labels": Flag(
        SHORT["labels"], "auto|one|several", "Of a picture in a table; several may be none. [as it has them]"
    ),
    "--label-separator": Flag(
        SHORT["label_separator"], "TEXT", "Between several labels in a cell, such as ; or |; none: one label. [auto]"
    ),
    "--group-by": Flag(
        SHORT["group_by"], "REGEX|COLUMN", "Keep pictures of one group (a patient, a plant) in one split."
    ),
    "--held-out": Flag(
        SHORT["held_out"], "test|val", "What to use val as when the source has no test: test, val. [test]"
    ),
    "--white": Flag(SHORT["white"], "auto|V", "Pixel value of white in pictures with more than 8 bits. [auto]"),
    "--store": Flag(SHORT["store"], "KIND", "How decoded pictures are cached: pixels, jpeg, none."),
    "--max-megapixels": Flag(SHORT["max_megapixels"], "M", "Skip larger pictures. [100]", number=True),
    "--exact": Flag(SHORT["exact"], "", "Compute in fp32 only; do not try faster formats.", value="fp32"),
}


def reading_flags() -> dict[str, Flag]:
    """Those that tell how a source is read and split, for every command that opens one."""
    return {flag: FLAGS[flag] for flag in READING}


def reading(given: Mapping[str, Any]) -> Reading:
    """What was typed of them, as `open_dataset` takes it. Raises: BadRecipe for a word that a key may not be."""
    from foveal.data.sources import reading_of
    from foveal.recipe import Recipe

    typed = {FLAGS[flag].key: value for flag, value in given.items() if value is not None}
    return reading_of(Recipe().with_settings(typed, "options").data)


def white_of(typed: str | None) -> float | Literal["auto", "by type"]:
    """What was typed behind --white. Raises: BadRecipe."""
    from foveal.recipe import Recipe, parse_setting

    key = FLAGS["--white"].key
    value = parse_setting(f"{key}={'auto' if typed is None else typed}")[1]
    return Recipe().with_settings({key: value}, "--white").data.white


def with_flags(flags: Mapping[str, Flag]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that takes `**given` with an option for each flag; the command gets them by the flags' names."""

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {_name(flag): flag for flag in flags}
        added = [_option(name, flag, flags[flag]) for name, flag in names.items()]

        @wraps(command)
        def run(**typed: Any) -> None:
            given = {flag: typed.pop(name) for name, flag in names.items()}
            command(**typed, **given)

        run.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*kept, *added]}
        return run

    return with_options


def changed_keys(flags: Mapping[str, Flag], given: Mapping[str, Any], settings: Sequence[str]) -> list[Change]:
    """What every flag and every --set changes, in that order. Raises: BadRecipe for two that contradict each other."""
    from foveal.recipe import parse_setting

    changes: list[Change] = []
    for name, typed in given.items():
        flag = flags[name]
        if typed is None or typed is False:
            continue
        value = flag.value or typed  # the recipe knows what each key may be: numbers are read as it reads them
        changes.append((flag.key, parse_setting(f"{flag.key}={value}")[1] if flag.number else value, name))
    changes += [(*parse_setting(text), "--set") for text in settings]
    check_length(changes, "--epochs", "--minutes")
    return changes


def _name(flag: str) -> str:
    return "flag_" + flag.removeprefix("--").replace("-", "_")


def _option(name: str, flag: str, known: Flag) -> inspect.Parameter:
    option = typer.Option(flag, metavar=known.metavar or None, help=known.help)
    kind = Annotated[bool, option] if known.value else Annotated[str | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False if known.value else None, annotation=kind
    )
