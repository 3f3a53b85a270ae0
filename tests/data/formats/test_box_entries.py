"""Whatever stands in an entry of somebody's file: there is a data set of it, or one sentence."""

from __future__ import annotations

import contextlib
import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from boxed import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.formats._found_pictures import plain_path
from foveal.data.formats._masks import mask_of, runs_box
from foveal.data.formats._shapes import rotated, round_ellipse
from foveal.data.sources import open_dataset
from foveal.errors import BadData

PLAIN = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=4)
VALUE = st.recursive(PLAIN, lambda v: st.lists(v, max_size=5) | st.dictionaries(st.text(max_size=4), v, max_size=2))
SHAPE = {"label": "cat", "points": [[1, 2], [20, 30]], "shape_type": "rectangle", "flags": {}, "mask": None}
LABELME = {"imagePath": "a.jpg", "flags": {}, "shapes": [SHAPE, deepcopy(SHAPE)], "imageHeight": 48, "imageWidth": 64}
RESULT = {"type": "rectanglelabels", "id": "r", "original_width": 64, "original_height": 48,
          "value": {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 5, "rectanglelabels": ["cat"]}}  # fmt: skip
TASKS = [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [RESULT, deepcopy(RESULT)]}]},
         {"id": 2, "data": {"image": "b.jpg"}, "annotations": [{"result": [deepcopy(RESULT)]}]}]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entries")
    for name in "ab":
        picture(folder / f"{name}.jpg")
    return folder


def paths(value: object, above: tuple = ()) -> list[tuple]:
    """Every place in nested lists and mappings."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [found for key, inside in pairs for found in [(*above, key), *paths(inside, (*above, key))]]


def put(content: object, path: tuple, value: object) -> object:
    changed = inside = deepcopy(content)
    for key in path[:-1]:
        inside = inside[key]  # type: ignore[index]
    inside[path[-1]] = value  # type: ignore[index]
    return changed


def opened_or_refused(source: Path) -> None:
    with contextlib.suppress(BadData):
        found = open_dataset(source, unlearnt="keep")
        assert found.boxes is not None
        assert np.isfinite(found.boxes.xyxy).all()
        assert {found.pictures.name(i) for i in range(len(found))} <= {"a.jpg", "b.jpg"}


@given(st.sampled_from(paths(LABELME)), VALUE)
@settings(max_examples=60)
def test_labelme(place, path, value):
    (place / "a.json").write_text(json.dumps(put(LABELME, path, value)))
    opened_or_refused(place / "a.json")


@given(st.sampled_from(paths(TASKS)), VALUE)
@settings(max_examples=60)
def test_label_studio(place, path, value):
    (place / "tasks.json").write_text(json.dumps(put(TASKS, path, value)))
    opened_or_refused(place / "tasks.json")


@given(VALUE)
@settings(max_examples=100)
def test_coco_masks(value):
    for written in (value, {"size": [4, 4], "counts": value}, {"size": value, "counts": [16]}, [value]):
        mask = mask_of(written)
        assert mask is None or bool(mask.wrong) == (mask.corners is None)


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_runs_are_boxed_as_their_pixels_are(height, width, random):
    pixels = np.array([[random.random() < 0.2 for _ in range(width)] for _ in range(height)])
    for along_rows, flat in ((False, pixels.T.ravel()), (True, pixels.ravel())):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [2]])))
        runs = np.diff(np.concatenate([[0], edges]))
        box = runs_box(runs.astype(np.int64), width if along_rows else height, along_rows)
        ys, xs = np.nonzero(pixels)
        assert box == ((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None)


@given(st.text(max_size=30))
def test_any_text_leads_to_a_path_below_or_to_none(text):
    plain_path(text)


@given(st.floats(-720, 720))
def test_a_turned_shape_is_boxed_as_its_points_are(degrees):
    angle, t = np.radians(degrees), np.linspace(0, 2 * np.pi, 20_001)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = turn @ (np.array([[0, 6, 0, 6], [0, 0, 2, 2]]) - [[3], [1]])
    expected = np.concatenate([corners.min(1) + np.array([3, 1]), corners.max(1) + np.array([3, 1])])
    assert rotated((0, 0, 6, 2), degrees) == pytest.approx(expected, abs=1e-9)
    ellipse = turn @ np.array([3 * np.cos(t), np.sin(t)])
    assert round_ellipse(0, 0, 3, 1, degrees) == pytest.approx([*ellipse.min(1), *ellipse.max(1)], abs=1e-6)


ATTRIBUTES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@given(
    st.sampled_from(["name", "width", "id", "xtl", "ybr", "rotation", "label", "points", "rle", "left", "cx"]),
    ATTRIBUTES,
)
@settings(max_examples=60)
def test_cvat(place, attribute, text):
    from xml.sax.saxutils import quoteattr

    known = {"name": "a.jpg", "width": "64", "id": "0", "xtl": "1", "ybr": "30", "rotation": "3", "label": "cat",
             "points": "1,2;3,4;9,9", "rle": "1,5", "left": "1", "cx": "9", attribute: text}  # fmt: skip
    a = {key: quoteattr(value) for key, value in known.items()}
    (place / "cvat.xml").write_text(
        f'<annotations><image id={a["id"]} name={a["name"]} width={a["width"]} height="48">'
        f'<box label={a["label"]} xtl={a["xtl"]} ytl="2" xbr="20" ybr={a["ybr"]} rotation={a["rotation"]}/>'
        f'<polygon label="cat" points={a["points"]}/><ellipse label="cat" cx={a["cx"]} cy="9" rx="2" ry="3"/>'
        f'<mask label="cat" rle={a["rle"]} left={a["left"]} top="1" width="3" height="2"/></image></annotations>'
    )
    opened_or_refused(place / "cvat.xml")
