"""Everything that changes while a network learns, in one place: what a checkpoint holds and a resumed run takes up."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Averaged", "Epoch", "TrainState", "Origin", "Tally"]


@dataclass(frozen=True)
class Epoch:
    """A row of history.csv."""

    epoch: int  # from 1
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float  # of the last step
    images_per_second: float
    seconds: float


@dataclass
class Tally:
    """What has been seen of the epoch under way."""

    loss: float = 0.0  # summed over pictures
    right: float = 0.0  # pictures; shares of one with mixed targets
    seen: int = 0
    skipped: int = 0  # steps left out because their loss was not finite
    seconds: float = 0.0

    def add(self, loss: Tensor, right: float, pictures: int) -> None:
        """One step's pictures, and how many of them were answered rightly (NaN where that is no question)."""
        self.right += right
        self.loss += float(loss.detach()) * pictures
        self.seen += pictures


class Averaged:
    """The exponential moving average of a network's state (EMA): it trails the network and is what gets used.

    The decay grows from 0.1 to its value, so that the first steps are forgotten. Polyak and Juditsky 1992; the warm-up
    as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move a small step towards the network. Counters (int64) are copied."""
        self.updates += 1
        weight = 1 - min(self.decay, self.updates / (self.updates + 9))
        for name, value in network.state_dict().items():
            mean = self.state[name]
            if mean.is_floating_point():
                mean.lerp_(value, weight)
            else:
                mean.copy_(value)


class Origin:
    """The state that a network started from, of which the result keeps a share.

    Between the weights of a fitted head on a frozen trunk and those found by training everything lies a network that is
    right more often than both, and surer with reason. Source: Wortsman et al. 2021, arXiv:2109.01903 (WiSE-FT).
    """

    def __init__(self, network: nn.Module, share: float) -> None:
        self.share = share
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def blended(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The way back towards the start, by its share. Counters (int64) stay."""
        return {
            name: value.lerp(self.state[name], self.share) if value.is_floating_point() else value
            for name, value in state.items()
        }


@dataclass
class TrainState:
    """A network on its way."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averaged: Averaged | None = None
    origin: Origin | None = None
    epoch: int = 0  # finished ones
    step: int = 0  # finished ones, in the epoch under way
    tally: Tally = field(default_factory=Tally)
    history: list[Epoch] = field(default_factory=list)
    best_loss: float = math.inf  # on validation
    best_epoch: int = 0
    seconds: float = 0.0  # of training, over all sittings
    frozen: tuple[nn.Module, ...] = ()  # parts that stay as they are, statistics of batch norm included
    since: float = field(default_factory=time.perf_counter)  # when what is counted last began; no checkpoint holds it

    def train(self) -> None:
        """Training mode, but for what is frozen; what follows is a step."""
        self.network.train()
        for part in self.frozen:
            part.eval()
        self.since = time.perf_counter()

    def end_step(self) -> None:
        """Count a step that is done, and its seconds."""
        self.step += 1
        self.tally.seconds += self._passed()

    def end_epoch(self, val_loss: float, val_top1: float, learning_rate: float) -> None:
        """Write the row of an epoch whose validation has just been scored, remember the best, begin the next."""
        tally, seen = self.tally, max(1, self.tally.seen)
        seconds = tally.seconds + self._passed()
        self.history.append(
            Epoch(
                epoch=self.epoch + 1,
                train_loss=tally.loss / seen,
                train_top1=tally.right / seen,
                val_loss=val_loss,
                val_top1=val_top1,
                learning_rate=learning_rate,
                images_per_second=tally.seen / max(tally.seconds, 1e-9),
                seconds=seconds,
            )
        )
        self.epoch, self.step, self.tally = self.epoch + 1, 0, Tally()
        self.seconds += seconds
        if val_loss < self.best_loss:
            self.best_loss, self.best_epoch = val_loss, self.epoch

    def _passed(self) -> float:
        """Seconds since it was last asked, or since `train`."""
        before, self.since = self.since, time.perf_counter()
        return self.since - before

    def result(self) -> dict[str, Tensor]:
        """The state dict that gets used: the average where one is kept, blended with the start where that is asked."""
        state = dict(self.averaged.state) if self.averaged else dict(self.network.state_dict())
        return self.origin.blended(state) if self.origin else state

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor, by a flat name."""
        flat = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        if self.averaged:
            flat |= {f"averaged.{name}": value for name, value in self.averaged.state.items()}
        if self.origin:
            flat |= {f"origin.{name}": value for name, value in self.origin.state.items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):  # SGD without momentum keeps a None
                    flat[f"optimizer.{name}.{key}"] = value
        return flat

    def facts(self) -> dict[str, Any]:
        """Everything that is no tensor, as plain values."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "tally": {key: _known(value) for key, value in asdict(self.tally).items()},
            "history": [{key: _known(value) for key, value in asdict(row).items()} for row in self.history],
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "updates": self.averaged.updates if self.averaged else 0,
        }

    def take_up(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Become what `tensors()` and `facts()` told. Optimiser state is matched by the parameter's name."""
        self.network.load_state_dict(_part(tensors, "network."), strict=True)
        if self.averaged:
            kept = _part(tensors, "averaged.")
            for name, value in self.averaged.state.items():
                value.copy_(kept[name])
            self.averaged.updates = int(facts["updates"])
        if self.origin:
            kept = _part(tensors, "origin.")
            for name, value in self.origin.state.items():
                value.copy_(kept[name])
        state = _part(tensors, "optimizer.")
        for name, parameter in self.network.named_parameters():
            own = {key.rpartition(".")[2]: value for key, value in state.items() if key.rpartition(".")[0] == name}
            if own:
                self.optimizer.state[parameter] = {key: _beside(parameter, value) for key, value in own.items()}
        self.epoch, self.step = int(facts["epoch"]), int(facts["step"])
        known: dict[str, Any] = {key: math.nan if value is None else value for key, value in facts["tally"].items()}
        self.tally = Tally(**known)
        self.history = [
            Epoch(**{k: math.nan if v is None else v for k, v in row.items()})  # type: ignore[arg-type]
            for row in facts["history"]
        ]
        self.best_loss = math.inf if facts["best_loss"] is None else float(facts["best_loss"])
        self.best_epoch, self.seconds = int(facts["best_epoch"]), float(facts["seconds"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _known(value: float) -> float | None:
    """None for NaN: a validation that there is not, in words that JSON has."""
    return None if math.isnan(value) else value


def _beside(parameter: Tensor, value: Tensor) -> Tensor:
    """Optimiser state on its parameter's device and in its layout: sums over another layout round differently."""
    if value.shape != parameter.shape:
        return value  # a step counter stays where it is
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
