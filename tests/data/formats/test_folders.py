"""Class folders: what counts as a class, a split, a picture, and what is told about the rest."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from foveal.data.sources import open_dataset
from foveal.errors import BadData


def fill(root: Path, *paths: str) -> Path:
    """Files of different content; opening a data set decodes none of them."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"content of " + path.encode())
    return root


def many(*folders: str, n: int = 8) -> list[str]:
    return [f"{folder}/{i}.jpg" for folder in folders for i in range(n)]


def names(dataset, split=None) -> list[str]:
    chosen = range(len(dataset)) if split is None else dataset.indices(split)
    return [dataset.pictures.name(int(i)) for i in chosen]


def test_a_folder_is_a_class_and_every_picture_is_used(tmp_path):
    paths = many("cat", "a dog, big")
    dataset = open_dataset(fill(tmp_path, *paths))
    assert dataset.classes == ("a dog, big", "cat")
    assert sorted(names(dataset)) == sorted(paths)
    for i, name in enumerate(names(dataset)):
        assert dataset.classes[dataset.labels[i]] == name.split("/")[0]
        assert dataset.pictures.content(i) == tmp_path / name
    assert dataset.notes == () or "split" in dataset.notes[0]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Valid"])
def test_split_folders_are_known_by_their_usual_names(tmp_path, val):
    fill(tmp_path, *many("Train/cat", "Train/dog", f"{val}/cat", f"{val}/dog", "TEST/cat", "TEST/dog"))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    for split, folder in (("train", "Train"), ("val", val), ("test", "TEST")):
        assert {name.split("/")[0] for name in names(dataset, split)} == {folder}
    assert dataset.origin.split_by == f"folders Train/, {val}/, TEST/"


def test_classes_are_matched_by_name_when_val_lacks_one(tmp_path):
    fill(tmp_path, *many("train/a", "train/b", "train/c", "val/b", "val/c", "test/b", "test/c"))
    dataset = open_dataset(tmp_path)
    for i, name in enumerate(names(dataset)):
        assert dataset.classes[dataset.labels[i]] == name.split("/")[1]


def test_a_class_that_train_lacks_is_left_out_and_counted(tmp_path):
    fill(tmp_path, *many("train/a", "train/c", "val/a", "val/b", "val/c", "test/c"))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("a", "c")
    assert len(dataset) == 40
    assert [s.name for s in dataset.skipped] == many("val/b")
    assert 'is of class "b", which train lacks' in dataset.skipped[0].reason
    assert any("class b has no picture in train" in note for note in dataset.notes)
    for i, name in enumerate(names(dataset)):
        assert dataset.classes[dataset.labels[i]] == name.split("/")[1]


def test_train_beside_other_folders_is_a_class_of_vehicles(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("train", "car", "bus")))
    assert dataset.classes == ("bus", "car", "train")


def test_a_test_folder_alone_keeps_all_its_pictures_for_the_test(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("test/a", "test/b")))
    assert len(dataset.indices("test")) == 16


def test_folders_beside_the_splits_are_left_out_and_said(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("train/a", "train/b", "test/a", "test/b"), "extra/x/1.jpg"))
    assert len(dataset) == 32
    assert [s.name for s in dataset.skipped] == ["extra/x/1.jpg"]


def test_deeper_folders_belong_to_their_class(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("rose/garden", "rose", "tulip")))
    assert dataset.classes == ("rose", "tulip")
    assert dataset.counts("train").sum() + dataset.counts("val").sum() + dataset.counts("test").sum() == 24


@pytest.mark.parametrize(
    ("twins", "words"),
    [
        (("Cat", "cat"), 'classes "Cat" and "cat" differ by case only'),
        (("caf\u00e9", "cafe\u0301"), "differ by Unicode form only"),
    ],
)
def test_twins_are_refused(tmp_path, twins, words):
    fill(tmp_path, *many(*twins))
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("the file system of this machine (macOS, Windows) keeps no such twins")
    with pytest.raises(BadData, match=words):
        open_dataset(tmp_path)


