"""How much of the machine's own convolution rate does a whole training step of ResNet-18 at 224² reach?

The machine's rate is the best of four 3×3 convolutions (64 channels at 56², 128 at 28², 256 at 14², 512 at 7²; batch
32, bf16, channels last, forward and backward, by autocast or on bf16 tensors, whichever is faster), counted as three
times the forward multiply-adds. The step is foveal's own: batches drawn and warped from the pixel store, the loop's
lines with loss, optimiser and average, on all pictures of `clothing`, in the arithmetic that foveal measured. Its
floating-point operations are what torch's FlopCounterMode counts in a forward and backward pass. One, the other, one,
the other.

Beside it stands what the network's own convolutions reach when each is timed alone: no step can be faster than that.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from _common import Measure, Result, all_for_training, data_set, figures, parser, say, scratch
from torch import Tensor, nn

if TYPE_CHECKING:
    from foveal.training.setup import Setup
    from foveal.training.train_state import TrainState

SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))  # channels, side: the four stages of ResNet-18
WAYS = ("autocast", "bf16 tensors")


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, metavar="DIR", help="the pictures [clothing below $FOVEAL_DATA]")
    arguments.add_argument("--pairs", type=int, default=7, help="times that both are measured")
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--size", type=int, default=224)
    arguments.add_argument("--arithmetic", default="auto", help="of the step, if not the measured one")
    arguments.add_argument("--profile", action="store_true", help="instead, print where a step's time goes")
    asked = arguments.parse_args()
    if asked.quick:
        asked.pairs, asked.batch, asked.size = 2, 8, 96
    with scratch(asked) as place:
        most = 4 if asked.quick else 20 if asked.profile else None  # pictures a class
        _, table = all_for_training(data_set("clothing", asked.data), place, most)
        setup = lay(table, asked.batch, asked.size, asked.arithmetic)
        if asked.profile:
            print(profiled(setup))
            return
        measured(setup, asked.pairs, asked.quick).finish(asked)


def measured(setup: Setup, pairs: int, quick: bool) -> Result:
    """Convolutions and training, in turn."""
    work = operations(setup)
    state, step_rates, best_rates, own_rates, shares = setup.begun(), [], [], [], []
    layers = own_layers(setup)
    convolutions: dict[str, list[float]] = {}
    seconds = 0.05 if quick else 0.4
    epoch_of_steps(setup, state)  # warm
    for pair in range(pairs):
        best = 0.0
        for channels, side in SHAPES:
            for way in WAYS:
                rate = convolution(channels, side, 32, way, seconds)
                convolutions.setdefault(f"{channels} channels at {side}², {way}", []).append(rate)
                best = max(best, rate)
        own_rates.append(own_rate(layers, seconds / 4) / 1e12)
        took = epoch_of_steps(setup, state)
        step = work / statistics.median(took)
        best_rates.append(best / 1e12)
        step_rates.append(step / 1e12)
        shares.append(100 * step / best)
        say(f"pair {pair + 1}: convolutions {best / 1e12:.3f} TFLOP/s, step {step / 1e12:.3f}, {shares[-1]:.1f} %")
    speed = [setup.batches.batch_size * rate * 1e12 / work for rate in step_rates]
    share = statistics.median(shares)
    of_own = [100 * step / own for step, own in zip(step_rates, own_rates, strict=True)]
    return Result(
        "step_rate",
        f"A training step of ResNet-18 at {setup.preprocess.height}², batch {setup.batches.batch_size}, "
        f"{setup.arithmetic.name}: {work / 1e9:.1f} GFLOP. {pairs} pairs, medians and spread.",
        ["what", "TFLOP/s"],
        [
            *([name, figures([r / 1e12 for r in rates], digits=3)] for name, rates in convolutions.items()),
            ["the best of them", figures(best_rates, digits=3)],
            ["the network's own, one by one", figures(own_rates, digits=3)],
            ["the whole step", figures(step_rates, digits=3)],
        ],
        [
            Measure("share of the convolution rate", figures(shares, "%", 1), "70 %", share >= 70),
            Measure("share of what its own convolutions reach alone", figures(of_own, "%", 1)),
            Measure("pictures a second", figures(speed, "", 1)),
        ],
        {"shares": shares, "steps": step_rates, "own": own_rates, "convolutions": convolutions, "flop": work},
    )


def lay(table: Path, batch: int, size: int, arithmetic: str) -> Setup:
    """foveal's setup for a training, with everything but size, batch and network as it decides."""
    from foveal import Recipe, open_dataset
    from foveal.tasks.classify import Classify
    from foveal.training.settle import settle
    from foveal.training.setup import set_up

    settings = {
        "data.source": str(table), "data.size": str(size), "network.name": "resnet18",
        "training.batch_size": batch, "training.epochs": 1000, "training.arithmetic": arithmetic,
    }  # fmt: skip
    dataset = open_dataset(str(table))
    setup = set_up(Classify, dataset, settle(Classify, dataset, Recipe().with_settings(settings)))
    told = ", ".join(f"{way} {speed:.0f}" for way, speed in setup.measured.images_per_second.items())
    say(f"{len(dataset)} pictures, {setup.arithmetic.name} ({told} pictures/s without data and optimiser)")
    return setup


