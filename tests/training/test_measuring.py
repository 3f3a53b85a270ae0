"""Arithmetic is measured by whole steps, sound, remembered, and leaves no trace."""

import json
import time

import pytest
import torch
from torch import nn

from foveal.files.places import cache_folder
from foveal.training import measuring
from foveal.training.arithmetic import WAYS, Arithmetic
from foveal.training.measuring import Timed, measure
from foveal.training.trials import answering, learning


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4))


def pictures(n=16):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def measured(network=None, batch=16, **asked):
    network = network or small()
    return measure(learning(network, pictures(batch)), network, batch, **{"seconds": 0.3, **asked})


@pytest.fixture
def bf16_is_quick(monkeypatch):
    """As on a processor that has instructions for it."""
    monkeypatch.setattr(measuring, "rival_format", lambda network, device: "bf16")


class Machine:
    """A trial on a machine whose ways take the seconds that they are given."""

    def __init__(self, **seconds):
        self.seconds = {
            name.replace("_", " ").replace("channels last", "channels-last"): s for name, s in seconds.items()
        }
        self.tried = []

    def __call__(self, arithmetic, enough):
        self.tried.append(arithmetic.name)
        took = []
        while not took or not enough(took):
            took.append(self.seconds[arithmetic.name] if len(took) < 5 else 10.0)  # seconds that nobody has to wait
        return Timed(8, tuple(took))


def test_the_fastest_of_what_was_timed_is_taken(bf16_is_quick):
    found = measured()
    assert 2 <= len(found.images_per_second) <= len(WAYS)  # where bf16 is emulated, the first way takes the time of all
    assert found.arithmetic in found.images_per_second
    assert found.seconds < 5


@pytest.mark.parametrize("best", WAYS)
def test_each_way_is_taken_where_it_is_the_quickest(bf16_is_quick, best):
    slow = {way.replace(" ", "_").replace("-", "_"): 0.002 if way != best else 0.001 for way in WAYS}
    found = measure(Machine(**slow), small(), 8, seconds=1.0)
    assert found.arithmetic == best
    assert found.promised == pytest.approx(8 / 0.001)


def test_a_format_that_is_emulated_is_not_tried(monkeypatch):
    monkeypatch.setattr(measuring, "rival_format", lambda network, device: None)
    trial = Machine(fp32=0.001, fp32_channels_last=0.002)
    found = measure(trial, small(), 8, seconds=0.1)
    assert {"fp32", "fp32 channels-last"} == set(trial.tried)
    assert (found.arithmetic, found.ruled_out) == ("fp32", "bf16")
    assert "bf16 is slower than fp32 on this processor" in str(found)


def test_never_fewer_than_two_ways_decide(bf16_is_quick):
    slow = {"bf16_channels_last": 5.0, "fp32_channels_last": 0.1, "fp32": 1.0, "bf16": 1.0}

    class Slow(Machine):
        def __call__(self, arithmetic, enough):
            time.sleep(0.1)
            return super().__call__(arithmetic, enough)

    trial = Slow(**slow)
    found = measure(trial, small(), 8, seconds=0.05)  # the first way alone takes twice the time
    assert trial.tried == list(WAYS[:2])
    assert found.arithmetic == "fp32 channels-last"


def test_a_promise_is_made_for_the_batch_that_will_run():
    """Eight pictures in 0.9 s of which the optimiser takes 0.1 s: 80 take 8.1 s, not 9 s."""
    timed = Timed(8, (3.0, 0.9, 0.9, 1.7), update=0.1)
    assert timed.best(80) == pytest.approx(80 / 8.1)
    assert timed.usual(8) == pytest.approx(8 / 0.9)
    assert Timed(8, (3.0,)).usual(8) == pytest.approx(8 / 3)


def test_measuring_leaves_network_and_chance_as_they_were():
    network = small()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    measured(network)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.training
    assert all(p.grad is None for p in network.parameters())


def test_a_second_run_remembers_and_another_look_forgets(monkeypatch):
    first = measured()
    calls = []
    plain = measuring._timed
    monkeypatch.setattr(measuring, "_timed", lambda *asked: calls.append(asked) or plain(*asked))
    again = measured()
    assert again.cached
    assert not calls
    assert (again.arithmetic, again.threads, again.ruled_out) == (first.arithmetic, first.threads, first.ruled_out)
    assert again.promised == pytest.approx(first.promised, rel=1e-3)
    assert again.busy == first.busy
    assert not measured(anew=True).cached
    assert calls


def test_what_an_earlier_version_remembered_is_forgotten(monkeypatch):
    measured()
    monkeypatch.setattr(measuring, "VERSION", measuring.VERSION + 1)
    assert not measured().cached


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"])
def test_a_processor_that_is_made_to_play_a_smaller_one_is_measured_anew(monkeypatch, name):
    measured()
    monkeypatch.setenv(name, "another than before")  # PyTorch has read it already
    assert not measured().cached


def test_another_batch_network_or_kind_of_step_is_measured_anew():
    measured()
    assert measured().cached
    assert not measured(batch=17).cached
    assert not measured(facts=["with adamw"]).cached
    assert not measured(nn.Sequential(nn.Flatten(), nn.Linear(192, 4))).cached


@pytest.mark.parametrize(
    "odd",
    [
        {"arithmetic": "fp8", "threads": "many", "images_per_second": []},
        {"arithmetic": "fp32", "threads": 1, "images_per_second": {"bf16": 3.0}},
        {"arithmetic": "fp32", "threads": 1, "images_per_second": {"fp32": 3.0}},  # as 0.1 wrote it
        [],
    ],
)
def test_an_odd_cache_file_is_measured_anew(odd):
    measured()
    for file in (cache_folder() / "arithmetic").iterdir():
        file.write_text(json.dumps(odd))
    assert not measured().cached


def test_an_unwritable_cache_means_to_measure_each_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file" / "cache"))
    assert measured().promised
    assert not measured().cached


class Overflowing(nn.Module):
    """Fine in float32, infinite where intermediate values are rounded to bf16."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        out = self.head(x.mean((2, 3)))
        return out * float("inf") if out.dtype == torch.bfloat16 else out


@pytest.mark.parametrize("kind", [learning, answering])
def test_an_unsound_way_is_never_taken(bf16_is_quick, kind):
    found = measure(kind(Overflowing(), pictures()), Overflowing(), 16, seconds=0.3)
    assert found.arithmetic.startswith("fp32")
    assert not any(way.startswith("bf16") for way in found.images_per_second)


def test_a_way_that_a_device_cannot_is_left_out(bf16_is_quick, monkeypatch):
    plain = Arithmetic.autocast

    def refusing(self):
        if self.format == "bf16":
            raise RuntimeError("not implemented for 'BFloat16'")
        return plain(self)

    monkeypatch.setattr(Arithmetic, "autocast", refusing)
    found = measured()
    assert found.arithmetic.startswith("fp32")
    assert set(found.images_per_second) == {"fp32", "fp32 channels-last"}
