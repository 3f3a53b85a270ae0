"""What the loop, its rehearsal and what stands around it need of a training: `Setup` is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from foveal.data.batches import Rows, TrainingBatches
from foveal.data.box_batches import BoxBatches
from foveal.data.dataset import Dataset
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.task import Task
from foveal.training.arithmetic import Arithmetic
from foveal.training.measuring import Measured
from foveal.training.planner import Plan
from foveal.training.train_state import TrainState

__all__ = ["Trainable", "Trained", "with_replaced"]


class Trainable(Protocol):
    """A frozen value; what changes while a network learns is its `TrainState`."""

    @property
    def dataset(self) -> Dataset:
        """Pictures with labels or boxes."""
        ...

    @property
    def store(self) -> Rows:
        """The pictures' pixels."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Nothing "auto" is left in it."""
        ...

    @property
    def plan(self) -> Plan:
        """What the loop reads of the recipe."""
        ...

    @property
    def network(self) -> nn.Module:
        """As it is when the training begins."""
        ...

    @property
    def batches(self) -> TrainingBatches | BoxBatches:
        """The training pictures, anew in each epoch."""
        ...

    @property
    def task(self) -> Task:
        """What outputs mean."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """From pixels to tensors."""
        ...

    @property
    def arithmetic(self) -> Arithmetic:
        """Format, layout and device."""
        ...

    @property
    def measured(self) -> Measured:
        """What measuring promised."""
        ...

    def begun(self) -> TrainState:
        """A state at the start."""
        ...

    def validate(self, weights: dict[str, Tensor], state: TrainState) -> tuple[float, float]:
        """Loss and share of right answers on validation, with these weights; NaN where there is none."""
        ...


Trained = TypeVar("Trained", bound=Trainable)


def with_replaced(setup: Trained, **changed: Any) -> Trained:
    """A copy with other values; every `Trainable` is a dataclass."""
    copied: Trained = replace(setup, **changed)  # type: ignore[type-var]
    return copied
