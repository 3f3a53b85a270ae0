"""Each picture is decoded once; the store is whole or absent, and never gives a wrong pixel."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from foveal.data import _store_cache, _store_file, store
from foveal.data.dataset import ArrayPictures, Dataset, FilePictures, Origin, Pictures, TarPictures
from foveal.data.fingerprints import digests
from foveal.data.store import PixelStore, clear_stores, list_stores, open_store
from foveal.errors import BadData, Missing, NoSpace, NotWritable
from foveal.preprocess import Preprocess

PREPROCESS = Preprocess(24, 32)
STORED: tuple[Literal["pixels", "jpeg", "none"], ...] = ("pixels", "jpeg", "none")


class Heard:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.advanced = 0

    @contextmanager
    def task(self, name: str, total: int, unit: str = "pictures") -> Iterator[Any]:
        lock = threading.Lock()

        def advance(n: int) -> None:
            with lock:
                self.advanced += n if name == "decoding" else 0

        yield advance

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def dataset_of(pictures: Pictures) -> Dataset:
    n = len(pictures)
    origin = Origin("flowers", "flowers", "class folders")
    return Dataset(pictures, np.zeros(n, np.int64), ("a",), np.zeros(n, np.int8), origin)


def photographs(folder: Path, count: int = 12) -> Dataset:
    """Smooth pictures of several sizes, forms and modes."""
    folder.mkdir(exist_ok=True)
    names = []
    for i in range(count):
        height, width = 40 + 7 * i, max(25, 90 - 5 * i)
        y, x = np.mgrid[0:height, 0:width]
        pixels = np.stack([x * 2, y * 2, np.full_like(x, 20 * i % 255)], -1).astype(np.uint8)
        names.append(f"{i}.{('png', 'jpg', 'bmp')[i % 3]}")
        Image.fromarray(pixels).convert("L" if i % 4 == 3 else "RGB").save(folder / names[-1])
    return dataset_of(FilePictures(folder, tuple(names)))


def slow_and_obvious(dataset: Dataset, preprocess: Preprocess = PREPROCESS) -> np.ndarray:
    return np.stack([preprocess.pixels(dataset.pictures.content(i)) for i in range(len(dataset))])


def files() -> list[Path]:
    return sorted((Path(os.environ["FOVEAL_CACHE"]) / "stores").iterdir())


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("kind", STORED)
def test_rows_are_the_preprocessed_pictures_whatever_the_kind_and_the_threads(
    tmp_path: Path, kind: Literal["pixels", "jpeg", "none"], threads: int
) -> None:
    dataset, heard = photographs(tmp_path / "in"), Heard()
    opened = open_store(dataset, PREPROCESS, kind, heard, threads)
    expected = slow_and_obvious(dataset)
    rows = opened.rows(np.array([3, 0, 11, 3]))
    if kind == "jpeg":
        assert np.abs(rows.astype(int) - expected[[3, 0, 11, 3]]).mean() < 3
    else:
        np.testing.assert_array_equal(rows, expected[[3, 0, 11, 3]])
    assert (opened.kind, opened.shape, opened.broken) == (kind, (12, 24, 32, 3), ())
    assert heard.advanced == len(opened) == 12
    rows[:] = 0  # the caller's own
    assert opened.rows(np.array([11])).any()
    assert opened.rows(np.zeros(0, np.int64)).shape == (0, 24, 32, 3)
    with pytest.raises(IndexError):
        opened.rows(np.array([12]))


@pytest.mark.parametrize("kind", STORED)
def test_the_second_training_decodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["pixels", "jpeg", "none"]
) -> None:
    dataset = photographs(tmp_path / "in")
    first = open_store(dataset, PREPROCESS, kind).rows(np.arange(12))
    heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(store, "_decode", None)
        again = open_store(photographs(tmp_path / "in"), PREPROCESS, kind, heard)
    np.testing.assert_array_equal(again.rows(np.arange(12)), first)
    assert (heard.advanced, heard.said) == (0, [])


def test_mean_and_deviation_do_not_build_it_again_and_all_else_does(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 4)
    open_store(dataset, PREPROCESS, "pixels")
    open_store(dataset, Preprocess(24, 32, mean=(0.1, 0.2, 0.3), std=(1, 1, 1)), "pixels")
    assert len(files()) == 1
    others = [Preprocess(32, 24), Preprocess(24, 32, 1, (0.5,), (1,)), Preprocess(24, 32, crop_fraction=0.9),
              Preprocess(24, 32, interpolation="bilinear"), Preprocess(24, 32, max_megapixels=9)]  # fmt: skip
    for other in others:
        opened = open_store(dataset, other, "pixels")
        np.testing.assert_array_equal(opened.rows(np.arange(4)), slow_and_obvious(dataset, other))
    assert len(files()) == 1 + len(others)
    open_store(dataset.take(np.array([1, 0, 2, 3])), PREPROCESS, "pixels")
    assert len(files()) == 2 + len(others)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 3)
    open_store(dataset, PREPROCESS, "pixels")
    Image.new("RGB", (50, 40), "red").save(tmp_path / "in" / "0.png")
    opened = open_store(dataset, PREPROCESS, "pixels")
    assert (opened.rows(np.array([0])) == (255, 0, 0)).all()


def test_broken_pictures_are_listed_with_their_reasons_and_are_zeros(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 9)
    (tmp_path / "in" / "3.png").write_bytes(b"<html>")
    (tmp_path / "in" / "5.bmp").unlink()
    jpeg = (tmp_path / "in" / "7.jpg").read_bytes()
    (tmp_path / "in" / "7.jpg").write_bytes(jpeg[: len(jpeg) * 3 // 4])
    for kind in STORED:
        for _ in range(2):  # built, and found
            opened = open_store(dataset, PREPROCESS, kind)
            assert [index for index, _ in opened.broken] == [3, 5, 7]
            assert [reason.split(";")[0].split(",")[0] for _, reason in opened.broken] == [
                "is a web page", "is gone", "is cut short",
            ]  # fmt: skip
            assert not opened.rows(np.array([3, 5, 7])).any()
            assert opened.rows(np.array([4])).any()


def test_pictures_in_memory_of_the_right_size_are_used_without_a_copy_or_a_file() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    dataset = dataset_of(ArrayPictures(pixels, tuple(f"train[{i}]" for i in range(50))))
    opened = open_store(dataset, Preprocess(28, 28, 1, (0.5,), (0.5,)))
    assert opened.kind == "array"
    assert opened.pixels is not None
    assert np.shares_memory(opened.pixels, pixels)
    assert not opened.pixels.flags.writeable
    assert pixels.flags.writeable
    np.testing.assert_array_equal(opened.rows(np.array([7, 7]))[..., 0], pixels[[7, 7]])
    assert list_stores() == []


@pytest.mark.parametrize(("size", "channels"), [(28, 3), (20, 1), (56, 3)])
def test_pictures_in_memory_of_another_size_go_through_the_store(size: int, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    dataset = dataset_of(ArrayPictures(pixels, tuple("abcdefghi")))
    preprocess = Preprocess(size, size, channels, (0.5,) * channels, (0.5,) * channels)
    opened = open_store(dataset, preprocess)
    assert opened.kind == "pixels"
    np.testing.assert_array_equal(opened.rows(np.arange(9)), slow_and_obvious(dataset, preprocess))


def test_pictures_in_tar_shards_are_stored(tmp_path: Path) -> None:
    buffer, spans = io.BytesIO(), []
    for colour in ("red", "lime"):
        start = buffer.tell()
        Image.new("RGB", (50, 40), colour).save(buffer, "PNG")
        buffer.seek(0, 2)
        spans.append((start, buffer.tell() - start))
    (tmp_path / "s.tar").write_bytes(buffer.getvalue())
    offsets, sizes = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    pictures = TarPictures(tmp_path, ("s.tar",), ("a.png", "b.png"), np.zeros(2, np.int32), offsets, sizes)
    opened = open_store(dataset_of(pictures), PREPROCESS)
    assert (opened.rows(np.array([0])) == (255, 0, 0)).all()
    assert (opened.rows(np.array([1])) == (0, 255, 0)).all()


def test_rows_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in")
    expected, wrong = slow_and_obvious(dataset), []
    for kind in ("pixels", "none"):
        opened = open_store(dataset, PREPROCESS, kind)  # type: ignore[arg-type]

        def reading(seed: int, opened: PixelStore = opened) -> None:
            for _ in range(30):
                indices = np.random.default_rng(seed).integers(0, 12, 5)
                if (opened.rows(indices) != expected[indices]).any():
                    wrong.append(seed)

        threads = [threading.Thread(target=reading, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


# --------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize(
    "harm", ["pixel", "header", "index", "cut", "empty", "longer", "version", "folder", "link", "fifo", "other user"]
)
def test_a_damaged_store_is_rebuilt_and_never_gives_a_wrong_pixel(
    tmp_path: Path, kind: Literal["pixels", "jpeg", "none"], harm: str
) -> None:
    dataset = photographs(tmp_path / "in")
    good = open_store(dataset, PREPROCESS, kind).rows(np.arange(12))
    [path] = files()
    data = bytearray(path.read_bytes())
    if harm == "pixel":
        if kind == "none":
            return
        data[5000] ^= 4
    elif harm == "header":
        data[30] ^= 4
    elif harm == "index":
        data[-7] ^= 4
    elif harm == "version":
        data[8] = 99
        data[4092:4096] = zlib.crc32(bytes(data[:4092])).to_bytes(4, "little")
    data = {"cut": data[:-1], "empty": data[:0], "longer": data + b"x"}.get(harm, data)
    path.unlink()
    if harm == "folder":
        path.symlink_to(tmp_path)  # a real folder in the way is the user's doing, and told by the write
    elif harm == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    elif harm == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(data)
    heard = Heard()
    if harm == "other user":
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        os.chown(path, 12345, -1)
    opened = open_store(dataset, PREPROCESS, kind, heard)
    np.testing.assert_array_equal(opened.rows(np.arange(12)), good)
    assert len(heard.said) == 1
    assert heard.said[0].startswith("Pixel store rebuilt: ")
    assert not path.is_symlink()


def test_every_flipped_byte_is_noticed_or_means_nothing(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 5)
    good = open_store(dataset, PREPROCESS, "pixels").rows(np.arange(5))
    [path] = files()
    data, rng = path.read_bytes(), random.Random(4)
    for at in rng.sample(range(len(data)), 60):
        path.unlink()
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        heard = Heard()
        np.testing.assert_array_equal(open_store(dataset, PREPROCESS, "pixels", heard).rows(np.arange(5)), good)
        assert len(heard.said) == 1


def test_a_store_cut_while_it_is_mapped_is_a_sentence_not_a_signal(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in")
    opened = open_store(dataset, PREPROCESS, "pixels")
    os.truncate(files()[0], 5000)
    with pytest.raises(BadData, match="was cut by another program; start again"):
        opened.rows(np.arange(12))


def test_a_store_deleted_or_replaced_while_it_is_mapped_goes_on(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in")
    opened = open_store(dataset, PREPROCESS, "pixels")
    good = opened.rows(np.arange(12))
    assert clear_stores() > 12 * 24 * 32 * 3
    np.testing.assert_array_equal(opened.rows(np.arange(12)), good)


def test_large_stores_are_checked_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BLOCK_BYTES", 2 * 24 * 32 * 3)
    dataset = photographs(tmp_path / "in")
    open_store(dataset, PREPROCESS, "pixels")
    seen: list[int] = []
    plain = zlib.crc32

    def counted(data: Any) -> int:
        seen.append(len(data))
        return plain(data)

    monkeypatch.setattr(_store_file.zlib, "crc32", counted)
    monkeypatch.setattr(_store_file, "CHECKED_AT_OPEN", 3 * 24 * 32 * 3)
    open_store(dataset, PREPROCESS, "pixels")
    assert seen.count(2 * 24 * 32 * 3) == 1


@pytest.mark.parametrize("kind", ["pixels", "jpeg", "none"])
@pytest.mark.parametrize("keeps_size_and_time", [False, True])
def test_a_picture_that_was_rewritten_since_the_data_was_opened_is_a_row(
    tmp_path: Path, kind: Any, keeps_size_and_time: bool
) -> None:
    dataset = photographs(tmp_path / "in", 3)
    dataset = replace(dataset, digests=digests(dataset.pictures))
    place = tmp_path / "in" / dataset.pictures.name(1)
    status, content = place.stat(), bytearray(place.read_bytes())
    if keeps_size_and_time:
        content[-3] ^= 1
    place.write_bytes(content + (b"" if keeps_size_and_time else b"more"))
    if keeps_size_and_time:
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_store(dataset, PREPROCESS, kind).broken == ((1, "changed during the run"),)
    anew = replace(dataset, digests=digests(dataset.pictures))
    assert open_store(anew, PREPROCESS, kind).broken == (), "opened again, it is a picture as any other"


def test_a_shard_that_was_rewritten_since_the_data_was_opened_gives_rows(tmp_path: Path) -> None:
    photographs(tmp_path / "in", 2)
    contents = [(tmp_path / "in" / name).read_bytes() for name in ("0.png", "1.jpg")]
    sizes = np.array([len(content) for content in contents], np.int64)
    (tmp_path / "a.tar").write_bytes(b"".join(contents))
    shard = TarPictures(tmp_path, ("a.tar",), ("x", "y"), np.zeros(2, np.int32), np.array([0, sizes[0]]), sizes)
    opened = replace(dataset_of(shard), digests=digests(shard))
    (tmp_path / "a.tar").write_bytes(contents[0] + contents[1][:-3] + b"new")
    assert open_store(opened, PREPROCESS, "pixels").broken == ((1, "changed during the run"),)


def test_where_a_folder_is_in_the_place_of_a_store_it_is_built_anew(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 2)
    open_store(dataset, PREPROCESS, "pixels")
    place = _store_cache.store_path(list_stores()[0].key)
    place.unlink()
    place.mkdir()
    assert list_stores()[0].source == "damaged"
    assert len(open_store(dataset, PREPROCESS, "pixels")) == 2
    assert place.is_file()
    place.unlink()
    (place / "something").mkdir(parents=True)
    with pytest.raises(NotWritable, match="directory not empty"):
        open_store(dataset, PREPROCESS, "pixels")
    assert (place / "something").is_dir()


def test_without_a_store_a_picture_that_vanishes_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 3)
    opened = open_store(dataset, PREPROCESS, "none")
    opened.rows(np.array([0]))
    (tmp_path / "in" / "0.png").unlink()
    (tmp_path / "in" / "1.jpg").unlink()
    assert opened.rows(np.array([0])).any()  # remembered
    with pytest.raises(BadData, match=r"1\.jpg is gone: it changed during the run; --store pixels keeps a copy"):
        opened.rows(np.array([1]))


def test_what_is_remembered_without_a_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "REMEMBERED_BYTES", 2 * 24 * 32 * 3)
    decoded: list[int] = []
    plain = store._decode
    monkeypatch.setattr(store, "_decode", lambda i, *rest: decoded.append(i) or plain(i, *rest))
    opened = open_store(photographs(tmp_path / "in", 5), PREPROCESS, "none")
    decoded.clear()
    for index in (0, 1, 0, 2, 0, 1):
        opened.rows(np.array([index]))
    assert decoded == [0, 1, 2, 1]


# --------------------------------------------------------------------------------------------------- the disk


def test_auto_takes_what_half_of_the_free_space_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, needed = photographs(tmp_path / "in", 4), 4 * 24 * 32 * 3
    for free, kind in ((2 * needed, "pixels"), (2 * needed - 1, "jpeg"), (needed // 2 - 2, "none")):
        clear_stores()
        disk = type("Disk", (), {"free": free, "total": 10**12})
        monkeypatch.setattr(store.shutil, "disk_usage", lambda path, disk=disk: disk)
        heard = Heard()
        opened = open_store(dataset, PREPROCESS, "auto", heard)
        assert opened.kind == kind
        assert [("cached as small JPEGs" in s, "decoded again" in s) for s in heard.said] == (
            [] if kind == "pixels" else [(kind == "jpeg", kind == "none")]
        )
        monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Disk", (), {"free": 0, "total": 10**12}))
        assert open_store(dataset, PREPROCESS).kind == kind  # what is there already is taken


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    setup = """
        import sys, os, numpy as np
        from pathlib import Path
        from foveal.data.dataset import *
        from foveal.data.store import *
        from foveal.errors import FovealError
        from foveal.preprocess import Preprocess
        root = Path(sys.argv[1])
        names = tuple(sorted(os.listdir(root)))
        n = len(names)
        dataset = Dataset(FilePictures(root, names), np.zeros(n, np.int64), ("a",), np.zeros(n, np.int8),
                          Origin("x", "x", "class folders"))
        preprocess = Preprocess(24, 32)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(setup) + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["pixels", "jpeg"])
