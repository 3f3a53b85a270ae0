"""The loop: every network of foveal learns on this page. `foveal train --show-loop` prints it with a run's values."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from foveal.errors import NotFinite
from foveal.ops.draws import step_seed
from foveal.training.optimisers import set_rate
from foveal.training.schedules import rate_factor
from foveal.training.train_state import TrainState
from foveal.training.trainable import Trainable

__all__ = ["Watch", "check_finite", "stalled", "train_epochs"]


class Watch(Protocol):
    """Who looks on: draws progress, writes checkpoints, stops the run when a signal came."""

    def after_step(self, state: TrainState, steps: int) -> None:
        """Called when a step is done. Args: steps, of an epoch."""
        ...

    def after_epoch(self, state: TrainState) -> None:
        """Called when an epoch is done, its row written."""
        ...


def train_epochs(state: TrainState, setup: Trainable, watch: Watch) -> None:
    """Train from where the state stands to the last epoch of the plan, or until validation stops getting better."""
    plan, batches, task = setup.plan, setup.batches, setup.task
    preprocess, arithmetic = setup.preprocess, setup.arithmetic
    network, optimizer = state.network, state.optimizer
    steps = len(batches) * plan.epochs
    for epoch in range(state.epoch, plan.epochs):
        if plan.early_stopping and stalled(state, plan.early_stopping):
            break
        state.train()
        for batch in batches.epoch(epoch, start=state.step):
            now = len(batches) * epoch + batch.step
            torch.manual_seed(step_seed(plan.seed, now))  # what dropout draws belongs to the step
            set_rate(optimizer, rate_factor(plan.schedule, plan.warmup, now, steps))

            images = arithmetic.images(preprocess.tensor(batch.pixels.to(arithmetic.device)))  # (N, C, H, W) float32
            images, targets = batches.mixed(images, batch.labels.to(arithmetic.device), epoch, batch.step)
            with arithmetic.autocast():
                outputs = network(images)  # (N, K) logits, and those of auxiliary classifiers where it has some
            loss = task.loss(outputs, targets)  # targets (N,) int64, mixed ones (N, K) shares; with boxes (N, M, 5)
            if plan.on_nan == "stop":
                check_finite(loss, state)
            if plan.on_nan == "stop" or loss.isfinite():
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if plan.clip:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
                optimizer.step()  # every network of foveal learns on this line
                if state.averaged:
                    state.averaged.update(network)
                state.tally.add(loss, task.right(outputs, targets), len(images))
            else:
                state.tally.skipped += 1
            state.end_step()
            watch.after_step(state, len(batches))
        last = rate_factor(plan.schedule, plan.warmup, len(batches) * (epoch + 1) - 1, steps)
        val_loss, val_top1 = setup.validate(state.result(), state)
        state.end_epoch(val_loss, val_top1, plan.learning_rate * last)
        watch.after_epoch(state)


def stalled(state: TrainState, patience: int) -> bool:
    """Whether validation has not got better for so many epochs; never where there is none."""
    return math.isfinite(state.best_loss) and state.epoch - state.best_epoch >= patience


def check_finite(loss: Tensor, state: TrainState) -> None:
    """Raises: NotFinite where no step may be taken."""
    if math.isfinite(loss.item()):
        return
    rate = state.optimizer.param_groups[0]["lr"]
    raise NotFinite(
        f"The loss became {loss.item()} in epoch {state.epoch + 1}, step {state.step + 1}, at a learning rate of "
        f"{rate:.3g}; try --set training.learning_rate={rate / 4:.2g} or --set training.clip=1."
    )
