"""CIFAR in its layouts; the python one is read without any object coming to life."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.formats._plain_pickle import read_plain_pickle
from foveal.data.formats.cifar import CIFAR10, CIFAR100
from foveal.data.sources import open_dataset
from foveal.errors import BadData

LIMIT = 64 << 20


def planes(n: int, seed: int = 0) -> np.ndarray:
    """(n, 3072) bytes, red, green and blue planes."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def as_pixels(rows: np.ndarray) -> np.ndarray:
    """(n, 32, 32, 3), one picture at a time, as one would write it down."""
    return np.stack([np.dstack([row[c * 1024 : (c + 1) * 1024].reshape(32, 32) for c in range(3)]) for row in rows])


def digits(n: int, k: int = 10) -> list[int]:
    return [i % k for i in range(n)]


def by_python_2(n: int = 20, seed: int = 0) -> bytes:
    """A batch as Python 2's cPickle wrote those of 2009: protocol 2, byte strings, NumPy 1's module path."""

    def text(s: bytes) -> bytes:
        return b"U" + bytes([len(s)]) + s if len(s) < 256 else b"T" + struct.pack("<I", len(s)) + s

    labels = b"]q\x04(" + b"".join(b"K" + bytes([i]) for i in digits(n)) + b"e"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01" + b"K" + bytes([n]) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + text(planes(n, seed).tobytes()) + b"tb"
    )
    return (
        b"\x80\x02}q\x01(" + text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + labels
        + text(b"data") + array + text(b"filenames") + b"](" + text(b"a.png") * n + b"eu."
    )  # fmt: skip


def batch(n: int = 20, seed: int = 0, protocol: int = 2, **changes) -> bytes:
    value = {"data": planes(n, seed), "labels": digits(n), "batch_label": "b", "filenames": ["a.png"] * n} | changes
    return pickle.dumps({k: v for k, v in value.items() if v is not None}, protocol=protocol)


def with_numpy_1_paths(raw: bytes) -> bytes:
    """The same pickle as NumPy 1 would have written it (protocols that name modules on lines of their own)."""
    return raw.replace(b"numpy._core.", b"numpy.core.")


def cifar10_python(folder: Path) -> Path:
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(batch(40, 1))
    (folder / "data_batch_2").write_bytes(batch(40, 2))
    (folder / "test_batch").write_bytes(batch(20, 3))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10), "num_vis": 3072}, protocol=2))
    return folder


