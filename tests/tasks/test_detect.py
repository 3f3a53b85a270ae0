"""Detections out of named arrays: where they lie, which are told, and from which score on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from foveal.data.dataset import Boxes
from foveal.errors import BadRecipe
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.answers import Detections
from foveal.tasks.boxed import LEAST_HELD_OUT, BoxCalibration
from foveal.tasks.detect import LEAST_SCORE, Detect, objects_in
from foveal.tasks.task import Ask

SIZE = (32, 64)  # (H, W) of the input


def said(*places: tuple[tuple[float, float, float, float], tuple[float, float]]) -> dict[str, NDArray[np.float64]]:
    """One picture: boxes of places, and what they say of two classes."""
    boxes, scores = zip(*places, strict=True)
    return {"boxes": np.array([boxes], np.float64), "scores": np.array([scores], np.float64)}


def answered(arrays: dict[str, NDArray[np.float64]], size: tuple[int, int], ask: Ask = Ask()) -> Detections:  # noqa: B008
    task = Detect(("cup", "table"), "yolo", SIZE)
    return task.answers(arrays, [size], Preprocess(*SIZE, whole=True), BoxCalibration(0.25), ask)[0]


def test_objects_are_told_in_pixels_of_the_upright_picture_and_cut_at_its_edge() -> None:
    """A picture of 100 rows and 50 columns fits into 32 x 64 as 32 x 16, 24 columns from the left: 3.125 to one."""
    found = answered(said(((26, 4, 34, 20), (0.9, 0.0)), ((36, 16, 60, 40), (0.0, 0.8))), (100, 50))
    np.testing.assert_allclose(found.xyxy[0], np.array([2, 4, 10, 20]) * 3.125)
    np.testing.assert_allclose(found.xyxy[1], [12 * 3.125, 50, 50, 100])
    assert found.labels.tolist() == [0, 1]
    assert found.classes == ("cup", "table")


def test_a_cup_on_a_table_survives_and_a_second_answer_for_it_does_not() -> None:
    box = (10.0, 10.0, 20.0, 20.0)
    found = answered(said((box, (0.9, 0.7)), (box, (0.6, 0.0))), SIZE)
    assert sorted(zip(found.labels.tolist(), found.scores.tolist(), strict=True)) == [(0, 0.9), (1, 0.7)]


def test_what_is_told_reaches_the_models_threshold_or_the_one_that_is_asked_for() -> None:
    arrays = said(*(((10.0 * i, 0, 10.0 * i + 8, 8), (0.1 * (i + 1), 0)) for i in range(6)))
    assert len(answered(arrays, SIZE)) == 4  # above 0.25
    assert len(answered(arrays, SIZE, Ask(score=0.55))) == 1
    assert len(answered(arrays, SIZE, Ask(score=0.0))) == 6


def test_boxes_of_each_class_of_a_place_are_its_own() -> None:
    boxes = np.array([[[0.0, 0, 10, 10], [20, 0, 30, 10]]])
    found = objects_in(boxes, np.array([[0.9, 0.8]]), SIZE)
    assert found.xyxy.tolist() == [[0, 0, 10, 10], [20, 0, 30, 10]]
    assert found.labels.tolist() == [0, 1]


def test_of_too_many_candidates_the_surest_are_looked_at() -> None:
    boxes = np.array([[i, 0.0, i + 0.9, 1] for i in range(60)])
    scores = np.linspace(0.1, 0.9, 60)[:, None]
    found = objects_in(boxes, scores, SIZE, candidates=5)
    assert found.scores.tolist() == pytest.approx(sorted(scores[:, 0], reverse=True)[:5])


def scene(seed: int, pictures: int = 150) -> tuple[list[Detections], Boxes]:
    """Objects of two classes; the network is too sure of the first and not sure enough of the second."""
    rng = np.random.default_rng(seed)
    found, rows, labels_there, counts = [], [], [], []
    for _ in range(pictures):
        at = np.arange(4) * 15.0
        boxes = np.stack([at, at * 0, at + 10, at * 0 + 10], 1)
        labels, scores = rng.integers(0, 2, 4), np.sort(rng.uniform(0.05, 1, 4))[::-1]
        there = rng.random(4) < np.where(labels == 0, scores**4, scores**0.25)
        found.append(Detections(boxes, labels, scores))
        rows.append(boxes[there])
        labels_there.append(labels[there])
        counts.append(int(there.sum()))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    none = np.zeros(starts[-1], bool)
    sizes = np.tile([[32, 64]], (pictures, 1))
    return found, Boxes(np.concatenate(rows), np.concatenate(labels_there), starts, sizes, none, none)


def test_the_threshold_is_where_calibrated_scores_have_their_best_f1() -> None:
    task, (found, truth) = Detect(("cup", "table"), "yolo", SIZE), scene(0)
    calibration = task.calibrate(found, truth, Recipe())
    assert calibration.trust is not None
    scores = task.score(found, truth, calibration)
    assert scores.threshold == pytest.approx(calibration.threshold)
    bare = task.score(found, truth, BoxCalibration(calibration.threshold))
    assert bare.threshold != pytest.approx(calibration.threshold, abs=1e-3)


def test_without_an_object_to_learn_from_scores_stay_as_they_are() -> None:
    task, (found, truth) = Detect(("cup", "table"), "yolo", SIZE), scene(0, 3)
    none = Boxes(np.zeros((0, 4)), truth.labels[:0], truth.starts * 0, truth.sizes, truth.crowd[:0], truth.crowd[:0])
    calibration = task.calibrate(found, none, Recipe())
    assert (calibration.threshold, calibration.trust) == (BoxCalibration().threshold, None)
    with pytest.raises(
        BadRecipe, match="--precision needs a detector whose scores were calibrated on validation pictures"
    ):
        task.check_ask(Ask(precision=0.9), calibration)


def test_evidence_keeps_what_could_be_scored() -> None:
    task = Detect(("cup", "table"), "yolo", SIZE)
    arrays = said(((0, 0, 10, 10), (LEAST_SCORE * 2, 0)), ((20, 0, 30, 10), (LEAST_SCORE / 2, 0)))
    (kept,) = task.evidence(arrays, np.array([SIZE]), Preprocess(*SIZE, whole=True))
    assert kept.scores.tolist() == [LEAST_SCORE * 2]


def few(objects: int, pictures: int = 12) -> tuple[list[Detections], Boxes]:
    """So many objects, on a picture each, among what was found."""
    found, rest = scene(0, pictures)
    starts = np.minimum(np.arange(pictures + 1), objects).astype(np.int64)
    none = np.zeros(objects, bool)
    corners = np.tile([[0.0, 0, 10, 10]], (objects, 1)).reshape(-1, 4)
    return found, Boxes(corners, np.zeros(objects, np.int64), starts, rest.sizes, none, none)


@pytest.mark.parametrize("objects", [0, 1, LEAST_HELD_OUT - 1, LEAST_HELD_OUT])
def test_scores_that_too_few_boxes_calibrate_are_called_so(objects: int) -> None:
    task, (found, truth) = Detect(("cup", "table"), "yolo", SIZE), few(objects)
    calibration = task.calibrate(found, truth, Recipe())
    enough = objects == LEAST_HELD_OUT
    assert (calibration.trust is not None) == enough
    word = "box" if objects == 1 else "boxes"
    sentence = f"Scores are not calibrated: {objects} {word} on validation, at least {LEAST_HELD_OUT} are needed."
    assert calibration.remark == ("" if enough else sentence)
    assert task.promise(Ask(), calibration) == calibration.remark
    again = task.facts.model_validate(calibration.facts()).calibration({})
    assert (again.remark, again.threshold) == (calibration.remark, calibration.threshold)
    if not objects:
        return
    figures = task.test_figures(found, truth, task.score(found, truth, calibration), calibration)["calibration"]
    assert (figures["ece"] is None) == (not enough)
    assert figures.get("reason", "") == calibration.remark
    if not enough:
        with pytest.raises(BadRecipe, match="at least 10 are needed"):
            task.check_ask(Ask(precision=0.9), calibration)


def test_of_files_that_do_not_tell_nothing_is_said() -> None:
    assert BoxCalibration().remark == ""
    assert Detect.facts(threshold=0.25).calibration({}).remark == ""
