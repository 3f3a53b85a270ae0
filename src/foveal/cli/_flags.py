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
)
HEAD_NAMES = ", ".join(heads_for("detect"))
TASKS = ", ".join(f"{name} ({gives})" for name, gives in TASK_NAMES.items())

FLAGS: dict[str, Flag] = {
    "--network": Flag(SHORT["network"], "NAME", "See `foveal networks`. [the best for the pictures and the time]"),
    "--weights": Flag(
        SHORT["weights"],
        "auto|scratch|imagenet|FILE",
        "What to start from. [photographs: the best published weights that are here]",
    ),
    "--train": Flag(
        SHORT["train"],
        "PART",
        "With weights: head, last:K stages, all, better (of head and all), scratch. [what the time allows]",
    ),
    "--detector": Flag(SHORT["detector"], "KIND", f"With boxes, what stands on the network: {HEAD_NAMES}. [yolo]"),
    "--epochs": Flag(SHORT["epochs"], "N", "Times that every picture is seen.", number=True),
    "--minutes": Flag(SHORT["minutes"], "M", "Plan the whole run so that it ends in M minutes.", number=True),
    "--size": Flag(SHORT["size"], "S|HxW", "Pixels a side, or height x width."),
    "--batch": Flag(SHORT["batch"], "B", "Pictures a step.", number=True),
    "--seed": Flag(SHORT["seed"], "N", "Another seed, other random draws. [0]", number=True),
    "--task": Flag(SHORT["task"], "KIND", f"{TASKS}. [detect where there are boxes]"),
    "--accuracy": Flag(
        SHORT["accuracy"], "A", "Share of answers to be right, such as 0.99; abstains on the rest.", number=True
    ),
    "--device": Flag(SHORT["device"], "D", "cpu, cuda, mps. [the best present]"),
    "--threads": Flag(SHORT["threads"], "N", "Threads that compute.", number=True),
    "--split": Flag(SHORT["split"], "FILE", "CSV of path and split."),
    "--test-if": Flag(SHORT["test_if"], "REGEX", "Pictures whose path matches are test."),
    "--exclude": Flag(SHORT["exclude"], "FILE", "CSV of paths to leave out."),
    "--unlabelled": Flag(
        SHORT["unlabelled"], "KIND", "With boxes, pictures without annotation: leave-out, background. [leave-out]"
    ),
    "--box-origin": Flag(
        SHORT["box_origin"], "auto|0|1", "With boxes in pixels, what their source calls the first pixel. [auto]"
    ),
    "--contradictions": Flag(
        SHORT["contradictions"], "KIND", "Equal pictures under two labels: leave-out, refuse. [leave-out]"
    ),
    "--group-by": Flag(
        SHORT["group_by"], "REGEX|COLUMN", "What it names alike (a patient, a plant) stays in one split."
    ),
    "--held-out": Flag(SHORT["held_out"], "test|val", "What a source's val is where it has no test. [test]"),
    "--white": Flag(SHORT["white"], "auto|V", "Value that is white in pictures of more than 8 bits. [auto]"),
    "--store": Flag(SHORT["store"], "KIND", "How pictures are kept: pixels, jpeg, none."),
    "--max-megapixels": Flag(SHORT["max_megapixels"], "M", "Larger pictures are left out. [100]", number=True),
    "--exact": Flag(SHORT["exact"], "", "Compute in fp32; nothing faster is tried.", value="fp32"),
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
