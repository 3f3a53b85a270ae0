"""CVAT's XML of images: shapes, subsets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from boxed import boxes, picture, rows, told

from foveal.data.sources import open_dataset
from foveal.errors import BadData

BOX = '<box label="cat" source="manual" occluded="0" xtl="10.50" ytl="5.00" xbr="30.00" ybr="40.25" z_order="0"/>'
CAT = ("cat", [10.5, 5, 30, 40.25])


def write(folder: Path, images: dict[str, str], name: str = "annotations.xml", more: str = "") -> Path:
    """Pictures in `images/`, and the file. The values may begin with attributes: `subset="Train"|<box …/>`."""
    text = ""
    for i, (path, shapes) in enumerate(images.items()):
        picture(folder / "images" / path)
        attributes, _, inside = shapes.rpartition("|")
        text += f'<image id="{i}" name="{path}" width="64" height="48" {attributes}>{inside}</image>\n'
    place = folder / name
    place.write_text(f'<?xml version="1.0"?>\n<annotations><version>1.1</version><meta/>{more}{text}</annotations>')
    return folder


SHAPES = {
    "polygon": ('<polygon label="dog" points="1.5,2;9,4;5,30"/>', [1.5, 2, 9, 30]),
    "ellipse": ('<ellipse label="dog" cx="20" cy="10" rx="8" ry="4"/>', [12, 6, 28, 14]),
    "turned ellipse": ('<ellipse label="dog" cx="20" cy="10" rx="8" ry="4" rotation="90"/>', [16, 2, 24, 18]),
    "rotated box": ('<box label="dog" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>', [15, 5, 25, 25]),
    "mask": ('<mask label="dog" rle="1, 2, 2, 1" left="7" top="3" width="3" height="2"/>', [8, 3, 10, 5]),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_becomes_the_box_round_it_and_is_told(tmp_path, kind):
    drawn, expected = SHAPES[kind]
    write(tmp_path, {"a.jpg": BOX + drawn, "b.jpg": BOX, "c.jpg": ""})
    for source in (tmp_path, tmp_path / "annotations.xml"):
        found = open_dataset(source, unlearnt="keep")
        assert found.origin.format == "CVAT XML"
        dog = ("dog", pytest.approx(expected))
        assert boxes(found) == {"images/a.jpg": [CAT, dog], "images/b.jpg": [CAT], "images/c.jpg": []}
        assert f"1 {kind.removeprefix('turned ')} taken as the box round it (shape 2 of images/a.jpg)" in told(found)


ROWS = {
    "polyline": ('<polyline label="dog" points="1,2;3,4"/>', "is a polyline, which has no area"),
    "points": ('<points label="dog" points="1,2"/>', "is a points, which has no area"),
    "cuboid": ('<cuboid label="dog" xtl1="1"/>', "is a cuboid, which foveal does not read"),
    "runs": ('<mask label="dog" rle="9, 9" left="7" top="3" width="3" height="2"/>', "the runs of its mask do not fit"),
    "huge runs": (
        f'<mask label="dog" rle="{"9" * 400}" left="7" top="3" width="3" height="2"/>',
        "the runs of its mask do not fit",
    ),
    "no number": ('<box label="dog" xtl="a" ytl="5" xbr="30" ybr="40"/>', 'xtl is "a", not a number'),
    "nameless": ('<box xtl="1" ytl="5" xbr="30" ybr="40"/>', "has no label"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_shape_without_a_box_is_a_row(tmp_path, kind):
    drawn, reason = ROWS[kind]
    found = open_dataset(write(tmp_path, {"a.jpg": BOX + drawn, "b.jpg": BOX}))
    assert reason in rows(found)["shape 2 of images/a.jpg"]
    assert boxes(found) == {"images/a.jpg": [CAT], "images/b.jpg": [CAT]}


def test_subsets_are_splits_and_others_are_train(tmp_path):
    images = {"a.jpg": f'subset="Train"|{BOX}', "b.jpg": f'subset="Validation"|{BOX}', "c.jpg": f'subset="more"|{BOX}',
              "d.jpg": f'subset="test"|{BOX}'}  # fmt: skip
    found = open_dataset(write(tmp_path, images))
    assert dict(zip(boxes(found), found.splits.tolist(), strict=True)) == {
        "images/a.jpg": 0, "images/b.jpg": 1, "images/c.jpg": 0, "images/d.jpg": 2
    }  # fmt: skip
    assert 'Subset "more" is named as no split: its pictures (1) are train.' in told(found)


def test_pictures_of_another_machine_are_found_and_others_are_rows(tmp_path):
    write(tmp_path, {"a.jpg": BOX, "b.jpg": BOX})
    text = (tmp_path / "annotations.xml").read_text()
    text = text.replace('name="a.jpg"', r'name="D:\job\a.jpg"').replace(
        "</annotations>", '<image id="9" name="gone.jpg" width="64" height="48"/></annotations>'
    )
    (tmp_path / "annotations.xml").write_text(text)
    found = open_dataset(tmp_path)
    assert list(boxes(found)) == ["images/a.jpg", "images/b.jpg"]
    assert rows(found) == {"image 9": "file gone.jpg not found"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('<track id="0" label="x"/>', "is of a video"),
        ("", "holds tags, a class a picture"),
    ],
)
def test_videos_and_tags_are_refused_with_the_way_out(tmp_path, more, reason):
    write(tmp_path, {"a.jpg": '<tag label="cat"/>', "b.jpg": '<tag label="dog"/>'}, more=more)
    with pytest.raises(BadData, match=reason):
        open_dataset(tmp_path)


def test_a_document_that_declares_something_is_refused(tmp_path):
    write(tmp_path, {"a.jpg": BOX})
    text = (tmp_path / "annotations.xml").read_text()
    (tmp_path / "annotations.xml").write_text(
        text.replace("<annotations>", "<!DOCTYPE a [<!ENTITY x 'y'>]><annotations>")
    )
    with pytest.raises(BadData, match="has a DOCTYPE"):
        open_dataset(tmp_path)
