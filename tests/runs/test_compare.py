"""Four ways to start share the minutes, the pictures and the seed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trainings import recipe

from foveal.errors import BadRecipe, NotWritable
from foveal.recipe import Recipe
from foveal.runs import compare
from foveal.runs.compare import STARTS, compare_starts


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Recipe]]:
    """The folder and the recipe of each run that was asked for; later ones are righter."""
    asked: list[tuple[Path, Recipe]] = []

    def train(source: Any, *, out: Path, recipe: Recipe, progress: Any) -> SimpleNamespace:
        asked.append((out, recipe))
        right = 0.5 + len(asked) / 10
        test = {"top1": right, "top1_interval": [right - 0.1, right + 0.1], "n": 50}
        seconds, parameters = {"total": 10.0 * len(asked)}, {"trained": 100 * len(asked)}
        return SimpleNamespace(metrics={"test": test, "seconds": seconds, "parameters": parameters})

    monkeypatch.setattr(compare, "train", train)
    return asked


def test_each_way_gets_its_share_of_the_time_and_the_same_recipe_besides(
    tmp_path: Path, trained: list[tuple[Path, Recipe]]
) -> None:
    asked = recipe(network__weights="imagenet", training__minutes=6.0, training__seed=3, training__epochs=7)
    found = compare_starts("digits", out=tmp_path / "out", recipe=asked)
    assert [way.network.train for _, way in trained] == list(STARTS) == ["head", "last:1", "all", "scratch"]
    for folder, way in trained:
        assert folder.parent == tmp_path / "out"
        assert way.training.minutes == 1.5
        assert way.training.epochs == "auto"  # the time says how many
        back = {"network.train": "auto", "training.minutes": 6.0, "training.epochs": 7}
        assert way.with_settings(back) == asked
    assert len({folder for folder, _ in trained}) == 4
    assert [(way.train, way.seconds, way.parameters) for way in found] == [
        ("head", 10.0, 100), ("last:1", 20.0, 200), ("all", 30.0, 300), ("scratch", 40.0, 400),
    ]  # fmt: skip
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [(way["train"], way["top1"], way["pictures"]) for way in written] == [
        (way.train, way.top1, 50) for way in found
    ]
    assert (tmp_path / "out" / "comparison.html").exists()


def test_without_minutes_there_are_eight_for_all(tmp_path: Path, trained: list[tuple[Path, Recipe]]) -> None:
    compare_starts("digits", out=tmp_path / "out", settings={"network.weights": "imagenet"})
    assert {way.training.minutes for _, way in trained} == {2.0}


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    tmp_path: Path, trained: list[tuple[Path, Recipe]]
) -> None:
    with pytest.raises(BadRecipe, match="--compare needs weights to start from; give --weights imagenet, a file or a"):
        compare_starts("digits", out=tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotWritable, match="is not empty"):
        compare_starts("digits", out=tmp_path, settings={"network.weights": "imagenet"})
    assert not trained
