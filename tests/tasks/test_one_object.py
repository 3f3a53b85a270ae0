"""One object a picture: p = 0 ignores the rest, the largest object counts, and boxes come out where they went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foveal.networks.catalogue import build
from foveal.preprocess import Preprocess
from foveal.tasks.answers import Detections
from foveal.tasks.boxed import BoxCalibration
from foveal.tasks.heads.one_object import OneObject, Placed, largest, placed_loss
from foveal.tasks.localise import Localise
from foveal.tasks.task import Ask

SIZE = (64, 96)


def placed(n: int = 2, classes: int = 3) -> Placed:
    torch.manual_seed(0)
    values = [torch.randn(n), torch.randn(n, 4), torch.randn(n, classes)]
    return Placed(*(value.requires_grad_() for value in values))


def told(said: Placed, classes: tuple[str, ...], score: float = 0.0) -> list[Detections]:
    """Its answers for pictures that are as large as the input."""
    network = OneObject(build("resnet18", 1, 3, SIZE), "resnet18", len(classes), 16)
    named = {name: value.detach().numpy() for name, value in network.tensors(said, SIZE).items()}
    pictures = [SIZE] * len(named["presence"])
    preprocess = Preprocess(*SIZE, whole=True)
    return Localise(classes, "one-object", SIZE).answers(
        named, pictures, preprocess, BoxCalibration(), Ask(score=score)
    )


def test_without_an_object_only_presence_is_learnt() -> None:
    said = placed()
    placed_loss(said, torch.full((2, 1, 5), -1.0), SIZE).backward()
    assert said.presence.grad.abs().sum() > 0
    assert said.box.grad is None or said.box.grad.abs().sum() == 0
    assert said.classes.grad is None
    assert torch.isfinite(placed_loss(placed(), torch.zeros(2, 0, 5), SIZE))


def test_of_several_objects_the_largest_counts() -> None:
    targets = torch.tensor([[[0.0, 0, 0, 10, 10], [2, 20, 10, 90, 60], [-1, -1, -1, -1, -1]], [[-1.0] * 5] * 3])
    present, label, box = largest(targets, SIZE)
    assert present.tolist() == [True, False]
    assert int(label[0]) == 2
    assert box[0].tolist() == pytest.approx([20 / 96, 10 / 64, 90 / 96, 60 / 64])


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    x1, y1, x2, y2 = 24.0, 16.0, 72.0, 48.0
    shares = torch.tensor([[(x1 + x2) / 2 / 96, (y1 + y2) / 2 / 64, (x2 - x1) / 96, (y2 - y1) / 64]])
    said = Placed(torch.tensor([20.0]), shares.logit(), torch.tensor([[0.0, 20, 0]]))
    target = torch.tensor([[[1.0, x1, y1, x2, y2]]])
    assert placed_loss(said, target, SIZE) < 1e-4
    assert placed_loss(said, target + torch.tensor([0.0, 9, 0, 9, 0]), SIZE) > 0.2
    (found,) = told(said, ("a", "b", "c"))
    assert found.xyxy[0].tolist() == pytest.approx([x1, y1, x2, y2], abs=1e-3)
    assert found.labels.tolist() == [1]


def test_any_size_gives_the_same_vector() -> None:
    net = OneObject(build("resnet18", 1, 3, (96, 160)), "resnet18", 4, 16).eval()
    for size in ((96, 160), (224, 64)):
        said = net(torch.zeros(2, 3, *size))
        assert said.presence.shape == (2,)
        assert said.box.shape == (2, 4)
        assert said.classes.shape == (2, 4)
    with torch.inference_mode():
        nobody = Placed(*(value.detach() for value in placed(3, 1)))
    assert [len(found) for found in told(nobody, ("a",), score=1.1)] == [0, 0, 0]
    assert np.isnan(Localise(("a",)).right(placed(), torch.zeros(2, 0, 5)))
