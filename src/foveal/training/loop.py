"""The loop: every network of foveal learns on this page. `foveal train --show-loop` prints it with a run's values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from foveal.data.augment import mix
from foveal.data.batches import TrainingBatches
from foveal.data.box_batches import BoxBatches
from foveal.errors import NotFinite
from foveal.ops.draws import step_seed
from foveal.preprocess import Preprocess
from foveal.tasks.architecture import BoxTask
from foveal.tasks.classification import Classification
from foveal.training.arithmetic import Arithmetic
from foveal.training.learner import Epoch, Learner, Tally
from foveal.training.optimisers import set_rate
from foveal.training.planner import Plan
from foveal.training.schedules import rate_factor

__all__ = ["Watch", "train_epochs"]


class Watch(Protocol):
    """Who looks on: draws progress, writes checkpoints, stops the run when a signal came."""

    def after_step(self, learner: Learner, steps: int) -> None: ...

    def after_epoch(self, learner: Learner) -> None: ...


def train_epochs(
    learner: Learner,
    plan: Plan,
    batches: TrainingBatches | BoxBatches,
    task: Classification | BoxTask,
    preprocess: Preprocess,
    arithmetic: Arithmetic,
    validate: Callable[[dict[str, Tensor]], tuple[float, float]],
    watch: Watch,
) -> None:
    """Train from where the learner stands to the last epoch of the plan, or until validation stops getting better."""
    network, optimizer = learner.network, learner.optimizer
    steps = len(batches) * plan.epochs
    while learner.epoch < plan.epochs:
        learner.train()
        began = time.perf_counter()
        for batch in batches.epoch(learner.epoch, start=learner.step):
            now = len(batches) * learner.epoch + learner.step
            torch.manual_seed(step_seed(plan.seed, now))  # what dropout draws belongs to the step
            set_rate(optimizer, rate_factor(plan.schedule, plan.warmup, now, steps))

            images = arithmetic.images(preprocess.tensor(batch.pixels.to(arithmetic.device)))  # (N, C, H, W) float32
            labels = batch.labels.to(arithmetic.device)  # (N,) int64; with boxes (N, M, 5)
            images, targets = mix(
                plan.augment, images, labels, len(task.classes), plan.seed, learner.epoch, learner.step
            )
            with arithmetic.autocast():
                outputs = network(images)  # (N, K) logits, and those of auxiliary classifiers where it has some
            loss = task.loss(outputs, targets)
            if finite(loss, learner, plan.on_nan):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if plan.clip:
                    nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
                optimizer.step()  # every network of foveal learns on this line
                if learner.averaged:
                    learner.averaged.update(network)
                learner.tally.add(loss, task.right(outputs, targets), len(images))

            learner.step += 1
            learner.tally.seconds += time.perf_counter() - began
            began = time.perf_counter()
            watch.after_step(learner, len(batches))
        last = rate_factor(plan.schedule, plan.warmup, len(batches) * (learner.epoch + 1) - 1, steps)
        end_epoch(learner, validate, plan.learning_rate * last)
        watch.after_epoch(learner)
        if plan.early_stopping and learner.epoch - learner.best_epoch >= plan.early_stopping:
            break


def finite(loss: Tensor, learner: Learner, on_nan: str) -> bool:
    """Whether the step may be taken. Raises: NotFinite, unless on_nan is "skip"."""
    if math.isfinite(loss.item()):
        return True
    if on_nan == "skip":
        learner.tally.skipped += 1
        return False
    rate = learner.optimizer.param_groups[0]["lr"]
    raise NotFinite(
        f"The loss became {loss.item()} in epoch {learner.epoch + 1}, step {learner.step + 1}, at a learning rate of "
        f"{rate:.3g}; try --set training.learning_rate={rate / 4:.2g} or --set training.clip=1."
    )


def end_epoch(
    learner: Learner, validate: Callable[[dict[str, Tensor]], tuple[float, float]], learning_rate: float
) -> None:
    """Score validation with the weights that would be used, write the row, remember the best."""
    began = time.perf_counter()
    val_loss, val_top1 = validate(learner.result())
    tally = learner.tally
    seen = max(1, tally.seen)
    seconds = tally.seconds + time.perf_counter() - began
    learner.history.append(
        Epoch(
            epoch=learner.epoch + 1,
            train_loss=tally.loss / seen,
            train_top1=tally.right / seen,
            val_loss=val_loss,
            val_top1=val_top1,
            learning_rate=learning_rate,
            images_per_second=tally.seen / max(tally.seconds, 1e-9),
            seconds=seconds,
        )
    )
    learner.epoch, learner.step, learner.tally = learner.epoch + 1, 0, Tally()
    learner.seconds += seconds
    if val_loss < learner.best_loss:
        learner.best_loss, learner.best_epoch = val_loss, learner.epoch
