"""Is a network of the zoo as fast as the same one of torchvision or timm, and what does measured arithmetic add?

For each network that a reference library has: the forward pass (eval mode, no gradients) and a training step (forward
and backward, without optimiser) of ours and theirs on the same pictures in the same arithmetic (fp32, contiguous: the
reference's default; freed memory stays with the process, as in foveal's own loops), in turn, after a warm-up; the ratio
of each pair, its median and spread. Beside it a training step in the arithmetic that foveal measures for this machine
and network against the reference in its default.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from _common import Measure, Result, figures, parser, say, scratch
from _way import torchvision
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

FLOOR, DENSENET_FLOOR, ARITHMETIC_FLOOR = 1.05, 1.08, 2.0
TORCHVISION = (
    "alexnet", "vgg11", "vgg16", "vgg16_bn", "googlenet", "inception_v3", "resnet18", "resnet34", "resnet50",
    "resnet101", "densenet121", "densenet169", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_b1", "efficientnet_b3",
)  # fmt: skip
TIMM = ("inception_v4", "inception_resnet_v2")


@dataclass
class Timings:
    """Of one network: seconds of each pair, and what its own arithmetic gives."""

    forward: list[float] = field(default_factory=list)  # ours / theirs
    step: list[float] = field(default_factory=list)  # ours / theirs
    measured: list[float] = field(default_factory=list)  # theirs in fp32 / ours in the measured arithmetic
    arithmetic: str = ""


def main() -> None:
    """Time and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("names", nargs="*", help="networks [a selection of all families]")
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--batch", type=int, default=8)
    asked = arguments.parse_args()
    asked.names = asked.names or [*TORCHVISION, *TIMM]
    if asked.quick:
        asked.names, asked.pairs, asked.batch = asked.names[:1], 1, 2
    with scratch(asked):
        found = {name: timed(name, asked) for name in asked.names}
    told(asked, found).finish(asked)


def timed(name: str, asked: argparse.Namespace) -> Timings:
    """All pairs of one network."""
    from foveal.networks.catalogue import build, find
    from foveal.training.arithmetic import Arithmetic, freed_memory_kept, threads_used
    from foveal.training.measuring import measure
    from foveal.training.trials import learning

    side = find(name).natural
    ours, theirs = build(name, 1000, 3, (side, side)), reference(name)
    images = torch.randn(asked.batch, 3, side, side)
    timings = Timings()
    found = measure(learning(ours, images), ours, asked.batch)
    timings.arithmetic = found.arithmetic
    way = Arithmetic(found.arithmetic, "cpu")
    with freed_memory_kept():  # as foveal runs networks: both ways gain
        for pair in range(-1, asked.pairs):  # the first warms up
            forward = in_turn(ours, theirs, lambda network: forward_pass(network, images), pair)
            step = in_turn(ours, theirs, lambda network: training_step(network, images), pair)
            if pair >= 0:
                timings.forward.append(forward)
                timings.step.append(step)
    laid = way.network(ours)
    with freed_memory_kept(), threads_used(found.threads):
        step_here = training_step(laid, way.images(images), way.autocast)
        step_here()
        here = [seconds(step_here) for _ in range(asked.pairs)]
    beside = [seconds(training_step(theirs, images)) for _ in range(asked.pairs)]
    timings.measured = [there / own for there, own in zip(beside, here, strict=True)]
    say(f"{name}: forward {figures(timings.forward, '×')}, step {figures(timings.step, '×')}, "
        f"{found.arithmetic} {figures(timings.measured, '×')}")  # fmt: skip
    return timings


def in_turn(ours: nn.Module, theirs: nn.Module, work: Callable[[nn.Module], Callable[[], None]], pair: int) -> float:
    """Seconds of ours over seconds of theirs; who begins changes from pair to pair."""
    order = [(0, ours), (1, theirs)] if pair % 2 else [(1, theirs), (0, ours)]
    spent = {which: seconds(work(network)) for which, network in order}
    return spent[0] / spent[1]


def reference(name: str) -> nn.Module:
    """The same network of the library that has it, with its defaults."""
    vision = torchvision()
    made: nn.Module
    if name in TIMM:
        import timm  # type: ignore[import-untyped]

        made = timm.create_model(name, pretrained=False)
    elif name in ("googlenet", "inception_v3"):
        made = getattr(vision.models, name)(init_weights=False)
    else:
        made = getattr(vision.models, name)()
    return made


def forward_pass(network: nn.Module, images: Tensor) -> Callable[[], None]:
    """An answer."""

    def run() -> None:
        network.eval()
        with torch.no_grad():
            network(images)

    return run


def training_step(
    network: nn.Module, images: Tensor, autocast: Callable[..., object] | None = None
) -> Callable[[], None]:
    """Forward and backward, auxiliary classifiers included."""

    def run() -> None:
        network.train()
        network.zero_grad(set_to_none=True)
        if autocast is None:
            outputs = network(images)
        else:
            with autocast():  # type: ignore[attr-defined]
                outputs = network(images)
        answers = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
        torch.stack([logits.float().square().mean() for logits in answers]).sum().backward()

    return run


def seconds(run: Callable[[], None]) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def told(asked: argparse.Namespace, found: dict[str, Timings]) -> Result:
    """A row a network, and what was to be reached."""
    rows = [
        [name, figures(t.forward, "×"), figures(t.step, "×"), t.arithmetic, figures(t.measured, "×")]
        for name, t in found.items()
    ]
    slow = [
        name for name, t in found.items()
        if max(statistics.median(t.forward), statistics.median(t.step))
        > (DENSENET_FLOOR if name.startswith("densenet") else FLOOR)
    ]  # fmt: skip
    gains = [statistics.median(t.measured) for t in found.values()]
    ratios = [statistics.median(t.step) for t in found.values()]
    forwards = [statistics.median(t.forward) for t in found.values()]
    return Result(
        "zoo_speed",
        f"Time of ours over theirs (below 1: faster), batch {asked.batch} at the size that each was made for, "
        f"{asked.pairs} pairs, medians and spread; on the right theirs in fp32 over ours in the measured arithmetic.",
        ["network", "forward", "training step", "measured arithmetic", "its gain"],
        rows,
        [
            Measure("forward, all networks", figures(forwards, "×")),
            Measure("training step, all networks", figures(ratios, "×")),
            Measure("slower than allowed", ", ".join(slow) or "none", "at most 1.05× (DenseNet 1.08×)", not slow),
            Measure("measured arithmetic, median over the zoo", figures(gains, "×"), f"at least {ARITHMETIC_FLOOR:g}×",
                    statistics.median(gains) >= ARITHMETIC_FLOOR),
        ],
        {name: {"forward": t.forward, "step": t.step, "measured": t.measured} for name, t in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
