"""Another form, the same data set: pictures, labels and splits come back, and nothing gets out of its folder."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data.convert import convert
from foveal.data.sources import open_dataset
from foveal.errors import BadData, NotWritable
from foveal.files.pictures import read_image


def picture(seed: int, shape: tuple[int, ...] = (6, 9)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def fill(root: Path, n: int = 24, shape: tuple[int, ...] = (6, 9), kinds: tuple[str, ...] = ("png",)) -> Path:
    for split, count in (("train", n), ("val", 6), ("test", 8)):
        for i in range(count):
            folder = root / split / ("a", "b", "c ü")[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            seed = i + 1000 * ("train", "val", "test").index(split)
            Image.fromarray(picture(seed, shape)).save(folder / f"{i}.{kinds[i % len(kinds)]}")
    return root


def rows(dataset, *, pixels: bool) -> list[tuple[str, int, bytes]]:
    """(class, split, content) of each picture: its digest, or what it decodes to."""
    found = []
    for i in range(len(dataset)):
        content = read_image(dataset.pictures.content(i)).tobytes() if pixels else dataset.digests[i].tobytes()
        found.append((dataset.classes[dataset.labels[i]], int(dataset.splits[i]), content))
    return sorted(found)


@pytest.mark.parametrize("form", ["folders", "csv", "shards", "idx"])
def test_files_come_back_with_the_same_labels_splits_and_contents(tmp_path, form):
    source = open_dataset(fill(tmp_path / "in"))
    written = convert(source, tmp_path / "out", form)
    again = open_dataset(written.open)
    assert rows(again, pixels=form == "idx") == rows(source, pixels=form == "idx")
    assert again.classes == source.classes
    assert written.splits == {"train": 24, "val": 6, "test": 8}
    assert not again.skipped
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("form", ["folders", "csv", "shards", "idx"])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_come_back_pixel_for_pixel(tmp_path, form, channels):
    shape = (200, 5, 7, channels)
    source = open_dataset((picture(1, shape), np.arange(200) % 3))
    if form == "idx" and channels == 3:
        with pytest.raises(BadData, match=r"grey pictures only.*--to folders"):
            convert(source, tmp_path / "out", form)
        assert not (tmp_path / "out").exists()
        return
    assert rows(open_dataset(convert(source, tmp_path / "out", form).open), pixels=True) == rows(source, pixels=True)


@pytest.mark.parametrize("form", ["folders", "csv"])
def test_every_kind_of_file_is_copied_byte_for_byte(tmp_path, form):
    kinds = ("png", "jpg", "bmp", "tif", "gif", "webp")
    source = open_dataset(fill(tmp_path / "in", shape=(8, 11, 3), kinds=kinds))
    assert rows(open_dataset(convert(source, tmp_path / "out", form).open), pixels=False) == rows(source, pixels=False)


def test_shards_write_what_their_readers_do_not_know_as_png_and_say_so(tmp_path):
    source = open_dataset(fill(tmp_path / "in", kinds=("bmp", "png")))
    written = convert(source, tmp_path / "out", "shards")
    assert rows(open_dataset(tmp_path / "out"), pixels=True) == rows(source, pixels=True)
    assert any("written anew as PNG" in note for note in written.notes)


def test_shards_are_what_webdataset_reads_and_end_where_they_are_full(tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.data.writers.shards.SHARD_MAX_PICTURES", 10)
    convert(open_dataset(fill(tmp_path / "in")), tmp_path / "out", "shards")
    sizes = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert [Path(n).stem for n in names[::2]] == [Path(n).stem for n in names[1::2]]
            assert all(tar.extractfile(n).read() in (b"0", b"1", b"2") for n in names[1::2])
            sizes[path.name] = len(names) // 2
    assert sizes == {"train-000000.tar": 10, "train-000001.tar": 10, "train-000002.tar": 4, "val-000000.tar": 6,
                     "test-000000.tar": 8}  # fmt: skip
    assert (tmp_path / "out" / "classes.txt").read_text(encoding="utf-8").splitlines() == ["a", "b", "c ü"]


@pytest.mark.parametrize("names", [("0", "1", "2"), ("1", "2", "0"), ("7", "8", "10"), ("007", "1", "0")])
@pytest.mark.parametrize("form", ["folders", "csv", "shards", "idx"])
def test_classes_whose_names_are_numbers_stay_what_they_are(tmp_path, form, names):
    labels = np.array(names)[np.arange(150) % 3]
    source = open_dataset((picture(2, (150, 4, 6)), labels))
    again = open_dataset(convert(source, tmp_path / "out", form).open)
    assert rows(again, pixels=True) == rows(source, pixels=True)


ODD = ("../../evil", "a/b", "a_b", ".hidden", "x" * 300, "=cmd()", "line\nbreak", "Cat", "cat", "/abs", "nul\x01", "..")


@pytest.mark.parametrize("form", ["folders", "csv", "shards", "idx"])
def test_odd_class_names_stay_inside_and_stay_different(tmp_path, form):
    n = 40 * len(ODD)
    labels = [ODD[i % len(ODD)] for i in range(n)]
    source = open_dataset((picture(3, (n, 3, 4)), labels))
    (tmp_path / "deep").mkdir()
    written = convert(source, tmp_path / "deep" / "out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    again = open_dataset(written.open)
    assert len(again.classes) == len(ODD)
    partition = [sorted((split, data) for k, split, data in rows(d, pixels=True) if k == name)
                 for d in (source, again) for name in d.classes]  # fmt: skip
    assert sorted(partition[: len(ODD)]) == sorted(partition[len(ODD) :])
    assert any("line" in note for note in written.notes)


def test_files_whose_names_clash_all_arrive(tmp_path):
    for deep in ("x", "y", "Z"):
        for label in "ab":
            for i in range(20):
                folder = tmp_path / "in" / label / deep
                folder.mkdir(parents=True, exist_ok=True)
                name = f"p{i}.png" if deep != "Z" else f"P{i}.PNG"
                Image.fromarray(picture(1000 * ord(deep) + 100 * ord(label) + i)).save(folder / name)
    source = open_dataset(tmp_path / "in")
    for form in ("folders", "csv"):
        again = open_dataset(convert(source, tmp_path / form, form).open)
        assert rows(again, pixels=False) == rows(source, pixels=False)
        names = [again.pictures.name(i).lower() for i in range(len(again))]
        assert len(set(names)) == 120  # also where case does not count


def test_sizes_that_differ_are_refused_by_idx_before_anything_is_written(tmp_path):
    root = fill(tmp_path / "in")
    Image.fromarray(picture(5, (6, 10))).save(root / "train" / "b" / "wide.png")
    with pytest.raises(BadData, match=r"one size, .*6 x 9.*wide\.png 6 x 10.*--to folders"):
        convert(open_dataset(root), tmp_path / "out", "idx")
    assert not (tmp_path / "out").exists()


def test_only_a_new_or_empty_folder_outside_the_source_is_written_to(tmp_path):
    source = open_dataset(fill(tmp_path / "in"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(NotWritable, match="not empty"):
        convert(source, tmp_path / "full", "folders")
    with pytest.raises(NotWritable, match="inside the source"):
        convert(source, tmp_path / "in" / "copy", "folders")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert convert(source, tmp_path / "empty", "folders").splits["train"] == 24


def test_a_copy_may_lie_beside_the_table_or_shard_that_it_is_made_of(tmp_path):
    first = convert(open_dataset(fill(tmp_path / "in")), tmp_path / "one", "csv")
    again = convert(open_dataset(first.open), tmp_path / "one" / "copy", "shards")
    assert again.splits == first.splits


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    source = open_dataset(fill(tmp_path / "in"))

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    from foveal.errors import NoSpace

    with pytest.raises(NoSpace, match="no space left"):
        convert(source, tmp_path / "out", "folders")
    assert not (tmp_path / "out").exists()


def test_groups_are_kept_by_the_table(tmp_path):
    source = open_dataset((picture(4, (300, 4, 5)), np.arange(300) % 2), group_by=r"\[(\d)")
    written = convert(source, tmp_path / "out", "csv")
    again = open_dataset(written.open, group_by="group")
    assert sorted(np.bincount(np.unique(again.groups, return_inverse=True)[1])) == sorted(
        np.bincount(np.unique(source.groups, return_inverse=True)[1])
    )
    table = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text(encoding="utf-8"))))
    assert set(table[0]) == {"path", "label", "split", "group"}


def test_the_command_writes_and_says_what_and_refuses_in_a_sentence(tmp_path, foveal):
    fill(tmp_path / "in")
    done = foveal("data", "convert", "in", "out", "--to", "csv", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pictures"], told["form"], told["open"]) == (38, "csv", str(Path("out") / "table.csv"))
    again = foveal("data", "convert", "in", "out", "--to", "idx")
    assert again.exit_code == 2
    assert again.stderr.strip().splitlines()[-1].endswith("choose another folder.")
    assert foveal("data", "convert", "in", "x", "--to", "parquet").exit_code == 2
