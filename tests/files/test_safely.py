"""What lies in a folder is listed once, in one order; what cannot be read is told in one sentence."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from foveal.errors import BadModel, BadRecipe, FovealError
from foveal.files import safely
from foveal.files.safely import (
    Unreadable,
    in_bytes,
    open_regular,
    read_all,
    read_bytes,
    walk,
    walk_counted,
    walk_lazily,
)


def grown(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode("utf-8", "surrogateescape"))
    return root


def test_files_are_listed_in_the_order_of_their_bytes_whatever_the_folder_says(tmp_path: Path) -> None:
    names = [
        "b/x.jpg",
        "a/é.jpg",
        "a/z.jpg",
        "Z.jpg",
        "a.jpg",
        "a/1/2/3.jpg",
        "a/e\u0301.jpg",
        "\udcff\udcfe.png",
    ]
    random.Random(1).shuffle(names)
    assert walk(grown(tmp_path, *names)) == sorted(names, key=os.fsencode)
    assert list(walk_lazily(tmp_path)) == [(name, "") for name in sorted(names, key=os.fsencode)]


def test_names_come_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(tmp_path, *(f"{folder}/{number}.jpg" for folder in "abc" for number in range(3)))
    listed, plain = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(Path(path).name), plain(path))[1])
    names = walk_lazily(tmp_path)
    assert [next(names)[0] for _ in range(4)] == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "b/0.jpg"]
    assert listed[-2:] == ["a", "b"]


def test_hidden_files_and_junk_are_left_out_and_counted(tmp_path: Path) -> None:
    junk = [
        ".DS_Store",
        "a/._b.jpg",
        "a/Thumbs.db",
        "desktop.ini",
        ".ipynb_checkpoints/x.jpg",
        "__MACOSX/a/._b.jpg",
        ".h.jpg",
    ]
    found = walk_counted(grown(tmp_path, "a/b.jpg", *junk))
    assert found.files == ["a/b.jpg"]
    assert found.ignored.total() == len(junk)


def test_every_real_folder_is_met_once_under_its_own_name(tmp_path: Path) -> None:
    grown(tmp_path, "z/1.jpg", "z/in/2.jpg")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "z" / "loop").symlink_to("..")
    (tmp_path / "z" / "in" / "self").symlink_to(".")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    grown(outside, "3.jpg")
    (tmp_path / "out").symlink_to(outside)
    (tmp_path / "out2").symlink_to(outside)
    (tmp_path / "4.jpg").symlink_to("z/1.jpg")
    assert walk(tmp_path) == ["4.jpg", "out/3.jpg", "z/1.jpg", "z/in/2.jpg"]
    assert [name for name, _ in walk_lazily(tmp_path)] == ["4.jpg", "z/1.jpg", "z/in/2.jpg", "out/3.jpg"]


def test_what_is_neither_file_nor_folder_is_told_apart(tmp_path: Path) -> None:
    grown(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    found = walk_counted(tmp_path)
    assert found.files == ["a.jpg"]
    assert found.odd == [
        ("gone.jpg", "points to a missing file"),
        ("pipe.jpg", "is not a regular file"),
        ("self.jpg", "is a link that points to itself"),
    ]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="is gone"):
        walk(tmp_path / "nowhere")


def test_a_deep_tree_needs_no_deep_stack(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(300):
        path = path / "d"
    grown(tmp_path, str(path.relative_to(tmp_path) / "x.jpg"))
    assert len(walk(tmp_path)) == 1


@pytest.mark.parametrize(("case", "words"), [("missing", "does not exist"), ("folder", "is a folder"),
    ("fifo", "is not a regular file"), ("large", r"is larger than 10 bytes \(11 bytes\)"),
    ("nul", "not a possible")])  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, case: str, words: str) -> None:
    path = tmp_path / ("a\0b" if case == "nul" else "a.toml")
    if case == "folder":
        path.mkdir()
    elif case == "fifo":
        os.mkfifo(path)
    elif case == "large":
        path.write_bytes(bytes(11))
    with pytest.raises(BadRecipe, match=f"^recipe .*{words}.*\\.$"):
        read_bytes(path, limit=10, what="recipe", error=BadRecipe)


def test_a_file_at_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_bytes(tmp_path / "a", limit=10, what="model file", error=BadModel) == b"0123456789"
    (tmp_path / "a").write_bytes(b"")
    assert read_all(tmp_path / "a", 10) == b""


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    plain = safely._read_exactly
    for change in (b"longer than before", b"s"):
        path.write_bytes(b"0123456789")
        monkeypatch.setattr(safely, "_read_exactly", lambda file, n, c=change: path.write_bytes(c) and plain(file, n))
        with pytest.raises(Unreadable, match="changed while it was read"):
            read_all(path, 100)
        monkeypatch.undo()


def test_opening_a_pipe_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    raised = []

    def opening() -> None:
        try:
            open_regular(tmp_path / "p")
        except Unreadable as error:
            raised.append(error.reason)

    thread = threading.Thread(target=opening, daemon=True)
    thread.start()
    thread.join(5)
    assert raised == ["is not a regular file"]


def test_sizes_are_told_in_words() -> None:
    assert [in_bytes(n) for n in (0, 1, 1023, 1024, 1536, 4 << 20, 64 << 30)] == [
        "0 bytes", "1 byte", "1023 bytes", "1 KiB", "1.5 KiB", "4 MiB", "64 GiB",
    ]  # fmt: skip
