"""What a word, path or name is taken for, and what is said when it is nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import names
from foveal.data.names import NAMED, Part, canonical
from foveal.data.sources import open_dataset
from foveal.errors import BadData, Missing


def fill(root: Path, *folders: str, n: int = 8) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / folder / f"{i}.jpg").write_bytes(f"{folder}{i}".encode())
    return root


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_files(n: int = 200) -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 4, 4), dtype=np.uint8)
    labels = (np.arange(n) % 10).astype(np.uint8)
    return {
        f"{word}-{kind}-idx{array.ndim}-ubyte.gz": gzip.compress(
            idx(array if word == "train" else array[::-1]), mtime=0
        )
        for word in ("train", "t10k")
        for kind, array in (("images", pixels), ("labels", labels))
    }


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty folder of data sets, in FOVEAL_DATA after a folder that is not there."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("FOVEAL_DATA", os.pathsep.join([str(tmp_path / "nowhere"), str(folder)]))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_name_is_found_below_foveal_data(data):
    fill(data / "flowers", "rose", "tulip")
    dataset = open_dataset("flowers")
    assert dataset.origin.place == str(data / "flowers")
    assert dataset.origin.source == "flowers"
    assert dataset.val_share == 0.1


@pytest.mark.parametrize("word", ["cifar10", "CIFAR-10", "cifar_10"])
def test_a_named_set_may_lie_as_class_folders_and_has_a_small_val(data, word):
    fill(data / "cifar10", "train/cat", "train/dog", "test/cat", "test/dog", n=300)
    dataset = open_dataset(word)
    assert dataset.classes == ("cat", "dog")
    assert dataset.val_share == 0.02
    assert 1 < len(dataset.indices("val")) < 40


def test_a_named_idx_set_has_its_official_names(data):
    (data / "FashionMNIST" / "raw").mkdir(parents=True)
    for name, raw in mnist_files().items():
        (data / "FashionMNIST" / "raw" / name).write_bytes(raw)
    assert open_dataset("fashion-mnist").classes[0] == "T-shirt/top"
    assert open_dataset(data / "FashionMNIST").classes[0] == "0"


def test_a_path_that_exists_wins_over_a_name_and_says_so(data, tmp_path):
    fill(data / "mnist", "a", "b")
    fill(tmp_path / "mnist", "c", "d")
    dataset = open_dataset("mnist")
    assert dataset.classes == ("c", "d")
    assert any(
        '"mnist" is read as the path' in note and "not as the built-in data set of that name" in note
        for note in dataset.notes
    )
    fill(tmp_path / "digits", "c", "d")
    assert open_dataset("digits").classes == ("c", "d")


def test_a_path_means_the_same_from_every_folder(data, tmp_path, monkeypatch):
    fill(tmp_path / "flowers", "rose", "tulip")
    dataset = open_dataset("flowers")
    monkeypatch.chdir(data)
    assert dataset.pictures.content(0).is_file()
    assert "gone" not in dataset.pictures.stamp(0)


def test_a_tilde_is_the_home_folder(data, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fill(tmp_path / "home" / "flowers", "rose", "tulip")
    assert open_dataset("~/flowers").classes == ("rose", "tulip")


@pytest.mark.parametrize(
    ("word", "needle"),
    [
        ("flowrs", '"flowrs": no such file, folder or data set; did you mean "flowers"'),
        ("collection/flowrs/train", 'did you mean "collection/flowers"'),
        ("mnits", 'did you mean "mnist"'),
        ("clothng", 'did you mean "clothing"'),
        (
            "qqqqqqqq",
            "names that need no path are digits, scenes, mnist, fashion-mnist, cifar10, cifar100 and folders of FOVEAL",
        ),
        ("https://example.org/flowers.zip", "foveal does not open web addresses"),
        ("a\0b", "no such file, folder or data set"),
        ("", "no such file, folder or data set"),
        ("../data/clothing/../../../x", "no such file, folder or data set"),
        ("x" * 5000, "no such file, folder or data set"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(data, tmp_path, word, needle):
    for place in (tmp_path / "flowers", tmp_path / "collection/flowers", data / "clothing"):
        fill(place, "a", "b")
    with pytest.raises(Missing, match=needle):
        open_dataset(word)


def test_a_file_or_link_that_is_no_data_set_is_refused(data, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(BadData, match=r"x.zip is not a data set that foveal reads: give a folder"):
        open_dataset(tmp_path / "x.zip")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(Missing, match="is a link that points to nothing"):
        open_dataset(tmp_path / "gone")


def test_other_peoples_collections_are_not_searched_for_mnist(data):
    fill(data, "cats", "dogs")
    (data / "old" / "mnist").mkdir(parents=True)
    for name, raw in mnist_files().items():
        (data / "old" / "mnist" / name).write_bytes(raw)
    assert open_dataset(data).classes == ("cats", "dogs")


def png(color: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), color).save(out, "png")
    return out.getvalue()


def test_a_picture_in_two_classes_is_left_out_with_all_its_copies(tmp_path):
    fill(tmp_path, "cat", "dog", "eel")
    for name, color in (("cat/x", 7), ("cat/y", 7), ("dog/y", 7), ("eel/u", 9), ("dog/v", 9), ("dog/z", 8)):
        (tmp_path / f"{name}.png").write_bytes(png(color))
    dataset = open_dataset(tmp_path)
    assert {row.name: row.reason for row in dataset.skipped} == {
        "cat/x.png": 'is in class "cat", and the same as dog/y.png ("dog")',
        "cat/y.png": 'is in class "cat", and the same as dog/y.png ("dog")',
        "dog/y.png": 'is in class "dog", and the same as cat/x.png ("cat")',
        "dog/v.png": 'is in class "dog", and the same as eel/u.png ("eel")',
        "eel/u.png": 'is in class "eel", and the same as dog/v.png ("dog")',
    }
    assert len(dataset) == 25
    assert any("5 pictures skipped, which are 2 in two classes (first: cat/x.png" in note for note in dataset.notes)
    with pytest.raises(
        BadData, match=r'cat/x.png \("cat"\) and dog/y.png \("dog"\) are the same picture in two classes'
    ):
        open_dataset(tmp_path, contradictions="refuse")


def test_a_class_that_loses_all_its_pictures_to_contradictions_is_left_out(tmp_path):
    fill(tmp_path, "cat", "dog")
    for color in range(3):
        for label in ("cat", "eel"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"x{color}.png").write_bytes(png(color))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert any("class eel has no picture in train" in note for note in dataset.notes)
    for path in (*tmp_path.glob("cat/*.jpg"), *tmp_path.glob("dog/*.jpg")):
        path.unlink()
    with pytest.raises(BadData, match="every picture stands in two classes"):
        open_dataset(tmp_path)


def test_the_same_error_page_in_every_class_is_left_to_the_store(tmp_path):
    fill(tmp_path, "cat", "dog")
    for folder in ("cat", "dog"):
        (tmp_path / folder / "a.jpg").write_bytes(b"<!DOCTYPE html><title>403 Forbidden</title>")
        (tmp_path / folder / "b.jpg").write_bytes(b"")
    assert len(open_dataset(tmp_path)) == 20


def test_a_picture_twice_in_one_class_is_used(tmp_path):
    fill(tmp_path, "cat", "dog")
    for name in ("x.png", "y.png"):
        (tmp_path / "cat" / name).write_bytes(png(7))
    assert len(open_dataset(tmp_path)) == 18


def test_a_class_that_was_not_asked_for_is_refused(tmp_path):
    with pytest.raises(BadData, match='class "dog" is none of the classes asked for'):
        open_dataset(fill(tmp_path, "cat", "dog"), classes=["cat", "cow"])


def test_a_class_without_pictures_is_left_out_and_said(tmp_path):
    dataset = open_dataset(fill(tmp_path, "cat", "dog"), classes=["dog", "cow", "cat"])
    assert dataset.classes == ("dog", "cat")
    assert any("class cow has no picture in train" in note for note in dataset.notes)


def test_inputs_are_left_as_they_were(tmp_path):
    def state() -> list[tuple[str, int, int, bytes]]:
        return [
            (str(p), p.stat().st_mtime_ns, p.stat().st_mode, p.read_bytes() if p.is_file() else b"")
            for p in sorted((tmp_path / "d").rglob("*"))
        ]

    fill(tmp_path / "d", "cat", "dog")
    before = state()
    open_dataset(tmp_path / "d")
    assert state() == before


def test_opening_imports_nothing_heavy():
    code = (
        "import sys, foveal; foveal.open_dataset; "
        "print([m for m in ('torch', 'sklearn', 'cv2', 'PIL', 'tarfile', 'urllib.request') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "sklearn", "cv2"} & set(eval(done.stdout))


# Downloads, from a server of our own.


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "www"
    root.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield root, f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def published(root: Path, address: str, files: dict[str, bytes], members: tuple[str, ...] = ()) -> tuple[Part, ...]:
    for name, raw in files.items():
        (root / name).write_bytes(raw)
    return tuple(
        Part(f"{address}/{name}", len(raw), hashlib.md5(raw).hexdigest(), members) for name, raw in files.items()
    )


def test_a_named_set_is_downloaded_once_and_found_again(data, server, monkeypatch):
    root, address = server
    parts = published(root, address, mnist_files())
    monkeypatch.setitem(NAMED, "mnist", replace(NAMED["mnist"], parts=parts))
    first = open_dataset("mnist")
    assert first.origin.place.startswith(os.environ["FOVEAL_CACHE"])
    assert len(first) == 400
    for file in root.iterdir():
        file.unlink()
    assert np.array_equal(open_dataset("mnist").digests, first.digests)


def test_only_the_known_files_of_an_archive_are_kept(data, server, monkeypatch):
    root, address = server
    raw = io.BytesIO()
    rows = np.random.default_rng(0).integers(0, 256, (60, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(60) % 10
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, body in (
            ("cifar-10-batches-bin/data_batch_1.bin", rows[:40].tobytes()),
            ("cifar-10-batches-bin/test_batch.bin", rows[40:].tobytes()),
            ("../../../evil.bin", b"evil"),
            ("cifar-10-batches-bin/readme.html", b"hello"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    wanted = ("data_batch_1.bin", "test_batch.bin")
    parts = published(root, address, {"cifar.tar.gz": raw.getvalue()}, wanted)
    monkeypatch.setitem(NAMED, "cifar10", replace(NAMED["cifar10"], parts=parts))
    dataset = open_dataset("cifar10")
    assert len(dataset) == 60
    assert sorted(os.listdir(dataset.origin.place)) == sorted(wanted)


@pytest.mark.parametrize(
    "change", [lambda raw: raw[:-1] + b"?", lambda raw: raw[:-9], lambda raw: raw + b"more" * 10**6]
)
def test_a_download_that_is_another_file_is_refused_and_not_kept(data, server, monkeypatch, change):
    root, address = server
    files = mnist_files()
    parts = published(root, address, files)
    monkeypatch.setitem(NAMED, "mnist", replace(NAMED["mnist"], parts=parts))
    name = next(iter(files))
    (root / name).write_bytes(change(files[name]))
    with pytest.raises(BadData, match=f"{name} is not the file that was published"):
        open_dataset("mnist")
    assert [p for p in Path(os.environ["FOVEAL_CACHE"]).rglob("*") if p.is_file()] == []


def test_a_file_that_the_server_lacks_is_told_with_the_way_out(data, server, monkeypatch):
    root, address = server
    parts = published(root, address, mnist_files())
    (root / parts[0].file).unlink()
    monkeypatch.setitem(NAMED, "mnist", replace(NAMED["mnist"], parts=parts))
    with pytest.raises(
        Missing, match=r"cannot be downloaded \(.*[Nn]ot [Ff]ound\).*put train-images.* into a folder \"mnist\""
    ):
        open_dataset("mnist")


@pytest.mark.network
def test_without_a_network_one_sentence_says_where_to_put_the_files(data):
    for name in NAMED:
        with pytest.raises(Missing) as told:
            open_dataset(name)
        sentence = str(told.value)
        assert "cannot be downloaded" in sentence
        assert f'into a folder "{name}" and set FOVEAL_DATA' in sentence
        assert "\n" not in sentence


def test_records_are_complete():
    for name, record in NAMED.items():
        assert canonical(name.upper()) == name
        assert record.folders[0] == name
        assert len(set(record.classes)) == len(record.classes)
        for part in record.parts:
            assert len(part.md5) == 32
            assert part.size > 0
            assert part.url.startswith("http")
    assert names.canonical("clothing") == "clothing"


def test_the_real_files_have_the_published_checksums(real_data):
    folder = real_data("mnist")
    for part in NAMED["mnist"].parts:
        if (folder / part.file).stat().st_size == part.size:  # one of them was packed anew
            assert hashlib.md5((folder / part.file).read_bytes()).hexdigest() == part.md5


def test_where_a_source_lies_is_told_without_numpy(tmp_path):
    (tmp_path / "flowers").mkdir()
    program = """
import sys
from foveal.data.finding import check_source
from foveal.errors import Missing
check_source("flowers"), check_source("digits")
try:
    check_source("flower")
except Missing as error:
    print(error)
print(sorted({"numpy", "torch", "pydantic", "urllib.request"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == '"flower": no such file, folder or data set; did you mean "flowers"?\n[]\n'
