"""Optimisers: how a gradient becomes a step. SGD with Nesterov and AdamW are PyTorch's; Muon is written out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn

from foveal.recipe import TrainingRecipe
from foveal.training.arithmetic import FORMATS
from foveal.training.probe import multiplies_faster

__all__ = [
    "Muon",
    "decayed_groups",
    "fastest_format",
    "make_optimizer",
    "muon_groups",
    "orthogonalised",
    "set_rate",
    "slow_down",
]


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The optimiser of a resolved recipe over everything that learns."""
    rate, decay, momentum = float(recipe.learning_rate), float(recipe.weight_decay), float(recipe.momentum)
    if recipe.optimizer == "muon":
        groups, number_format = muon_groups(network, rate, decay), FORMATS[recipe.optimizer_arithmetic]
        return Muon(groups, momentum=momentum, number_format=number_format)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(decayed_groups(network, decay), lr=rate, betas=(momentum, 0.999))
    return torch.optim.SGD(decayed_groups(network, decay), lr=rate, momentum=momentum, nesterov=momentum > 0)


def decayed_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Everything that learns, filters and matrices with their decay.

    Biases and the gains of norms are not decayed: they hold few numbers, and pulling them to zero fits nothing better
    (Goyal et al. 2017, arXiv:1706.02677, section 5.3; He et al. 2018, arXiv:1812.01187, section 3.1).
    """
    learning = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def fastest_format(network: nn.Module, optimizer: str, device: str) -> str:
    """The fastest sound format of FORMATS for an optimiser's own products: bf16 where the processor multiplies it.

    Only Muon has any; the sums of the others are float32.
    """
    if optimizer != "muon":
        return "fp32"
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    banks = [(len(p), p.numel() // len(p)) for p in network.parameters() if p.requires_grad and p.ndim >= 2]
    if device != "cpu" or not banks:
        return "fp32"
    rows, columns = max(banks, key=lambda shape: shape[0] * shape[1])
    return "bf16" if multiplies_faster("bf16", min(rows, columns, 256), min(max(rows, columns), 2304)) else "fp32"


def slow_down(optimizer: torch.optim.Optimizer, shares: Mapping[int, float]) -> None:
    """Give each parameter its share of the rate, by its id; groups are parted where the shares of a group differ."""
    for group in list(optimizer.param_groups):
        by_share: dict[float, list[Tensor]] = {}
        for parameter in group["params"]:
            by_share.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
        rate = group["lr"]
        (first, own), *others = by_share.items()
        group["params"], group["lr"] = own, rate * first
        for share, parameters in others:
            optimizer.param_groups.append({**group, "params": parameters, "lr": rate * share})


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Every group's learning rate becomes `factor` times its peak (remembered as `initial_lr`)."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor


# Adam's rates beside Muon's, for what is no filter. Found on CIFAR-10 with speednet (3 epochs, one seed each).
HEAD_SHARE, BIAS_SHARE = 0.5, 0.17


def muon_groups(network: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """What Muon moves and what Adam does beside it, each with its rate and decay."""
    normed: list[Tensor] = []
    filters: list[Tensor] = []
    rest_matrices: list[Tensor] = []
    rest: list[Tensor] = []
    heads = {id(p) for p in _last_linear(network)}
    without_bias = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is None}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim >= 2 and id(parameter) not in heads:
            (normed if id(parameter) in without_bias else filters).append(parameter)
        else:
            (rest_matrices if parameter.ndim >= 2 else rest).append(parameter)
    groups = [
        {"params": normed, "lr": rate, "rule": "muon", "keep_norm": True, "weight_decay": 0.0},
        {"params": filters, "lr": rate, "rule": "muon", "keep_norm": False, "weight_decay": decay},
        {"params": rest_matrices, "lr": rate * HEAD_SHARE, "rule": "adam", "weight_decay": decay},
        {"params": rest, "lr": rate * BIAS_SHARE, "rule": "adam", "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def _last_linear(network: nn.Module) -> list[nn.Parameter]:
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return list(linear[-1].parameters()) if linear else []


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised: each filter bank moves equally far in all its directions.

    A filter bank (C', C, h, w) is a matrix C' × C·h·w; its Nesterov momentum is replaced by the nearest orthogonal
    matrix, found by Newton–Schulz iterations in the given number format. With `keep_norm` (for convolutions that a
    batch norm follows, whose length changes nothing but the effective rate) the bank is first brought back to the norm
    √C'. What is no hidden matrix (heads, biases, gains: `rule` "adam") is moved by Adam.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; normalised filters as in the
    CIFAR-10 speed runs of the same author. Adam: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; its decay decoupled
    as in Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    def __init__(
        self, params: Any, momentum: float = 0.6, lr: float = 0.1, number_format: torch.dtype = torch.bfloat16
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "rule": "muon", "keep_norm": False, "weight_decay": 0.0}
        )
        self.number_format = number_format

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step down for every parameter that has a gradient."""
        for group in self.param_groups:
            move = self._muon if group["rule"] == "muon" else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    move(parameter, parameter.grad, self.state[parameter], group)
        return None

    def _muon(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"]
        buffer.mul_(group["momentum"]).add_(gradient)
        ahead = gradient.add(buffer, alpha=group["momentum"])  # Nesterov
        rows = len(parameter)
        direction = orthogonalised(ahead.reshape(rows, -1), number_format=self.number_format).view_as(parameter)
        if group["keep_norm"]:
            parameter.mul_(rows**0.5 / parameter.norm())
        else:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            direction = direction * (0.2 * max(1.0, parameter.numel() / rows / rows) ** 0.5)
        parameter.add_(direction, alpha=-group["lr"])

    @staticmethod
    def _adam(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        steps = int(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - 0.9)
        state["exp_avg_sq"].lerp_(gradient.square(), 1 - 0.99)
        mean = state["exp_avg"] / (1 - 0.9**steps)
        root = (state["exp_avg_sq"] / (1 - 0.99**steps)).sqrt_().add_(1e-8)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, root, value=-group["lr"])


def orthogonalised(matrix: Tensor, steps: int = 3, number_format: torch.dtype = torch.bfloat16) -> Tensor:
    """(M, N) with the same singular directions and all singular values near 1, between 0.5 and 1.5 when not tiny.

    Newton–Schulz iterations with a quintic whose slope at zero is steep: precise values matter less than reach, so
    three steps do, and bf16's eight bits. Source: Jordan et al. 2024, section "Newton–Schulz".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(number_format)
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x if wide else x.T
    return found.to(matrix.dtype)
