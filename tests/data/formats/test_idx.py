"""idx files: good ones in every usual dress, and what is told about the others."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.formats.idx import read_idx
from foveal.data.sources import open_dataset
from foveal.errors import BadData


def idx(array: np.ndarray, claimed: tuple[int, ...] | None = None, magic: bytes | None = None) -> bytes:
    """The bytes of an idx file, with another claim or magic where a test wants to lie."""
    shape = claimed or array.shape
    return (magic or bytes((0, 0, 8, array.ndim))) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5), dtype=np.uint8)


def labels(n: int) -> np.ndarray:
    return (np.arange(n) % 3).astype(np.uint8)


def mnist(folder: Path, train: int = 60, test: int = 30, packed: bool = False, dotted: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    dash = "." if dotted else "-"
    for word, n, seed in (("train", train, 1), ("t10k", test, 2)):
        for kind, array in (("images", pictures(n, seed)), ("labels", labels(n))):
            name, raw = f"{word}-{kind}{dash}idx{array.ndim}-ubyte", idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(raw) if packed else raw)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_pixels_labels_and_splits_are_those_of_the_files(tmp_path, packed, dotted):
    dataset = open_dataset(mnist(tmp_path / "m", packed=packed, dotted=dotted))
    assert np.array_equal(dataset.pictures.pixels, np.concatenate([pictures(60, 1), pictures(30, 2)]))
    assert np.array_equal(dataset.labels, np.concatenate([labels(60), labels(30)]))
    assert dataset.classes == ("0", "1", "2")
    assert np.array_equal(dataset.indices("test"), np.arange(60, 90))
    assert dataset.pictures.name(61) == "test[1]"
    assert dataset.origin.format == "idx"


def test_files_are_found_in_the_folders_that_others_make(tmp_path):
    mnist(tmp_path / "root" / "MNIST" / "raw", packed=True)
    mnist(tmp_path / "root" / "MNIST" / "raw")  # torchvision keeps both
    assert len(open_dataset(tmp_path / "root")) == 90


def test_a_file_renamed_to_gz_is_told(tmp_path):
    folder = mnist(tmp_path / "m", packed=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(pictures(60)))
    with pytest.raises(BadData, match=r"train-images-idx3-ubyte\.gz is not an idx picture file: it is named \.gz"):
        open_dataset(folder)


def test_a_count_of_labels_that_differs_is_refused(tmp_path):
    folder = mnist(tmp_path / "m")
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels(59)))
    with pytest.raises(BadData, match="has 60 pictures but 59 labels"):
        open_dataset(folder)


def test_a_lonely_file_is_refused(tmp_path):
    folder = mnist(tmp_path / "m")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(BadData, match="has no file of labels beside it"):
        open_dataset(folder)


def test_two_sets_in_one_folder_are_refused(tmp_path):
    folder = mnist(tmp_path / "m")
    (folder / "emnist-train-images-idx3-ubyte").write_bytes(idx(pictures(3)))
    with pytest.raises(BadData, match="holds several idx sets"):
        open_dataset(folder)


def test_a_label_without_a_name_is_refused(tmp_path):
    folder = mnist(tmp_path / "m")
    wild = labels(60)
    wild[7] = 200
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(wild))
    with pytest.raises(BadData, match="label 200, but 10 class names"):
        open_dataset(folder, classes=[str(d) for d in range(10)])


good = idx(pictures(20))


@pytest.mark.parametrize(
    ("raw", "needle"),
    [
        (idx(labels(20)), r"is not an idx picture file \(it begins with 00 00 08 01\)"),
        (idx(pictures(20), magic=b"\0\0\x0d\x03"), "is not an idx picture file"),
        (b"", "is not an idx picture file .it begins with nothing"),
        (good[:10], r"is cut short \(10 bytes\)"),
        (good[:-1], "its header says 20 x 6 x 5 = 600 bytes, but it holds 599"),
        (good + b"x", "its header says .* but it holds more"),
        (idx(pictures(20), claimed=(3, 6, 5)), "its header says 3 x 6 x 5 = 90 bytes, but it holds more"),
        (idx(pictures(2), claimed=(2**31 - 1, 28, 28)), "its header says 2147483647 x 28 x 28"),
        (idx(pictures(2), claimed=(0, 28, 28)), "holds nothing"),
        (gzip.compress(good, mtime=0)[:-20], "is cut short"),
        (gzip.compress(good, mtime=0)[:-8] + b"\0" * 8, "is damaged"),
        (gzip.compress(gzip.compress(good, mtime=0), mtime=0), "is not an idx picture file .it begins with 1f 8b"),
        (gzip.compress(idx(pictures(2), claimed=(2**31 - 1, 28, 28)), mtime=0), "its header says"),
        (gzip.compress(good, mtime=0)[:100] + b"\xff" * 40 + gzip.compress(good, mtime=0)[140:], "is damaged"),
    ],
)
def test_a_false_file_is_refused_with_its_reason(tmp_path, raw, needle):
    path = tmp_path / "x"
    path.write_bytes(raw)
    with pytest.raises(BadData, match=needle):
        read_idx(path, 3)


def test_a_bomb_is_unpacked_to_its_claim_and_no_further(tmp_path):
    import tracemalloc

    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(idx(pictures(3)))
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(BadData, match="holds more"):
        read_idx(path, 3)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@given(st.data())
def test_a_mutant_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mutant") / "x"
    raw = bytearray(gzip.compress(good, mtime=0) if data.draw(st.booleans()) else good)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        assert read_idx(path, 3).ndim == 3
    except BadData as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_mnist_itself_opens_with_its_names_and_a_small_val(real_data, monkeypatch):
    monkeypatch.setenv("FOVEAL_DATA", str(real_data("mnist").parent))
    dataset = open_dataset("mnist")
    assert len(dataset) == 70_000
    assert len(dataset.indices("test")) == 10_000
    assert 1000 < len(dataset.indices("val")) < 1400  # 2 % of 60 000
    assert dataset.classes == tuple("0123456789")
    assert dataset.counts("test").tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
