"""What would mend a result that the classic baseline beats: one sentence, and the command to type."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from foveal.errors import shown
from foveal.files.plain_table import percent
from foveal.recipe import SCRATCH, Recipe
from foveal.training.baseline import Baseline
from foveal.training.settle import facts_about
from foveal.training.setup import Setup
from foveal.training.start import looks_like_photographs, way_to_weights

__all__ = ["Mend", "mend"]

MORE_EPOCHS, MORE_MINUTES = 3, 2  # times


@dataclass(frozen=True)
class Mend:
    """What to do about a result that is below the baseline."""

    sentence: str
    command: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        return vars(self)


def mend(setup: Setup, score: float, baseline: Baseline | None) -> Mend | None:
    """None where the network is at least as good as the baseline, or nothing was compared."""
    if baseline is None or baseline.score <= score:
        return None
    photographs = looks_like_photographs(facts_about(setup.dataset))
    why, command = _way(setup.recipe, photographs, setup.head_alone)
    return Mend(
        f"The baseline (HOG features and a linear classifier) did better than the network, "
        f"{percent(baseline.score)} against {percent(score)}: {why}.",
        command,
    )


def _way(recipe: Recipe, photographs: bool, head_alone: bool) -> tuple[str, str]:
    again = f"foveal train {shown(shlex.quote(recipe.data.source or 'SOURCE'))}"
    if recipe.network.weights == SCRATCH and photographs:
        first = way_to_weights()
        why = "start from pretrained weights"
        return why, f"{first} && {again}" if first else again
    if head_alone:
        return "train the trunk as well", f"{again} --train all"
    if recipe.training.minutes:
        return "train for longer", f"{again} --minutes {MORE_MINUTES * recipe.training.minutes:g}"
    return "train for more epochs", f"{again} --epochs {MORE_EPOCHS * int(recipe.training.epochs)}"
