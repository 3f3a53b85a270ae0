"""Calibrated scores and bounds on them keep what they promise on boxes that nobody has seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foveal.data.dataset import Boxes
from foveal.tasks.answers import Detections
from foveal.tasks.detection_calibration import ScoreMaps
from foveal.tasks.detection_scores import DetectionScores, score_objects
from foveal.tasks.detection_trust import DetectionTrust, DetectionTrustFacts, reliability

K = 2


def scene(seed: int, pictures: int = 150) -> tuple[list[Detections], Boxes]:
    """Five places a picture, each said with some score; an object is there with probability score³ or √score."""
    rng = np.random.default_rng(seed)
    found, rows, counts = [], [], []
    for _ in range(pictures):
        at = np.arange(5) * 50.0
        boxes = np.stack([at, at * 0, at + 30, at * 0 + 20], 1)
        labels, scores = rng.integers(0, K, 5), np.sort(rng.uniform(0.01, 1, 5))[::-1]
        there = rng.random(5) < np.where(labels == 0, scores**3, np.sqrt(scores))
        found.append(Detections(boxes, labels, scores))
        rows += [(box, label) for box, label in zip(boxes[there], labels[there], strict=True)]
        counts.append(int(there.sum()))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    no = np.zeros(len(rows), bool)
    truth = Boxes(
        np.array([b for b, _ in rows]), np.array([k for _, k in rows], np.int64), starts,
        np.tile(np.array([[20, 300]]), (pictures, 1)), no, no,
    )  # fmt: skip
    return found, truth


def scored(found: list[Detections], truth: Boxes) -> DetectionScores:
    return score_objects(found, truth, ("a", "b"), resamples=0)


@pytest.fixture(scope="module")
def trust() -> DetectionTrust:
    return DetectionTrust.of(scored(*scene(0, 1000)))


def test_unseen_boxes_are_as_often_right_as_said_and_average_precision_stays(trust: DetectionTrust) -> None:
    found, truth = scene(1, 1000)
    before, after = scored(found, truth), scored([trust.calibrated(o) for o in found], truth)
    assert reliability(after).error < 0.05 < 2 * reliability(after).error < reliability(before).error
    assert np.allclose(after.class_ap, before.class_ap)


def test_a_wished_precision_holds_on_unseen_boxes(trust: DetectionTrust) -> None:
    found, truth = scene(2, 600)
    scores = scored([trust.calibrated(o) for o in found], truth)
    coverage = []
    for wished in (0.5, 0.7, 0.9):
        tried = trust.tried(scores, wished)
        assert tried.right / tried.told > wished - 0.05
        by_hand = sum(int((trust.calibrated(o).scores >= tried.bound).sum()) for o in found)
        assert by_hand == tried.told
        assert str(tried.told) in tried.sentences[0]
        coverage.append(tried.told)
    assert coverage == sorted(coverage, reverse=True)
    assert math.isinf(trust.bound_for(0.9999))
    assert "give a lower --precision" in trust.promise(0.9999)
    assert trust.tried(scores, 0.9999).as_dict()["right"] is None


def test_calibrated_objects_are_the_surest_first_and_keep_their_boxes(trust: DetectionTrust) -> None:
    turned = 0
    for found in scene(3, 30)[0]:
        told = trust.calibrated(found)
        assert (np.diff(told.scores) <= 0).all()
        scores = trust.maps.apply(found.scores, found.labels)
        turned += bool((np.diff(scores) > 0).any())
        rows = {tuple(box): row for box, *row in zip(found.xyxy, found.labels, scores, strict=True)}
        assert {tuple(box): row for box, *row in zip(told.xyxy, told.labels, told.scores, strict=True)} == rows
    assert turned > 5  # what is calibrated class by class comes in another order


def test_the_lowest_score_is_where_the_first_class_passes() -> None:
    maps = ScoreMaps((1.0, 2.0), (1.0, 0.5), (0.3, -1.0))
    grid = np.linspace(0, 1, 100_001)
    for wished in (0.001, 0.2, 0.5, 0.97):
        passing = [grid[maps.apply(grid, np.full(len(grid), k)) >= wished].min() for k in (0, 1)]
        assert maps.lowest(wished) == pytest.approx(min(passing), abs=2e-5)
    assert maps.lowest(2.0) > 0.999999


def test_what_a_file_keeps_is_the_same(trust: DetectionTrust) -> None:
    again = DetectionTrustFacts.model_validate(trust.facts())
    assert again.fits(2)
    assert not again.fits(3)
    assert again.trust().maps == trust.maps
    assert again.trust().bound_for(0.8) == trust.bound_for(0.8)
