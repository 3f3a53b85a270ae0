"""Several trainings from one start, and the mean of their weights.

Trainings that begin at the same weights and differ in their draws end in one valley: the mean of their weights is a
network that is right about as often as the best of them, and surer with reason, for the price of one at use. Source:
Wortsman et al. 2022, arXiv:2203.05482 (model soups), section 2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from foveal.progress import SILENT, Progress
from foveal.recipe import AUTO
from foveal.training.fit import Fitted, fit
from foveal.training.setup import Setup

__all__ = ["Soup", "averaged", "mean_of", "others_of"]

FOLDER = "soup-{}"  # of the second training and those after it, in the run's folder


@dataclass(frozen=True, eq=False)
class Soup:
    """What came out of several trainings, as one."""

    weights: dict[str, Tensor]
    epoch: int

    def result(self) -> dict[str, Tensor]:
        """The state dict that gets used."""
        return self.weights


def others_of(setup: Setup) -> list[Setup]:
    """The same training with other draws, as often as `training.soup` says besides; before the first step of any."""
    asked = setup.recipe.training.soup
    count = 1 if asked == AUTO else int(asked)  # left open where no training starts from weights
    return [_with_seed(setup, setup.recipe.training.seed + number) for number in range(1, count)]


def averaged(
    first: Fitted, others: Sequence[Setup], folder: Path, *, resume: bool = False, progress: Progress = SILENT
) -> Fitted:
    """The mean of a training that has ended and of the others, which are run now; its history is that of the first.

    Raises: as `fit`; resuming goes on with the first that had not ended.
    """
    if not others:
        return first
    results, seconds = [_kept(first)], first.seconds
    for number, other in enumerate(others, 2):
        progress.say(f"Training {number} of {len(others) + 1}, from the same start with another random seed.")
        place = folder / FOLDER.format(number)
        place.mkdir(exist_ok=True)
        fitted = fit(other, place, resume=resume and (place / "checkpoint").is_dir(), progress=progress)
        results.append(_kept(fitted))
        seconds += fitted.seconds
    assert first.state is not None
    return replace(first, state=Soup(mean_of(results), first.state.epoch), seconds=seconds)


def mean_of(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts of one network; what counts batches (int64) is the first one's."""
    first = states[0]
    return {
        name: sum((state[name] for state in states[1:]), value) / len(states) if value.is_floating_point() else value
        for name, value in first.items()
    }


def _with_seed(setup: Setup, seed: int) -> Setup:
    """On a copy of the network."""
    return replace(
        setup,
        recipe=setup.recipe.with_settings({"training.seed": seed}),
        batches=replace(setup.batches, seed=seed),
        network=copy.deepcopy(setup.network),
    )


def _kept(fitted: Fitted) -> dict[str, Tensor]:
    assert fitted.state is not None
    return {name: value.detach().clone() for name, value in fitted.state.result().items()}
