"""Four ways to start share the minutes, the pictures and the seed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from trainings import recipe

from foveal.errors import BadRecipe, NotFinite, NotWritable
from foveal.model import classifier
from foveal.networks.catalogue import build
from foveal.preprocess import Preprocess
from foveal.progress import SILENT
from foveal.recipe import Recipe
from foveal.runs import compare
from foveal.runs.compare import STARTS, compare_starts
from foveal.tasks.detect import Detect


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

    def planned(source: Any, recipe: Recipe, share: float, progress: Any) -> dict[str, Recipe]:
        epochs = iter(("auto", 9, 8, 7))
        asked = {"training.minutes": share}
        return {w: recipe.with_settings({"network.train": w, "training.epochs": next(epochs), **asked}) for w in STARTS}

    monkeypatch.setattr(compare, "train", train)
    monkeypatch.setattr(compare, "_planned", planned)
    return asked


def test_each_way_gets_its_share_of_the_time_and_the_same_recipe_besides(
    tmp_path: Path, trained: list[tuple[Path, Recipe]]
) -> None:
    asked = recipe(network__weights="imagenet", training__minutes=6.0, training__seed=3, training__epochs=7)
    found = compare_starts("digits", out=tmp_path / "out", recipe=asked)
    assert [way.network.train for _, way in trained] == list(STARTS) == ["head", "last:1", "all", "scratch"]
    assert [way.training.epochs for _, way in trained] == ["auto", 9, 8, 7]  # as many as were planned
    for folder, way in trained:
        assert folder.parent == tmp_path / "out"
        assert way.training.minutes == 1.5
        back = {"network.train": "auto", "training.minutes": 6.0, "training.epochs": 7, "data.source": ""}
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
        compare_starts("digits", out=tmp_path / "out", settings={"network.weights": "scratch"})
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotWritable, match="is not empty"):
        compare_starts("digits", out=tmp_path, settings={"network.weights": "imagenet"})
    assert not trained


@pytest.mark.parametrize("ended", [1, 3])
def test_what_ended_is_told_where_another_way_fails(
    tmp_path: Path, trained: list[tuple[Path, Recipe]], monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    whole = compare.train

    def failing(*source: Any, **asked: Any) -> Any:
        if len(trained) == ended:
            raise NotFinite("the loss is not finite.")
        return whole(*source, **asked)

    monkeypatch.setattr(compare, "train", failing)
    with pytest.raises(NotFinite):
        compare_starts("digits", out=tmp_path / "out", settings={"network.weights": "imagenet"})
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [way["train"] for way in written] == list(STARTS[:ended])
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "head/report.html" in page
    assert "scratch/report.html" not in page


def test_ways_that_do_not_fit_are_refused_before_one_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start, pixels = tmp_path / "start.safetensors", np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    classifier(build("mlp", 2, 1, (8, 8)), Preprocess(8, 8, 1, (0.3,), (0.3,)), ("a", "b"), "mlp").save(start)
    few = pixels, np.arange(60) % 2
    asked = {"network.name": "mlp", "network.weights": str(start), "data.size": "8", "training.arithmetic": "fp32",
             "training.threads": 1}  # fmt: skip
    words = r"0.00025 minutes for each of 4 ways, and one epoch of --train .* takes .*: give --minutes [\d.]+ or more"
    with pytest.raises(BadRecipe, match=words):
        compare_starts(few, out=tmp_path / "out", settings={**asked, "training.minutes": 1e-3})
    assert not (tmp_path / "out").exists()
    ways = compare._planned(few, Recipe().with_settings(asked), 1.0, SILENT)
    assert list(ways) == list(STARTS)
    assert all(isinstance(way.training.epochs, int) for word, way in ways.items() if word != "head")


def test_boxes_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "asked_data", lambda *_: (Detect, None))
    with pytest.raises(BadRecipe, match="--compare is for one label a picture"):
        compare_starts("scenes", out=tmp_path / "out", settings={"network.weights": "imagenet"})
    assert not (tmp_path / "out").exists()
