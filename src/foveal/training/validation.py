"""Validation: loss and right answers on pictures that are not learnt from, with the weights that would be used."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from foveal.data.batches import Rows, batches_in_order
from foveal.tasks.task import Task
from foveal.training.arithmetic import Arithmetic
from foveal.training.trainable import Trainable

__all__ = ["validated"]


class _Judge(nn.Module):
    """Loss and right answers of pictures as one module, so that all parts of a network answer with the same weights."""

    def __init__(self, network: nn.Module, task: Task, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.network, self.task, self.arithmetic = network, task, arithmetic

    def forward(self, images: Tensor, targets: Tensor) -> tuple[float, float]:
        with self.arithmetic.autocast():
            outputs = self.network(images)
        return float(self.task.plain_loss(outputs, targets)), self.task.right(outputs, targets)


def validated(
    setup: Trainable, store: Rows, indices: NDArray[np.int64], weights: dict[str, Tensor], network: nn.Module
) -> tuple[float, float]:
    """Loss (without smoothing) and the share of right answers; NaN where nothing is kept aside, or that is no question.

    Args: store and indices, of the pictures; weights, by the names of the network, which is left in eval mode.
    """
    arithmetic = setup.arithmetic
    if not len(indices):
        return math.nan, math.nan
    judge = _Judge(network.eval(), setup.task, arithmetic)
    own = {f"network.{name}": value for name, value in weights.items()}
    loss, right, done = 0.0, 0.0, 0
    with torch.inference_mode():
        for pixels in batches_in_order(store, indices, setup.batches.batch_size):
            images = arithmetic.images(setup.preprocess.tensor(pixels.to(arithmetic.device)))
            targets = setup.batches.targets(indices[done : done + len(pixels)]).to(arithmetic.device)
            one, hits = functional_call(judge, own, (images, targets))
            loss, right, done = loss + one * len(pixels), right + hits, done + len(pixels)
    return loss / len(indices), right / len(indices)
