"""Tables with a row a box."""

from __future__ import annotations

from pathlib import Path

import pytest
from boxed import boxes, picture, rows, told

from foveal.data.sources import open_dataset
from foveal.errors import BadData

HEADER = "path,x1,y1,x2,y2,label"


def table(folder: Path, *lines: str, header: str = HEADER, raw: bytes | None = None) -> Path:
    for name in "abc":
        picture(folder / f"{name}.jpg")
    path = folder / "boxes.csv"
    path.write_bytes(raw if raw is not None else "\n".join([header, *lines]).encode())
    return path


def test_corners_are_continuous_pixels_and_empty_ones_mean_nothing_is_there(tmp_path):
    found = open_dataset(
        table(tmp_path, "a.jpg,0,1.5,64,48,cat", "a.jpg,2,3,4,5,dog", "b.jpg,,,,,", "c.jpg,1,1,2,2,dog")
    )
    assert boxes(found) == {
        "a.jpg": [("cat", [0, 1.5, 64, 48]), ("dog", [2, 3, 4, 5])], "b.jpg": [], "c.jpg": [("dog", [1, 1, 2, 2])]
    }  # fmt: skip
    assert found.origin.format == "box table"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_names_of_columns_and_other_separators_are_known(tmp_path, separator):
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,64,48,cat,1,2,3,4", "b.jpg,9,9,cat,1,2,3,4", ""]
    raw = "\r\n".join(lines).replace(",", separator).encode("utf-8-sig")
    found = open_dataset(table(tmp_path, raw=raw))
    assert boxes(found) == {"a.jpg": [("cat", [1, 2, 3, 4])]}
    assert "is annotated as 9 × 9" in rows(found)["b.jpg"]


def test_the_column_split_splits_pictures(tmp_path):
    lines = ("a.jpg,1,1,2,2,x,train", "a.jpg,1,1,3,3,x,train", "b.jpg,1,1,2,2,x,val", "c.jpg,1,1,2,2,x,test")
    found = open_dataset(table(tmp_path, *lines, header=HEADER + ",split"))
    assert found.splits.tolist() == [0, 1, 2]
    torn = table(tmp_path, *lines, "a.jpg,1,1,9,9,x,test", header=HEADER + ",split")
    with pytest.raises(BadData, match=r"line 6: a\.jpg has another split than in line 2"):
        open_dataset(torn)
    with pytest.raises(BadData, match='line 2: split "tset" is none of'):
        open_dataset(table(tmp_path, "a.jpg,1,1,2,2,x,tset", header=HEADER + ",split"))


ROWS = {
    "missing": ("z.jpg,1,1,2,2,x", "file z.jpg not found"),
    "address": ("https://a.b/c.jpg,1,1,2,2,x", "foveal does not download"),
    "nothing": (",1,1,2,2,x", "has no path"),
    "comma": ('a.jpg,"12,5",1,2,2,x', 'x1 is "12,5", not a number'),
    "nan": ("a.jpg,NaN,1,2,2,x", "not a number"),
    "flat": ("a.jpg,1,1,1,2,x", "zero area"),
    "swapped": ("a.jpg,5,1,1,2,x", "swapped corners"),
    "outside": ("a.jpg,70,1,80,2,x", "lies outside the picture"),
    "half": ("a.jpg,1,,2,2,x", "has no y1"),
    "unnamed": ("a.jpg,1,1,2,2,", "has no label"),
    "twice": ("a.jpg,1,1,9,9,x", "repeats line 2"),
    "both": ("a.jpg,,,,,x", "says nothing is on a.jpg"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_line_that_cannot_be_used_is_a_row(tmp_path, kind):
    line, reason = ROWS[kind]
    found = open_dataset(table(tmp_path, "a.jpg,1,1,9,9,x", "b.jpg,1,1,9,9,x", line))
    assert reason in rows(found)["line 4"]
    assert boxes(found) == {name: [("x", [1, 1, 9, 9])] for name in ("a.jpg", "b.jpg")}


def test_a_picture_without_a_usable_box_is_left_out(tmp_path):
    found = open_dataset(table(tmp_path, "a.jpg,1,1,1,9,x", "b.jpg,1,1,9,9,x"))
    assert rows(found)["a.jpg"] == "none of its boxes can be used"
    assert list(boxes(found)) == ["b.jpg"]


def test_a_table_without_any_picture_is_refused(tmp_path):
    with pytest.raises(BadData, match=r"names no usable picture.*line 2: file z\.jpg not found"):
        open_dataset(table(tmp_path, "z.jpg,1,1,2,2,x"))
    with pytest.raises(BadData, match="no picture with usable boxes to train on"):
        open_dataset(table(tmp_path, "a.jpg,1,1,1,2,x"))


def test_a_column_is_missed_by_name_and_other_encodings_are_refused(tmp_path):
    with pytest.raises(BadData, match='no column "label"'):
        open_dataset(table(tmp_path, "a.jpg,1,1,2,2,x", header="path,x1,y1,x2,y2,lable"))
    with pytest.raises(BadData, match='no column "x2"'):
        open_dataset(table(tmp_path, "a.jpg,1,1,2,2,x", header="path,x1,y1,xx2,y2,label"))
    with pytest.raises(BadData, match="line 2: not UTF-8"):
        open_dataset(table(tmp_path, raw=f"{HEADER}\na.jpg,1,1,2,2,caf\xe9".encode("cp1252")))


def test_a_table_of_path_and_label_is_still_one_of_classes(tmp_path):
    lines = [f"{name}.jpg,{label}" for name, label in (("a", "x"), ("b", "y"), ("c", "x"))]
    found = open_dataset(table(tmp_path, *lines, header="path,label"))
    assert found.origin.format == "table"
    assert found.boxes is None


def test_a_column_groups_pictures(tmp_path):
    lines = ("a.jpg,1,1,2,2,x,p1", "b.jpg,1,1,2,2,x,p1", "c.jpg,1,1,2,2,x,p2")
    found = open_dataset(table(tmp_path, *lines, header=HEADER + ",patient"), group_by="patient")
    assert found.groups.tolist() == [0, 0, 1]


def test_crowds_and_difficult_ones_are_marked(tmp_path):
    lines = ("a.jpg,1,1,20,20,x,1,0", "a.jpg,1,1,3,3,y,0,1", "b.jpg,1,1,2,2,x,0,0")
    found = open_dataset(table(tmp_path, *lines, header=HEADER + ",crowd,difficult"))
    assert found.boxes.crowd.tolist() == [True, False, False]
    assert found.boxes.difficult.tolist() == [False, True, False]
    assert [found.classes[k] for k in found.labels] == ["y", "x"]  # the crowd is no object of its own
    assert "crowd" not in told(found)
