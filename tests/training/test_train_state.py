"""What a state hands over: averaged, and blended with where it started; a resumed one hands over the same."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from foveal.training import train_state
from foveal.training.train_state import Averaged, Origin, Tally, TrainState


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def moved(state: TrainState, by: float) -> None:
    with torch.no_grad():
        for value in state.network.state_dict().values():
            value.add_(by if value.is_floating_point() else 1)


def test_the_result_lies_on_the_way_back_to_the_start_by_the_share() -> None:
    net = network()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    state = TrainState(net, torch.optim.SGD(net.parameters()), origin=Origin(net, 0.25))
    moved(state, 4.0)
    for name, value in state.result().items():
        if value.is_floating_point():
            assert torch.allclose(value, start[name] + 3.0)
        else:
            assert value == start[name] + 1
    assert torch.allclose(net.state_dict()["0.weight"], start["0.weight"] + 4.0)  # it goes on learning from there


def test_the_average_is_what_gets_blended() -> None:
    net = network()
    state = TrainState(net, torch.optim.SGD(net.parameters()), Averaged(net, 0.9), Origin(net, 0.5))
    start = net.state_dict()["0.weight"].clone()
    moved(state, 2.0)
    assert state.averaged is not None
    state.averaged.update(net)
    mean = state.averaged.state["0.weight"]
    assert torch.allclose(state.result()["0.weight"], (mean + start) / 2)


def test_a_resumed_learner_remembers_where_it_started() -> None:
    net = network()
    state = TrainState(net, torch.optim.SGD(net.parameters()), origin=Origin(net, 0.5))
    moved(state, 1.0)
    kept = {name: value.clone() for name, value in state.tensors().items()}
    other = network()
    moved(TrainState(other, torch.optim.SGD(other.parameters())), 7.0)  # starts somewhere else
    again = TrainState(other, torch.optim.SGD(other.parameters()), origin=Origin(other, 0.5))
    again.take_up(kept, state.facts())
    for name, value in state.result().items():
        assert torch.equal(again.result()[name], value)


def test_an_epoch_is_as_long_as_its_steps_and_its_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 103.0, 106.0, 116.0, 120.0])
    monkeypatch.setattr(train_state.time, "perf_counter", lambda: next(clock))
    net = network()
    state = TrainState(net, torch.optim.SGD(net.parameters()), since=0.0)
    state.train()  # at 100
    for pictures in (4, 2):
        state.tally.add(torch.tensor(0.5 * pictures), 1, pictures)
        state.end_step()
    assert (state.step, state.tally.seconds) == (2, 3.0)
    state.end_epoch(0.25, 0.5, 0.1)
    assert asdict(state.history[0]) == {
        "epoch": 1, "train_loss": (2.0 * 4 + 1.0 * 2) / 6, "train_top1": 2 / 6, "val_loss": 0.25, "val_top1": 0.5,
        "learning_rate": 0.1, "images_per_second": 6 / 3, "seconds": 6.0,
    }  # fmt: skip
    assert (state.epoch, state.step, state.tally, state.seconds) == (1, 0, Tally(), 6.0)
    state.train()  # at 116: what lies between two epochs is nobody's
    state.end_step()
    assert state.tally.seconds == 4.0


def test_the_best_epoch_is_the_first_with_the_lowest_loss_and_never_one_without() -> None:
    net = network()
    state = TrainState(net, torch.optim.SGD(net.parameters()))
    best = []
    for loss in (math.nan, 0.5, 0.4, 0.4, math.nan, 0.6):
        state.end_epoch(loss, 0.0, 0.1)
        best.append((state.best_epoch, state.best_loss))
    assert best == [(0, math.inf), (2, 0.5), *[(3, 0.4)] * 4]
