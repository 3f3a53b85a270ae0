"""Names of pictures come as they are asked for, however many a folder or a pattern stands for."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.errors import FovealError, Missing
from foveal.files import given as given_file
from foveal.files.given import TypedPaths, count_pictures, named_pictures
from foveal.files.safely import Unreadable


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures in two folders, a text, and a file whose name looks like a pattern."""
    for name in ("in/b.png", "in/a.JPG", "in/deep/c.webp", "in/notes.txt", "[ab].png", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(pictures: object) -> list[str]:
    return [name for name, _ in named_pictures(pictures)]  # type: ignore[arg-type]


def test_a_folder_stands_for_the_pictures_below_it_and_a_path_for_itself(place: Path) -> None:
    assert names("in") == ["in/a.JPG", "in/b.png", "in/deep/c.webp"]
    assert names(["in/notes.txt", Path("in")]) == ["in/notes.txt", "in/a.JPG", "in/b.png", "in/deep/c.webp"]
    (place / "gone.png").symlink_to("nowhere")
    assert names("gone.png") == ["gone.png"], "becomes a row that says why"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_in_a_folder_comes_with_its_reason_in_its_place(place: Path) -> None:
    (place / "in" / "az-gone").symlink_to("nowhere")
    (place / "in" / "self.png").symlink_to("self.png")
    (place / "in" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(place / "in" / "deep" / "pipe")
    (place / "in" / "up").symlink_to("..")  # every folder once, however it is reached: the rest of the place as well
    told = [(n, c.reason if isinstance(c, Unreadable) else "") for n, c in named_pictures("in")]
    assert told == [
        ("in/a.JPG", ""),
        ("in/az-gone", "points to a missing file"),
        ("in/b.png", ""),
        ("in/deep/c.webp", ""),
        ("in/deep/pipe", "is not a regular file"),
        ("in/self.png", "is a link that points to itself"),
        ("in/zero.png", "is not a regular file"),
        ("in/up/[ab].png", ""),
    ]
    assert count_pictures("in") == len(told)


def test_a_folder_that_cannot_be_read_comes_with_its_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", locked)
    told = dict(named_pictures("in"))
    assert str(told["in/deep"]) == "cannot be read (permission denied)"
    assert list(told) == ["in/a.JPG", "in/b.png", "in/deep"]


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="Linux alone has /proc")
def test_folders_of_the_system_are_not_walked(place: Path) -> None:
    (place / "in" / "self").symlink_to("/proc/self")
    assert [str(c) for n, c in named_pictures("in") if n == "in/self"] == ["belongs to the system"]
    with pytest.raises(FovealError, match="/proc/self belongs to the system; give a folder of pictures"):
        names("/proc/self")


def test_names_longer_than_a_file_has_are_told(place: Path) -> None:
    for word in ("a" * 300, "b" * 5000, "a" * 300 + "*"):
        with pytest.raises(Missing, match=r"does not exist|no file matches"):
            TypedPaths([word]).check()


def test_what_is_in_memory_is_called_by_its_number() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    given = [b"bytes", pixels, Image.fromarray(pixels).convert("L")]
    assert names(given) == ["picture 0", "picture 1", "picture 2"]
    assert [np.shape(content) for _, content in named_pictures(given)] == [(), (4, 5, 3), (4, 5, 3)]
    assert names(pixels) == names(given[2]) == ["picture 0"]


def test_they_are_counted_as_they_are_named(place: Path) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    for pictures in ("in", Path("in/b.png"), pixels, b"", [], ["in", b"", pixels, "in/b.png"], ("in", "in")):
        assert count_pictures(pictures) == len(names(pictures))
    assert count_pictures(TypedPaths(["in/*", "in"])) == 7
    assert count_pictures(Path(name) for name in ("in", "nowhere")) is None, "reading them would use them up"


def test_what_stands_for_no_picture_is_missing_whoever_asks(place: Path) -> None:
    for wrong, words in (("nowhere.png", "does not exist"), ("empty", "holds no picture")):
        for ask in (names, count_pictures, lambda paths: TypedPaths(paths).check()):
            with pytest.raises(Missing, match=words):
                ask(["in", wrong])
    for ask in (list, count_pictures, TypedPaths.check):
        with pytest.raises(Missing, match=r'no file matches "\*\.tiff"'):
            ask(TypedPaths(["in", "*.tiff"]))


def test_patterns_are_expanded_when_their_turn_comes_and_sorted(place: Path) -> None:
    typed = TypedPaths(["in/*.*", "**/*.webp", "[ab].png"])
    typed.check()
    assert [str(path) for path in typed] == ["in/a.JPG", "in/b.png", "in/notes.txt", "in/deep/c.webp", "[ab].png"]
    (place / "in" / "d.webp").touch()
    assert names(typed)[2:5] == ["in/d.webp", "in/notes.txt", "in/d.webp"], "and again when they are asked for again"
    assert [str(path) for path in TypedPaths([str(place / "in" / "[ab].*")])] == [
        str(place / "in" / "a.JPG"),
        str(place / "in" / "b.png"),
    ]


def test_a_check_lists_no_more_than_it_needs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_file, "walk_lazily", None)
    TypedPaths(["in", "in/b.png"]).check()
    monkeypatch.undo()
    os.chdir(place)
    (place / "above" / "below").mkdir(parents=True)
    (place / "above" / "below" / "a.png").touch()
    TypedPaths(["above"]).check()


def test_a_hundred_thousand_names_need_no_memory_of_their_own() -> None:
    def lazily() -> Iterator[bytes]:
        for number in range(100_000):
            yield b"%d" % number

    tracemalloc.start()
    try:
        count = sum(1 for _ in named_pictures(lazily()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 1 << 20
