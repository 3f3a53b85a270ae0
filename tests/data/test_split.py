"""Splits: who decides, that the hash keeps its word, and what is said when it cannot."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.sources import open_dataset
from foveal.data.split import duplicates_across
from foveal.errors import BadData


def fill(root: Path, counts: dict[str, int], seed: str = "") -> Path:
    for folder, n in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (root / folder / f"{i}.jpg").write_bytes(f"{seed}{folder}{i}".encode())
    return root


def splits(dataset) -> dict[str, str]:
    return {dataset.pictures.name(int(i)): split for split in ("train", "val", "test") for i in dataset.indices(split)}


def numbers(n: int, k: int = 3, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n different pictures of k classes, each known by its number."""
    index = np.arange(start, start + n)
    return np.stack([index >> 8, index & 255], axis=1).astype(np.uint8)[:, None, :], index % k


def test_the_hash_gives_eighty_ten_ten_on_average_in_each_class():
    dataset = open_dataset(numbers(30_000))
    for share, split in ((0.8, "train"), (0.1, "val"), (0.1, "test")):
        assert np.abs(dataset.counts(split) / 10_000 - share).max() < 0.02
    assert dataset.origin.split_by == "content hash: 10 % val, 10 % test"


@given(st.integers(300, 900), st.integers(2, 6))
def test_a_picture_stays_in_its_split_whatever_is_added(n, k):
    before, after = open_dataset(numbers(n, 3)), open_dataset(numbers(n + 500, k))
    assert np.array_equal(before.splits, after.splits[:n])


def test_the_split_follows_the_content_and_not_the_name(tmp_path):
    one = splits(open_dataset(fill(tmp_path / "one", {"a": 40, "b": 40})))
    (tmp_path / "two").mkdir()
    for name in one:
        new = tmp_path / "two" / name.replace("/", "/renamed-")
        new.parent.mkdir(exist_ok=True)
        new.write_bytes((tmp_path / "one" / name).read_bytes())
    two = splits(open_dataset(tmp_path / "two"))
    assert {name.replace("renamed-", ""): split for name, split in two.items()} == one


def test_the_split_is_the_same_for_ever():
    """Spelt out from the definition, and recorded: a change here moves pictures of every user out of the test."""
    pixels, _ = numbers(300)
    hashes = [blake2b(b"(1, 2)" + p.tobytes(), digest_size=16).digest() for p in pixels]
    below = [int.from_bytes(h[:8], "big") / 2**64 < 0.1 for h in hashes]
    held_out = open_dataset(numbers(300)).indices("test")
    assert held_out.tolist() == np.flatnonzero(below).tolist()
    assert held_out[:8].tolist() == [11, 12, 22, 26, 27, 40, 46, 64]


@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(0, 10**6))
def test_every_class_is_in_every_split_it_has_pictures_for(counts, start):
    labels = np.repeat(np.arange(len(counts)), counts)
    dataset = open_dataset((numbers(len(labels), start=start % 60_000)[0], labels))
    for k, n in enumerate(counts):
        found = {split: int(dataset.counts(split)[k]) for split in ("train", "val", "test")}
        assert sum(found.values()) == n
        assert found["train"] >= 1
        assert found["test"] >= (n > 1) or n == 2
        if n > 2:
            assert min(found.values()) >= 1, found
        else:
            assert any(f'"{k}" ({n})' in note or "more" in note for note in dataset.notes)


def test_a_filled_split_is_said_with_the_picture():
    labels = np.repeat(np.arange(2), (200, 6))
    for start in range(0, 2000, 206):  # in one of these the six pictures fall all into train
        dataset = open_dataset((numbers(206, start=start)[0], labels))
        if any("left a class without a picture in a split" in note and '"1" in' in note for note in dataset.notes):
            break
    else:
        pytest.fail("no case found")
    assert min(dataset.counts(split)[1] for split in ("train", "val", "test")) >= 1


def test_copies_stay_together_also_when_a_split_is_filled():
    pixels, _ = numbers(3)
    labels = np.array([0] * 30 + [1] * 3)
    dataset = open_dataset((np.concatenate([np.repeat(pixels, 10, axis=0), numbers(3, start=9)[0]]), labels))
    for start in (0, 10, 20):
        assert len(set(dataset.splits[start : start + 10].tolist())) == 1
    assert len(set(dataset.splits[:30].tolist())) == 3
    assert duplicates_across(dataset) == ()


def test_val_comes_out_of_train_where_the_source_has_a_test(tmp_path):
    fill(tmp_path, {"train/a": 100, "train/b": 100, "test/a": 20, "test/b": 20})
    found = splits(open_dataset(tmp_path))
    assert {n for n, s in found.items() if s == "test"} == {n for n in found if n.startswith("test/")}
    assert 5 < sum(s == "val" for s in found.values()) < 40


def test_val_is_scored_at_the_end_where_the_source_has_no_test(tmp_path):
    fill(tmp_path, {"train/a": 100, "train/b": 100, "val/a": 20, "val/b": 20})
    dataset = open_dataset(tmp_path)
    found = splits(dataset)
    assert {n for n, s in found.items() if s == "test"} == {n for n in found if n.startswith("val/")}
    assert 5 < sum(s == "val" for s in found.values()) < 40
    assert any("the 40 pictures of val are scored at the end" in note for note in dataset.notes)


