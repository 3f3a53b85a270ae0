"""A result below the baseline: what is said, and the command that would mend it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from trainings import pictures, quick, recipe

from foveal.runs import mending
from foveal.runs.mending import mend
from foveal.training.baseline import Baseline

HOG = Baseline("HOG + linear", 0.5312, (0.4, 0.6), 300, 64, 1.0, "")


def way(photographs: bool = False, head: bool = False, **settings: Any) -> str:
    settled: dict[str, Any] = {"data__source": "my flowers", "training__epochs": 10, "network__weights": "scratch"}
    return mending._way(recipe(**settled | settings), photographs, head)[1]


def test_photographs_from_chance_are_sent_to_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "way_to_weights", lambda: 'pip install "foveal[weights]"')
    assert way(photographs=True) == "pip install \"foveal[weights]\" && foveal train 'my flowers'"
    monkeypatch.setattr(mending, "way_to_weights", lambda: "")  # they are here, and were not wanted
    assert way(photographs=True) == "foveal train 'my flowers'"


def test_others_get_more_of_what_they_had() -> None:
    assert way() == "foveal train 'my flowers' --epochs 30"
    assert way(training__minutes=1.5) == "foveal train 'my flowers' --minutes 3"
    started = "imagenet@sha256:0011223344556677"
    assert way(photographs=True, head=True, network__weights=started) == "foveal train 'my flowers' --train all"
    assert way(photographs=True, network__weights=started) == "foveal train 'my flowers' --epochs 30"
    assert way(data__source="") == "foveal train SOURCE --epochs 30"


def test_only_a_result_below_the_baseline_is_mended() -> None:
    setup = quick(pictures())
    assert mend(setup, 0.4, None) is None
    assert mend(setup, HOG.score, HOG) is None
    found = mend(setup, 0.14, HOG)
    assert found is not None
    assert "did better than the network, 53.12 % against 14.00 %: train for more epochs" in found.sentence
    assert mend(setup, 0.14, replace(HOG, score=0.13)) is None
