"""Ways of computing are applied as they are named, and leave no trace."""

import torch
from torch import nn

from foveal import machine
from foveal.training import arithmetic
from foveal.training.arithmetic import WAYS, Arithmetic, freed_memory_kept, threads_used


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 36, 4))


def test_layouts_are_applied():
    for way in WAYS:
        found = Arithmetic(way)
        images = found.images(torch.zeros(2, 3, 4, 5))
        assert images.is_contiguous(memory_format=torch.channels_last) == way.endswith("channels-last")


def test_formats_are_applied():
    for way in WAYS:
        with Arithmetic(way).autocast():
            out = nn.functional.linear(torch.zeros(2, 3), torch.zeros(4, 3))
        assert out.dtype == arithmetic.FORMATS[Arithmetic(way).format]
        assert way.startswith(Arithmetic(way).format)


def test_threads_come_back():
    before = torch.get_num_threads()
    with threads_used(2):
        assert torch.get_num_threads() == 2
    with threads_used("auto"):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_threads_are_no_more_than_a_quota_pays_for(monkeypatch):
    torch.set_num_threads(2)
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    with threads_used("auto"):
        assert torch.get_num_threads() == 2  # OMP_NUM_THREADS is set here, by whoever runs the tests
    for name in machine.THREADS_SET_BY:
        monkeypatch.delenv(name, raising=False)
    with threads_used("auto"):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


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
