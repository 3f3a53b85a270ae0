"""Our network against another library's with the same weights: logits, gradients and multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def assert_agrees(
    ours: nn.Module,
    theirs: nn.Module,
    size: tuple[int, int] = (96, 128),
    rename: Callable[[dict[str, Tensor]], Mapping[str, Any]] = lambda state: state,
    seed: int = 0,
) -> None:
    """In eval mode, with their state dict loaded into ours (strictly).

    Random weights alone prove nothing (logits of 1e8 or of 1e-9): their batch norms see seeded noise first.
    """
    torch.manual_seed(seed)
    images = torch.randn(2, 3, *size)
    with_statistics(theirs, torch.randn(4, 3, *size))
    ours.load_state_dict(rename(theirs.state_dict()), strict=True)
    theirs.eval(), ours.eval()
    (want, their_slope, their_flops), (got, our_slope, our_flops) = answered(theirs, images), answered(ours, images)
    assert 0.1 < want.abs().max() < 100, f"logits up to {want.abs().max():.3g} say nothing"
    assert (got - want).norm() <= 1e-5 * want.norm()
    assert (our_slope - their_slope).norm() <= 1e-4 * their_slope.norm()
    assert our_flops == their_flops


def with_statistics(network: nn.Module, images: Tensor) -> nn.Module:
    """Batch norms that have seen these images once, and with nothing but them; back in eval mode."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def answered(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Logits (N, K), the gradient of their weighted sum by the pictures, and the flops of the forward pass."""
    images = images.clone().requires_grad_()
    counter = FlopCounterMode(display=False)
    with counter:
        logits = network(images)
    weights = torch.linspace(-1, 1, logits.numel()).view_as(logits)
    (slope,) = torch.autograd.grad((logits * weights).sum(), images)
    return logits.detach(), slope, counter.get_total_flops()
