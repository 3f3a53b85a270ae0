"""What measuring promised is held against what the first epoch reaches."""

import math
from dataclasses import dataclass, field

import pytest
import torch

from foveal import runs
from foveal.training import promise as held
from foveal.training.measuring import Measured
from foveal.training.promise import BeginAnew, Promise
from foveal.training.train_state import Tally


class Said:
    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


@dataclass
class Learning:
    """As much of a state as is looked at."""

    tally: Tally = field(default_factory=Tally)

    def step(self, promise, pictures, seconds):
        self.tally.seen += pictures
        self.tally.seconds += seconds
        promise.after_step(self)


def promised(speed=100.0, again="fp32", **facts):
    measured = Measured("fp32", 1, {"fp32": speed}, 1.0, **facts)
    said, looks = Said(), []

    def look():
        looks.append(1)
        return Measured(again, 1, {again: 30.0}, 1.0)

    return Promise(measured, look, said), said, looks


def test_a_speed_that_is_kept_is_not_talked_about():
    promise, said, looks = promised()
    learning = Learning()
    for _ in range(40):
        learning.step(promise, 61, 1.0)
    promise.after_epoch()
    assert promise.looked
    assert not said.sentences
    assert not looks


@pytest.mark.parametrize("steps", [10, 40])  # the epoch ends first, or the thirty seconds do
def test_a_speed_that_is_not_kept_is_said_and_measured_once_more(steps):
    promise, said, looks = promised()
    learning = Learning()
    for _ in range(steps):
        learning.step(promise, 59, 1.0)
    promise.after_epoch()
    assert len(looks) == 1
    assert "reaches 59 pictures/s, the measurement said 100" in said.sentences[0]
    assert "fp32 is still the fastest" in said.sentences[1]
    for _ in range(steps):
        learning.step(promise, 1, 1.0)
    assert len(looks) == 1


def test_another_way_that_is_faster_now_begins_anew():
    promise, _, _ = promised(again="bf16")
    with pytest.raises(BeginAnew) as anew:
        Learning().step(promise, 100, held.SECONDS + 1)
    assert anew.value.measured.arithmetic == "bf16"


def test_without_a_measurement_nothing_is_promised():
    promise = Promise(Measured("fp32", 1, {}, 0.0), lambda: math.nan, Said())
    Learning().step(promise, 1, 100.0)


@pytest.mark.parametrize(
    ("facts", "spent", "faults", "words"),
    [
        ({"busy": 1.0}, 50.0, 0, "other programs"),
        ({"busy": 1.0}, 500.0, 0, "may have slowed down"),
        ({"busy": 1.0, "update_share": 0.5}, 500.0, 0, "the optimiser takes 50% of a step"),
        ({"busy": 1.0}, 50.0, 10**6, "memory is short"),
    ],
)
def test_the_likely_reason(monkeypatch, facts, spent, faults, words):
    promise, said, _ = promised(**facts)
    clock, pages = iter([0.0, spent]), iter([0, faults])
    monkeypatch.setattr(held.time, "process_time", lambda: next(clock))
    monkeypatch.setattr(held, "_page_faults", lambda: next(pages))
    learning = Learning()
    learning.step(promise, 1, 0.1)
    learning.step(promise, 50, 40.0)
    assert words in said.sentences[0]


def test_a_run_that_begins_anew_has_one_arithmetic_and_repeats_to_the_bit(tmp_path, monkeypatch):
    """Measuring is made to lie: the run starts over with what is found then, as if it had been asked for at once."""
    settings = {"network.name": "conv 4 3x3, pool 2, flatten, dense classes", "training.epochs": 2}
    found = [
        Measured("fp32 channels-last", 1, {"fp32 channels-last": 1e9}, 0.1),
        Measured("fp32", 1, {"fp32": 10.0, "fp32 channels-last": 5.0}, 0.1),
    ]
    monkeypatch.setattr("foveal.training.rehearsal.measure", lambda *_, **__: found.pop(0))
    said = Said()
    said.task = foveal_silent().task
    run = runs.train("digits", out=tmp_path / "anew", settings=settings, progress=said)
    assert not found
    assert any("starts again with fp32" in sentence for sentence in said.sentences)
    assert run.metrics["arithmetic"]["chosen"] == "fp32"
    assert run.metrics["epochs"] == 2
    rows = (run.folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2"]
    plain = runs.train("digits", out=tmp_path / "plain", settings={**settings, "training.arithmetic": "fp32"})
    ours, theirs = (r.model.network.state_dict() for r in (run, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (run.folder / "recipe.toml").read_text() == (plain.folder / "recipe.toml").read_text()


def test_a_network_of_one_s_own_begins_anew_as_it_was_given(tmp_path, monkeypatch):
    def own():
        torch.manual_seed(1)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(576, 10))

    lies = [
        Measured("fp32 channels-last", 1, {"fp32 channels-last": 1e9}, 0.1),
        Measured("fp32", 1, {"fp32": 9.0}, 0.1),
    ]
    monkeypatch.setattr("foveal.training.rehearsal.measure", lambda *_, **__: lies.pop(0))
    settings = {"training.epochs": 1, "data.size": "24"}
    run = runs.train("digits", out=tmp_path / "anew", settings=settings, network=own())
    plain = runs.train(
        "digits", out=tmp_path / "plain", settings={**settings, "training.arithmetic": "fp32"}, network=own()
    )
    ours, theirs = (r.model.network.state_dict() for r in (run, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def foveal_silent():
    from foveal.progress import SILENT

    return SILENT