@pytest.mark.parametrize("limit", [3000, 15_000])
def test_a_full_disk_ends_with_a_sentence_and_no_half_store(tmp_path: Path, kind: str, limit: int) -> None:
    photographs(tmp_path / "in", 40)
    code = """
        import resource
        from foveal.data.fingerprints import digests
        from dataclasses import replace
        dataset = replace(dataset, digests=digests(dataset.pictures))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
        try:
            open_store(dataset, preprocess, sys.argv[2])
        except FovealError as error:
            print(error.exit_code, error)
    """
    out, err = run(code, tmp_path / "in", kind, limit).communicate(timeout=60)
    assert err == ""
    assert out.startswith("3 no space left for the pixel store in ")
    assert "use --store jpeg or --store none, or set FOVEAL_CACHE to a folder on a larger disk." in out
    assert files() == []


def test_the_space_is_asked_for_before_a_picture_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this is a thing of Linux")
    monkeypatch.setattr(_store_file.os, "posix_fallocate", full)
    monkeypatch.setattr(store, "_decode", None)
    with pytest.raises(NoSpace, match=r"\(9 KiB are needed\)"):
        open_store(photographs(tmp_path / "in", 4), PREPROCESS, "pixels")
    assert files() == []


def test_two_processes_building_one_store_do_not_disturb_each_other(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 30)
    dataset = dataset.take(np.argsort([dataset.pictures.name(i) for i in range(30)]).astype(np.int64))
    code = """
        for _ in range(6):
            s = open_store(dataset, preprocess, "pixels", loading_threads=2)
            print(int(s.rows(np.arange(n)).astype(np.int64).sum()))
            if sys.argv[2] == "clear":
                clear_stores()
    """
    processes = [run(code, tmp_path / "in", what) for what in ("clear", "keep", "keep")]
    total = str(int(slow_and_obvious(dataset).astype(np.int64).sum()))
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert err == ""
        assert out.split() == [total] * 6
    assert {path.suffix for path in files()} <= {".store"}