def operations(setup: Setup) -> int:
    """Floating-point operations of one step's forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    network = setup.network
    images = torch.zeros(
        setup.batches.batch_size, setup.preprocess.channels, setup.preprocess.height, setup.preprocess.width
    )
    with FlopCounterMode(display=False) as counter:
        loss: Tensor = network(images).sum()
        loss.backward()  # type: ignore[no-untyped-call]
    network.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def convolution(channels: int, side: int, batch: int, way: str, seconds: float) -> float:
    """Floating-point operations a second of a 3×3 convolution, forward and backward; the median of what fits."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    x = torch.randn(batch, channels, side, side)
    took = seconds_of(layer, x, way, seconds)
    return 3 * 2 * batch * channels * channels * 9 * side * side / took


def seconds_of(layer: nn.Conv2d, x: Tensor, way: str, seconds: float, first: bool = False) -> float:
    """A forward and backward pass of a layer on (N, C, H, W) in bf16, channels last; the first needs no input slope."""
    kind = torch.bfloat16 if way == "bf16 tensors" else torch.float32
    layer = copy.deepcopy(layer).to(kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.to(kind, memory_format=torch.channels_last).requires_grad_(not first)
    with torch.no_grad():
        slope = torch.randn_like(layer(x), dtype=torch.bfloat16)

    def once() -> None:
        x.grad = layer.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
            y: Tensor = layer(x)
        y.backward(slope)  # type: ignore[no-untyped-call]

    return statistics.median(timed(once, seconds))


def own_layers(setup: Setup) -> list[tuple[nn.Conv2d, tuple[int, ...]]]:
    """The network's convolutions, in their order, each with the shape of its input."""
    found: list[tuple[nn.Conv2d, tuple[int, ...]]] = []

    def remember(layer: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        found.append((layer, tuple(given[0].shape)))

    layers = [m for m in setup.network.modules() if isinstance(m, nn.Conv2d)]
    hooks = [layer.register_forward_hook(remember) for layer in layers]
    side = setup.preprocess
    with torch.no_grad():
        setup.network(torch.zeros(setup.batches.batch_size, side.channels, side.height, side.width))
    for hook in hooks:
        hook.remove()
    return found


def own_rate(layers: list[tuple[nn.Conv2d, tuple[int, ...]]], seconds: float) -> float:
    """Floating-point operations a second of all convolutions of a network, each timed alone; equal ones once."""
    known: dict[str, float] = {}
    operations, took = 0.0, 0.0
    for number, (layer, shape) in enumerate(layers):
        key = f"{layer} {shape}"
        if key not in known:
            known[key] = seconds_of(layer, torch.randn(shape), "bf16 tensors", seconds, first=number == 0)
        height, width = shape[2] // layer.stride[0], shape[3] // layer.stride[1]
        passes = 2 if number == 0 else 3
        operations += passes * 2 * shape[0] * height * width * layer.weight.numel()
        took += known[key]
    return operations / took


def timed(once: Callable[[], None], seconds: float) -> list[float]:
    """How long each call took, after two that do not count."""
    for _ in range(2):
        once()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return times


class Stamps:
    """A watch that writes down when each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_step(self, state: TrainState, steps: int) -> None:
        self.times.append(time.perf_counter())

    def after_epoch(self, state: TrainState) -> None:
        pass


def epoch_of_steps(setup: Setup, state: TrainState, watch: Stamps | None = None) -> list[float]:
    """Seconds of each step but the first of one more epoch, through the very loop that `foveal train` runs."""
    from foveal.training.loop import train_epochs

    watch = watch or Stamps()
    once_more = setup.recipe.with_settings({"training.epochs": state.epoch + 1})
    train_epochs(state, replace(setup, recipe=once_more), watch)
    return [after - before for before, after in zip(watch.times, watch.times[1:], strict=False)]


def profiled(setup: Setup) -> str:
    """Where the time of an epoch's steps goes, by operator."""
    from torch.profiler import ProfilerActivity, profile

    state = setup.begun()
    epoch_of_steps(setup, state)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        took = epoch_of_steps(setup, state)
    say(f"{len(took) + 1} steps, median {1000 * statistics.median(took):.0f} ms, {setup.arithmetic.name}")
    by_name: str = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
    by_shape: str = profiler.key_averages(group_by_input_shape=True).table(
        sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=40, max_shapes_column_width=90
    )
    return f"{by_name}\n{by_shape}"


if __name__ == "__main__":
    main()
