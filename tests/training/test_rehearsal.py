"""The rehearsal: how to compute and how many epochs, decided by steps of the loop that leave no trace."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from trainings import HEIGHT, WIDTH, pictures, quick, recipe

from foveal.errors import BadRecipe
from foveal.networks.index import CUSTOM
from foveal.training import rehearsal
from foveal.training.measuring import Measured, Timed
from foveal.training.rehearsal import measured_anew, planned_epochs, with_arithmetic, with_optimizer_arithmetic
from foveal.training.setup import Setup


class Said:
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def timed(setup: Setup, monkeypatch: pytest.MonkeyPatch, step: float, validation: float) -> Setup:
    """Steps and validation take what is said; the first step, which warms up, a hundred times as long."""
    clock = [0.0]
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: clock[0])
    seconds = (100 * step, step * 0.5, step * 1.5)
    monkeypatch.setattr(rehearsal, "rehearsed", lambda laid, _: (Timed(8, seconds), laid.begun()))

    def validated(*_: object) -> tuple[float, float]:
        clock[0] += validation
        return 0.0, 0.0

    monkeypatch.setattr("foveal.training.setup.validated", validated)
    return replace(setup, recipe=setup.recipe.with_settings({"training.minutes": 1.0}))


def test_training_and_validation_of_the_planned_epochs_fit_and_one_more_would_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = Said()
    setup = timed(quick(), monkeypatch, step=0.5, validation=0.8)
    monkeypatch.setattr(rehearsal, "seconds_afterwards", lambda _, step: 30 * step * 8 / 0.5)
    epoch, kept = 3 * 0.5 + 0.8, 60 * 0.94 - 0.8 - 30  # three steps; validation was rehearsed; scores come afterwards
    epochs = planned_epochs(setup, said)
    assert epochs * epoch <= kept < (epochs + 1) * epoch
    assert said.sentences == [f"{epochs} epochs fit into 1 minutes."]
    later = planned_epochs(setup, said, began=-10.0)  # what has passed since the run began is gone
    assert later * epoch <= kept - 10.8 < (later + 1) * epoch


def test_scores_baseline_and_report_are_counted_and_more_pictures_take_longer() -> None:
    few, many = (quick(pictures(parts={"train": 20, "val": 4, "test": n})) for n in (10, 400))
    seconds = [rehearsal.seconds_afterwards(setup, 0.3) for setup in (few, many)]
    assert seconds[0] > (10 + 20) * 0.3 / 3
    assert seconds[1] - seconds[0] > 390 * 0.3 / 3


def test_not_even_one_epoch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRecipe, match="--minutes 1 is too short: one epoch takes about 2 minutes here"):
        planned_epochs(timed(quick(), monkeypatch, step=30.0, validation=30.0), Said())


def test_a_rehearsal_leaves_weights_and_plan_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = quick(training__epochs="auto", training__minutes=0.02, training__ema=0.9)
    before = {name: value.clone() for name, value in quick(training__ema=0.9).network.state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in setup.network.state_dict().items())
    began = time.perf_counter()
    assert planned_epochs(setup, Said()) >= 1
    assert time.perf_counter() - began < 10  # never more than a share of the minutes, and then two steps
    assert setup.plan.epochs >= 1


def test_what_the_recipe_says_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "measure", None)
    said, setup = Said(), quick()
    for way in ("fp32", "bf16 channels-last"):
        found = with_arithmetic(replace(setup, recipe=recipe_with(setup, way, 1)), said)
        assert found.arithmetic.name == found.measured.arithmetic == found.recipe.training.arithmetic == way
        assert found.recipe.training.threads == 1
    assert not said.sentences


def recipe_with(setup: Setup, arithmetic: str, threads: Any) -> Any:
    return setup.recipe.with_settings({"training.arithmetic": arithmetic, "training.threads": threads})


def test_what_was_measured_is_taken_said_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    said, setup, asked = Said(), quick(), []

    def measuring(trial: object, network: object, batch: int, device: str, **more: Any) -> Measured:
        asked.append((network, batch, device, more))
        return Measured("bf16", 1, {"fp32": 10.0, "bf16": 20.0}, 1.0)

    monkeypatch.setattr(rehearsal, "measure", measuring)
    found = with_arithmetic(replace(setup, recipe=recipe_with(setup, "auto", "auto")), said)
    assert (found.arithmetic.name, found.recipe.training.arithmetic, found.recipe.training.threads) == (
        "bf16",
        "bf16",
        1,
    )
    assert found.measured.promised == 20.0
    assert "Arithmetic bf16 on 1 thread of cpu (pictures/s: fp32 10, bf16 20" in said.sentences[0]
    network, batch, device, more = asked[0]
    assert (network, batch, device) == (setup.network, 8, "cpu")
    assert not more["anew"]
    assert (HEIGHT, WIDTH) in more["facts"]
    assert measured_anew(found).arithmetic == "bf16"
    assert asked[1][3]["anew"]


def test_what_is_timed_depends_on_optimiser_average_and_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing that is remembered must not be found by a training that takes other steps."""
    facts: list[Any] = []
    monkeypatch.setattr(rehearsal, "measure", lambda *_, **more: facts.append(more["facts"]))
    for settings in ({}, {"training__optimizer": "adamw"}, {"training__ema": 0.9}, {"augment__rotate": 20.0}):
        measured_anew(quick(**settings))
    assert all(facts[a] != facts[b] for a in range(4) for b in range(a))
    measured_anew(quick(training__seed=5, training__learning_rate=0.3))
    assert facts[4] == facts[0]


def test_sums_of_other_optimisers_are_float32() -> None:
    network = nn.Linear(2, 2)
    asked = recipe(network__name=CUSTOM, training__optimizer="adamw")
    assert with_optimizer_arithmetic(asked, network, "cpu").training.optimizer_arithmetic == "fp32"
    with pytest.raises(
        BadRecipe, match=r"training\.optimizer_arithmetic = bf16 is for muon only; adamw always computes in fp32"
    ):
        with_optimizer_arithmetic(asked.with_settings({"training.optimizer_arithmetic": "bf16"}), network, "cpu")
    muon = asked.with_settings({"training.optimizer": "muon", "training.optimizer_arithmetic": "bf16"})
    assert with_optimizer_arithmetic(muon, network, "cpu") is muon
