"""Optimisers and schedules against PyTorch's own and worked values."""

import math

import pytest
import torch
from torch import nn

from foveal.recipe import TrainingRecipe
from foveal.training.optimisers import Muon, make_optimizer, orthogonalised, set_rate
from foveal.training.schedules import rate_factor


def recipe(**changes):
    base = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    base["optimizer_arithmetic"] = "fp32"
    return TrainingRecipe(**(base | changes))


def test_orthogonalised_has_singular_values_near_one_in_the_same_directions():
    torch.manual_seed(0)
    for shape in ((20, 60), (60, 20), (32, 32)):
        matrix = torch.randn(shape)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        out = orthogonalised(matrix, steps=5)
        values = torch.diagonal(u.T @ out @ v.T)
        assert out.shape == matrix.shape
        assert values.min() > 0.3
        assert values.max() < 1.4
        assert (u.T @ out @ v.T - torch.diag(values)).abs().max() < 0.15


def test_muon_of_a_normed_filter_keeps_its_length():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, bias=False)
    optimizer = make_optimizer(conv, recipe(optimizer="muon", learning_rate=0.01))
    assert optimizer.param_groups[0]["keep_norm"]
    for _ in range(5):
        optimizer.zero_grad()
        conv(torch.randn(2, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    assert abs(conv.weight.norm() - 8**0.5) < 0.1


def test_the_adam_inside_muon_steps_as_pytorchs():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.arange(6.0).view(2, 3)) for _ in range(2))
    muon = Muon([{"params": [ours], "lr": 0.02, "rule": "adam", "weight_decay": 0.1}])
    adam = torch.optim.AdamW([theirs], lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(10):
        for parameter, optimizer in ((ours, muon), (theirs, adam)):
            optimizer.zero_grad()
            ((parameter - 1) ** 3 * (step + 1)).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_every_optimiser_goes_down(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    images, labels = torch.randn(30, 1, 8, 8), torch.arange(30) % 3
    optimizer = make_optimizer(network, recipe(optimizer=name, learning_rate=0.05))
    first = None
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(images), labels)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_biases_and_gains_are_not_decayed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    for name in ("sgd", "adamw", "muon"):
        for group in make_optimizer(network, recipe(optimizer=name)).param_groups:
            for parameter in group["params"]:
                assert group["weight_decay"] == (0.01 if parameter.ndim >= 2 else 0)


def test_what_does_not_learn_is_left_out():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    network[0].weight.requires_grad_(False)
    for name in ("sgd", "adamw", "muon"):
        found = [p for g in make_optimizer(network, recipe(optimizer=name)).param_groups for p in g["params"]]
        assert len(found) == 3


def test_rates_keep_their_ratio_under_a_schedule():
    optimizer = make_optimizer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), recipe(optimizer="muon"))
    peaks = [g["lr"] for g in optimizer.param_groups]
    for factor in (0.5, 1.0, 0.25):
        set_rate(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == [p * factor for p in peaks]


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_falls(schedule):
    factors = [rate_factor(schedule, 0.2, s, 100) for s in range(100)]
    assert factors[:20] == sorted(factors[:20])
    assert max(factors) <= 1
    assert max(factors) > 0.999
    assert factors[20:] == sorted(factors[20:], reverse=True)
    if schedule != "constant":
        assert factors[-1] < 0.02


def test_one_cycle_is_pytorchs_cosine_one():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=201, pct_start=0.3, cycle_momentum=False)
    for step in range(200):
        if step >= 62:  # theirs counts the rise from step to step, ours from share to share: compare the fall
            assert abs(rate_factor("one-cycle", 0.3, step, 200) - optimizer.param_groups[0]["lr"]) < 0.012
        optimizer.step()
        theirs.step()


def test_half_of_a_cosine_is_half():
    assert math.isclose(rate_factor("cosine", 0.0, 50, 100), 0.5)
    assert math.isclose(rate_factor("linear", 0.0, 25, 100), 0.75)
