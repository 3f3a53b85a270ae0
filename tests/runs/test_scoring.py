"""What metrics.json says of a run: scores on pictures not learnt from, and the baseline on the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import QUICK, pictures

import foveal
from foveal.runs import scoring
from foveal.training.baseline import Baseline, hog_baseline


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the baseline learnt from, and what it was asked about."""
    seen: list[Any] = []

    def watched(rows: Any, labels: Any, train: Any, on: Any, *more: Any) -> Baseline:
        seen.append((set(train.tolist()), set(on.tolist())))
        return hog_baseline(rows, labels, train, on, *more)

    monkeypatch.setattr(scoring, "hog_baseline", watched)
    return seen


def test_figures_are_of_the_test_and_the_baseline_is_asked_about_the_same(tmp_path: Path, asked: list[Any]) -> None:
    some = pictures(parts={"train": 80, "val": 10, "test": 10})
    pixels = np.stack([some.pictures.content(i) for i in range(len(some))])
    run = foveal.train((pixels, some.labels), out=tmp_path / "run", settings=QUICK)
    told = json.loads((run.folder / "metrics.json").read_text())
    assert told == json.loads(json.dumps(run.metrics))
    ((learnt, scored),) = asked
    assert len(learnt) == told["pictures"]["train"]
    assert len(scored) == told["pictures"]["test"] == told["test"]["n"]
    assert not learnt & scored
    assert told["test"]["split"] == "test"
    assert sum(told["pictures"].values()) == 100
    right = [
        p.answer.label == str(some.labels[i]) for i, p in enumerate(run.model.predict(list(pixels))) if i in scored
    ]
    assert told["test"]["top1"] == pytest.approx(np.mean(right))
    assert told["temperature"] == run.model.temperature
    parameters = sum(p.numel() for p in run.model.network.parameters())
    assert told["parameters"] == {"all": parameters, "trained": parameters}
    assert (told["epochs"], told["stopped_early"], told["task"]) == (2, False, "classify")
