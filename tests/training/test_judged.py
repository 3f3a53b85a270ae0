"""Whether a trunk that has learnt is kept: by what it and heads alone say of pictures that neither has seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trainings import quick, saved_weights

from foveal.errors import BadRecipe
from foveal.ops.logistic import Chosen
from foveal.ops.statistics import negative_log_likelihood
from foveal.runs import training_run
from foveal.tasks.classify import Classify
from foveal.training.calibrate import calibrated
from foveal.training.judged import Judged, judged
from foveal.training.setup import Setup


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """All of a network of one's own is to learn, and to be kept where that is better."""
    network, place = saved_weights(tmp_path)
    return quick(network=network, network__weights=str(place), network__train="better")


def with_heads(setup: Setup, sure: float) -> Setup:
    """Heads that give the truth this probability on validation, and nonsense elsewhere."""
    assert setup.transfer is not None
    transfer, held_out = setup.transfer, setup.splits["val"]
    logits = np.random.default_rng(0).normal(size=transfer.chosen.logits.shape).astype(np.float32)
    at = np.searchsorted(transfer.indices, held_out)
    logits[at] = np.log((1 - sure) / (logits.shape[1] - 1))
    logits[at, setup.dataset.labels[held_out]] = np.log(sure)
    return replace(setup, transfer=replace(transfer, chosen=Chosen(0.1, logits)))


def test_whoever_is_surer_of_the_truth_is_kept(setup: Setup) -> None:
    model = calibrated(setup, setup.begun())
    right, wrong = (judged(with_heads(setup, sure), model) for sure in (0.999, 0.02))
    assert right is not None
    assert wrong is not None
    assert right.head_is_better
    assert not wrong.head_is_better
    assert right.trunk == wrong.trunk
    assert right.pictures == len(setup.splits["val"])
    assert "the frozen trunk is kept" in right.sentence
    assert "the fine-tuned trunk is kept" in wrong.sentence


def test_each_is_judged_at_its_own_temperature(setup: Setup) -> None:
    heads = with_heads(setup, 0.9)
    assert heads.transfer is not None
    unsure = heads.transfer.chosen.logits + np.random.default_rng(1).normal(0, 3, heads.transfer.chosen.logits.shape)
    heads = replace(heads, transfer=replace(heads.transfer, chosen=Chosen(0.1, unsure.astype(np.float32))))
    assert heads.transfer is not None
    louder = 7 * heads.transfer.chosen.logits
    heads = replace(heads, transfer=replace(heads.transfer, chosen=Chosen(0.1, louder)))
    found = judged(heads, calibrated(setup, setup.begun()))
    assert found is not None
    assert heads.transfer is not None
    held_out = setup.splits["val"]
    as_said = louder[np.searchsorted(heads.transfer.indices, held_out)]
    assert found.head < 0.5 * negative_log_likelihood(as_said, setup.dataset.labels[held_out])


def test_what_was_asked_for_is_not_judged(setup: Setup) -> None:
    assert setup.transfer is not None
    model = calibrated(setup, setup.begun())
    for train in ("all", "last:1"):
        asked = setup.recipe.with_settings({"network.train": train})
        assert judged(replace(setup, recipe=asked), model) is None
    nobody = {**setup.splits, "val": np.zeros(0, np.int64)}
    assert judged(replace(setup, splits=nobody), model) is None
    assert judged(replace(setup, transfer=None), model) is None


def test_equal_ones_are_the_heads() -> None:
    assert Judged(0.5, 0.5, 30).head_is_better


def test_the_loop_that_is_shown_is_one_training_and_not_judged(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    several = replace(setup, recipe=setup.recipe.with_settings({"training.soup": 3}))
    monkeypatch.setattr(training_run, "set_up", lambda *_: several)
    script = training_run.script_of(Classify, setup.dataset, setup.recipe)
    assert 'train="all"' in script
    assert "soup=1" in script
    network, place = saved_weights(tmp_path)
    head = quick(network=network, network__weights=str(place), network__train="head")
    monkeypatch.setattr(training_run, "set_up", lambda *_: head)
    with pytest.raises(
        BadRecipe, match="there is no training loop, since only the head is fitted, in one step; give --train all"
    ):
        training_run.script_of(Classify, setup.dataset, setup.recipe)
