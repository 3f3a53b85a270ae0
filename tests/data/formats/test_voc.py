"""Pascal VOC: which boxes are read, where they lie on the picture that is shown, and what becomes of the others."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from boxed import boxes, picture, rows, thing, told, voc

from foveal.data.dataset import NOTHING
from foveal.data.sources import open_dataset
from foveal.errors import BadData
from foveal.files.pictures import read_image


def files(folder: Path, **annotations: str | bytes) -> Path:
    """Pictures beside their XML files."""
    for name, text in annotations.items():
        picture(folder / f"{name}.jpg")
        (folder / f"{name}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


GOOD = voc([thing("cat", 11, 6, 30, 26)])


def test_pixels_count_from_one_and_both_ends_belong_to_the_box(tmp_path):
    found = open_dataset(files(tmp_path, a=voc([thing("cat", 1, 1, 64, 48)]), b=GOOD))
    assert boxes(found)["a.jpg"] == [("cat", [0, 0, 64, 48])]
    assert boxes(found)["b.jpg"] == [("cat", [10, 5, 30, 26])]
    assert found.origin.format == "Pascal VOC"
    assert not found.skipped


def test_a_set_with_a_box_that_begins_at_zero_is_taken_as_it_is(tmp_path):
    found = open_dataset(files(tmp_path, a=voc([thing("cat", 0, 3, 64, 48)]), b=GOOD))
    assert boxes(found) == {"a.jpg": [("cat", [0, 3, 64, 48])], "b.jpg": [("cat", [11, 6, 30, 26])]}
    assert "begins at 0" in told(found)


def test_the_devkits_folders_and_lists_are_followed(tmp_path):
    for i in range(8):
        picture(tmp_path / f"VOC2007/JPEGImages/{i}.jpg")
        (tmp_path / "VOC2007/Annotations").mkdir(exist_ok=True)
        (tmp_path / f"VOC2007/Annotations/{i}.xml").write_text(GOOD)
    lists = tmp_path / "VOC2007/ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("3\n")
    (lists / "test.txt").write_text("4\n5\n6\n")
    (lists / "cat_train.txt").write_text("7 1\n")
    found = open_dataset(tmp_path)
    names = [found.pictures.name(i).rpartition("/")[2] for i in range(len(found))]
    assert dict(zip(names, found.splits.tolist(), strict=True)) == {
        "0.jpg": 0, "1.jpg": 0, "2.jpg": 0, "3.jpg": 1, "4.jpg": 2, "5.jpg": 2, "6.jpg": 2
    }  # fmt: skip
    assert "ImageSets/Main" in found.origin.split_by
    assert "is in no list" in rows(found)["VOC2007/JPEGImages/7.jpg"]


def test_a_picture_in_two_lists_is_refused(tmp_path):
    files(tmp_path, a=GOOD, b=GOOD)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for name in ("train", "test"):
        (tmp_path / f"ImageSets/Main/{name}.txt").write_text("a\n")
    with pytest.raises(BadData, match="a is in another list as well"):
        open_dataset(tmp_path)


def test_folders_split_and_equal_names_in_them_are_kept_apart(tmp_path):
    for split, x in (("train", 11), ("test", 21)):
        picture(tmp_path / f"images/{split}/7.jpg", seed=x)
        (tmp_path / f"annotations/{split}").mkdir(parents=True)
        (tmp_path / f"annotations/{split}/7.xml").write_text(voc([thing("cat", x, 6, 40, 26)]))
    found = open_dataset(tmp_path)
    assert {n: b[0][1][0] for n, b in boxes(found).items()} == {"images/train/7.jpg": 10, "images/test/7.jpg": 20}
    assert found.splits[[found.pictures.name(i) for i in range(2)].index("images/test/7.jpg")] == 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("of", ["stored", "shown"])
def test_a_box_follows_the_turning_of_its_picture(tmp_path, orientation, of):
    """The white spot of the picture as it is shown must lie in the box, however it was written."""
    from PIL import Image

    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[5:15, 8:28] = 255  # as it is stored
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    shown = read_image(tmp_path / "a.png")[:, :, 0]
    ys, xs = np.nonzero(shown)
    spot = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    lying = orientation >= 5
    if of == "stored" and lying:
        text = voc([thing("spot", 9, 6, 28, 15)], (64, 48))
    else:  # pictures that keep their size cannot tell: they are taken as shown
        text = voc([thing("spot", spot[0] + 1, spot[1] + 1, spot[2], spot[3])], shown.shape[::-1])
    (tmp_path / "a.xml").write_text(text)
    picture(tmp_path / "b.jpg")
    (tmp_path / "b.xml").write_text(voc([thing("spot", 1, 1, 9, 9)]))
    found = open_dataset(tmp_path)
    assert boxes(found)["a.png"] == [("spot", spot)]
    assert found.boxes.sizes[0].tolist() == list(shown.shape)
    assert ("turned with it" in told(found)) == (of == "stored" and lying)


def test_a_turned_picture_of_one_size_either_way_is_taken_as_shown_and_told(tmp_path):
    files(tmp_path, a=GOOD, b=GOOD)
    picture(tmp_path / "a.jpg", orientation=3)
    found = open_dataset(tmp_path)
    assert boxes(found)["a.jpg"] == boxes(found)["b.jpg"]
    assert "1 picture turned by EXIF and of one size either way: boxes taken as shown." in told(found)


BOX = {
    "outside": (thing("cat", 70, 6, 90, 26), "lies outside the picture"),
    "flat": (thing("cat", 11, 6, 11, 26), "zero area"),
    "swapped": (thing("cat", 30, 6, 11, 26), "swapped corners"),
    "nan": (thing("cat", "nan", 6, 11, 26), 'xmin is "nan", not a number'),
    "comma": (thing("cat", "12,5", 6, 11, 26), 'xmin is "12,5", not a number'),
    "lacking": ("<object><name>cat</name></object>", "has no bndbox"),
    "nameless": (thing("", 11, 6, 30, 26), "has no name"),
    "endless": (thing("cat", 11, 6, "1e999", 26), "not a finite number"),
}


@pytest.mark.parametrize("kind", BOX)
def test_a_box_that_cannot_be_used_is_a_row_and_alone_takes_its_picture_along(tmp_path, kind):
    bad, reason = BOX[kind]
    found = open_dataset(files(tmp_path, a=voc([thing("cat", 11, 6, 30, 26), bad]), b=voc([bad]), c=GOOD))
    assert boxes(found) == {name: [("cat", [10, 5, 30, 26])] for name in ("a.jpg", "c.jpg")}
    assert reason in rows(found)["box 2 of a.jpg"]
    assert reason in rows(found)["box 1 of b.jpg"]
    assert rows(found)["b.jpg"] == "none of its boxes can be used"
    assert "2 boxes skipped (first: box 2 of a.jpg" in told(found)


def test_a_box_over_the_edge_is_clipped_and_told(tmp_path):
    found = open_dataset(files(tmp_path, a=voc([thing("cat", -5, 6, 30, 60)]), b=GOOD))
    assert boxes(found)["a.jpg"] == [("cat", [0, 5, 30, 48])]
    assert "1 box clipped to the picture (first: box 1 of a.jpg)" in told(found)


def test_difficult_is_kept_where_it_is_said_and_parts_are_no_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    hard = thing("cat", 11, 6, 30, 26, more="<difficult>1</difficult>")
    found = open_dataset(files(tmp_path, a=voc([hard, thing("cat", 2, 2, 9, 9, more=part)]), b=GOOD))
    assert found.boxes.difficult.tolist() == [True, False, False]
    assert [name for name, _ in boxes(found)["a.jpg"]] == ["cat", "cat"]
    assert boxes(found)["a.jpg"][1][1] == [1, 1, 9, 9]


def test_an_annotation_of_another_size_is_a_row(tmp_path):
    found = open_dataset(files(tmp_path, a=voc([thing("cat", 2, 2, 9, 9)], (500, 400)), b=GOOD))
    assert rows(found) == {"a.jpg": "is annotated as 500 × 400 pixels (width × height), but has 64 × 48"}
    assert list(boxes(found)) == ["b.jpg"]


def test_an_unknown_size_is_no_reason_to_refuse(tmp_path):
    no, zero = voc([thing("cat", 2, 2, 9, 9)], None), voc([thing("cat", 2, 2, 9, 9)], (0, 0))
    assert not open_dataset(files(tmp_path, a=no, b=zero)).skipped


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "&%c;&%c;&%c;&%c;">' % (98 + i, *([97 + i] * 4)) for i in range(20)
)
HOSTILE = {
    "laughs": (LAUGHS + b"]><annotation>&u;</annotation>", "has a DOCTYPE, which foveal does not read"),
    "blow-up": (b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 50_000 + b'">]><annotation>' + b"&a;" * 9000 + b"</annotation>",
                "has a DOCTYPE"),
    "file": (b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation>&f;</annotation>', "has a DOCTYPE"),
    "external": (b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><annotation/>', "has a DOCTYPE"),
    "deep": (b"<annotation>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</annotation>", "is too deeply nested"),
    "utf-16": (LAUGHS.decode().encode("utf-16"), "UTF-16"),
    "cut": (GOOD.encode()[:60], "is not a complete XML file"),
    "empty": (b"", "is empty"),
    "other": (b"<html></html>", "is not a Pascal VOC annotation"),
    "encoding": (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "is not a complete XML file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_a_row_and_its_picture_no_example_of_nothing(tmp_path, kind):
    text, reason = HOSTILE[kind]
    files(tmp_path, a=text, b=GOOD, c=GOOD)
    began = time.perf_counter()
    found = open_dataset(tmp_path, unlabelled="background")
    assert time.perf_counter() - began < 2
    assert reason in rows(found)["a.xml"]
    assert sorted(boxes(found)) == ["b.jpg", "c.jpg"]


def test_pictures_and_annotations_that_miss_each_other_are_counted_and_listed(tmp_path):
    files(tmp_path, a=GOOD, b=GOOD)
    picture(tmp_path / "lone.jpg")
    (tmp_path / "ghost.xml").write_text(GOOD)
    found = open_dataset(tmp_path)
    assert rows(found) == {"lone.jpg": "has no annotation", "ghost.xml": "no picture of that name"}
    assert "1 picture without annotation skipped (lone.jpg" in told(found)
    with_nothing = open_dataset(tmp_path, unlabelled="background")
    assert boxes(with_nothing)["lone.jpg"] == []
    assert with_nothing.labels.tolist().count(NOTHING) == 1


def test_an_annotation_without_objects_is_a_picture_of_nothing(tmp_path):
    found = open_dataset(files(tmp_path, a=voc([]), b=GOOD, c=GOOD))
    assert boxes(found)["a.jpg"] == []
    assert sorted(found.labels.tolist()) == [NOTHING, 0, 0]


def test_a_file_may_name_a_picture_that_is_called_otherwise(tmp_path):
    files(tmp_path, b=GOOD)
    picture(tmp_path / "dog.jpg")
    (tmp_path / "0001.xml").write_text(voc([thing("cat", 2, 2, 9, 9)], filename="dog.jpg"))
    assert boxes(open_dataset(tmp_path))["dog.jpg"] == [("cat", [1, 1, 9, 9])]


def test_a_broken_picture_is_told_as_what_it_is(tmp_path):
    files(tmp_path, a=GOOD, b=GOOD)
    (tmp_path / "a.jpg").write_bytes(b"")
    assert "empty" in rows(open_dataset(tmp_path))["a.jpg"]


def test_class_folders_with_a_stray_xml_file_are_class_folders(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.jpg", seed=len(name) + ord(name[0]))
    (tmp_path / "cat/0.xml").write_text(GOOD)
    (tmp_path / "about.xml").write_text("<annotation/>")
    assert open_dataset(tmp_path).origin.format == "class folders"


def test_the_raccoons_are_read_whole(real_data):
    found = open_dataset(real_data("raccoon"), test_if=r"raccoon-\d*[05]\.")
    assert (len(found), len(found.boxes), found.classes) == (200, 217, ("raccoon",))
    assert len(found.indices("test")) == 40
    assert not found.skipped
    assert (found.boxes.counts == 1).sum() == 184
    assert "clipped" not in told(found)
