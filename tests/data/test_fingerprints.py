"""Fingerprints: equal for equal content, and read only once."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from foveal.data.dataset import ArrayPictures, FilePictures
from foveal.data.fingerprints import contents, digests, position
from foveal.files import safely


def files(folder: Path, *content: bytes) -> FilePictures:
    for i, data in enumerate(content):
        (folder / f"{i}.jpg").write_bytes(data)
    return FilePictures(folder, tuple(f"{i}.jpg" for i in range(len(content))))


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the pictures whose content is read."""
    seen: list[str] = []

    def spy(path, limit):
        if str(path).endswith(".jpg"):
            seen.append(Path(path).name)
        return safely.read_all(path, limit)

    monkeypatch.setattr("foveal.data.fingerprints.read_all", spy)
    return seen


def test_a_file_is_known_by_its_bytes(tmp_path):
    found = digests(files(tmp_path, b"a", b"b", b"a"))
    assert found.dtype == np.uint8
    assert found[1].tobytes() == blake2b(b"b", digest_size=16).digest()
    assert contents(found).tolist()[0] == contents(found).tolist()[2] != contents(found).tolist()[1]


def test_a_second_opening_reads_no_picture(tmp_path, reads):
    pictures = files(tmp_path, *(b"%d" % i for i in range(700)))
    first = digests(pictures)
    assert len(reads) == 700
    assert np.array_equal(digests(pictures), first)
    assert np.array_equal(digests(pictures.take(np.array([5, 3]))), first[[5, 3]])
    assert len(reads) == 700


def test_only_a_changed_file_is_read_again(tmp_path, reads):
    pictures = files(tmp_path, b"a", b"b", b"c")
    before = digests(pictures)
    reads.clear()
    later = time.time_ns() + 10**9
    (tmp_path / "1.jpg").write_bytes(b"B")  # the same size
    os.utime(tmp_path / "1.jpg", ns=(later, later))
    after = digests(pictures)
    assert reads == ["1.jpg"]
    assert (before != after).any(axis=1).tolist() == [False, True, False]


def test_what_cannot_be_read_is_equal_to_nothing_and_asked_again(tmp_path, reads):
    pictures = files(tmp_path, b"", b"", b"a")
    (tmp_path / "2.jpg").unlink()
    found = digests(pictures)
    assert len(np.unique(contents(found))) == 3
    (tmp_path / "2.jpg").write_bytes(b"a")
    assert digests(pictures)[2].tobytes() == blake2b(b"a", digest_size=16).digest()


def test_a_file_that_may_be_read_again_is_read_again(tmp_path, monkeypatch):
    """Rights change without a trace in size and time, so nothing is remembered about what could not be read."""
    pictures = files(tmp_path, b"a", b"b")

    def forbidden(path, limit):
        raise safely.Unreadable("cannot be read (permission denied)")

    with monkeypatch.context() as patch:
        patch.setattr("foveal.data.fingerprints.read_all", forbidden)
        digests(pictures)
    assert digests(pictures)[0].tobytes() == blake2b(b"a", digest_size=16).digest()


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-5], lambda raw: raw[:40] + b"?" + raw[41:], lambda raw: b"", lambda raw: b"x" * 99]
)
def test_a_damaged_cache_is_made_anew(tmp_path, reads, damage):
    pictures = files(tmp_path, b"a", b"b")
    right = digests(pictures)
    (cache,) = Path(os.environ["FOVEAL_CACHE"]).rglob("*.bin")
    cache.write_bytes(damage(cache.read_bytes()))
    assert np.array_equal(digests(pictures), right)
    reads.clear()
    assert np.array_equal(digests(pictures), right)
    assert reads == []


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foveal.data.fingerprints.write_bytes", full)
    assert digests(files(tmp_path, b"a", b"b")).shape == (2, 16)


def test_progress_counts_every_picture_once(tmp_path):
    from contextlib import contextmanager

    class Counting:
        done = 0

        @contextmanager
        def task(self, name, total, unit="pictures"):
            self.total = total
            yield self.advance

        def advance(self, n):
            self.done += n

        def say(self, sentence):
            pass

    counting = Counting()
    digests(files(tmp_path, *(b"%d" % i for i in range(300))), counting)
    assert counting.total == counting.done == 300


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=4, max_side=4)))
def test_arrays_are_equal_exactly_where_their_fingerprints_are(pixels):
    found = digests(ArrayPictures(pixels, tuple(str(i) for i in range(len(pixels)))))
    for i in range(len(pixels)):
        for j in range(len(pixels)):
            assert (pixels[i] == pixels[j]).all() == (found[i] == found[j]).all()


def test_the_shape_belongs_to_the_content():
    grey = np.zeros((1, 4, 9), np.uint8)
    one, other = (digests(ArrayPictures(p, ("a",))) for p in (grey, grey.reshape(1, 6, 6)))
    assert (one != other).any()


def test_sixty_thousand_small_arrays_take_a_moment():
    pixels = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28), dtype=np.uint8)
    pictures = ArrayPictures(pixels, tuple(map(str, range(60_000))))
    began = time.perf_counter()
    digests(pictures)
    assert time.perf_counter() - began < 2  # about 0.15 s alone; the machine is shared


def test_positions_are_uniform_and_a_function_of_the_content():
    found = digests(ArrayPictures(np.arange(40_000, dtype="<u2").view(np.uint8).reshape(-1, 1, 2), ("",) * 40_000))
    placed = position(found)
    assert placed.min() >= 0
    assert placed.max() < 1
    counts = np.histogram(placed, 20, (0, 1))[0]
    assert np.abs(counts - 2000).max() < 5 * 2000**0.5
    assert np.array_equal(position(found[:10]), placed[:10])
