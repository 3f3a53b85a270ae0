"""A model file is read whole, checked and of the right kind, or refused with its reason; nothing in it is executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import BadModel, NoSpace
from foveal.files import durable
from foveal.files.tensors import Spec, check_fit, read_metadata, read_tensors, write_tensors

TENSORS = {
    "conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)),
    "conv.bias": torch.arange(4, dtype=torch.float32),
    "bn.running_var": torch.ones(4),
    "bn.steps": torch.tensor(17),
    "half": torch.linspace(-1, 1, 7, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 5),
    "mask": torch.tensor([True, False]),
}
FACTS = {"classes": ["a", "b\n<script>"], "size": 224, "mean": [0.1, 1e-300], "nested": {"x": None}}


def good() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        write_tensors(path, TENSORS, FACTS, "model")
        return path.read_bytes()


GOOD = good()
LENGTH = int.from_bytes(GOOD[:8], "little")
HEADER = json.loads(GOOD[8 : 8 + LENGTH])
DATA = GOOD[8 + LENGTH :]


def by_hand(header: Any, data: bytes = DATA, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def changed(**tensors: Any) -> dict[str, Any]:
    """The good header with entries of tensors changed: `conv__bias={"dtype": "F99"}`."""
    header = json.loads(json.dumps(HEADER))
    for name, entry in tensors.items():
        header[name.replace("__", ".")].update(entry)
    return header


def with_facts(text: str | None = None, **facts: Any) -> bytes:
    """A file whose metadata text is another, or whose facts are changed (and the checksum not)."""
    header = changed()
    plain = {**json.loads(HEADER["__metadata__"]["foveal"]), **facts}
    header["__metadata__"]["foveal"] = json.dumps(plain) if text is None else text
    return by_hand(header)


def test_tensors_and_facts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = {
        **TENSORS,
        "nhwc": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "cut": torch.arange(9)[::2],
    }
    odd["shared"] = odd["conv.bias"]
    write_tensors(tmp_path / "m", odd, FACTS, "checkpoint")
    tensors, facts = read_tensors(tmp_path / "m", "checkpoint")
    assert facts == FACTS == read_metadata(tmp_path / "m", "checkpoint")
    assert tensors.keys() == odd.keys()
    for name, value in odd.items():
        assert tensors[name].dtype == value.dtype
        assert tensors[name].shape == value.shape
        assert torch.equal(tensors[name], value)
        tensors[name].zero_()  # memory of its own, and writable


DTYPES = st.sampled_from(["float32", "bfloat16", "int64", "uint8", "float64"])
NAMES = st.text(max_size=20).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(NAMES, st.tuples(DTYPES, st.lists(st.integers(0, 4), max_size=4)), max_size=6))
def test_any_names_shapes_and_dtypes_come_back(specs: dict[str, tuple[str, list[int]]]) -> None:
    tensors = {
        name: torch.ones(shape, dtype=getattr(torch, dtype))
        for name, (dtype, shape) in specs.items()
        if name != "__metadata__"
    }
    with tempfile.TemporaryDirectory() as folder:
        write_tensors(Path(folder) / "m", tensors, {"f": 1}, "model")
        back, _ = read_tensors(Path(folder) / "m", "model")
    assert {n: (t.dtype, t.shape) for n, t in back.items()} == {n: (t.dtype, t.shape) for n, t in tensors.items()}


def test_other_readers_of_safetensors_read_it(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", TENSORS, FACTS, "model")
    back = safetensors.torch.load_file(tmp_path / "m")
    assert all(torch.equal(back[name], value) for name, value in TENSORS.items())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def saved(write: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return buffer.getvalue()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def twice(name: str) -> bytes:
    raw = json.dumps(HEADER)
    entry = json.dumps({name: HEADER[name]})[1:-1]
    return by_hand((raw[:-1] + ", " + entry + "}").encode())


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "M01 empty": (lambda: b"", "is not a model file (0 bytes)"),
    "M01 7 bytes": (lambda: b"1234567", "is not a model file (7 bytes)"),
    "M02 in the header": (lambda: GOOD[:100], "is cut short"),
    "M02 at the data": (lambda: GOOD[: 8 + LENGTH], "is cut short (0 of"),
    "M02 by a byte": (lambda: GOOD[:-1], f"is cut short ({len(DATA) - 1} of {len(DATA)} bytes"),
    "M03": (lambda: GOOD[:-3] + bytes([GOOD[-3] ^ 1]) + GOOD[-2:], "is damaged (checksum)"),
    "M05 0": (lambda: by_hand(HEADER, length=0), "header length 0 does not fit the file"),
    "M05 5": (lambda: by_hand(HEADER, length=5), "is damaged"),
    "M05 too long": (lambda: by_hand(HEADER, length=2 * len(GOOD)), "does not fit the file"),
    "M05 10^8 + 1": (lambda: by_hand(HEADER, length=10**8 + 1), "header length 100000001 does not fit the file"),
    "M05 2^63": (lambda: by_hand(HEADER, length=2**63), "does not fit the file"),
    "M05 2^64 - 1": (lambda: by_hand(HEADER, length=2**64 - 1), "does not fit the file"),
    "M06 overlap": (lambda: by_hand(changed(conv__bias={"data_offsets": [0, 16]})), "bad offsets"),
    "M06 hole": (lambda: by_hand({"x": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}}, bytes(4)), "bad off"),
    "M06 reversed": (lambda: by_hand(changed(conv__bias={"data_offsets": [16, 0]})), '"conv.bias": bad offsets'),
    "M06 negative": (lambda: by_hand(changed(conv__bias={"data_offsets": [-16, 0]})), '"conv.bias": bad offsets'),
    "M06 beyond": (lambda: by_hand({"x": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, bytes(4)), "is cut"),
    "M07": (lambda: GOOD + zipped("a"), "bytes after the last tensor"),
    "M08 tensor": (lambda: twice("conv.bias"), 'name "conv.bias" appears twice'),
    "M08 metadata": (lambda: with_facts('{"kind": "model", "kind": "model"}'), 'name "kind" appears twice'),
    "M09 unknown dtype": (lambda: by_hand(changed(conv__bias={"dtype": "F31"})), "unknown dtype F31"),
    "M10 huge empty": (lambda: by_hand(changed(empty={"shape": [0, 2**40]})), "is damaged (checksum)"),
    "M10 overflow": (lambda: by_hand(changed(conv__bias={"shape": [2**32, 2**32]})), "bad offsets"),
    "M10 float side": (lambda: by_hand(changed(conv__bias={"shape": [4.0]})), "bad shape"),
    "M10 bool side": (lambda: by_hand(changed(conv__bias={"shape": [True, 4]})), "bad shape"),
    "M11 swapped": (lambda: by_hand({{"a": "b", "b": "a"}.get(k, k): v for k, v in HEADER.items()} | {
        "conv.bias": HEADER["bn.running_var"], "bn.running_var": HEADER["conv.bias"]}), "is damaged (checksum)"),
    "M12 timm": (lambda: safetensors.torch.save(dict(TENSORS), {"format": "pt"}), "is a safetensors file, but"),
    "M12 none": (lambda: safetensors.torch.save(dict(TENSORS)), "is a safetensors file, but not a foveal model"),
    "M12 null": (lambda: by_hand({**HEADER, "__metadata__": None}), "is a safetensors file, but not a foveal model"),
    "M13 no json": (lambda: with_facts("hello"), "metadata is not valid JSON"),
    "M13 list": (lambda: with_facts("[]"), "metadata lack kind"),
    "M13 number": (lambda: by_hand({**HEADER, "__metadata__": {"foveal": 7}}), "its metadata are no texts"),
    "M13 NaN": (lambda: with_facts(size=float("nan")), "its metadata hold NaN"),
    "M14 deep": (lambda: with_facts(nested(10**5)), "nested too deep"),
    "M14 deep header": (lambda: by_hand(('{"x":' + nested(10**5) + "}").encode()), "nested too deep"),
    "M14 digits": (lambda: with_facts('{"kind": ' + "9" * 5000 + "}"), "not valid JSON"),
    "M14 large": (lambda: with_facts(pad="x" * (5 << 20)), "its metadata are too large"),
    "M16 99": (lambda: with_facts(format_version=99), "was made by a newer foveal (format 99, this one reads up to 1)"),
    "M16 0": (lambda: with_facts(format_version=0), "metadata: format_version 0"),
    "M16 text": (lambda: with_facts(format_version="1"), "metadata: format_version 1"),
    "M16 bool": (lambda: with_facts(format_version=True), "metadata: format_version True"),
    "M17": (lambda: pickle.dumps(Evil()), "is a Python pickle; foveal never opens those"),
    "M17 protocol 0": (lambda: pickle.dumps(Evil(), 0), "is a Python pickle"),
    "M18 zip": (lambda: zipped("a.txt"), "is a zip archive, not a foveal model"),
    "M18 tar": (tarred, "is a tar archive, not a foveal model"),
    "M18 npz": (lambda: saved(lambda f: np.savez(f, a=np.zeros(3))), "is a NumPy archive"),
    "M18 npy": (lambda: saved(lambda f: np.save(f, np.zeros(3))), "is a NumPy array"),
    "M18 ONNX": (lambda: b"\x08\x08\x12\x07pytorch" + bytes(99), "is an ONNX file, not a foveal model"),
    "M18 HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "M18 GGUF": (lambda: b"GGUF" + bytes(99), "is a GGUF file"),
    "M18 keras": (lambda: zipped("metadata.json", "config.json", "model.weights.h5"), "is a Keras file"),
    "M18 TorchScript": (lambda: zipped("m/constants.pkl", "m/data.pkl"), "is a TorchScript file"),
    "M19 evil": (lambda: saved(lambda f: torch.save(Evil(), f)), "is a PyTorch pickle; foveal never opens those"),
    "M19 good": (lambda: saved(lambda f: torch.save({"a": torch.ones(3)}, f)), "is a PyTorch pickle"),
    "many tensors": (lambda: by_hand({f"{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
                                      for i in range(60_000)}, b""), "it names 60000 tensors"),
    "random": (lambda: random.Random(1).randbytes(5000), "is not a model file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_model_file_is_refused_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, words = REFUSED[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(make())
    started = time.perf_counter()
    with pytest.raises(BadModel) as raised:
        read_tensors(path, "model")
    assert words in str(raised.value)
    assert str(raised.value).startswith(f"{path} ")
    assert str(raised.value).endswith(".")
    assert time.perf_counter() - started < 5
    assert os.listdir(tmp_path) == ["m.safetensors"]  # no canary


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path, rng = tmp_path / "m", random.Random(2)
    places = [*range(8), *rng.sample(range(8, 8 + LENGTH), 300), *rng.sample(range(8 + LENGTH, len(GOOD)), 60)]
    for at in places:
        path.write_bytes(GOOD[:at] + bytes([GOOD[at] ^ 1 << rng.randrange(8)]) + GOOD[at + 1 :])
        with pytest.raises(BadModel):
            read_tensors(path, "model")


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=40), st.booleans())
def test_mutants_are_refused_and_nothing_else(at: int, junk: bytes, replacing: bool) -> None:
    mutant = GOOD[:at] + junk + GOOD[at + (len(junk) if replacing else 0) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        path.write_bytes(mutant)
        if mutant == GOOD:
            read_tensors(path, "model")
        else:
            with pytest.raises(BadModel):
                read_tensors(path, "model")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    write_tensors(tmp_path / "m", {"w": torch.tensor([1, value], dtype=dtype)}, {}, "model")
    with pytest.raises(BadModel, match='tensor "w" has NaN or infinite values'):
        read_tensors(tmp_path / "m", "model")


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", {"bn.running_var": torch.tensor([1.0, -1e-9])}, {}, "model")
    with pytest.raises(BadModel, match=r'tensor "bn.running_var" has negative values'):
        read_tensors(tmp_path / "m", "model")


def test_the_wrong_kind_of_file_is_told_with_the_way_out(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", {}, {}, "model")
    write_tensors(tmp_path / "c", {}, {}, "checkpoint")
    with pytest.raises(BadModel, match=r"is a checkpoint, not a model; use the model\.safetensors of its run"):
        read_tensors(tmp_path / "c", "model")
    with pytest.raises(BadModel, match="is a model, not a checkpoint; give --resume the run's folder"):
        read_metadata(tmp_path / "m", "checkpoint")


def test_what_is_no_regular_file_is_refused_at_once_and_a_link_is_followed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", TENSORS, FACTS, "model")
    (tmp_path / "link").symlink_to("m")
    assert read_tensors(tmp_path / "link", "model")[1] == FACTS
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, words in (("fifo", "is not a regular file"), ("folder", "is a folder"), ("missing", "does not exist"),
                        ("dangling", "points to a missing file"), ("loop", "points to itself")):  # fmt: skip
        with pytest.raises(BadModel, match=words):
            read_tensors(tmp_path / name, "model")


def specs(tensors: dict[str, torch.Tensor]) -> dict[str, Spec]:
    return {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}


def test_a_file_that_claims_more_than_its_network_needs_is_refused_before_it_is_read(tmp_path: Path) -> None:
    side = 2**17
    facts = json.loads(HEADER["__metadata__"]["foveal"])
    entry = {"dtype": "F32", "shape": [side, side], "data_offsets": [0, 4 * side**2]}
    header = {"__metadata__": {"foveal": json.dumps(facts)}, "w": entry}
    path = tmp_path / "m"
    path.write_bytes(by_hand(header, b""))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + 4 * side**2)
    started = time.perf_counter()
    with pytest.raises(BadModel, match=r"is 64(\.0)? GiB; the network it names needs"):
        read_tensors(path, "model", lambda facts: specs(TENSORS))
    with pytest.raises(BadModel, match="larger than foveal reads"):
        read_tensors(path, "model")
    assert time.perf_counter() - started < 2


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m"
    expected = specs(TENSORS)
    check_fit(TENSORS, expected, path)
    missing = {name: value for name, value in TENSORS.items() if name != "conv.bias"}
    with pytest.raises(BadModel, match=r'm does not fit its network: tensor "conv.bias" is missing\.'):
        check_fit(missing, expected, path)
    with pytest.raises(BadModel, match=r'tensor "conv.bias" belongs to no layer'):
        check_fit(TENSORS, specs(missing), path)
    with pytest.raises(BadModel, match=r'tensor "conv.bias" is F64, expected F32'):
        check_fit({**TENSORS, "conv.bias": torch.arange(4, dtype=torch.float64)}, expected, path)
    with pytest.raises(BadModel, match=r'tensor "conv.bias" has shape \(5,\), expected \(4,\)'):
        check_fit({**TENSORS, "conv.bias": torch.zeros(5)}, expected, path)
    with pytest.raises(BadModel, match=", and 4 more"):
        check_fit({}, expected, path)


def test_the_fit_is_checked_before_a_tensor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(GOOD[:-3] + b"xyz")  # damaged as well: the fit is told first
    asked: list[dict[str, Any]] = []

    def expected(facts: dict[str, Any]) -> dict[str, Spec]:
        asked.append(facts)
        return {**specs(TENSORS), "fc.bias": ((3,), torch.float32)}

    with pytest.raises(BadModel, match=r'"fc.bias" is missing'):
        read_tensors(path, "model", expected)
    assert asked[0]["classes"] == FACTS["classes"]


def test_facts_that_are_no_json_are_an_error_of_the_caller(tmp_path: Path) -> None:
    for facts in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_tensors(tmp_path / "m", {}, facts, "model")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tensors(tmp_path / "m", TENSORS, FACTS, "model")

    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(NoSpace, match="no space left"):
        write_tensors(tmp_path / "m", {}, {}, "model")
    monkeypatch.undo()
    assert read_tensors(tmp_path / "m", "model")[1] == FACTS
    assert os.listdir(tmp_path) == ["m"]


def test_a_file_replaced_while_it_is_read_is_read_from_one_copy_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_tensors(path, TENSORS, FACTS, "model")

    def replacing(facts: dict[str, Any]) -> dict[str, Spec]:
        write_tensors(path, {"other": torch.ones(9)}, {}, "model")
        return specs(TENSORS)

    assert read_tensors(path, "model", replacing)[0].keys() == TENSORS.keys()

    def cutting(facts: dict[str, Any]) -> dict[str, Spec]:
        os.truncate(path, 300)
        return {"other": ((9,), torch.float32)}

    with pytest.raises(BadModel, match=r"changed while it was read|cut short|damaged"):
        read_tensors(path, "model", cutting)