def test_test_comes_out_of_train_where_val_is_to_stay(tmp_path):
    fill(tmp_path, {"train/a": 100, "train/b": 100, "val/a": 20, "val/b": 20})
    found = splits(open_dataset(tmp_path, held_out="val"))
    assert {n for n, s in found.items() if s == "val"} == {n for n in found if n.startswith("val/")}
    assert 5 < sum(s == "test" for s in found.values()) < 40


def test_a_pattern_decides_over_the_folders(tmp_path):
    fill(tmp_path, {"train/a": 30, "train/b": 30, "test/a": 30, "test/b": 30})
    dataset = open_dataset(tmp_path, test_if=r"/1\d\.jpg$")
    for name, split in splits(dataset).items():
        assert (split == "test") == (name.split("/")[-1][0] == "1" and len(name.split("/")[-1]) == 6)
    assert "match" in dataset.origin.split_by


@pytest.mark.parametrize(
    ("pattern", "needle"),
    [
        ("nothing", "matches no picture; .* paths such as a/0.jpg"),
        (".", "matches every picture"),
        ("(", "is not a valid regular expression"),
    ],
)
def test_a_pattern_that_cannot_split_is_refused(tmp_path, pattern, needle):
    with pytest.raises(BadData, match=needle):
        open_dataset(fill(tmp_path, {"a": 5, "b": 5}), test_if=pattern)


def test_a_table_decides_over_everything(tmp_path):
    folder = fill(tmp_path / "d", {"train/a": 20, "train/b": 20, "test/a": 20, "test/b": 20})
    wanted = {name: "test" if "/a/" in name and i % 2 else "val" if i % 7 == 0 else "train"
              for i, name in enumerate(splits(open_dataset(folder)))}  # fmt: skip
    rows = [
        f"{folder}/{name},{split}" if i % 3 else f"{name},{split}" for i, (name, split) in enumerate(wanted.items())
    ]
    (tmp_path / "s.csv").write_text("path,split\n" + "\n".join(rows))
    dataset = open_dataset(folder, split=tmp_path / "s.csv", test_if="train")
    assert splits(dataset) == wanted
    assert dataset.origin.split_by == "the file s.csv"


def test_pictures_that_the_table_does_not_name_are_for_training(tmp_path):
    folder = fill(tmp_path / "d", {"a": 20, "b": 20})
    (tmp_path / "s.csv").write_text("path,split\na/0.jpg,test\nb/0.jpg,test\na/1.jpg,val\nb/1.jpg,val\nc/9.jpg,val\n")
    dataset = open_dataset(folder, split=tmp_path / "s.csv")
    found = splits(dataset)
    assert [n for n, s in found.items() if s == "test"] == ["a/0.jpg", "b/0.jpg"]
    assert [n for n, s in found.items() if s == "val"] == ["a/1.jpg", "b/1.jpg"]
    assert any("does not name 36 of the 40 pictures" in note for note in dataset.notes)
    assert any("1 of the paths" in note and "c/9.jpg" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("path,split\nx/9.jpg,test\n", r"names no picture of the data set \(x/9.jpg\); paths look like a/0.jpg"),
        ("path,split\na/0.jpg,tests\n", 'line 2: split "tests" is none of train, val, test; did you mean "test"'),
        ("path,split\na/0.jpg,test\na/0.jpg,val\n", "line 3: a/0.jpg is already in test"),
        ("path,label\na/0.jpg,test\n", 'no column "split"'),
    ],
)
def test_a_split_table_that_is_wrong_is_refused_with_its_line(tmp_path, text, needle):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadData, match=needle):
        open_dataset(fill(tmp_path / "d", {"a": 5, "b": 5}), split=tmp_path / "s.csv")


def test_a_split_table_that_is_missing_is_refused(tmp_path):
    with pytest.raises(BadData, match="does not exist"):
        open_dataset(fill(tmp_path / "d", {"a": 5, "b": 5}), split=tmp_path / "s.csv")


def test_equal_pictures_on_both_sides_are_named(tmp_path):
    fill(tmp_path, {"train/a": 30, "train/b": 30, "test/a": 10, "test/b": 10})
    (tmp_path / "test/a/copy.jpg").write_bytes(b"leak")
    (tmp_path / "train/a/x.jpg").write_bytes(b"leak")
    (tmp_path / "train/a/y.jpg").write_bytes(b"leak")
    dataset = open_dataset(tmp_path, classes=["a", "b"])
    if splits(dataset)["train/a/x.jpg"] == "train":
        assert duplicates_across(dataset) == (("test/a/copy.jpg", "train/a/x.jpg"),)
    else:  # the copies went to val together
        assert duplicates_across(dataset) == ()


def test_a_class_that_the_pattern_takes_whole_is_left_out_and_said(tmp_path):
    fill(tmp_path, {"a": 20, "b": 20, "c": 20})
    dataset = open_dataset(tmp_path, test_if=r"^c/|/1\.jpg")
    assert dataset.classes == ("a", "b")
    assert len(dataset.skipped) == 20
