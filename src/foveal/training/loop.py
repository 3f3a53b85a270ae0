"""The loop: every network of foveal learns on this page. `foveal train --show-loop` prints it with a run's values."""

from __future__ import annotations

import math
import time
from typing import Protocol

import torch
from torch import Tensor, nn

from foveal.errors import NotFinite
from foveal.ops.draws import step_seed
from foveal.training.optimisers import set_rate
from foveal.training.schedules import rate_factor
from foveal.training.train_state import Epoch, Tally, TrainState
from foveal.training.trainable import Trainable

__all__ = ["Watch", "train_epochs"]


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
    while state.epoch < plan.epochs:
        if stalled(state, plan.early_stopping):
            break
        state.train()
        began = time.perf_counter()
        for batch in batches.epoch(state.epoch, start=state.step):
            now = len(batches) * state.epoch + state.step
            torch.manual_seed(step_seed(plan.seed, now))  # what dropout draws belongs to the step
            set_rate(optimizer, rate_factor(plan.schedule, plan.warmup, now, steps))

            images = arithmetic.images(preprocess.tensor(batch.pixels.to(arithmetic.device)))  # (N, C, H, W) float32
            labels = batch.labels.to(arithmetic.device)  # (N,) int64; with boxes (N, M, 5)
            images, targets = batches.mixed(images, labels, state.epoch, state.step)
            with arithmetic.autocast():
                outputs = network(images)  # (N, K) logits, and those of auxiliary classifiers where it has some
            loss = task.loss(outputs, targets)
            if finite(loss, state, plan.on_nan):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if plan.clip:
                    nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
                optimizer.step()  # every network of foveal learns on this line
                if state.averaged:
                    state.averaged.update(network)
                state.tally.add(loss, task.right(outputs, targets), len(images))

            state.step += 1
            state.tally.seconds += time.perf_counter() - began
            began = time.perf_counter()
            watch.after_step(state, len(batches))
        last = rate_factor(plan.schedule, plan.warmup, len(batches) * (state.epoch + 1) - 1, steps)
        end_epoch(state, setup, plan.learning_rate * last)
        watch.after_epoch(state)


def stalled(state: TrainState, patience: int) -> bool:
    """Whether validation has not got better for so many epochs (0: for any number); never where there is none."""
    return bool(patience) and math.isfinite(state.best_loss) and state.epoch - state.best_epoch >= patience


def finite(loss: Tensor, state: TrainState, on_nan: str) -> bool:
    """Whether the step may be taken. Raises: NotFinite, unless on_nan is "skip"."""
    if math.isfinite(loss.item()):
        return True
    if on_nan == "skip":
        state.tally.skipped += 1
        return False
    rate = state.optimizer.param_groups[0]["lr"]
    raise NotFinite(
        f"The loss became {loss.item()} in epoch {state.epoch + 1}, step {state.step + 1}, at a learning rate of "
        f"{rate:.3g}; try --set training.learning_rate={rate / 4:.2g} or --set training.clip=1."
    )


def end_epoch(state: TrainState, setup: Trainable, learning_rate: float) -> None:
    """Score validation with the weights that would be used, write the row, remember the best."""
    began = time.perf_counter()
    val_loss, val_top1 = setup.validate(state.result(), state)
    tally = state.tally
    seen = max(1, tally.seen)
    seconds = tally.seconds + time.perf_counter() - began
    state.history.append(
        Epoch(
            epoch=state.epoch + 1,
            train_loss=tally.loss / seen,
            train_top1=tally.right / seen,
            val_loss=val_loss,
            val_top1=val_top1,
            learning_rate=learning_rate,
            images_per_second=tally.seen / max(tally.seconds, 1e-9),
            seconds=seconds,
        )
    )
    state.epoch, state.step, state.tally = state.epoch + 1, 0, Tally()
    state.seconds += seconds
    if val_loss < state.best_loss:
        state.best_loss, state.best_epoch = val_loss, state.epoch
