from __future__ import annotations

import numpy as np
import pytest

from foveal.ops.detection import average_precision
from foveal.tasks.detection_calibration import ScoreMaps, calibrate_scores


def overconfident(seed: int, n: int, K: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, whether right, labels, and the true probability: s³ for class 0, √s for the others."""
    rng = np.random.default_rng(seed)
    scores, labels = rng.random(n), rng.integers(0, K, n)
    truth = np.where(labels == 0, scores**3, np.sqrt(scores))
    return scores, rng.random(n) < truth, labels, truth


def test_calibrated_scores_are_near_the_true_probabilities() -> None:
    scores, right, labels, truth = overconfident(0, 8000)
    maps = calibrate_scores(scores, right, labels, 2)
    assert np.abs(maps.apply(scores, labels) - truth).mean() < 0.02 < np.abs(scores - truth).mean()


def test_order_within_a_class_and_so_average_precision_stay() -> None:
    scores, right, labels, _ = overconfident(1, 500)
    maps = calibrate_scores(scores, right, labels, 2)
    after = maps.apply(scores, labels)
    for k in (0, 1):
        mine = labels == k
        assert np.array_equal(np.argsort(-scores[mine], kind="stable"), np.argsort(-after[mine], kind="stable"))
        both = []
        for s in (scores[mine], after[mine]):
            hit = right[mine][np.argsort(-s, kind="stable")][None]
            both.append(average_precision(hit, ~hit & False, np.ones((1, hit.shape[1])), np.array([300.0])))
        assert np.array_equal(*both)


def test_a_rare_class_borrows_from_the_others() -> None:
    scores, right, labels, _ = overconfident(2, 6000, K=1)
    rare_scores, rare_right = np.array([0.9, 0.8]), np.array([False, False])
    maps = calibrate_scores(np.append(scores, rare_scores), np.append(right, rare_right), np.append(labels, [1, 1]), 3)
    common, rare, unseen = (maps.apply(np.array([0.7]), np.array([k]))[0] for k in range(3))
    assert abs(rare - common) < 0.1
    assert unseen == pytest.approx(common, abs=0.02)


def test_without_boxes_scores_stay_as_they_are() -> None:
    none = np.zeros(0)
    maps = calibrate_scores(none, none.astype(bool), none.astype(np.int64), 2)
    assert maps == ScoreMaps((1.0, 1.0), (1.0, 1.0), (0.0, 0.0))
    scores = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(maps.apply(scores, np.ones(9, np.int64)), scores)


@pytest.mark.parametrize("right", [True, False])
def test_boxes_that_are_all_right_or_all_wrong_give_finite_rising_maps(right: bool) -> None:
    scores = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    maps = calibrate_scores(scores, np.full(5, right), np.zeros(5, np.int64), 1)
    after = maps.apply(scores, np.zeros(5, np.int64))
    assert np.isfinite(after).all()
    assert (np.diff(after) > 0).all()
