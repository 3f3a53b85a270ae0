"""A data set can be looked at: picture by picture, in parts, in words, as a table."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.data.dataset import Box, Dataset, Sample
from foveal.data.sources import open_dataset
from foveal.errors import Missing


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Dataset:
    root = tmp_path_factory.mktemp("files")
    for i in range(30):
        folder = root / "abc"[i % 3]
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(b"%d" % i)
    return open_dataset(root)


@pytest.fixture(scope="module")
def boxed(tmp_path_factory) -> Dataset:
    root = tmp_path_factory.mktemp("boxes")
    rows = []
    for i in range(12):
        Image.fromarray(np.full((12, 16), 10 * i, np.uint8)).save(root / f"{i}.png")
        rows.append(f"{i}.png,,,,,,," if i % 4 == 3 else f"{i}.png,1,2,{5 + i % 3},9,{'ab'[i % 2]},{i % 2},0")
        if i % 4 == 0:
            rows.append(f"{i}.png,0,0,16,12,b,0,1")
    (root / "t.csv").write_text("path,x1,y1,x2,y2,label,crowd,difficult\n" + "\n".join(rows))
    return open_dataset(root / "t.csv")


def test_a_picture_by_its_number_and_all_one_after_another(files):
    samples = list(files)
    assert [files[i] for i in range(30)] == samples
    assert files[-1] == samples[-1]
    for i, sample in enumerate(samples):
        assert sample.name == files.pictures.name(i)
        assert sample.path is not None
        assert sample.path.read_bytes() == b"%d" % int(sample.path.stem)
        assert sample.label == sample.name.split("/")[0] == files.classes[files.labels[i]]
        assert i in files.indices(sample.split)
        assert sample.boxes is None
    for wrong in (30, -31):
        with pytest.raises(IndexError):
            files[wrong]


def test_boxes_are_those_of_the_picture(boxed):
    assert boxed[0].boxes == (Box((1, 2, 5, 9), "a"), Box((0, 0, 16, 12), "b", difficult=True))
    assert boxed[1].boxes == (Box((1, 2, 6, 9), "b", crowd=True),)
    nothing = next(sample for sample in boxed if sample.name == "3.png")
    assert (nothing.boxes, nothing.label) == ((), None)
    assert sum(len(sample.boxes) for sample in boxed) == len(boxed.boxes)


@given(st.slices(30), st.lists(st.integers(-30, 29)), st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_part_holds_the_same_pictures_as_a_list_would(files, several, numbers, mask):
    samples = list(files)
    assert list(files[several]) == samples[several]
    assert list(files[numbers]) == [samples[i] for i in numbers]
    assert list(files[np.array(mask)]) == [sample for sample, yes in zip(samples, mask, strict=True) if yes]


def test_what_is_no_file_has_no_path_and_what_is_not_split_has_none():
    dataset = open_dataset((np.arange(40, dtype=np.uint8).reshape(-1, 1, 1).repeat(4, 1).repeat(4, 2), [0, 1] * 20))
    assert dataset[3] == Sample("X[3]", None, "1", None, dataset[3].split)
    assert (
        Dataset(dataset.pictures, dataset.labels, dataset.classes, dataset.splits * 0 - 1, dataset.origin)[0].split
        is None
    )


def test_a_short_repr_and_a_summary_with_counts_and_notes(files, boxed):
    assert repr(files).startswith("<Dataset ")
    assert "class folders, 30 pictures of 3 classes (" in repr(files)
    assert len(repr(boxed)) < 300
    assert "12 pictures, 12 boxes of 2 classes" in repr(boxed)
    text = files.summary()
    for k, name in enumerate(files.classes):
        row = next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))
        assert row == [name, *(str(files.counts(split)[k]) for split in ("train", "val", "test"))]
    assert "Split by content hash: 10 % val, 10 % test." in text
    assert boxed.notes
    assert all(note in boxed.summary() for note in boxed.notes)
    rows = [line.split() for line in boxed.summary().splitlines() if line.startswith(("a ", "b "))]
    assert sum(int(n) for row in rows for n in row[1:]) == len(boxed.boxes)


def test_a_table_for_pandas_or_a_sentence_without_it(files, boxed, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns)))
    rows, columns = files.to_pandas()
    assert columns == ["name", "path", "label", "split"]
    assert [row["name"] for row in rows] == [sample.name for sample in files]
    assert boxed.to_pandas()[1] == ["name", "path", "label", "split", "boxes"]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Missing, match="pip install pandas"):
        files.to_pandas()
