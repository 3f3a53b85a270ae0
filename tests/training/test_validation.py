"""Validation: the loss and the right answers of a slow loop over pictures, with the weights that were given."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from trainings import boxed, pictures, quick, quick_boxed

from foveal.training.validation import validated

ODD = "conv 4 3x3 bn, pool 2, flatten, dropout 0.5, dense classes"  # with what differs in training mode


def shaken(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Other weights than the network has; variances stay above nothing."""
    torch.manual_seed(3)
    return {
        name: value * (1 + torch.rand_like(value)) if value.is_floating_point() else value.clone()
        for name, value in weights.items()
    }


def one_by_one(setup: Any, weights: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Each validation picture alone through a network that holds the weights."""
    network = setup.network
    network.load_state_dict(weights)
    network.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for index in setup.splits["val"]:
            pixels = torch.from_numpy(setup.store.rows(np.array([index])))
            truth = torch.tensor([setup.dataset.labels[index]])
            logits = network(setup.preprocess.tensor(pixels))
            loss += float(F.cross_entropy(logits, truth))
            right += int(logits.argmax(1) == truth)
    return loss / len(setup.splits["val"]), right / len(setup.splits["val"])


@pytest.mark.parametrize("batch", [2, 3, 7, 20])  # of 7 pictures: the last batch is one, one, all, all
def test_it_is_a_slow_loop_over_pictures(batch: int) -> None:
    setup = quick(network__name=ODD, training__batch_size=batch)
    state = setup.begun()
    weights = shaken(state.result())
    state.network.train()
    loss, right = validated(setup, setup.store, setup.splits["val"], weights, state.network)
    assert not any(module.training for module in state.network.modules())
    slow_loss, slow_right = one_by_one(setup, weights)
    assert loss == pytest.approx(slow_loss, rel=1e-5)
    assert right == pytest.approx(slow_right)


def test_the_network_keeps_its_own_weights_and_statistics() -> None:
    setup = quick(network__name=ODD)
    state = setup.begun()
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    setup.validate(shaken(state.result()), state)
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in state.network.parameters())


def test_smoothing_and_weights_of_classes_are_for_learning_alone() -> None:
    plain = quick()
    bent = quick(training__label_smoothing=0.3, training__class_weights="balanced")
    assert bent.task.label_smoothing == 0.3
    state = plain.begun()
    assert plain.validate(state.result(), state) == bent.validate(state.result(), bent.begun())


def test_without_pictures_kept_aside_nothing_is_known() -> None:
    setup = quick(pictures(parts={"train": 20, "val": 0, "test": 5}))
    state = setup.begun()
    assert all(math.isnan(value) for value in setup.validate(state.result(), state))


def test_the_pictures_of_validation_are_looked_at_and_no_others() -> None:
    setup = quick()
    seen: list[int] = []

    def rows(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        seen.extend(indices.tolist())
        return setup.store.rows(indices)

    watched = replace(setup, store=replace(setup.store, _rows=rows))
    state = setup.begun()
    watched.validate(state.result(), state)
    assert seen == setup.splits["val"].tolist()


def test_boxes_cost_what_each_batch_costs_by_its_pictures() -> None:
    """7 pictures in steps of 3: the last one counts for one."""
    setup = quick_boxed(boxed(), training__batch_size=3)
    state = setup.begun()
    weights = shaken(state.result())
    loss, right = setup.validate(weights, state)
    assert math.isnan(right)
    setup.network.load_state_dict(weights)
    setup.network.eval()
    val, total = setup.splits["val"], 0.0
    boxes = setup.dataset.boxes
    assert boxes is not None
    with torch.no_grad():
        for chosen in (val[:3], val[3:6], val[6:]):
            images = setup.preprocess.tensor(torch.from_numpy(setup.store.rows(chosen)))
            targets = torch.full((len(chosen), 1, 5), -1.0)
            for row, index in enumerate(chosen):
                for at in range(boxes.starts[index], boxes.starts[index + 1]):
                    targets[row, 0, 0] = int(boxes.labels[at])
                    targets[row, 0, 1:] = torch.from_numpy(boxes.xyxy[at])
            total += len(chosen) * float(setup.network.loss(setup.network(images), targets, (32, 48)))
    assert loss == pytest.approx(total / 7, rel=1e-5)
