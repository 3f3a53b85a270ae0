"""Data sets with boxes on their way through `open_dataset`: splits, classes, copies, and pictures of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boxed import boxes, picture, rows, told
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data._unlearnt import without_unlearnt
from foveal.data.dataset import NOTHING, UNSPLIT, ArrayPictures, Boxes, Dataset, Origin
from foveal.data.sources import open_dataset
from foveal.data.split import decide
from foveal.errors import BadData

HEADER = "path,x1,y1,x2,y2,label,split"


def table(folder: Path, *lines: str) -> Path:
    for line in lines:
        picture(folder / line.split(",")[0])
    (folder / "t.csv").write_text("\n".join([HEADER, *lines]))
    return folder / "t.csv"


def test_a_class_that_no_training_box_has_loses_its_boxes_and_nothing_else(tmp_path):
    lines = ["a.jpg,1,1,9,9,cat,train", "b.jpg,1,1,5,5,cat,test", "b.jpg,1,1,30,30,dog,test", "c.jpg,1,1,9,9,dog,test",
             "d.jpg,,,,,,test", "e.jpg,1,1,9,9,cat,val"]  # fmt: skip
    found = open_dataset(table(tmp_path, *lines))
    assert found.classes == ("cat",)
    assert boxes(found) == {"a.jpg": [("cat", [1, 1, 9, 9])], "b.jpg": [("cat", [1, 1, 5, 5])], "d.jpg": [],
                            "e.jpg": [("cat", [1, 1, 9, 9])]}  # fmt: skip
    assert rows(found) == {"c.jpg": "has no box of a class that train has"}
    assert "class dog has no box in train and is skipped (2 boxes, and 1 pictures that have no other)." in told(found)
    assert found.labels.tolist() == [0, 0, NOTHING, 0]


def test_a_set_to_be_evaluated_keeps_all_its_classes(tmp_path):
    found = open_dataset(table(tmp_path, "a.jpg,1,1,9,9,cat,test", "b.jpg,1,1,5,5,dog,test"))
    assert found.classes == ("cat", "dog")


def test_one_class_is_enough_and_none_is_not(tmp_path):
    assert open_dataset(table(tmp_path, "a.jpg,1,1,9,9,cat,train")).classes == ("cat",)
    with pytest.raises(BadData, match="a detector needs one class, found none"):
        open_dataset(table(tmp_path, "a.jpg,,,,,,train", "b.jpg,,,,,,train"))


def test_the_asked_order_of_classes_moves_boxes_and_leaves_nothing_alone(tmp_path):
    path = table(tmp_path, "a.jpg,1,1,9,9,cat,train", "b.jpg,,,,,,train", "c.jpg,2,2,9,9,dog,train")
    one, other = open_dataset(path), open_dataset(path, classes=["dog", "cat"])
    assert other.classes == ("dog", "cat")
    assert boxes(one) == boxes(other)
    assert other.labels.tolist() == [1, NOTHING, 0]


def test_excluded_pictures_take_their_boxes_along(tmp_path):
    path = table(tmp_path, "a.jpg,1,1,9,9,cat,train", "b.jpg,1,1,5,5,cat,train", "c.jpg,1,1,7,7,cat,train")
    (tmp_path / "out.csv").write_text("path\nb.jpg\n")
    assert list(boxes(open_dataset(path, exclude=tmp_path / "out.csv"))) == ["a.jpg", "c.jpg"]


def test_equal_pictures_with_other_boxes_are_used_and_told(tmp_path):
    path = table(tmp_path, "a.jpg,1,1,9,9,cat,train", "c.jpg,1,1,9,9,cat,train", "d.jpg,1,1,9,9,dog,train")
    for name in "cd":
        (tmp_path / f"{name}.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    found = open_dataset(path)
    assert len(found) == 3
    assert "1 picture appears again with other boxes (first: a.jpg and d.jpg)" in told(found)


def test_a_pattern_tests_paths_of_boxes_as_of_classes(tmp_path):
    lines = [f"p-{i}.jpg,1,1,9,9,cat," for i in range(20)]
    found = open_dataset(table(tmp_path, *lines), test_if=r"p-\d*[05]\.")
    assert sorted(found.pictures.name(int(i)) for i in found.indices("test")) == [
        "p-0.jpg", "p-10.jpg", "p-15.jpg", "p-5.jpg"
    ]  # fmt: skip


def built(labels: list[list[int]], K: int, splits: list[int] | None = None) -> Dataset:
    """Pictures in memory with boxes of the given classes."""
    N = len(labels)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in labels])]).astype(np.int64)
    M = int(starts[-1])
    xyxy = np.array([[0, 0, 1 + k, 1 + k] for k in range(M)], np.float64).reshape(-1, 4)
    flat = np.array([k for each in labels for k in each], np.int64)
    no = np.zeros(M, bool)
    all_boxes = Boxes(xyxy, flat, starts, np.full((N, 2), 1000), no, no)
    pixels = np.random.default_rng(0).integers(0, 255, (N, 4, 5), np.uint8)
    digests = np.random.default_rng(N).integers(0, 255, (N, 16), np.uint8)
    given_splits = np.full(N, UNSPLIT, np.int8) if splits is None else np.array(splits, np.int8)
    pictures = ArrayPictures(pixels, tuple(f"p{i}" for i in range(N)))
    return Dataset(pictures, all_boxes.of_largest, tuple(f"c{k}" for k in range(K)), given_splits,
                   Origin("x", "memory", "arrays"), digests=digests, boxes=all_boxes)  # fmt: skip


pictured = st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=30)


@given(pictured)
@settings(max_examples=60)
def test_every_picture_gets_a_split_whether_or_not_something_is_on_it(labels: list[list[int]]) -> None:
    found = decide(built(labels, 4))
    assert ((found.splits >= 0) & (found.splits < 3)).all()
    alone = decide(built(labels[:1], 4).take(np.array([0])))
    assert len(alone) == 1


@given(pictured, st.data())
@settings(max_examples=100)
def test_what_is_left_after_unlearnt_classes_is_exactly_what_train_can_teach(labels, data) -> None:
    splits = data.draw(st.lists(st.integers(0, 2), min_size=len(labels), max_size=len(labels)))
    before = built(labels, 4, splits)
    after = without_unlearnt(before)
    in_train = {k for each, s in zip(labels, splits, strict=True) for k in each if s == 0}
    learnt = in_train or {k for each in labels for k in each}
    expected = {
        f"p{i}": [f"c{k}" for k in each if k in learnt]
        for i, each in enumerate(labels)
        if not each or set(each) & learnt
    }
    assert {name: [c for c, _ in found] for name, found in boxes(after).items()} == expected
    assert after.classes == tuple(f"c{k}" for k in sorted(learnt))


def test_the_label_is_the_class_of_the_largest_box() -> None:
    assert built([[2, 0], [], [1]], 3).labels.tolist() == [0, NOTHING, 1]
