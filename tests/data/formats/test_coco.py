"""COCO JSON: ids, splits, places of pictures, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from boxed import boxes, coco, picture, rows, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.data.sources import open_dataset
from foveal.errors import BadData

NAMES = {1: "cat", 3: "dog", 90: "brush"}


def image(number: int, name: str, size: tuple[int, int] = (64, 48)) -> dict[str, object]:
    return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def note(number: int, on: int, category: int, bbox: object = (10, 5, 20, 30), **more: object) -> dict[str, object]:
    return {"id": number, "image_id": on, "category_id": category, "bbox": bbox, **more}


IMAGES = [image(7, "a.jpg"), image(8, "b.jpg")]
NOTES = [note(1, 7, 1), note(2, 8, 3)]
BOTH = {"images/a.jpg": [("cat", [10, 5, 30, 35])], "images/b.jpg": [("dog", [10, 5, 30, 35])]}


def folder(
    place: Path, images: list = IMAGES, notes: list = NOTES, names: dict = NAMES, name: str = "annotations.json"
):
    for each in ("a", "b"):
        picture(place / f"images/{each}.jpg")
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(coco(images, notes, names))
    return place


def test_ids_with_gaps_keep_their_names_and_boxes_their_place(tmp_path):
    found = open_dataset(folder(tmp_path, notes=[*NOTES, note(3, 8, 90, (1.5, 2.5, 3, 4))]), min_classes=1)
    assert boxes(found)["images/a.jpg"] == BOTH["images/a.jpg"]
    assert boxes(found)["images/b.jpg"][1] == ("brush", [1.5, 2.5, 4.5, 6.5])
    assert (found.classes, found.origin.format) == (("cat", "dog", "brush"), "COCO JSON")


def test_a_class_without_a_box_is_told_and_not_learnt(tmp_path):
    found = open_dataset(folder(tmp_path))
    assert found.classes == ("cat", "dog")
    assert "class brush has no box in train and is skipped" in told(found)


@pytest.mark.parametrize(
    "home", ["annotations/instances_train2017.json", "train.json", "images/_annotations.coco.json"]
)
def test_pictures_are_found_from_where_the_file_lies(tmp_path, home):
    assert boxes(open_dataset(folder(tmp_path, name=home))) == BOTH


def test_the_file_alone_is_enough(tmp_path):
    folder(tmp_path, name="annotations/instances.json")
    assert boxes(open_dataset(tmp_path / "annotations/instances.json")) == BOTH


def test_a_file_a_split_splits(tmp_path):
    for split, x in (("train", 10), ("valid", 20), ("test", 30)):
        picture(tmp_path / split / "a.jpg", seed=x)
        text = coco([image(0, "a.jpg")], [note(0, 0, 1, (x, 1, 9, 9))], NAMES)
        (tmp_path / split / "_annotations.coco.json").write_text(text)
    found = open_dataset(tmp_path)
    assert {n: b[0][1][0] for n, b in boxes(found).items()} == {"test/a.jpg": 30, "train/a.jpg": 10, "valid/a.jpg": 20}
    assert [found.pictures.name(int(found.indices(s)[0])) for s in ("train", "val", "test")] == [
        "train/a.jpg", "valid/a.jpg", "test/a.jpg"
    ]  # fmt: skip
    assert found.origin.split_by.startswith("files of train and val and test")


def test_captions_beside_the_boxes_are_not_read(tmp_path):
    folder(tmp_path, name="annotations/instances_train2017.json")
    text = json.dumps({"images": IMAGES, "annotations": [{"id": 1, "image_id": 7, "caption": "a cat"}]})
    (tmp_path / "annotations/captions_train2017.json").write_text(text)
    assert boxes(open_dataset(tmp_path)) == BOTH


@pytest.mark.parametrize(("size", "expected"), [((64, 48), [13, 10, 43, 30]), ((48, 64), [10, 5, 30, 35])])
def test_boxes_of_the_stored_picture_turn_with_it(tmp_path, size, expected):
    folder(tmp_path, [image(7, "a.jpg", size), image(8, "b.jpg")])
    picture(tmp_path / "images/a.jpg", orientation=6)  # stored 64 × 48, shown 48 × 64: y goes to 48 - y
    assert boxes(open_dataset(tmp_path))["images/a.jpg"] == [("cat", expected)]


def test_a_crowd_is_kept_and_is_no_object_to_learn(tmp_path):
    rle = {"counts": [0, 48 * 64], "size": [48, 64]}
    crowd = note(3, 7, 90, (0, 0, 64, 48), iscrowd=1, segmentation=rle)
    found = open_dataset(folder(tmp_path, notes=[*NOTES, crowd, note(4, 8, 90, (1, 1, 5, 5))]))
    assert found.boxes.crowd.tolist() == [False, True, False, False]
    assert found.classes[found.labels[0]] == "cat"


def test_a_picture_without_annotations_shows_nothing(tmp_path):
    picture(tmp_path / "images/c.jpg")
    picture(tmp_path / "images/unheard.jpg")
    found = open_dataset(folder(tmp_path, [*IMAGES, image(9, "c.jpg")]))
    assert boxes(found) == {**BOTH, "images/c.jpg": []}
    assert rows(found) == {"images/unheard.jpg": "has no annotation"}


ROWS = {
    "unknown picture": (note(12, 99, 1), "annotation 12", "no picture with id 99"),
    "text as id": (note(12, "7", 1), "annotation 12", "no picture with id '7'"),
    "unknown category": (note(12, 7, 2), "annotation 12 of images/a.jpg", "no category with id 2"),
    "no bbox": (note(12, 7, 1, None), "annotation 12 of images/a.jpg", "has no bbox"),
    "runs too long": (
        note(12, 7, 1, (0, 0, 64, 48), iscrowd=1, segmentation={"counts": [1] * 999_999, "size": [2, 2]}),
        "annotation 12 of images/a.jpg",
        "the runs of its mask do not fit the mask's size",
    ),
    "three numbers": (note(12, 7, 1, [1, 2, 3]), "annotation 12 of images/a.jpg", "its bbox is not four numbers"),
    "texts": (note(12, 7, 1, ["1", 2, 3, 4]), "annotation 12 of images/a.jpg", "its bbox is not four numbers"),
    "flat": (note(12, 7, 1, [1, 2, 0, 4]), "annotation 12 of images/a.jpg", "zero area"),
    "negative": (note(12, 7, 1, [9, 2, -3, 4]), "annotation 12 of images/a.jpg", "width or height below zero"),
    "outside": (note(12, 7, 1, [70, 2, 3, 4]), "annotation 12 of images/a.jpg", "lies outside the picture"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_an_annotation_that_cannot_be_used_is_a_row(tmp_path, kind):
    bad, name, reason = ROWS[kind]
    found = open_dataset(folder(tmp_path, notes=[*NOTES, bad]))
    assert rows(found) == {name: reason}
    assert boxes(found) == BOTH


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("z.jpg", "file z.jpg not found"),
        ("../x.jpg", "leads out of the folder"),
        ("/etc/passwd", "leads out of the folder"),
        ("http://a.b/c.jpg", "foveal does not download"),
        (7, "has no file_name"),
        ("a\0.jpg", "not found"),
    ],
)
def test_a_picture_that_is_not_there_is_a_row_and_its_boxes_go_quietly(tmp_path, name, reason):
    picture(tmp_path.parent / "x.jpg")
    found = open_dataset(folder(tmp_path, [*IMAGES, image(9, name)], [*NOTES, note(3, 9, 1)]))
    assert reason in rows(found)["image 9"]
    assert len(rows(found)) == 1
    assert boxes(found) == BOTH


REFUSED = {
    "no JSON": ("nonsense", "is not JSON"),
    "cut": (coco(IMAGES, NOTES, NAMES)[:-9], "is not valid JSON .line 1"),
    "deep": ('{"images": ' + "[" * 100_000, "too deeply nested|is not valid JSON"),
    "NaN": (coco(IMAGES, [note(1, 7, 1, [float("nan"), 1, 2, 3])], NAMES), "holds NaN or Infinity"),
    "digits": (coco(IMAGES, NOTES, NAMES).replace('"id": 7', '"id": ' + "9" * 5000), "holds an endless number"),
    "twice": (coco([*IMAGES, image(7, "b.jpg")], NOTES, NAMES), "images: id 7 appears twice"),
    "no images": (json.dumps({"annotations": [], "categories": []}), '"images" is missing'),
    "object": (json.dumps({"images": {}, "annotations": [], "categories": []}), '"images" is no list'),
    "list": ("[1, 2]", "is not a COCO file"),
    "nameless": (coco(IMAGES, NOTES, {1: 5}), "each needs a whole number as id and a name"),
    "empty": ("", "is empty"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_not_coco_is_refused_in_a_sentence(tmp_path, kind):
    text, reason = REFUSED[kind]
    folder(tmp_path)
    (tmp_path / "annotations.json").write_text(text)
    for source in (tmp_path, tmp_path / "annotations.json"):
        with pytest.raises(BadData, match=reason):
            open_dataset(source)


def test_a_gigabyte_of_nothing_is_refused_at_its_first_byte(tmp_path):
    folder(tmp_path)
    os.truncate(tmp_path / "annotations.json", 0)
    os.truncate(tmp_path / "annotations.json", 1 << 30)
    with pytest.raises(BadData, match="is not JSON"):
        open_dataset(tmp_path)


def test_ids_are_matched_as_they_are_written(tmp_path):
    picture(tmp_path / "images/c.jpg")
    found = open_dataset(folder(tmp_path, [*IMAGES, {**image(0, "c.jpg"), "id": "7"}], [*NOTES, note(3, "7", 3)]))
    assert boxes(found) == {**BOTH, "images/c.jpg": [("dog", [10, 5, 30, 35])]}
    found = open_dataset(folder(tmp_path, [*IMAGES, {**image(0, "c.jpg"), "id": [7]}]))
    assert rows(found)["annotations.json, image 3"] == "its id is neither a whole number nor a text"


def test_two_categories_of_one_name_are_one_class(tmp_path):
    found = open_dataset(folder(tmp_path, names={1: "cat", 3: "cat"}))
    assert found.classes == ("cat",)
    assert 'Two categories are called "cat"' in told(found)


PLAIN = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=4)
VALUE = st.recursive(PLAIN, lambda v: st.lists(v, max_size=5) | st.dictionaries(st.text(max_size=4), v, max_size=2))


@given(st.sampled_from(["images", "annotations", "categories"]), st.integers(0, 1), st.sampled_from(["id", "file_name",
       "width", "height", "image_id", "category_id", "bbox", "iscrowd", "name", ""]), VALUE)  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_an_entry_there_is_a_data_set_or_a_sentence(tmp_path, key, position, field, value):
    content = json.loads(coco(IMAGES, NOTES, NAMES))
    if field:
        content[key][position][field] = value
    else:
        content[key][position] = value
    place = folder(tmp_path)
    (place / "annotations.json").write_text(json.dumps(content))
    with contextlib.suppress(BadData):
        found = open_dataset(place)
        assert found.boxes is not None
        assert np.isfinite(found.boxes.xyxy).all()
        assert set(boxes(found)) <= set(BOTH)


def test_half_a_character_in_a_class_name_is_escaped(tmp_path):
    assert open_dataset(folder(tmp_path, names={1: "\ud83d", 3: "dog"})).classes == (r"\ud83d", "dog")


def test_class_folders_with_a_json_file_are_class_folders(tmp_path):
    for name in ("cat", "dog"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.jpg", seed=ord(name[0]))
    (tmp_path / "annotations.json").write_text('{"author": "me", "images": 6}')
    (tmp_path / "classes.json").write_text('{"cat": 0, "dog": 1}')
    assert open_dataset(tmp_path).origin.format == "class folders"


def test_the_masks_are_read_whole(real_data):
    found = open_dataset(real_data("facemask"))
    assert (len(found), len(found.boxes), len(found.classes)) == (171, 915, 3)
    assert not found.skipped
    assert "clipped" not in told(found)
