"""Weights from elsewhere: read as they were saved, or refused in a sentence; nothing that a file asks for is run."""

from __future__ import annotations

import collections
import json
import os
import pickle
import struct
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from foveal.errors import BadModel
from foveal.files import _weights_only, foreign
from foveal.files.foreign import read_foreign
from foveal.files.tensors import write_tensors

STATE = {
    "conv.weight": torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(1)),
    "conv.bias": torch.arange(4, dtype=torch.float32),
    "bn.num_batches_tracked": torch.tensor(17),
    "half": torch.linspace(-1, 1, 7, dtype=torch.float16),
}


def refused(path: Path, **options: int) -> str:
    with pytest.raises(BadModel) as caught:
        read_foreign(path, **options)
    sentence = str(caught.value)
    assert sentence.count("\n") == 0
    assert sentence.startswith(str(path))
    assert sentence.endswith(".")
    return sentence


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )


@pytest.fixture
def here(monkeypatch, capsys):
    """The other process's program runs in this one, without its limits: what it answers is the same, only sooner."""
    monkeypatch.setattr(_weights_only, "limit", lambda memory, seconds: None)

    def answered(source: Path, target: Path, most: int, memory: int) -> tuple[str, str]:
        with warnings.catch_warnings():
            _weights_only.main(str(source), str(target), most, memory, 0)
        return tuple(json.loads(capsys.readouterr().out))

    monkeypatch.setattr(foreign, "_in_another_process", answered)


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


# What is used.


def test_a_safetensors_file_without_metadata_of_ours_is_read(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "w.safetensors", {"format": "pt"})
    assert same(read_foreign(tmp_path / "w.safetensors"), STATE)


def test_a_model_of_ours_is_read_too_and_its_checksum_holds(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, STATE, {"classes": ["a"]}, "model")
    assert same(read_foreign(path), STATE)
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    assert "is damaged (checksum)" in refused(path)


def test_what_training_scripts_put_around_a_state_dict_is_taken_away(tmp_path):
    """A nest, DataParallel's prefix, an optimiser's state, views of shared memory, all in the format of before 1.6."""
    wide = torch.arange(24.0).reshape(4, 6)
    state = collections.OrderedDict({"module.a": wide.T, "module.b": wide[1:3], "module.c": wide})
    tree = {"epoch": 3, "optimizer": {"momentum": torch.ones(2)}, "model": {"state_dict": state}}
    torch.save(tree, tmp_path / "checkpoint.pt", _use_new_zipfile_serialization=False)
    found = read_foreign(tmp_path / "checkpoint.pt")
    assert same(found, {"a": wide.T, "b": wide[1:3], "c": wide})


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    state = {"module.a": torch.ones(1), "b": torch.ones(2)}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    assert same(read_foreign(tmp_path / "w.safetensors"), state)


def test_a_pytorch_file_gives_the_same_tensors_wherever_it_lies(tmp_path, monkeypatch):
    """In a folder of a strange name, in which something waits to be imported."""
    place = tmp_path / "mes poids; $(touch canary)\n'é"
    place.mkdir()
    (place / "torch.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    torch.save(STATE, place / "-w.bin")
    monkeypatch.chdir(place)
    assert same(read_foreign("-w.bin"), STATE)
    assert not list(tmp_path.rglob("canary"))


# What is refused.


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2), "b": Evil(tmp_path / "canary")}}, tmp_path / "w.pth")
    sentence = refused(tmp_path / "w.pth")
    assert not (tmp_path / "canary").exists()
    assert f"holds more than tensors ({os.name if os.name == 'nt' else 'posix'}.system)" in sentence
    assert "torch.save(network.state_dict(), FILE)" in sentence


@pytest.mark.parametrize("kind", ["legacy", "bare", "by name"])
def test_so_is_one_in_another_wrapping(tmp_path, here, kind):
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    if kind == "legacy":
        torch.save({"a": Evil(canary)}, path, _use_new_zipfile_serialization=False)
    else:
        by_name = b"\x80\x02cos\nsystem\n(X\x05\0\0\0touchtR."
        path.write_bytes(pickle.dumps(Evil(canary), protocol=2) if kind == "bare" else by_name)
    assert "holds more than tensors" in refused(path)
    assert not canary.exists()


def test_the_malicious_pickle_would_do_harm_if_it_were_opened(tmp_path):
    torch.save({"a": Evil(tmp_path / "canary")}, tmp_path / "w.pth")
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "canary").exists()


