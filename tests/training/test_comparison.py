"""Networks side by side: each at its size, with what its table, its record and its timing say."""

from __future__ import annotations

from typing import Any

import pytest

from foveal.errors import BadRecipe
from foveal.networks.catalogue import build, find, table_of
from foveal.training import comparison
from foveal.training.comparison import compare
from foveal.training.measuring import Measured


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """What each timing was of."""
    asked: list[list[Any]] = []

    def measured(trial: object, network: object, batch: int, *, facts: list[Any]) -> Measured:
        asked.append(facts)
        return Measured("bf16", 1, {"fp32": 10.0, "bf16": 20.126}, 0.0)

    monkeypatch.setattr(comparison, "measure", measured)
    return asked


def test_each_network_is_shown_at_the_size_that_it_was_made_for(timings: list[list[Any]]) -> None:
    found = compare(["lenet5", "resnet18"])
    assert [(one.name, one.shape.size) for one in found] == [
        (name, (find(name).natural,) * 2) for name in ("lenet5", "resnet18")
    ]
    assert [facts[-3:] for facts in timings] == [[1, 28, 28], [3, 224, 224]]
    assert [one.shape.classes for one in found] == [10, 1000]
    lenet, resnet = (one.as_dict() for one in found)
    assert resnet["parameters"] == sum(p.numel() for p in build("resnet18", 1000, 3, (224, 224)).parameters())
    assert (lenet["published_top1"], resnet["published_top1"]) == (None, pytest.approx(69.758))
    assert (resnet["arithmetic"], resnet["images_per_second"]) == ("bf16", 20.13)


def test_a_size_and_channels_that_are_asked_for_hold_for_all(timings: list[list[Any]]) -> None:
    found = compare(["lenet5", "mlp"], (32, 40), 1)
    assert [one.as_dict()["size"] for one in found] == [[32, 40]] * 2
    assert all(facts[-3:] == [1, 32, 40] for facts in timings)


def test_a_comparison_tells_what_each_table_tells(timings: list[list[Any]]) -> None:
    for asked in ((None, None, None), ((64, 64), None, 7), (None, 1, 3)):
        for one in compare(["lenet5", "squeezenet1_1"], *asked):
            assert one.table.as_dict() == table_of(one.name, *asked).as_dict()
            assert one.as_dict()["classes"] == (asked[2] or one.shape.classes)


def test_a_size_that_one_of_them_cannot_take_is_refused_before_any_is_timed(timings: list[list[Any]]) -> None:
    with pytest.raises(BadRecipe, match="resnet18"):
        compare(["mlp", "resnet18"], (16, 16))
    with pytest.raises(BadRecipe, match='did you mean "resnet18"'):
        compare(["mlp", "resnet-18"])
    assert not timings
