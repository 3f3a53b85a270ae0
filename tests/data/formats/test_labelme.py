"""labelme's JSON: which shapes become boxes, whose picture a file is of, and what is a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from boxed import boxes, picture, rows, told

from foveal.data.sources import open_dataset
from foveal.errors import BadData


def shape(label: str, kind: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"label": label, "points": [list(p) for p in points], "shape_type": kind, "flags": {}, **more}


GOOD = shape("cat", "rectangle", (30, 40), (10, 5))  # drawn from its lower right corner
CAT = ("cat", [10, 5, 30, 40])


def write(path: Path, shapes: list, image: str = "", **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image or f"{path.stem}.jpg",
               "imageData": "A" * 100_000, "imageHeight": 48, "imageWidth": 64, **more}  # fmt: skip
    path.write_text(json.dumps(content))


def folder(place: Path, **shapes: list) -> Path:
    for name, several in shapes.items():
        picture(place / f"{name}.jpg")
        write(place / f"{name}.json", several)
    return place


SHAPES = {
    "polygon": (shape("dog", "polygon", (1, 2), (9, 4), (5, 30)), [1, 2, 9, 30]),
    "no kind": ({"label": "dog", "points": [[1, 2], [9, 4], [5, 30]]}, [1, 2, 9, 30]),
    "circle": (shape("dog", "circle", (20, 20), (23, 24)), [15, 15, 25, 25]),
    "mask": (shape("dog", "mask", (3, 4), (20, 30), mask="iVBORw0KGgo="), [3, 4, 20, 30]),
    "turned": (shape("dog", "rotation", (10, 5), (20, 15), (10, 25), (0, 15)), [0, 5, 20, 25]),
    "four corners": (shape("dog", "rectangle", (1, 2), (9, 2), (9, 8), (1, 8)), [1, 2, 9, 8]),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_becomes_the_box_round_it(tmp_path, kind):
    drawn, expected = SHAPES[kind]
    found = open_dataset(folder(tmp_path, a=[GOOD, drawn], b=[GOOD], c=[]), unlearnt="keep")
    assert found.origin.format == "labelme"
    assert boxes(found) == {"a.jpg": [CAT, ("dog", pytest.approx(expected))], "b.jpg": [CAT], "c.jpg": []}
    assert ("taken as the box round it" in told(found)) == ("rectangle" not in drawn.get("shape_type", ""))


ROWS = {
    "line": (shape("dog", "line", (1, 2), (9, 9)), "is a line, which has no area"),
    "point": (shape("dog", "point", (1, 2)), "is a point, which has no area"),
    "unknown": (shape("dog", "star", (1, 2), (3, 4)), "is a star, which foveal does not read"),
    "too few": (shape("dog", "polygon", (1, 2), (3, 4)), "has 2 of 3 points"),
    "words": ({"label": "dog", "shape_type": "rectangle", "points": [["a", 1], [2, 3]]}, "not pairs of numbers"),
    "nameless": (shape("", "rectangle", (1, 2), (3, 4)), "has no label"),
    "no object": (7, "has no label"),
    "flat": (shape("dog", "rectangle", (1, 2), (1, 9)), "zero area"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_shape_without_a_box_is_a_row(tmp_path, kind):
    drawn, reason = ROWS[kind]
    found = open_dataset(folder(tmp_path, a=[GOOD, drawn], b=[GOOD]))
    assert reason in rows(found)["shape 2 of a.jpg"]
    assert boxes(found) == {"a.jpg": [CAT], "b.jpg": [CAT]}


def test_the_file_of_the_same_stem_wins_over_what_a_copy_says(tmp_path):
    folder(tmp_path, b=[GOOD], c=[GOOD])
    write(tmp_path / "a.json", [shape("dog", "rectangle", (1, 1), (5, 5))], image="b.jpg")
    picture(tmp_path / "pictures/elsewhere.jpg")
    write(tmp_path / "d.json", [GOOD], image="C:\\me\\elsewhere.jpg")
    found = open_dataset(tmp_path)
    assert boxes(found) == {"b.jpg": [CAT], "c.jpg": [CAT], "pictures/elsewhere.jpg": [CAT]}
    assert rows(found) == {"a.json": "is of b.jpg by what it says, as is b.json by its name"}


def test_files_may_be_named_after_the_whole_picture_and_broken_ones_are_rows(tmp_path):
    folder(tmp_path, a=[GOOD], b=[GOOD], c=[GOOD])
    (tmp_path / "a.json").rename(tmp_path / "a.jpg.json")
    (tmp_path / "c.json").write_text('{"shapes": [')
    picture(tmp_path / "d.jpg")
    found = open_dataset(tmp_path, unlabelled="background")
    assert boxes(found) == {"a.jpg": [CAT], "b.jpg": [CAT], "d.jpg": []}
    assert "is not valid JSON" in rows(found)["c.json"]


def test_flags_and_other_sizes_are_told(tmp_path):
    folder(tmp_path, a=[GOOD], b=[GOOD])
    write(tmp_path / "b.json", [GOOD], flags={"blurred": True})
    write(tmp_path / "a.json", [GOOD], imageWidth=640, imageHeight=480)
    found = open_dataset(tmp_path)
    assert "is annotated as 640 × 480" in rows(found)["a.jpg"]
    assert "1 picture has flags, which are not read (b.json)" in told(found)


def test_one_file_is_enough_and_pixels_may_count_from_one(tmp_path):
    folder(tmp_path, a=[GOOD], b=[GOOD])
    assert boxes(open_dataset(tmp_path / "a.json")) == {"a.jpg": [CAT]}
    one = open_dataset(tmp_path, box_origin="1")
    assert boxes(one)["a.jpg"] == [("cat", [9, 4, 30, 40])]
    assert "count pixels from 1, as --box-origin says" in told(one)


def test_a_file_that_is_cut_is_refused_in_a_sentence(tmp_path):
    folder(tmp_path, a=[GOOD])
    (tmp_path / "a.json").write_text('{"shapes": 7, "imagePath": ""}')
    with pytest.raises(BadData, match=r"a\.json is not a labelme file"):
        open_dataset(tmp_path / "a.json")
