"""Trials: what is timed when ways of computing are compared, from forward passes to whole steps of the loop itself."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from foveal.training.arithmetic import Arithmetic
from foveal.training.loop import train_epochs
from foveal.training.measuring import Enough, Timed, Trial
from foveal.training.train_state import Tally, TrainState
from foveal.training.trainable import Trainable, with_replaced

__all__ = ["answering", "fitting_pictures", "learning", "looping", "rehearsed"]

PIXELS_A_STEP, PICTURES_A_STEP = 400_000, 256  # at most: 7 pictures of 224², stable, and cheap for slow networks


def fitting_pictures(batch: int, size: tuple[int, int], least: int = 4) -> int:
    """How many pictures of (H, W) make a step that can be timed in a blink."""
    return min(batch, PICTURES_A_STEP, max(least, PIXELS_A_STEP // (size[0] * size[1])))


def learning(network: nn.Module, images: Tensor) -> Trial:
    """Forward, a loss and backward of (N, C, H, W) pictures: steps of a network that no recipe trains as yet."""
    return _repeated(network, images, _sound_step, training=True)


def answering(network: nn.Module, images: Tensor) -> Trial:
    """Forward passes of (N, C, H, W) pictures without gradients: all that a frozen trunk is asked for."""
    return _repeated(network, images, _sound_answer, training=False)


def looping(setup: Trainable, pictures: int) -> Trial:
    """Steps of the loop as it will run, loading, loss, optimiser and average included, with some pictures a step."""
    import torch._dynamo  # noqa: F401 - PyTorch's optimisers do so in their first step, which takes longer than the step

    smaller = with_replaced(setup, batches=replace(setup.batches, batch_size=min(pictures, len(setup.batches.indices))))

    def trial(arithmetic: Arithmetic, enough: Enough) -> Timed:
        return rehearsed(with_replaced(smaller, arithmetic=arithmetic), enough)[0]

    return trial


def rehearsed(setup: Trainable, enough: Enough) -> tuple[Timed, TrainState]:
    """Steps of the loop on a copy of the network, until they are enough, and the state that made them."""
    copied = with_replaced(
        setup,
        network=copy.deepcopy(setup.network),
        recipe=setup.recipe.with_settings({"training.epochs": 1, "training.on_nan": "skip"}),
    )
    state = copied.begun()
    pictures = setup.batches.batch_size
    watch = _Stopwatch(enough, pictures, setup.arithmetic.device)
    while not watch.done:
        try:
            train_epochs(state, copied, watch)
        except _Pause:
            sound = state.tally.skipped == 0 and _finite_gradients(state.network)
            state.step, state.tally, watch.seen = 0, Tally(), 0
    timed = Timed(pictures, tuple(watch.seconds), _update(state, watch.device), watch.busy_a_step, sound)
    return timed, state


class _Pause(Exception):
    """The rehearsal has seen what it needs, or its epoch is over: validation and checkpoints are not rehearsed."""


@dataclass
class _Stopwatch:
    """Looks on while the loop is rehearsed, and times its steps."""

    enough: Enough
    pictures: int  # of a whole step; the last one of an epoch may have fewer
    device: str
    seen: int = 0
    seconds: list[float] = field(default_factory=list)
    done: bool = False
    since: float = field(default_factory=time.perf_counter)
    busy: list[float] = field(default_factory=lambda: [time.process_time()])

    def after_step(self, state: TrainState, steps: int) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        now = time.perf_counter()
        whole = self.pictures / max(1, state.tally.seen - self.seen)
        self.seconds.append((now - self.since) * whole)
        self.seen = state.tally.seen
        self.busy.append(time.process_time())
        self.done = self.enough(self.seconds)
        self.since = time.perf_counter()
        if self.done or state.step == steps:
            raise _Pause

    def after_epoch(self, state: TrainState) -> None:
        raise _Pause

    @property
    def busy_a_step(self) -> float:
        """Processor seconds of the steps but the first, which warms up."""
        return (self.busy[-1] - self.busy[1]) / max(1, len(self.busy) - 2)


def _update(state: TrainState, device: str) -> float:
    """Seconds of what follows a step's gradients: the optimiser, and the average where one is kept."""
    took = []
    for _ in range(2):
        began = time.perf_counter()
        state.optimizer.step()
        if state.averaged:
            state.averaged.update(state.network)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    return min(took)


def _finite_gradients(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


def _repeated(
    network: nn.Module, images: Tensor, once: Callable[[nn.Module, Arithmetic, Tensor], bool], *, training: bool
) -> Trial:
    """The same pictures through a copy of the network, again and again; `once` says whether it was sound."""

    def trial(arithmetic: Arithmetic, enough: Enough) -> Timed:
        copied = arithmetic.network(copy.deepcopy(network)).train(training)
        pictures = arithmetic.images(images.to(arithmetic.device))
        sound: list[bool] = []
        seconds = _until(enough, lambda: sound.append(once(copied, arithmetic, pictures)), arithmetic.device)
        return Timed(len(images), seconds, sound=all(sound))

    return trial


def _until(enough: Enough, once: Callable[[], None], device: str) -> tuple[float, ...]:
    seconds: list[float] = []
    while not seconds or not enough(seconds):
        began = time.perf_counter()
        once()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return tuple(seconds)


def _sound_answer(network: nn.Module, arithmetic: Arithmetic, images: Tensor) -> bool:
    with torch.inference_mode(), arithmetic.autocast():
        outputs = network(images)
    return all(bool(torch.isfinite(leaf).all()) for leaf in _tensors(outputs))


def _sound_step(network: nn.Module, arithmetic: Arithmetic, images: Tensor) -> bool:
    network.zero_grad(set_to_none=True)
    with arithmetic.autocast():
        outputs = network(images)
    loss = torch.stack([logits.float().square().mean() for logits in _tensors(outputs)]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    last = [p.grad for p in network.parameters() if p.grad is not None][-1]
    return bool(torch.isfinite(loss)) and bool(torch.isfinite(last).all())


def _tensors(outputs: Any) -> list[Tensor]:
    """Auxiliary classifiers' as well."""
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
