"""How many epochs fit into --minutes: the loop itself, rehearsed for some seconds on a copy of the network."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from foveal.progress import Progress
from foveal.training import planner
from foveal.training.learner import Learner

if TYPE_CHECKING:
    from foveal.training.detecting import DetectionGround
    from foveal.training.ground import Ground

__all__ = ["planned_epochs"]

SECONDS = 4.0  # of the loop
SHARE = 0.03  # and never more than this of the minutes

Grounded = TypeVar("Grounded", "Ground", "DetectionGround")


class _Enough(Exception):
    """The rehearsal has seen what it needs."""


@dataclass
class _Stopwatch:
    """Looks on while the loop is rehearsed: the first step warms up, the rest is timed."""

    until: float
    steps: int = 0
    began: float = 0.0
    seconds: float = 0.0

    def after_step(self, learner: Learner, steps: int) -> None:
        now = time.perf_counter()
        if self.steps == 0:
            self.began = now
        self.steps += 1
        self.seconds = now - self.began
        if now > self.until and self.steps > 1:
            raise _Enough

    def after_epoch(self, learner: Learner) -> None:
        raise _Enough


def planned_epochs(ground: Grounded, progress: Progress) -> int:
    """The epochs that fit, training and validation, a share kept for what stands around them.

    Raises: BadRecipe when not even one does.
    """
    minutes = ground.recipe.training.minutes
    rehearsed = replace(
        ground,
        network=copy.deepcopy(ground.network),
        recipe=ground.recipe.with_settings({"training.epochs": 1, "training.on_nan": "skip"}),
    )
    learner = rehearsed.learner()
    seconds = min(SECONDS, SHARE * minutes * 60)
    watch = _Stopwatch(time.perf_counter() + seconds)
    with contextlib.suppress(_Enough):
        rehearsed.train(learner, watch)
    began = time.perf_counter()
    rehearsed.validate(learner.result(), learner)
    validation = time.perf_counter() - began
    step = watch.seconds / max(1, watch.steps - 1) if watch.steps > 1 else seconds
    epochs = planner.epochs_in(minutes, len(ground.batches) * step + validation)
    progress.say(f"{epochs} epochs fit into {minutes:g} minutes.")
    return epochs
