from __future__ import annotations

import numpy as np
import pytest

from foveal.pages.drawn_boxes import PALETTE, DrawnBox, boxes_of, draw_boxes
from foveal.tasks.answers import Detections

GREY = np.full((60, 100), 128, np.uint8)


def changed(picture: np.ndarray, drawn: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the pixels that differ."""
    ys, xs = np.nonzero((drawn != picture).any(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("dashed", [False, True])
@pytest.mark.parametrize("box", [(10.0, 20.0, 50.0, 40.0), (0.0, 0.0, 100.0, 60.0), (97.0, 3.0, 99.0, 5.0)])
def test_a_box_is_drawn_on_its_own_outermost_pixels(box: tuple[float, float, float, float], dashed: bool) -> None:
    drawn = draw_boxes(GREY, [DrawnBox(box, dashed=dashed)])
    assert drawn.shape == (60, 100, 3)
    assert changed(np.stack([GREY] * 3, axis=2), drawn) == box


def test_small_pictures_are_enlarged_by_a_whole_factor_with_square_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (7, 12, 3), dtype=np.uint8)
    drawn = draw_boxes(picture, [], least_side=100)
    assert drawn.shape == (63, 108, 3)
    assert np.array_equal(drawn[::9, ::9], picture)
    boxed = draw_boxes(picture, [DrawnBox((2, 1, 5, 4))], least_side=100)
    assert changed(drawn, boxed) == (18, 9, 45, 36)


def test_a_box_outside_is_clipped_and_the_picture_left_alone() -> None:
    before = GREY.copy()
    drawn = draw_boxes(GREY, [DrawnBox((-30, -5, 400, 90), "everything 0.99")])
    assert drawn.shape == (60, 100, 3)
    assert np.array_equal(GREY, before)


@pytest.mark.parametrize("box", [(0, 0, 20, 10), (70, 45, 100, 60), (0, 0, 100, 60), (40, 30, 60, 40)])
def test_a_tag_stays_inside_the_picture_and_near_its_box(box: tuple[float, float, float, float]) -> None:
    large = np.full((180, 300), 128, np.uint8)
    corners = tuple(3.0 * v for v in box)
    drawn = draw_boxes(large, [DrawnBox(corners, "dog 0.89", ink="#102030")])
    ys, _ = np.nonzero((drawn == (16, 32, 48)).all(axis=2))
    assert len(ys) > 2 * (corners[2] - corners[0] + corners[3] - corners[1])  # more than the line
    assert min(abs(ys.min() - corners[1]), abs(ys.max() - corners[3])) <= 24
    assert (drawn == 255).all(axis=2).sum() > 30  # white letters


def test_tags_of_wild_names_are_escaped_and_cut() -> None:
    wide = np.full((80, 900), 128, np.uint8)
    draw_boxes(wide, [DrawnBox((5, 40, 20, 60), "a\n\u202e" + "x" * 500)])
    found = Detections(np.array([[0, 0, 5, 5], [1, 1, 9, 9.0]]), np.array([0, 11]), np.array([0.914, 0.2]))
    boxes = boxes_of(found, [f"c{k}" for k in range(12)])
    assert [box.words for box in boxes] == ["c11 0.20", "c0 0.91"]
    assert [box.ink for box in boxes] == [PALETTE[1], PALETTE[0]]
