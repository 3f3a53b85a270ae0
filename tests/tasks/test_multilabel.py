"""Several labels a picture: losses, thresholds, answers and scores, with scikit-learn as the oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics

from foveal.data.dataset import NOTHING, ArrayPictures, Boxes, Dataset, Origin, rarest
from foveal.errors import BadData, BadModel, BadRecipe, NotFinite
from foveal.ops.sigmoids import sigmoid
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.label_bounds import BOUNDS, CURVES, LabelBounds
from foveal.tasks.label_scores import score_several
from foveal.tasks.labelled import LabelOutputs
from foveal.tasks.multilabel import MultiLabel, SeveralCalibration, SeveralFacts, asymmetric_loss
from foveal.tasks.registry import asked_task
from foveal.tasks.task import Ask, Facts

CLASSES = ("cat", "dog", "hat")
PREPROCESS = Preprocess(8, 8)


def drawn(n: int = 400, K: int = 3, seed: int = 0, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truths that follow them as sigmoids of slope 1 / sharp say."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 3, (n, K))
    return z.astype(np.float32), rng.random((n, K)) < sigmoid(z / sharp)


def of(truth: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Dataset:
    n = len(truth)
    pictures = ArrayPictures(np.zeros((n, 8, 8, 3), np.uint8), tuple(f"{i}" for i in range(n)))
    splits = (np.arange(n) % 3).astype(np.int8)
    return Dataset(pictures, rarest(truth), classes, splits, Origin("x", "x", "x"), multi_hot=truth)


def calibrated(precision: float = 0.0, seed: int = 0) -> tuple[MultiLabel, SeveralCalibration]:
    task = MultiLabel(CLASSES)
    z, truth = drawn(seed=seed)
    recipe = Recipe().with_settings({"training.precision": precision})
    return task, task.calibrate(LabelOutputs(z), truth, recipe)


# -- losses


def test_the_loss_is_binary_cross_entropy_summed_over_labels():
    z, truth = drawn(20)
    task = MultiLabel(CLASSES)
    found = task.loss(torch.from_numpy(z), torch.from_numpy(truth).float())
    each = [metrics.log_loss(truth[:, k], sigmoid(z[:, k]), labels=[False, True]) for k in range(3)]
    assert float(found) == pytest.approx(sum(each), rel=1e-5)


def test_the_asymmetric_loss_is_the_papers():
    z = torch.tensor([[2.0, -1.0, -4.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    p = torch.sigmoid(z)
    q = (p - 0.05).clamp(min=0)
    wanted = torch.stack([-p[0, 0].log(), -(q[0, 1] ** 4) * (1 - q[0, 1]).log(), torch.zeros((), dtype=torch.float64)])
    torch.testing.assert_close(asymmetric_loss(z, y)[0], wanted)


def test_balanced_weights_make_labels_and_their_absence_count_the_same():
    truth = np.zeros((100, 2), bool)
    truth[:5, 0] = truth[:50, 1] = True
    recipe = Recipe().with_settings({"training.class_weights": "balanced", "training.label_smoothing": 0.0})
    task = MultiLabel.of(of(truth, ("rare", "half")), np.arange(100), recipe, torch.nn.Identity(), (8, 8))
    zero = torch.zeros(100, 2, requires_grad=True)
    task.loss(zero, torch.from_numpy(truth).float()).backward()
    assert zero.grad is not None
    torch.testing.assert_close(zero.grad.sum(0), torch.zeros(2), atol=1e-6, rtol=0)


def test_the_usual_loss_is_the_asymmetric_one_without_smoothing():
    recipe = Recipe().with_settings({"network.name": "speednet_small", "network.weights": "scratch"})
    usual = MultiLabel.usual(recipe, Facts(1000, (28, 28), 1, (500, 300, 5)))
    assert (usual["loss"], usual["label_smoothing"]) == ("asymmetric", 0.0)


def test_right_is_the_jaccard_share():
    z, truth = drawn(50)
    found = MultiLabel(CLASSES).right(torch.from_numpy(z), torch.from_numpy(truth).float())
    assert found / 50 == pytest.approx(
        metrics.jaccard_score(truth, z > 0, average="samples", zero_division=1), abs=1e-6
    )


# -- which data sets


def test_the_task_takes_several_labels_and_others_when_it_is_named():
    several = of(np.array([[True, True, False], [False, False, False], [False, True, True]]))
    assert asked_task(several, Recipe())[0] is MultiLabel
    with pytest.raises(BadRecipe, match="gives a picture one label"):
        asked_task(several, Recipe().with_settings({"training.task": "classify"}))
    single = replace(several, multi_hot=None, labels=np.array([0, 2, 1]))
    task, taken = asked_task(single, Recipe().with_settings({"training.task": "multilabel"}))
    assert task is MultiLabel
    assert taken.multi_hot.tolist() == np.eye(3, dtype=bool)[[0, 2, 1]].tolist()
    boxes = Boxes(np.zeros((3, 4)), np.array([2, 2, 0]), np.array([0, 2, 2, 3]), np.ones((3, 2), np.int64),
                  np.zeros(3, bool), np.zeros(3, bool))  # fmt: skip
    boxed = replace(single, labels=np.array([2, NOTHING, 0]), boxes=boxes)
    found = MultiLabel.takes(boxed, Recipe().with_settings({"training.task": "multilabel"}))
    assert found is not None
    assert found.multi_hot.tolist() == [[False, False, True], [False] * 3, [True, False, False]]
    assert found.boxes is None


def test_a_label_everywhere_is_told():
    truth = np.ones((9, 2), bool)
    truth[:4, 1] = False
    taken = MultiLabel.takes(of(truth, ("all", "some")), Recipe())
    assert taken is not None
    assert taken.notes == ("Every training picture has the label all: there is nothing to tell apart.",)


# -- thresholds


def test_f1_thresholds_are_the_best_on_held_out_pictures():
    z, truth = drawn()
    _, calibration = calibrated()
    p = calibration.probabilities(z)
    thresholds = calibration.thresholds(3, Ask())
    for k in range(3):
        best = metrics.f1_score(truth[:, k], p[:, k] >= thresholds[k])
        for other in np.linspace(0.01, 0.99, 50):
            assert metrics.f1_score(truth[:, k], p[:, k] >= other, zero_division=0) <= best + 1e-9


def test_a_target_precision_is_kept_on_other_pictures_and_finds_as_much_as_it_can():
    z, truth = drawn(1000, sharp=1.0)
    bounds = LabelBounds.of(z, truth)
    calibration = SeveralCalibration(bounds, 0.9)
    z, truth = drawn(20_000, seed=5, sharp=1.0)
    named = calibration.probabilities(z) >= calibration.thresholds(3, Ask())
    precision = (named & truth).sum(0) / named.sum(0)
    assert (precision > 0.85).all()
    assert (precision < 0.97).all()  # a bound that names hardly anything is no answer
    strict = calibration.probabilities(z) >= calibration.thresholds(3, Ask(precision=0.97))
    assert (strict.sum(0) < named.sum(0)).all()


def test_labels_of_few_pictures_get_the_bound_of_all_and_out_of_reach_is_never_named():
    z, truth = drawn(300)
    truth[:, 2] = False
    truth[:3, 2] = True
    bounds = LabelBounds.of(z, truth)
    assert bounds.bounds(0.9)[2] == bounds.curves[-1].bound_for(0.9)
    assert np.isfinite(bounds.f1).all()
    noise = LabelBounds.of(
        np.random.default_rng(0).normal(size=(300, 2)), np.random.default_rng(1).random((300, 2)) < 0.2
    )
    assert np.isinf(noise.bounds(0.95)).all()
    task = MultiLabel(("a", "b"))
    assert "No threshold gives a label a precision of 95 %" in task.promise(
        Ask(precision=0.95), SeveralCalibration(noise)
    )


def test_asking_is_checked_in_a_sentence():
    task, calibration = calibrated()
    for ask, words in ((Ask(score=1.5), "confidence is a share"), (Ask(precision=-0.1), "target precision is a share")):
        with pytest.raises(BadRecipe, match=words):
            task.check_ask(ask, calibration)
    with pytest.raises(BadRecipe, match="no picture was held out"):
        task.check_ask(Ask(precision=0.9), task.uncalibrated())
    with pytest.raises(BadRecipe, match="--top is for classifiers, but this model is a multi-label model"):
        Ask(top=3).check(task)


# -- answers


def test_answers_name_what_reaches_its_threshold_the_likeliest_first():
    task, calibration = calibrated()
    z = np.array([[9.0, 3.0, -9.0], [-9.0, -9.0, -9.0]], np.float32)
    both, none = task.answers({"logits": z}, [(8, 8)] * 2, PREPROCESS, calibration, Ask())
    assert both.labels == ("cat", "dog")
    assert none.labels == ()
    assert list(both.probabilities) == list(CLASSES)
    everything = task.answers({"logits": z}, [(8, 8)] * 2, PREPROCESS, calibration, Ask(score=0.0))
    assert set(everything[1].labels) == set(CLASSES)
    with pytest.raises(NotFinite):
        task.answers({"logits": np.full((1, 3), np.nan)}, [(8, 8)], PREPROCESS, calibration, Ask())
    shares = task.probabilities({"logits": z}, calibration)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[0], list(both.probabilities.values()), rtol=1e-6)


# -- scores


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_sklearn(seed):
    z, truth = drawn(150, seed=seed)
    truth[:, 2] &= seed != 0  # a label on no picture says nothing
    p = sigmoid(np.round(z, 1))
    named = p >= np.array([0.3, 0.5, 0.7])
    scores = score_several(p, truth, np.array([0.3, 0.5, 0.7]), CLASSES)
    some = truth.any(0)
    wanted = metrics.average_precision_score(truth[:, some], p[:, some], average="macro")
    assert scores.mean_ap == pytest.approx(wanted, abs=1e-9)
    assert scores.micro_f1 == pytest.approx(metrics.f1_score(truth, named, average="micro"), abs=1e-9)
    macro = metrics.f1_score(truth, named, average="macro", zero_division=np.nan)
    assert scores.macro_f1 == pytest.approx(macro, abs=1e-9)
    assert scores.subset == pytest.approx(metrics.accuracy_score(truth, named), abs=1e-9)
    assert scores.jaccard == pytest.approx(
        metrics.jaccard_score(truth, named, average="samples", zero_division=1), abs=1e-9
    )
    each = metrics.precision_recall_fscore_support(truth, named, zero_division=0)
    np.testing.assert_allclose(np.nan_to_num(scores.counts.precision), each[0], atol=1e-9)
    np.testing.assert_allclose(np.nan_to_num(scores.counts.recall), each[1], atol=1e-9)
    assert scores.support.tolist() == each[3].tolist()
    assert scores.loss == pytest.approx(metrics.log_loss(truth.ravel(), p.ravel()), abs=1e-9)
    low, high = scores.mean_ap_interval
    assert low < scores.mean_ap < high


def test_intervals_cover_the_ap_of_many_pictures():
    """Of 40 samples about 38 intervals hold what a very large one shows."""
    z, truth = drawn(40_000, K=1, seed=99)
    whole = metrics.average_precision_score(truth[:, 0], z[:, 0])
    parts = [slice(i * 200, (i + 1) * 200) for i in range(40)]
    found = [score_several(sigmoid(z[at]), truth[at], np.array([0.5]), ("x",)).ap_interval[0] for at in parts]
    assert 33 <= sum(low <= whole <= high for low, high in found) <= 40


def test_nothing_to_score_and_labels_that_nobody_knows_are_refused():
    with pytest.raises(BadData, match="no picture to score"):
        score_several(np.zeros((0, 3)), np.zeros((0, 3), bool), np.zeros(3), CLASSES)
    with pytest.raises(BadData, match="no picture has a label that the model knows"):
        MultiLabel(("x", "y")).matched(of(np.eye(3, dtype=bool)))


def test_labels_are_matched_by_name():
    other = of(np.array([[True, False, True], [False, True, False], [False, False, True]]), ("dog", "new", "cat"))
    known, notes = MultiLabel(CLASSES).matched(other)
    assert known.multi_hot.tolist() == [[True, True, False], [False] * 3, [True, False, False]]
    assert notes == ["1 label (new) the model does not know: not scored.", "1 label (hat) no picture here has."]


# -- a model's file


def test_a_calibration_comes_back_from_its_file():
    _, calibration = calibrated(0.9)
    facts = SeveralFacts.model_validate(calibration.facts())
    tensors = calibration.tensors()
    assert {name: (array.shape, array.dtype.type) for name, array in tensors.items()} == facts.shapes()
    assert facts.fits(3)
    assert not facts.fits(4)
    again = facts.calibration(tensors)
    z, _ = drawn(50, seed=9)
    np.testing.assert_array_equal(again.probabilities(z), calibration.probabilities(z))
    for ask in (Ask(), Ask(precision=0.8), Ask(score=0.2)):
        np.testing.assert_array_equal(again.thresholds(3, ask), calibration.thresholds(3, ask))
    assert again.bounds is not None
    for name, row, value in ((BOUNDS, 0, -1.0), (CURVES, 0, 99.0), (CURVES, 1, np.nan)):
        broken = {key: array.copy() for key, array in tensors.items()}
        broken[name][row, 0] = value
        with pytest.raises(BadModel, match="thresholds are damaged"):
            facts.calibration(broken)
