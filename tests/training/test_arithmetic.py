"""Arithmetic is measured, sound, remembered, and leaves no trace."""

import json

import torch
from torch import nn

from foveal.files.places import cache_folder
from foveal.training import arithmetic
from foveal.training.arithmetic import WAYS, Arithmetic, freed_memory_kept, measure, threads_used


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4))


def test_the_fastest_of_what_was_timed_is_taken():
    found = measure(small(), 3, (8, 8), 16, seconds=0.5)
    assert set(found.images_per_second) <= set(WAYS)
    assert found.images_per_second[found.arithmetic] == max(found.images_per_second.values())
    assert found.seconds < 5


def test_measuring_leaves_network_and_chance_as_they_were():
    network = small()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    measure(network, 3, (8, 8), 16, seconds=0.3)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.training
    assert all(p.grad is None for p in network.parameters())


def test_a_second_run_remembers(monkeypatch):
    first = measure(small(), 3, (8, 8), 16, seconds=0.5)
    monkeypatch.setattr(arithmetic, "_time_way", lambda *_: 1 / 0)
    again = measure(small(), 3, (8, 8), 16)
    assert again.cached
    assert again.arithmetic == first.arithmetic


def test_another_size_or_network_is_measured_anew(monkeypatch):
    measure(small(), 3, (8, 8), 16, seconds=0.5)
    timed = []
    monkeypatch.setattr(arithmetic, "_time_way", lambda a, *_: timed.append(a.name) or 1.0)
    measure(small(), 3, (8, 8), 17)
    assert timed


def test_an_odd_cache_file_is_measured_anew():
    measure(small(), 3, (8, 8), 16, seconds=0.5)
    for file in (cache_folder() / "arithmetic").iterdir():
        file.write_text(json.dumps({"arithmetic": "fp8", "threads": "many", "images_per_second": []}))
    assert not measure(small(), 3, (8, 8), 16, seconds=0.5).cached


class Overflowing(nn.Module):
    """Fine in float32, infinite where intermediate values are rounded to bf16."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        out = self.head(x.mean((2, 3)))
        return out * float("inf") if out.dtype == torch.bfloat16 else out


def test_an_unsound_way_is_never_taken():
    found = measure(Overflowing(), 3, (8, 8), 16, seconds=0.5)
    assert found.arithmetic.startswith("fp32")
    assert not any(way.startswith("bf16") for way in found.images_per_second)


def test_a_way_that_a_device_cannot_is_left_out(monkeypatch):
    plain = Arithmetic.autocast

    def refusing(self):
        if self.name.startswith("bf16"):
            raise RuntimeError("not implemented for 'BFloat16'")
        return plain(self)

    monkeypatch.setattr(Arithmetic, "autocast", refusing)
    assert measure(small(), 3, (8, 8), 16, seconds=0.5).arithmetic.startswith("fp32")


def test_layouts_are_applied():
    for way in WAYS:
        found = Arithmetic(way)
        images = found.images(torch.zeros(2, 3, 4, 5))
        assert images.is_contiguous(memory_format=torch.channels_last) == way.endswith("channels-last")


def test_threads_come_back():
    before = torch.get_num_threads()
    with threads_used(2):
        assert torch.get_num_threads() == 2
    with threads_used("auto"):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_keeping_freed_memory_changes_no_bit():
    def trained():
        network = small()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for step in range(5):
            torch.manual_seed(step)
            optimizer.zero_grad()
            network(torch.randn(16, 3, 8, 8)).square().mean().backward()
            optimizer.step()
        return network.state_dict()

    plain = trained()
    with freed_memory_kept():
        kept = trained()
    assert all(torch.equal(plain[name], kept[name]) for name in plain)


def test_a_machine_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(arithmetic, "_mallopt", lambda: None)
    with freed_memory_kept():
        assert torch.ones(3).sum() == 3
