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
from foveal.training.fit import Fitted, fit
from foveal.training.setup import Setup

__all__ = ["Soup", "fit_several", "mean_of"]

FOLDER = "soup-{}"  # of the second training and those after it, in the run's folder


@dataclass(frozen=True, eq=False)
class Soup:
    """What came out of several trainings, as one."""

    weights: dict[str, Tensor]
    epoch: int

    def result(self) -> dict[str, Tensor]:
        """The state dict that gets used."""
        return self.weights


def fit_several(setup: Setup, folder: Path, *, resume: bool = False, progress: Progress = SILENT) -> Fitted:
    """As many trainings as `training.soup` says, each as `fit` does; their history is that of the first.

    Raises: as `fit`; resuming goes on with the first that had not ended.
    """
    count = int(setup.recipe.training.soup)
    others = [_other(setup, number) for number in range(1, count)]
    first = fit(setup, folder, resume=resume, progress=progress)
    if not others or first.state is None:
        return first
    results, seconds = [_kept(first)], first.seconds
    for number, other in enumerate(others, 2):
        progress.say(f"Training {number} of {count}, with other draws from the same start.")
        place = folder / FOLDER.format(number)
        place.mkdir(exist_ok=True)
        fitted = fit(other, place, resume=resume and (place / "checkpoint").is_dir(), progress=progress)
        results.append(_kept(fitted))
        seconds += fitted.seconds
    return replace(first, state=Soup(mean_of(results), first.state.epoch), seconds=seconds)


def mean_of(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts of one network; what counts batches (int64) is the first one's."""
    first = states[0]
    return {
        name: sum((state[name] for state in states[1:]), value) / len(states) if value.is_floating_point() else value
        for name, value in first.items()
    }


def _other(setup: Setup, number: int) -> Setup:
    """The same training with other draws, on a copy of the network as it is before the first step."""
    seed = setup.recipe.training.seed + number
    return replace(
        setup,
        recipe=setup.recipe.with_settings({"training.seed": seed}),
        batches=replace(setup.batches, seed=seed),
        network=copy.deepcopy(setup.network),
    )


def _kept(fitted: Fitted) -> dict[str, Tensor]:
    assert fitted.state is not None
    return {name: value.detach().clone() for name, value in fitted.state.result().items()}
