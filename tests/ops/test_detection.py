from __future__ import annotations

import numpy as np
import pytest

from foveal.ops.detection import (
    NOBODY,
    RECALLS,
    assign_any_class,
    average_precision,
    best_f1,
    match_class,
    overlaps,
    precision_floor,
)  # fmt: skip


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    low = rng.uniform(0, 20, (n, 2))
    return np.concatenate([low, low + rng.uniform(0.5, 20, (n, 2))], axis=1)


def test_overlaps_are_those_of_an_obvious_loop_and_crowds_divide_by_the_found_box() -> None:
    rng = np.random.default_rng(0)
    found, truth, crowd = random_boxes(rng, 9), random_boxes(rng, 7), np.arange(7) % 3 == 0
    iou = overlaps(found, truth, crowd)
    for d, a in enumerate(found):
        for g, b in enumerate(truth):
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            both, mine = max(w, 0) * max(h, 0), (a[2] - a[0]) * (a[3] - a[1])
            either = mine if crowd[g] else mine + (b[2] - b[0]) * (b[3] - b[1]) - both
            assert iou[d, g] == pytest.approx(both / either, abs=1e-12)


def test_flat_boxes_overlap_nothing() -> None:
    flat = np.array([[3.0, 3, 3, 9]])
    assert overlaps(flat, flat, np.array([False])).tolist() == [[0]]
    assert overlaps(flat, flat, np.array([True])).tolist() == [[0]]


def test_the_surest_box_takes_the_truth_and_the_second_is_wrong() -> None:
    iou = np.array([[0.6], [0.9]])
    hit, ignored = match_class(iou, np.array([False]), np.array([0.5, 0.75]))
    assert hit.tolist() == [[True, False], [False, True]]  # at 0.75 the first does not reach it
    assert not ignored.any()


def test_a_box_prefers_an_object_to_a_crowd_and_a_crowd_takes_any_number() -> None:
    iou = np.array([[0.6, 1.0], [0.6, 1.0], [0.0, 0.7]])
    hit, ignored = match_class(iou, np.array([False, True]), np.array([0.5]))
    assert hit.tolist() == [[True, False, False]]
    assert ignored.tolist() == [[False, True, True]]


@pytest.mark.parametrize("seed", range(20))
def test_a_picture_that_counts_twice_is_a_picture_given_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    D, T, N = 30, 3, 8
    hit, on = rng.random((T, D)) < 0.6, rng.integers(0, N, D)
    ignored = ~hit & (rng.random((T, D)) < 0.2)
    times = rng.integers(0, 4, N)
    repeated = np.repeat(np.arange(D), times[on])
    positives = np.array([60.0])
    weighted = average_precision(hit, ignored, times[on][None].astype(float), positives)
    given = average_precision(hit[:, repeated], ignored[:, repeated], np.ones((1, len(repeated))), positives)
    # a box that counts thrice is three boxes side by side: precision is read after the last of them, or at each
    np.testing.assert_allclose(weighted, given, atol=0.02)
    alone = average_precision(hit, ignored, np.ones((1, D)), positives)
    np.testing.assert_allclose(average_precision(hit, ignored, np.full((1, D), 2.0), 2 * positives), alone)


def test_average_precision_is_that_of_an_obvious_loop_and_unknown_without_truth() -> None:
    rng = np.random.default_rng(1)
    hit = rng.random((2, 40)) < 0.5
    got = average_precision(hit, np.zeros_like(hit), np.ones((2, 40)), np.array([33.0, 0.0]))
    for t in range(2):
        right = np.cumsum(hit[t])
        points = [(right[d] / 33, right[d] / (d + 1)) for d in range(40)]
        slow = [max([p for recall, p in points if recall >= r], default=0.0) for r in RECALLS]
        assert got[0, t] == pytest.approx(np.mean(slow), abs=1e-12)
    assert np.isnan(got[1]).all()


def test_nothing_found_has_an_average_precision_of_zero() -> None:
    none = np.zeros((10, 0), np.bool_)
    assert average_precision(none, none, np.ones((1, 0)), np.array([5.0])).tolist() == [[0.0] * 10]


def test_classes_do_not_matter_where_any_class_is_assigned() -> None:
    iou = np.array([[0.55, 0.8], [0.7, 0.75], [0.6, 0.9]])
    assert assign_any_class(iou, np.array([False, False])).tolist() == [1, 0, NOBODY]


def test_bounds_on_scores_take_equal_scores_together() -> None:
    scores, hit = np.array([0.9, 0.5, 0.5, 0.5, 0.2]), np.array([True, True, False, True, False])
    assert best_f1(scores, hit, 3) == (0.5, pytest.approx(6 / 7))
    assert precision_floor(scores, hit, 0.75) == 0.5
    assert precision_floor(scores, hit, 0.8) == 0.9
    assert np.isnan(precision_floor(scores[1:], hit[1:], 0.8))
    assert np.isnan(best_f1(np.zeros(0), np.zeros(0, bool), 3)[0])