def test_a_whole_network_instead_of_its_tensors_is_refused(tmp_path, here):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "w.pth")
    assert "holds more than tensors (torch.nn.modules.linear.Linear)" in refused(tmp_path / "w.pth")


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def test_a_file_that_unfolds_to_more_than_it_should_is_refused(tmp_path, here):
    """A zip of some kilobytes for 64 MB of zeros, which PyTorch's reader would unfold."""
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "good.pth")
    with zipfile.ZipFile(tmp_path / "good.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = next(name for name in members if name.endswith("data/0"))
    members[data] = bytes(64 << 20)
    bomb = zipped(tmp_path / "bomb.pth", members, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 20
    assert "unfolds to more than" in refused(bomb, most=8 << 20)


def test_a_view_that_claims_more_than_is_stored_is_refused(tmp_path, here):
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").stat().st_size < 4096
    assert "unfolds to more than" in refused(tmp_path / "w.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_a_storage_that_claims_more_memory_than_its_file_has_bytes_is_refused(tmp_path):
    """The old format states a storage's size before its bytes; the memory is asked for at once."""
    torch.save({"a": torch.zeros(999_983)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "w.pth").read_bytes()
    size = b"J" + struct.pack("<i", 999_983)
    assert size in raw
    (tmp_path / "w.pth").write_bytes(raw.replace(size, b"J" + struct.pack("<i", 2**31 - 1))[:4096])
    assert "unfolds to more than" in refused(tmp_path / "w.pth")


def test_a_file_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "w.pth")
    monkeypatch.setattr(foreign, "SECONDS", 0.02)
    started = time.perf_counter()
    assert "takes more than 0.02 s" in refused(tmp_path / "w.pth")
    assert time.perf_counter() - started < 5


def test_a_damaged_file_is_told_by_the_other_process(tmp_path):
    torch.save({"a": torch.randn(5000)}, tmp_path / "w.pth")
    with open(tmp_path / "w.pth", "r+b") as file:
        file.truncate(9000)
    assert "is damaged or cut short" in refused(tmp_path / "w.pth")


def test_a_process_that_dies_without_an_answer_is_told(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "w.pth")
    monkeypatch.setattr(foreign.sys, "executable", "/bin/false" if os.path.exists("/bin/false") else "/usr/bin/false")
    assert "crashed on it" in refused(tmp_path / "w.pth")
    monkeypatch.setattr(foreign.sys, "executable", str(tmp_path / "nothing"))
    assert "no such file" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_pytorch_file_that_is_cut_short_is_refused(tmp_path, here, share, new):
    torch.save({"a": torch.randn(5000)}, tmp_path / "whole.pth", _use_new_zipfile_serialization=new)
    raw = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(raw[: int(len(raw) * share)])
    sentence = refused(tmp_path / "w.pth")
    assert any(w in sentence for w in ("is damaged or cut short", "is empty", "is no file of weights", "is a zip"))


def test_a_safetensors_file_that_is_cut_short_is_refused(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "w.safetensors")
    raw = (tmp_path / "w.safetensors").read_bytes()
    for length in (5, 30, len(raw) // 2, len(raw) - 1):
        (tmp_path / "w.safetensors").write_bytes(raw[:length])
        assert any(w in refused(tmp_path / "w.safetensors") for w in ("is cut short", "is no file of weights"))


OTHERS = {
    "an ONNX file": (b"\x08\x07\x12\x04test" + bytes(64), "is an ONNX file, not weights"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file, not weights"),
    "text": (b"just some words that somebody wrote", "is a text, not weights"),
    "an old pickle": (b"cposix\nsystem\n(S'true'\ntR.", "foveal never opens those"),
    "a list in a pickle": (pickle.dumps([1, 2, 3], protocol=2), "PyTorch cannot read it"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_something_else_is_named_for_what_it_is(tmp_path, here, what):
    raw, words = OTHERS[what]
    (tmp_path / "w.pth").write_bytes(raw)
    assert words in refused(tmp_path / "w.pth")


def test_archives_are_told_apart(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    assert "is a NumPy archive, not weights" in refused(tmp_path / "a.npz")
    script = {"a/data.pkl": b"\x80\x02}.", "a/constants.pkl": b"\x80\x02).", "a/code/x.py": b"def f(): pass"}
    assert "is a TorchScript file, not weights" in refused(zipped(tmp_path / "s.pt", script))
    assert "is a zip archive, not weights" in refused(zipped(tmp_path / "z.zip", {"a.txt": b"a"}))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([torch.ones(2)], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({1: torch.ones(2)}, "holds no state dict"),
        ({"a\x1b": torch.eye(3).to_sparse()}, 'tensor "a\\x1b" is sparse'),
        ({"a": torch.tensor([1.0, float("nan")])}, 'tensor "a" has NaN or infinite values'),
        ({"bn.running_var": torch.tensor([-1.0])}, "has negative values"),
    ],
    ids=["a list", "no tensor", "numbers for names", "sparse", "NaN", "a negative variance"],
)
def test_tensors_that_cannot_be_weights_are_refused(tmp_path, here, tree, words):
    torch.save(tree, tmp_path / "w.pth")
    assert words in refused(tmp_path / "w.pth")


def test_a_file_larger_than_weights_can_be_is_refused_unread(tmp_path):
    with open(tmp_path / "w.safetensors", "wb") as file:
        file.truncate(64 << 30)
    started = time.perf_counter()
    assert "is 64 GiB, more than weights need here (at most 4 GiB)" in refused(tmp_path / "w.safetensors")
    assert time.perf_counter() - started < 2


def test_what_is_no_file_is_told(tmp_path):
    assert "does not exist" in refused(tmp_path / "nowhere.pth")
    assert "is a folder" in refused(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")
        assert "is not a regular file" in refused(tmp_path / "pipe.pth")
