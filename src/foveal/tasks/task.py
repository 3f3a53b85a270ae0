"""What an answer is: the protocol that every task fulfils, and all that training and `Model` know of one.

A task is the part of learning that knows what the numbers mean. A network turns pictures into outputs; the task turns
labels into targets, targets and outputs into a loss, outputs into answers for people, and many answers into scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Scored", "Task"]

Truth = TypeVar("Truth", contravariant=True)  # labels as a data set has them: class indices, boxes
Answer = TypeVar("Answer")  # what one picture is answered with
Figures = TypeVar("Figures", bound="Scored", covariant=True)


class Scored(Protocol):
    """How well a split was answered."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        ...


class Task(Protocol[Truth, Answer, Figures]):
    """Targets, loss, answers, scores."""

    def encode(self, labels: Truth) -> Tensor:
        """Labels of N pictures -> the targets that `loss` compares with."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs of N pictures and their targets -> a scalar to go down."""
        ...

    def decode(self, logits: Tensor, temperature: float = 1.0, top: int = 5) -> list[Answer]:
        """Outputs of N pictures -> N answers."""
        ...

    def score(self, logits: Tensor, labels: Truth, temperature: float = 1.0) -> Figures:
        """Outputs and labels of a whole split -> its figures."""
        ...
