from __future__ import annotations

import json
import math

import numpy as np
import pytest

from foveal.data.dataset import Boxes
from foveal.errors import BadData
from foveal.tasks.localisation_scores import constant_box, paired_iou, score_locations, shares_of


def pictures() -> Boxes:
    """Four pictures: one object, none, two (the second is larger), and a crowd alone."""
    xyxy = np.array([[0, 0, 20, 10], [0, 0, 10, 10], [30, 10, 80, 40], [5, 5, 50, 50]], float)
    crowd = np.array([False, False, False, True])
    sizes = np.array([[50, 100], [60, 90], [40, 80], [50, 50]])
    return Boxes(xyxy, np.array([1, 0, 2, 0]), np.array([0, 1, 1, 3, 4]), sizes, crowd, np.zeros(4, np.bool_))


def test_each_score_is_the_share_that_one_counts_by_hand() -> None:
    xyxy = np.array([[0, 0, 20, 20], [0, 0, 9, 9], [30, 10, 80, 40], [0, 0, 5, 5]], float)
    presence, labels = np.array([0.9, 0.1, 0.2, 0.8]), np.array([1, 0, 1, 0])
    s = score_locations(presence, xyxy, labels, pictures(), ["a", "b", "c"], constant=np.array([0, 0, 1.0, 1.0]))
    assert (s.n, s.objects) == (4, 2)
    assert s.presence == 0.5  # right of the first and the second
    assert s.iou.tolist() == [0.5, 1.0]
    assert s.mean_iou == 0.75
    assert (s.top1, s.located, s.error, s.box_located) == (0.5, 0.5, 0.5, 1.0)
    assert s.constant_iou == pytest.approx((200 / 5000 + 1500 / 3200) / 2)
    assert s.confusion.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert 0.5 <= s.mean_iou_interval[0] < s.mean_iou_interval[1] <= 1


def test_pictures_without_objects_ask_for_presence_only() -> None:
    none = pictures().take(np.array([1, 3]))
    s = score_locations(np.array([0.2, 0.9]), np.zeros((2, 4)), np.zeros(2, np.int64), none, ["a"])
    assert s.presence == 0.5
    assert math.isnan(s.mean_iou)
    assert json.loads(json.dumps(s.as_dict(), allow_nan=False))["top1"] is None


def test_answers_for_other_pictures_are_refused() -> None:
    with pytest.raises(BadData, match="3 pictures were answered"):
        score_locations(np.zeros(3), np.zeros((3, 4)), np.zeros(3, np.int64), pictures(), ["a"])


def test_shares_are_of_the_largest_box_of_each_picture() -> None:
    np.testing.assert_allclose(shares_of(pictures()), [[0, 0, 0.2, 0.2], [0.375, 0.25, 1, 1]])


def test_swapped_corners_overlap_nothing() -> None:
    assert paired_iou(np.array([[9.0, 9, 1, 1]]), np.array([[0.0, 0, 10, 10]])).tolist() == [0]


def test_the_constant_box_of_equal_boxes_is_that_box() -> None:
    box = np.array([0.2, 0.3, 0.7, 0.9])
    np.testing.assert_allclose(constant_box(np.tile(box, (5, 1))), box)


@pytest.mark.parametrize("seed", range(5))
def test_no_nearby_or_random_box_does_better_than_the_constant_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.5, (60, 2))
    shares = np.concatenate([low, low + rng.uniform(0.1, 1, (60, 2)) * (1 - low)], axis=1)
    box = constant_box(shares)

    def mean(other: np.ndarray) -> float:
        return float(paired_iou(np.tile(other, (60, 1)), shares).mean())

    assert mean(box) >= mean(np.median(shares, axis=0))
    assert all(mean(np.clip(box + rng.normal(0, 0.02, 4), 0, 1)) <= mean(box) + 2e-3 for _ in range(200))
    corners = np.sort(rng.random((300, 2, 2)), axis=1).reshape(300, 4)
    assert max(map(mean, corners)) <= mean(box) + 1e-3


def test_a_constant_box_needs_a_box() -> None:
    with pytest.raises(BadData, match="no training picture has a box"):
        constant_box(np.zeros((0, 4)))