def cifar10_binary(folder: Path) -> Path:
    folder.mkdir()
    for name, n, seed in (("data_batch_1", 40, 1), ("data_batch_2", 40, 2), ("test_batch", 20, 3)):
        rows = np.concatenate([np.array(digits(n), np.uint8)[:, None], planes(n, seed)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    return folder


def test_both_layouts_give_the_same_data_set(tmp_path):
    binary, python = open_dataset(cifar10_binary(tmp_path / "b")), open_dataset(cifar10_python(tmp_path / "p"))
    expected = as_pixels(np.concatenate([planes(40, 1), planes(40, 2), planes(20, 3)]))
    for dataset in (binary, python):
        assert np.array_equal(dataset.pictures.pixels, expected)
        assert dataset.labels.tolist() == digits(40) + digits(40) + digits(20)
        assert dataset.classes == CIFAR10
        assert dataset.indices("test").tolist() == list(range(80, 100))
    assert np.array_equal(binary.splits, python.splits)
    assert {binary.origin.format, python.origin.format} == {"cifar-10 binary", "cifar-10 python"}


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_cifar_100_has_its_fine_labels(tmp_path, layout):
    fine, coarse = digits(300, 100), [7] * 300
    for name, seed in (("train", 1), ("test", 2)):
        if layout == "binary":
            columns = [np.array(c, np.uint8)[:, None] for c in (coarse, fine)]
            (tmp_path / f"{name}.bin").write_bytes(np.concatenate([*columns, planes(300, seed)], axis=1).tobytes())
        else:
            value = {"data": planes(300, seed), "fine_labels": fine, "coarse_labels": coarse}
            (tmp_path / name).write_bytes(pickle.dumps(value, protocol=2))
            (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": list(CIFAR100)}, protocol=2))
    dataset = open_dataset(tmp_path)
    assert dataset.labels.tolist() == fine + fine
    assert dataset.classes == CIFAR100
    assert len(CIFAR100) == 100
    assert list(CIFAR100) == sorted(CIFAR100)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("numpy_1", [False, True])
def test_every_protocol_of_both_numpys_is_read(tmp_path, protocol, numpy_1):
    raw = batch(protocol=protocol)
    if numpy_1 and protocol < 4:
        raw = with_numpy_1_paths(raw)
    (tmp_path / "x").write_bytes(raw)
    value = read_plain_pickle(tmp_path / "x", LIMIT)
    assert np.array_equal(value["data"], planes(20))
    assert value["data"].dtype == np.uint8
    assert value["labels"] == digits(20)


def test_a_batch_of_python_2_is_read(tmp_path):
    raw = by_python_2()
    assert pickle.loads(raw, encoding="bytes")[b"labels"] == digits(20)  # the test's own writing is right
    (tmp_path / "data_batch_1").write_bytes(raw)
    (tmp_path / "test_batch").write_bytes(by_python_2(seed=1))
    dataset = open_dataset(tmp_path)
    assert np.array_equal(dataset.pictures.pixels, as_pixels(np.concatenate([planes(20), planes(20, 1)])))


@pytest.mark.parametrize(
    "value", [np.asfortranarray(planes(9)), planes(9)[::2], np.arange(5), np.arange(5, dtype=">u4")]
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_an_array_comes_back_as_it_went(tmp_path, value, protocol):
    (tmp_path / "x").write_bytes(pickle.dumps({"data": value}, protocol=protocol))
    found = read_plain_pickle(tmp_path / "x", LIMIT)["data"]
    assert found.dtype == value.dtype
    assert np.array_equal(found, value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(plain, st.integers(0, 5))
def test_plain_values_come_back_equal(tmp_path_factory, value, protocol):
    path = tmp_path_factory.mktemp("plain") / "x"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_plain_pickle(path, LIMIT) == value


class Evil:
    """Writes a canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def hostile(canary: Path) -> dict[str, bytes]:
    shell = f"touch {canary}".encode()
    data = {"data": planes(3), "labels": Evil(canary)}
    built = io.BytesIO()
    pickle._Pickler(built, protocol=4).dump(Evil(canary))
    return {
        "os.system": b"cos\nsystem\n(S'" + shell + b"'\ntR.",
        "builtins.eval": b"cbuiltins\neval\n(S'1'\ntR.",
        "Python 2 eval": b"c__builtin__\neval\n(S'1'\ntR.",
        "inst": b"(S'" + shell + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + shell + b"'\no.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        "reduce": pickle.dumps(data, protocol=2),
        "protocol 4": built.getvalue(),
        "persistent": b"Pabc\n.",
        "extension": b"\x82\x01.",
        "a name made of a memory": b"\x80\x02cnumpy\ndtype\nq\x00U\x05u1\x00\x00\x00\x85R}b.",
        "numpy's loads": b"cnumpy\nload\n(S'x'\ntR.",
        "dtype of objects": b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.",
        "an attribute of a known name": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        "calling a value": b"K\x01(tR.",
    }


@pytest.mark.parametrize("which", hostile(Path("x")))
def test_a_hostile_batch_is_refused_and_runs_nothing(tmp_path, which):
    canary = tmp_path / "canary"
    folder = tmp_path / "cifar"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(hostile(canary)[which])
    damaged = which in ("a name made of a memory", "calling a value")  # no pickle of Python's own
    needle = "is cut short or damaged|holds an object" if damaged else "holds an object that is not an array"
    with pytest.raises(BadData, match=f"data_batch_1 ({needle})"):
        open_dataset(folder)
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path):
    """What `hostile` writes is truly hostile: Python's own reader runs it."""
    pickle.loads(hostile(tmp_path / "canary")["reduce"])
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("raw", "needle"),
    [
        (batch()[:-30], "is cut short or damaged"),
        (
            batch(data=planes(20)[:, :3071]),
            r'"data" must be an array of bytes of shape \(N, 3072\), is uint8 \(20, 3071\)',
        ),
        (batch(data=planes(20).astype(np.int64)), '"data" must be an array of bytes'),
        (batch(data=[1, 2]), '"data" must be an array of bytes .* is list'),
        (batch(labels=digits(19)), "20 pictures but 19 labels"),
        (batch(labels=None), 'it has no "labels"'),
        (batch(labels=["cat"] * 20), '"labels" must be a list of whole numbers'),
        (batch(labels=[2**80] * 20), '"labels" must be a list of whole numbers'),
        (batch(labels=[200] * 20), "label 200, but 10 class names"),
        (pickle.dumps([1, 2]), "is not a CIFAR batch: it holds no dictionary"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc", "is cut short or damaged"),
        (b"\x80\x04]" * 100_000 + b".", "is not a CIFAR batch"),
        (b"(" * 100_000 + b"t" * 99_999 + b".", "is not a CIFAR batch|is cut short or damaged"),
        (b"", "is cut short or damaged"),
        (b"\x80\x02h\x09.", "is cut short or damaged"),
        (b"0" * 100, "holds an object|is cut short or damaged"),
    ],
)
def test_a_false_batch_is_refused_with_its_reason(tmp_path, raw, needle):
    (tmp_path / "data_batch_1").write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(BadData, match=needle):
        open_dataset(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 256 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(("name", "record"), [("data_batch_1.bin", 3073), ("train.bin", 3074)])
def test_a_binary_file_of_another_length_is_refused(tmp_path, name, record):
    (tmp_path / name).write_bytes(bytes(10 * record + 5))
    with pytest.raises(BadData, match=f"is 5 bytes too long for CIFAR-10.*multiple of {record}"):
        open_dataset(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadData, match=r"is empty \(0 bytes\)"):
        open_dataset(tmp_path)


@given(st.data())
def test_a_mutant_batch_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutant") / "x"
    raw = bytearray(batch(2, protocol=data.draw(st.sampled_from([0, 2, 4, 5]))))
    interesting = [at for _, _, at in pickletools.genops(bytes(raw)) if at is not None]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(interesting)) + data.draw(st.integers(0, 3))
        raw[at % len(raw)] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        read_plain_pickle(path, LIMIT)
    except BadData as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
