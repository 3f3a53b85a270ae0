"""Whether a trunk that has learnt is kept: on pictures that neither it nor the head has learnt from.

Few pictures teach a trunk something, or spoil what it knew; which of the two, nobody can tell beforehand. The pictures
of validation were kept aside from its training, and heads that had not seen them have answered them when the head's
penalty was chosen. Whoever gives the truth the higher probability is kept, each calibrated at its best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foveal.files.plain_table import counted
from foveal.model import Model
from foveal.tasks.task import linear
from foveal.training.calibrate import evidence_of
from foveal.training.setup import Setup

__all__ = ["Judged", "judged"]


@dataclass(frozen=True)
class Judged:
    """What both gave the truth of the pictures held out, in nats."""

    head: float  # of heads alone, out of fold
    trunk: float  # of the network whose trunk has learnt
    pictures: int

    @property
    def head_is_better(self) -> bool:
        """Equal ones are the head's: it has learnt from all the pictures."""
        return self.head <= self.trunk

    @property
    def sentence(self) -> str:
        """What is kept, and why."""
        kept = "the frozen trunk is kept" if self.head_is_better else "the fine-tuned trunk is kept"
        return (
            f"On {counted(self.pictures, 'held-out picture')}, the fine-tuned network has a loss of {self.trunk:.3g} "
            f"nats, heads on the frozen trunk {self.head:.3g}: {kept}."
        )


def judged(setup: Setup, model: Model) -> Judged | None:
    """None where that is no question, or nothing is held out.

    Args: model, of the network whose trunk has learnt.
    """
    transfer, held_out = setup.transfer, setup.splits["val"]
    if transfer is None or setup.recipe.network.train != "better" or not len(held_out):
        return None
    task = linear(setup.task)
    truth = task.truth(setup.dataset, held_out)
    heads = transfer.chosen.logits[np.searchsorted(transfer.indices, held_out)]
    trunk = evidence_of(model, setup, held_out).logits
    return Judged(task.surprise(heads, truth), task.surprise(trunk, truth), len(held_out))
