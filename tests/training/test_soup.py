"""Several trainings of one start, averaged: each is one that could be run by itself, and their mean is what is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainings import quick, saved_weights

from foveal.errors import Interrupted
from foveal.training import soup
from foveal.training.fit import fit
from foveal.training.setup import Setup
from foveal.training.soup import averaged, mean_of, others_of


def started(folder: Path, count: int, seed: int = 0) -> Setup:
    """All of a network of one's own is to learn, some times."""
    network, place = saved_weights(folder)
    asked = {"network__weights": str(place), "network__train": "all", "training__soup": count, "training__seed": seed}
    return quick(network=network, training__learning_rate=0.02, training__ema=0.0, **asked)


def fit_several(setup: Setup, folder: Path, resume: bool = False) -> Any:
    """As a run does."""
    others = others_of(setup)
    return averaged(fit(setup, folder, resume=resume), others, folder, resume=resume)


def result(fitted: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fitted.state.result().items()}


def test_the_result_is_the_mean_of_trainings_with_other_seeds(tmp_path: Path) -> None:
    for name in ("all", "0", "1", "2"):
        (tmp_path / name).mkdir()
    several = result(fit_several(started(tmp_path, 3), tmp_path / "all"))
    singly = [result(fit(started(tmp_path, 1, seed), tmp_path / str(seed))) for seed in range(3)]
    assert not torch.equal(singly[0]["0.weight"], singly[1]["0.weight"])
    for name, value in several.items():
        torch.testing.assert_close(value, torch.stack([one[name] for one in singly]).mean(0), rtol=1e-5, atol=1e-6)


def test_one_training_is_that_training(tmp_path: Path) -> None:
    for name in ("one", "plain"):
        (tmp_path / name).mkdir()
    one = fit_several(started(tmp_path, 1), tmp_path / "one")
    plain = fit(started(tmp_path, 1), tmp_path / "plain")
    assert all(torch.equal(value, result(plain)[name]) for name, value in result(one).items())
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["checkpoint", "history.csv"]


def test_a_second_training_that_is_stopped_is_gone_on_with_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = result(fit_several(started(tmp_path, 2), tmp_path / "whole"))
    begun = []

    def stopping(setup: Setup, folder: Path, **asked: Any) -> Any:
        begun.append(folder.name)
        if len(begun) == 1:
            raise Interrupted("stopped", 130)
        return fit(setup, folder, **asked)

    monkeypatch.setattr(soup, "fit", stopping)
    with pytest.raises(Interrupted):
        fit_several(started(tmp_path, 2), tmp_path / "cut")
    assert begun == ["soup-2"]
    monkeypatch.undo()
    again = result(fit_several(started(tmp_path, 2), tmp_path / "cut", resume=True))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_counters_are_not_averaged() -> None:
    states = [
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([3.0, 6.0]), "n": torch.tensor(9)},
    ]
    found = mean_of(states)
    assert found["w"].tolist() == [2.0, 4.0]
    assert int(found["n"]) == 3