def test_killed_while_it_is_built_the_next_one_builds_it_and_clears_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = photographs(tmp_path / "in", 30)
    order = sorted(range(30), key=lambda i: dataset.pictures.name(i))
    dataset = dataset.take(np.array(order, np.int64))
    code = """
        import time
        from foveal.data import store
        plain, store.BLOCK_BYTES = store._decode, 1
        def slowly(index, *rest):
            print(index, flush=True)
            time.sleep(0.02)
            return plain(index, *rest)
        store._decode = slowly
        open_store(dataset, preprocess, "pixels", loading_threads=2)
    """
    for blocks in (1, 15):
        builder = run(code, tmp_path / "in")
        assert builder.stdout is not None
        for _ in range(blocks):
            builder.stdout.readline()
        builder.send_signal(signal.SIGKILL)
        builder.communicate(timeout=60)
    assert len(files()) == 2  # what was left over
    monkeypatch.setattr(_store_file, "STALE_SECONDS", -1)
    opened = open_store(dataset, PREPROCESS, "pixels")
    np.testing.assert_array_equal(opened.rows(np.arange(30)), slow_and_obvious(dataset))
    assert [path.suffix for path in files()] == [".store"]


def test_what_somebody_still_builds_is_not_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store_file, "STALE_SECONDS", -1)
    folder = _store_cache.stores_folder()
    with _store_file.StoreWriter(folder / "x.store", 0):
        assert _store_file.remove_stale(folder) == 0
        assert len(files()) == 1
    assert files() == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = store._decode

    def interrupted(index: int, *rest: Any) -> Any:
        if index == 5:
            raise KeyboardInterrupt
        return plain(index, *rest)

    monkeypatch.setattr(store, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_store(photographs(tmp_path / "in"), PREPROCESS, "pixels", loading_threads=2)
    assert files() == []


# --------------------------------------------------------------------------------------------------- the cache


def test_stores_are_listed_the_last_used_first_and_cleared_by_key(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "in", 3)
    for age, size in ((300, 8), (100, 16), (200, 24)):
        open_store(dataset, Preprocess(size, size), "pixels")
        newest = max(files(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    listed = list_stores()
    assert [info.shape for info in listed] == [(3, 16, 16, 3), (3, 24, 24, 3), (3, 8, 8, 3)]
    assert [(info.pictures, info.source) for info in listed] == [(3, "flowers")] * 3
    assert [info.bytes for info in listed] == [(path.parent / f"{i.key}.store").stat().st_size
                                               for i in listed for path in files()[:1]]  # fmt: skip
    assert json.dumps([vars(info) if hasattr(info, "__dict__") else None for info in listed])
    assert clear_stores([listed[1].key[:8]]) == listed[1].bytes
    assert [info.key for info in list_stores()] == [listed[0].key, listed[2].key]
    with pytest.raises(Missing, match="no pixel store"):
        clear_stores(["zzz"])
    open_store(dataset, Preprocess(8, 8), "pixels")  # used again: now the first
    assert list_stores()[0].shape == (3, 8, 8, 3)
    assert clear_stores() == sum(info.bytes for info in (listed[0], listed[2]))
    assert list_stores() == []


def test_a_damaged_store_is_listed_and_cleared_too() -> None:
    path = _store_cache.store_path("f" * 32)
    path.write_bytes(b"junk")
    assert [(info.source, info.bytes) for info in list_stores()] == [("damaged", 4)]
    assert clear_stores() == 4


def test_the_cache_is_bounded_by_dropping_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = photographs(tmp_path / "in", 3)
    for age, size in ((300, 30), (100, 31), (200, 32)):
        open_store(dataset, Preprocess(size, size), "pixels")
        newest = max(files(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    per_store = list_stores()[0].bytes
    disk = type("Disk", (), {"free": 10**12, "total": int(2.5 * per_store / 0.2)})
    monkeypatch.setattr(_store_cache.shutil, "disk_usage", lambda path: disk)
    heard = Heard()
    open_store(dataset, Preprocess(33, 33), "pixels", heard)
    assert [info.shape[1] for info in list_stores()] == [33, 31]
    assert len(heard.said) == 2
    assert all("dropped" in sentence and "flowers" in sentence for sentence in heard.said)
    disk.total = 1  # a store larger than the limit stays while it is the one in use
    open_store(dataset, Preprocess(34, 34), "pixels", heard)
    assert [info.shape[1] for info in list_stores()] == [34]


def test_the_size_and_the_place_are_told(tmp_path: Path) -> None:
    note = open_store(photographs(tmp_path / "in", 4), PREPROCESS, "pixels").note
    assert note.startswith("Pixel store: 4 pictures of 24 × 32 as pixels, 13 KiB, built in ")
    assert str(files()[0]) in note
    assert "found" in open_store(photographs(tmp_path / "in", 4), PREPROCESS, "pixels").note
