"""Label Studio's JSON: percents, turned rectangles, several annotators, and where the pictures once lay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from boxed import boxes, picture, rows, told

from foveal.data.sources import open_dataset
from foveal.errors import BadData

VALUE = {"x": 25, "y": 50, "width": 25, "height": 25, "rotation": 0}
CAT = ("cat", [16, 24, 32, 36])


def result(kind: str = "rectanglelabels", label: str = "cat", **value: Any) -> dict[str, Any]:
    shape = {**(VALUE if kind == "rectanglelabels" else {}), **value, kind: [label]}
    return {"id": "r", "type": kind, "value": shape, "original_width": 64, "original_height": 48, "image_rotation": 0}


def task(number: int, image: str, *results: Any, **more: Any) -> dict[str, Any]:
    annotations = [{"id": 1, "was_cancelled": False, "result": list(results)}]
    return {"id": number, "data": {"image": image}, "annotations": annotations, "predictions": [], **more}


def write(folder: Path, *tasks: dict[str, Any]) -> Path:
    for name in "abc":
        picture(folder / f"images/{name}.jpg")
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


BOTH = (task(1, "/data/upload/4/a.jpg", result()), task(2, "/data/local-files/?d=set/b.jpg", result()))


def test_percents_of_pictures_that_lay_on_a_server(tmp_path):
    write(tmp_path, *BOTH, task(3, "s3://bucket/c.jpg"))
    for source in (tmp_path, tmp_path / "export.json"):
        found = open_dataset(source)
        assert found.origin.format == "Label Studio"
        assert boxes(found) == {"images/a.jpg": [CAT], "images/b.jpg": [CAT], "images/c.jpg": []}


SHAPES = {
    "turned": (result(x=50, y=50, width=25, height=25, rotation=90), [20, 24, 32, 40], "rotated box"),
    "polygon": (result("polygonlabels", points=[[0, 0], [50, 0], [50, 100]]), [0, 0, 32, 48], "polygon"),
    "ellipse": (result("ellipselabels", x=50, y=50, radiusX=25, radiusY=25), [16, 12, 48, 36], "ellipse"),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_other_shapes_become_the_boxes_round_them(tmp_path, kind):
    drawn, expected, word = SHAPES[kind]
    found = open_dataset(write(tmp_path, *BOTH, task(3, "c.jpg", result(), drawn)))
    assert boxes(found)["images/c.jpg"] == [CAT, ("cat", pytest.approx(expected))]
    assert f"1 {word} taken as the box round it" in told(found)


ROWS = {
    "brush": (result("brushlabels", format="rle", rle=[1, 2, 3]), "a mask of a brush"),
    "point": (result("keypointlabels", x=1, y=1, width=1), "a point, which has no area"),
    "two labels": ({**result(), "value": {**VALUE, "rectanglelabels": ["cat", "dog"]}}, "has 2 labels"),
    "text": (result(x="5"), "as numbers"),
    "turned picture": ({**result(), "image_rotation": 90}, "turned in the tool"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_what_has_no_box_is_a_row(tmp_path, kind):
    drawn, reason = ROWS[kind]
    found = open_dataset(write(tmp_path, *BOTH, task(3, "c.jpg", result(), drawn)))
    assert reason in rows(found)["result 2 of images/c.jpg"]
    assert boxes(found)["images/c.jpg"] == [CAT]


def test_who_has_not_looked_says_nothing_and_of_two_the_last_is_taken(tmp_path):
    two = [{"result": [result(label="dog")], "updated_at": "2024-02-01"},
           {"result": [result()], "updated_at": "2024-03-01"}]  # fmt: skip
    skipped = [{"result": [], "was_cancelled": True}]
    found = open_dataset(write(tmp_path, *BOTH, task(3, "c.jpg", annotations=skipped)))
    assert rows(found) == {"images/c.jpg": "nobody has labelled it"}
    found = open_dataset(write(tmp_path, *BOTH, task(3, "c.jpg", annotations=two)))
    assert boxes(found)["images/c.jpg"] == [CAT]
    assert "1 task has several annotations, of which the last is taken (task 3)" in told(found)


def test_the_short_form_is_read(tmp_path):
    short = {**VALUE, "rectanglelabels": ["cat"], "original_width": 64, "original_height": 48}
    tasks = [{"image": f"/data/upload/1/0123abcd-{name}.jpg", "id": i, "label": [short]} for i, name in enumerate("ab")]
    found = open_dataset(write(tmp_path, *tasks))
    assert boxes(found) == {"images/a.jpg": [CAT], "images/b.jpg": [CAT]}


def test_choices_are_classes_and_a_table_is_the_way(tmp_path):
    choice = {"type": "choices", "value": {"choices": ["cat"]}}
    with pytest.raises(BadData, match=r"holds choices, a class a picture.*path,label"):
        open_dataset(write(tmp_path, task(1, "a.jpg", choice), task(2, "b.jpg", choice)))


def test_nothing_outside_is_opened_and_two_of_a_name_are_told(tmp_path):
    inside = tmp_path / "set"
    picture(tmp_path / "x.jpg")
    write(inside, *BOTH, task(3, "../x.jpg", result()), task(4, "/data/c.jpg", result()))
    picture(inside / "other/c.jpg")
    found = open_dataset(inside)
    assert "leads out of the folder" in rows(found)["task 3"]
    assert "may be any of several pictures (images/c.jpg, other/c.jpg)" in rows(found)["task 4"]
