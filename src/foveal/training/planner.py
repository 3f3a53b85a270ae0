"""The planner: what a loop reads of a recipe, and what fits into --minutes.

What a task usually does is told by the task (`tasks/label_defaults.py`, `tasks/box_defaults.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foveal.errors import BadRecipe
from foveal.networks.facts import facts_of
from foveal.recipe import Recipe
from foveal.tasks.label_defaults import SMALL_SIDE, epochs_for

__all__ = ["Plan", "TooShort", "choose_by_time", "epochs_in", "ladder"]

MOST_PLANNED = 100_000
TIME_KEPT = 0.06  # share of --minutes left for what nobody foresees


class TooShort(BadRecipe):
    """Minutes into which not one epoch fits; `needed`, those into which one does."""

    def __init__(self, sentence: str, needed: float) -> None:
        super().__init__(sentence)
        self.needed = needed

    def __reduce__(self) -> tuple[type[TooShort], tuple[str, float]]:
        return TooShort, (str(self), self.needed)


@dataclass(frozen=True)
class Plan:
    """A resolved recipe's numbers, as the loop reads them."""

    epochs: int
    learning_rate: float  # the peak
    schedule: str
    warmup: float
    clip: float
    on_nan: str
    seed: int
    early_stopping: int

    @staticmethod
    def of(recipe: Recipe) -> Plan:
        """The numbers of a resolved recipe."""
        t = recipe.training
        return Plan(
            int(t.epochs),
            float(t.learning_rate),
            t.schedule,
            float(t.warmup),
            float(t.clip),
            t.on_nan,
            t.seed,
            t.early_stopping,
        )


def ladder(recipe: Recipe, size: tuple[int, int], channels: int) -> list[tuple[str, tuple[int, int]]]:
    """What --minutes may choose from with `--network auto`, the dearest first. A size that was asked for stays."""
    if max(size) <= SMALL_SIDE and not recipe.from_weights:
        names = ("speednet_small",) if channels == 1 else ("speednet", "speednet_small")
        return [(name, size) for name in names]
    if recipe.data.size != "auto" or max(size) <= SMALL_SIDE:
        return [("resnet34", size), ("resnet18", size)]
    return [("resnet34", (224, 224)), *(("resnet18", (side, side)) for side in (224, 160, 128, 96, 64))]


def choose_by_time(
    minutes: float, pictures: int, rungs: Sequence[tuple[str, tuple[int, int]]], speed: Callable[[int], float]
) -> int:
    """The first rung of the ladder whose usual epochs fit into the minutes; the last one where none does.

    Args: speed, of a training step at one rung, in pictures a second.
    """
    for number, (name, _) in enumerate(rungs):
        epochs = epochs_for(int(facts_of(name).recipe["training.epochs"]), pictures)
        if epochs * pictures / speed(number) <= minutes * 60 * (1 - TIME_KEPT):
            return number
    return len(rungs) - 1


def epochs_in(minutes: float, seconds_an_epoch: float, spent: float = 0.0) -> int:
    """Whole epochs that fit into `minutes`, with a share kept for what nobody foresees; one where it fits by itself.

    Args:   spent, seconds of the minutes that are gone, or will go to what comes after the training.
    Raises: TooShort when not even one does.
    """
    seconds = minutes * 60 * (1 - TIME_KEPT)
    if seconds_an_epoch > seconds:
        raise TooShort(
            f"--minutes {minutes:g} is too short: one epoch takes about {seconds_an_epoch / 60:.2g} minutes here; "
            "give more time, or a smaller --size or --network.",
            seconds_an_epoch / 60 / (1 - TIME_KEPT),
        )
    return min(max(1, int((seconds - spent) / seconds_an_epoch)), MOST_PLANNED)
