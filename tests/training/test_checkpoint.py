"""Checkpoints: which of them stay, which is taken up, and what is said of those that are not whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from foveal.errors import BadModel
from foveal.training.checkpoint import best, newest, restore, save, save_best
from foveal.training.train_state import Averaged, Epoch, TrainState


def begun(width: int = 3, seed: int = 0) -> TrainState:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))
    return TrainState(network, torch.optim.Adam(network.parameters()), Averaged(network, 0.9))


def stepped(state: TrainState) -> TrainState:
    """One step of learning, and all that is written of it."""
    state.network(torch.randn(4, 2, generator=torch.Generator().manual_seed(state.step))).square().sum().backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    assert state.averaged is not None
    state.averaged.update(state.network)
    state.step += 1
    return state


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_two_newest_and_the_best_stay(tmp_path: Path) -> None:
    state = begun()
    save_best(tmp_path, state, {})
    for state.epoch, state.step in ((8, 7), (9, 0), (9, 12), (10, 3)):
        save(tmp_path, state, {})
    assert names(tmp_path) == [
        "best.safetensors", "epoch-00009-step-00000012.safetensors", "epoch-00010-step-00000003.safetensors",
    ]  # fmt: skip
    path, damaged = newest(tmp_path)
    assert path == tmp_path / "epoch-00010-step-00000003.safetensors"
    assert not damaged
    assert best(tmp_path) == tmp_path / "best.safetensors"


def test_the_best_is_the_last_that_was_called_so(tmp_path: Path) -> None:
    assert best(tmp_path) is None
    state = begun()
    save_best(tmp_path, state, {"which": 1})
    save_best(tmp_path, stepped(state), {"which": 2})
    kept = best(tmp_path)
    assert kept is not None
    again = begun(seed=1)
    assert restore(kept, again) == {"which": 2}
    assert torch.equal(again.network.state_dict()["0.weight"], state.network.state_dict()["0.weight"])


def test_a_restored_state_goes_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    state = stepped(stepped(begun()))
    state.epoch, state.best_loss, state.best_epoch = 4, 0.25, 3
    state.history.append(Epoch(1, 0.5, 0.6, float("nan"), 0.8, 0.1, 100.0, 2.0))
    state.tally.add(torch.tensor(0.5), 3, 4)
    again = begun(seed=1)
    assert restore(save(tmp_path, state, {"data": "x"}), again) == {"data": "x"}
    assert (again.epoch, again.step, again.best_loss, again.best_epoch) == (4, 2, 0.25, 3)
    assert again.tally == state.tally
    assert repr(again.history) == repr(state.history)  # NaN is not equal to itself
    stepped(state)
    stepped(again)
    for name, value in state.result().items():
        assert torch.equal(again.result()[name], value), name
    for name, value in state.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name


@pytest.mark.parametrize("cut", [0, 50, -1])
def test_a_damaged_newest_one_is_told_and_the_one_before_is_taken(tmp_path: Path, cut: int) -> None:
    state = begun()
    first = save(tmp_path, state, {})
    state.step = 5
    second = save(tmp_path, state, {})
    second.write_bytes(second.read_bytes()[:cut])
    path, damaged = newest(tmp_path)
    assert path == first
    assert len(damaged) == 1
    assert second.name in damaged[0]


def test_where_none_is_whole_the_folder_is_named_with_the_way_out(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])
    save(tmp_path, begun(), {}).write_bytes(b"nothing of the kind")
    with pytest.raises(BadModel, match=rf"{tmp_path.name}: every checkpoint is damaged .* with another --out"):
        newest(tmp_path)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "epoch-1-step-2.safetensors"
    other.write_bytes(b"mine")
    state = begun()
    for state.step in range(4):
        save(tmp_path, state, {})
    assert other.exists()
    assert len(names(tmp_path)) == 3


def test_another_networks_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, begun(width=3), {})
    with pytest.raises(BadModel, match=r"epoch-00000-step-00000000\.safetensors does not fit this run's network"):
        restore(path, begun(width=4))
