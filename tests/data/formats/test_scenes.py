from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from foveal.data.dataset import Boxes, Dataset
from foveal.data.formats import Asked, scenes
from foveal.data.sources import open_dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return scenes.read_scenes(Asked("scenes"))


def boxes_of(dataset: Dataset) -> Boxes:
    assert dataset.boxes is not None
    return dataset.boxes


def test_scenes_hold_what_the_module_promises(dataset: Dataset) -> None:
    boxes = boxes_of(dataset)
    assert [len(dataset.indices(split)) for split in ("train", "val", "test")] == list(scenes.COUNTS)
    assert dataset.classes == tuple("0123456789")
    assert boxes.counts.min() == 2
    assert boxes.counts.max() == 8
    heights = boxes.xyxy[:, 3] - boxes.xyxy[:, 1]
    assert heights.min() == 12
    assert heights.max() == 48
    assert (boxes.xyxy >= 0).all()
    assert (boxes.xyxy <= scenes.SIDE).all()
    assert np.bincount(boxes.labels, minlength=10).min() > 0.07 * len(boxes)
    assert not (boxes.crowd | boxes.difficult).any()
    picture = dataset.pictures.content(0)
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (128, 128)
    assert picture.dtype == np.uint8


def test_a_picture_is_of_the_class_of_its_largest_digit(dataset: Dataset) -> None:
    boxes = boxes_of(dataset)
    for picture in range(0, len(dataset), 97):
        here = boxes.of(picture)
        sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes.xyxy[here]]
        assert dataset.labels[picture] == boxes.labels[here][int(np.argmax(sizes))]


def test_digits_of_a_picture_overlap_little(dataset: Dataset) -> None:
    boxes = boxes_of(dataset)
    for picture in range(0, len(dataset), 5):
        here = boxes.xyxy[boxes.of(picture)]
        for i, a in enumerate(here):
            for b in here[:i]:
                both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
                area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
                assert both / (area - both) < 0.1


def test_boxes_end_where_the_ink_ends() -> None:
    glyphs = scenes.glyphs_by_split()[0]
    for seed in range(40):
        rng = np.random.default_rng(seed)
        canvas = np.zeros((scenes.SIDE, scenes.SIDE), np.float32)
        xyxy, labels = scenes._write_digits(rng, canvas, 200.0, glyphs)
        covered = np.zeros(canvas.shape, bool)
        for x0, y0, x1, y1 in xyxy.astype(int):
            covered[y0:y1, x0:x1] = True
            crop = canvas[y0:y1, x0:x1]  # in ink of 185 to 215
            assert min(crop[0].max(), crop[-1].max(), crop[:, 0].max(), crop[:, -1].max()) > 180 * scenes.INK
        assert not canvas[~covered].any()
        assert len(labels) == len(xyxy)


@pytest.mark.parametrize("height", [12, 13, 30, 48])
def test_a_written_digit_has_its_height_and_ink_on_every_side(height: int) -> None:
    glyphs = scenes.glyphs_by_split()[0]
    for glyph in glyphs.ink[::50]:
        digit = scenes._written(np.random.default_rng(1), glyph, height)
        assert height - 2 <= len(digit) <= height
        assert min(digit[0].max(), digit[-1].max(), digit[:, 0].max(), digit[:, -1].max()) >= scenes.INK


def test_the_ink_stands_out_from_what_is_around_it(dataset: Dataset) -> None:
    """Inside a box the extreme shade is far from the picture's middle one, on the same side for all of its digits."""
    boxes = boxes_of(dataset)
    for picture in range(0, len(dataset), 53):
        pixels = np.asarray(dataset.pictures.content(picture), np.float64)
        middle = np.median(pixels)
        crops = [pixels[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes.xyxy[boxes.of(picture)].astype(int)]
        light = [np.quantile(crop, 0.9) - middle > 40 for crop in crops]
        dark = [middle - np.quantile(crop, 0.1) > 40 for crop in crops]
        assert all(light) or all(dark)


def test_no_glyph_is_in_two_splits_and_few_are_left_out() -> None:
    splits = scenes.glyphs_by_split()
    seen = [{hashlib.sha256(glyph.tobytes()).digest() for glyph in split.ink} for split in splits]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    assert 1740 < sum(map(len, seen)) <= 1797
    assert 340 <= len(seen[2]) <= 360
    assert len(seen[1]) > 150


def test_every_fifth_digit_is_the_tests_alone() -> None:
    from sklearn.datasets import load_digits

    fifth = load_digits().images[::5]
    test = {scenes._strokes(image / 16).tobytes() for image in fifth}
    assert {glyph.tobytes() for glyph in scenes.glyphs_by_split()[2].ink} <= test
    assert not {glyph.tobytes() for glyph in scenes.glyphs_by_split()[0].ink} & test


def test_the_same_bits_every_time_and_quickly(dataset: Dataset) -> None:
    scenes._drawn.cache_clear()
    start = time.process_time()
    again = scenes.read_scenes(Asked("scenes"))
    assert time.process_time() - start < 9  # seconds of a core that others use too; 2.5 on a free one
    assert np.array_equal(boxes_of(again).xyxy, boxes_of(dataset).xyxy)
    assert all(np.array_equal(again.pictures.content(i), dataset.pictures.content(i)) for i in range(len(again)))


def test_scenes_open_by_name() -> None:
    opened = open_dataset("scenes")
    assert opened.boxes is not None
    assert len(opened) == sum(scenes.COUNTS)
    assert [len(opened.indices(split)) for split in ("train", "val", "test")] == list(scenes.COUNTS)
    named = open_dataset("scenes", classes=[f"digit {k}" for k in range(10)])
    assert named.classes[3] == "digit 3"
    assert np.array_equal(named.labels, opened.labels)