def test_names_of_classes_do_not_depend_on_the_system_that_wrote_them(tmp_path):
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    one = open_dataset(fill(tmp_path / "linux", *many(composed, "x")))
    other = open_dataset(fill(tmp_path / "mac", *many(decomposed, "x")))
    assert one.classes == other.classes == ("caf\u00e9", "x")


def test_what_systems_leave_behind_is_no_class_and_counted_once(tmp_path):
    fill(tmp_path, *many("a", "b"), "__MACOSX/a/1.jpg", ".ipynb_checkpoints/1.jpg", "a/._1.jpg", "a/.DS_Store")
    fill(tmp_path, "a/Thumbs.db", "desktop.ini", ".hidden.jpg")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert len(dataset) == 16
    assert sum("ignored" in note for note in dataset.notes) == 1


def test_a_folder_called_like_a_picture_is_a_folder(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("x.jpg", "y.jpg")))
    assert dataset.classes == ("x.jpg", "y.jpg")


def test_links_that_go_round_end(tmp_path):
    fill(tmp_path, *many("a", "b"))
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "loop").symlink_to(".")
    assert len(open_dataset(tmp_path)) == 16


def test_dangling_links_and_pipes_become_rows(tmp_path):
    fill(tmp_path, *many("a", "b"))
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "b" / "pipe.jpg")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 16
    assert {s.name: s.reason for s in dataset.skipped} == {
        "a/gone.jpg": "points to a missing file",
        "b/pipe.jpg": "is not a regular file",
    }


def test_an_empty_class_folder_is_a_row(tmp_path):
    fill(tmp_path, *many("a", "b"))
    (tmp_path / "c").mkdir()
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert [(s.name, s.reason) for s in dataset.skipped] == [("c", "is a class folder without a picture")]


def test_loose_pictures_and_other_files_are_counted(tmp_path):
    dataset = open_dataset(fill(tmp_path, *many("a", "b"), "loose.png", "a/notes.txt", "LICENSE"))
    assert len(dataset) == 16
    assert [s.name for s in dataset.skipped] == ["loose.png"]
    assert any(note.startswith("2 files in") and "without a picture's ending" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("paths", "needle"),
    [
        ([], "has no picture in it; foveal expects a folder a class, such as"),
        (["a/notes.txt", "b/x.doc"], "has 2 files, no picture among them; foveal expects"),
        (["1.jpg", "2.jpg"], "has 2 pictures, but not in class folders; foveal expects"),
        (["train/cat.1.jpg", "test/2.jpg"], "has 2 pictures, but not in class folders"),
        (many("cat"), 'a classifier needs two classes, found one: "cat"'),
        (many("train/cat", "test/cat"), 'needs two classes, found one: "cat"'),
        (many("flowers/rose", "flowers/tulip"), r'holds one folder, "flowers", with 2 folders in it \(rose, tulip\)'),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused_and_told_why(tmp_path, paths, needle):
    with pytest.raises(BadData, match=needle):
        open_dataset(fill(tmp_path, *paths))


def test_a_folder_of_empty_folders_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(BadData, match="has no picture in it"):
        open_dataset(tmp_path)


def test_one_class_is_enough_where_it_is_asked_for(tmp_path):
    assert open_dataset(fill(tmp_path, *many("cat")), min_classes=1).classes == ("cat",)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such names")
def test_bytes_that_are_no_text_are_names_like_others(tmp_path):
    fill(tmp_path, *many("a", "b"))
    (tmp_path / "a" / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"x")
    (tmp_path / "a" / "new\nline\x1b[31m.png").write_bytes(b"y")
    assert len(open_dataset(tmp_path)) == 18


def test_clothing_opens_by_its_name(real_data, monkeypatch):
    monkeypatch.setenv("FOVEAL_DATA", str(real_data("clothing").parent))
    dataset = open_dataset("clothing")
    assert len(dataset) == 713
    assert len(dataset.classes) == 10
    assert len(dataset.indices("test")) == 372
    assert (dataset.counts("val") > 0).all()
