"""`foveal.sklearn.ImageClassifier` keeps the manners of scikit-learn, by scikit-learn's own checks and by ours."""

from __future__ import annotations

import copy
import doctest
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import foveal
import foveal.sklearn
from foveal.errors import BadData, BadRecipe
from foveal.sklearn import ImageClassifier
from foveal.tasks.classify import LabelCalibration

NAMES = np.array(["nought", "one", "two"])


def quick(**parameters: object) -> ImageClassifier:
    return ImageClassifier(**({"network": "mlp", "epochs": 2, "random_state": 0} | parameters))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(300, 64) of 0 to 16, and texts as labels, whose order is not that of the first pictures."""
    X, y = load_digits(n_class=3, return_X_y=True)
    return X[:300], NAMES[::-1][y[:300]]


@pytest.fixture(scope="module")
def fitted(digits: tuple[np.ndarray, np.ndarray]) -> ImageClassifier:
    return quick().fit(*digits)


def test_scikit_learns_own_checks_pass() -> None:
    """All that it has for a classifier; a failure that is not expected raises here."""
    rounding = "float32: the last bits depend on how many pictures pass through the network at once"
    found = check_estimator(
        ImageClassifier(
            "square",
            network="lenet5",
            epochs=6,
            random_state=0,
            settings={"training.batch_size": 32, "training.learning_rate": 0.003},  # few steps, and not too small ones
        ),
        expected_failed_checks={"check_methods_subset_invariance": rounding},  # to 1e-7; ours is below
        on_skip=None,
    )
    statuses = [check["status"] for check in found]
    assert statuses.count("passed") >= 50
    assert set(statuses) <= {"passed", "skipped", "xfail"}


def test_a_picture_alone_is_answered_as_among_others(fitted, digits) -> None:
    X, _ = digits
    alone = np.concatenate([fitted.predict_proba(row[None]) for row in X[:50]])
    np.testing.assert_allclose(alone, fitted.predict_proba(X)[:50], rtol=0, atol=1e-5)


def test_the_example_of_the_module_comes_true() -> None:
    done = doctest.testmod(foveal.sklearn)
    assert (done.failed, done.attempted) == (0, 5)


def test_probabilities_sum_to_one_and_their_columns_are_those_of_classes(fitted, digits) -> None:
    X, y = digits
    probabilities = fitted.predict_proba(X)
    assert fitted.classes_.tolist() == sorted(NAMES)
    assert probabilities.shape == (300, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-12)
    for k, name in enumerate(fitted.classes_):
        assert probabilities[y == name, k].mean() > 0.7
    assert (fitted.predict(X) == fitted.classes_[probabilities.argmax(axis=1)]).all()
    assert fitted.score(X, y) == np.mean(fitted.predict(X) == y) > 0.9


def test_probabilities_are_those_of_the_models_temperature(fitted, digits) -> None:
    """Twice the temperature: the root of each, summing to one again."""
    X, _ = digits
    calm = copy.copy(fitted)
    calm.model_ = replace(fitted.model_, calibration=LabelCalibration(2 * fitted.model_.temperature))
    roots = np.sqrt(fitted.predict_proba(X))
    np.testing.assert_allclose(calm.predict_proba(X), roots / roots.sum(axis=1, keepdims=True), rtol=1e-9)


def test_rows_and_pictures_give_the_same_answer(fitted, digits) -> None:
    X, y = digits
    as_pictures = quick().fit(X.reshape(-1, 8, 8), y)
    assert np.array_equal(as_pictures.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(fitted.predict_proba(X.reshape(-1, 8, 8, 1)), fitted.predict_proba(X))
    assert as_pictures.picture_shape_ == fitted.picture_shape_ == (8, 8, 1)
    assert as_pictures.n_features_in_ == fitted.n_features_in_ == 64


def test_a_row_is_laid_out_as_its_shape_says() -> None:
    """Left halves bright or top halves bright: the picture of a row can be told from the model's own input."""
    draws = np.random.default_rng(0)
    X = draws.integers(0, 100, (40, 24, 20, 3), np.uint8)
    y = np.arange(40) % 2
    classifier = quick(picture_shape=(24, 20, 3), validation_fraction=0).fit(X.reshape(40, -1), y)
    assert classifier.model_.size == (24, 20)
    assert classifier.model_.preprocess.channels == 3
    answers = classifier.model_.predict(list(X), top=2)
    shares = [dict([(a.answer.label, a.answer.probability), *a.answer.runners_up])["1"] for a in answers]
    np.testing.assert_allclose(classifier.predict_proba(X)[:, 1], shares, atol=1e-6)


def test_rows_that_are_no_square_are_filled_up_where_that_is_asked_for() -> None:
    flat = np.arange(14, dtype=np.uint8).reshape(2, 7)
    assert foveal.sklearn._shape_of("square", None, 7) == (3, 3, 1)
    filled = foveal.sklearn._pixels(flat, (3, 3, 1), (0.0, 255.0))
    assert filled[1, :, :, 0].tolist() == [[7, 8, 9], [10, 11, 12], [13, 0, 0]]


@pytest.mark.parametrize(
    ("values", "kept", "levels"),
    [
        (np.array([[0, 16, 255, 3]], np.uint8), (0, 255), [0, 16, 255, 3]),
        (np.array([[0.0, 0.2, 1.0, 0.5]]), (0, 1), [0, 51, 255, 128]),
        (np.array([[0.2, 0.4]]), (0, 1), [51, 102]),
        (np.array([[-1.0, 0.0, 1.0, 0.6]]), (-1, 1), [0, 128, 255, 204]),
        (np.array([[0, 16, 8, 4]]), (0, 16), [0, 255, 128, 64]),
        (np.array([[True, False]]), (0, 1), [255, 0]),
        (np.array([[7.0, 7.0]]), (7, 7), [0, 0]),
    ],
)
def test_the_scale_is_that_of_the_training(values, kept, levels) -> None:
    value_range = foveal.sklearn._range_of(values)
    assert value_range == kept
    pixels = foveal.sklearn._pixels(values, (1, values.shape[1], 1), value_range)
    assert pixels.ravel().tolist() == levels


def test_what_lies_beyond_the_scale_is_clipped_and_another_scale_is_told(fitted, digits) -> None:
    X, y = digits
    brighter = np.where(X == 16, 20.0, X)
    assert np.array_equal(fitted.predict_proba(brighter), fitted.predict_proba(X))
    with pytest.warns(UserWarning, match=r"values of 0 to 255, and those of the training were taken as 0 to 16"):
        fitted.predict(X * (255 / 16))
    levels = (X * 15).astype(np.uint8)
    of_bytes = quick().fit(levels, y)
    with pytest.warns(UserWarning, match=r"values of 0 to 0.94\d*, and those of the training were taken as 0 to 255"):
        of_bytes.predict(levels / 255)


def test_fits_repeat_to_the_bit_and_leave_everything_as_it_was(fitted, digits) -> None:
    X, y = digits
    before, drawn, of_torch = X.copy(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    again, other = clone(fitted).fit(X, y), quick(random_state=1).fit(X, y)
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert not np.array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(X, before)
    assert np.random.get_state()[1].tolist() == drawn  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), of_torch)


def test_without_a_random_state_each_fit_draws_anew_from_numpys(digits) -> None:
    X, y = digits
    first, second = (quick(random_state=None, epochs=1).fit(X, y) for _ in range(2))
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))


def test_a_pickle_answers_the_same_and_holds_the_models_own_file(fitted, digits, tmp_path) -> None:
    X, _ = digits
    data = pickle.dumps(fitted)
    back = pickle.loads(data)
    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
    assert back.model_.trained == fitted.model_.trained
    (tmp_path / "m.safetensors").write_bytes(fitted.__getstate__()["model_"])
    assert foveal.load(tmp_path / "m.safetensors").classes == tuple(sorted(NAMES))
    assert pickle.loads(pickle.dumps(quick())).get_params() == quick().get_params()


def test_every_picture_is_used_also_one_that_two_classes_have() -> None:
    X = np.repeat(np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8), 2, axis=0)  # each twice
    y = np.arange(40) % 2  # and once in each class
    everything = quick(validation_fraction=0).fit(X, y)
    assert everything.model_.trained["pictures"] == 40
    assert everything.model_.trained["left_out"] == 0
    assert everything.model_.temperature == 1
    some = quick(validation_fraction=0.5).fit(X, y)
    assert 4 < some.model_.trained["pictures"] < 30
    assert some.model_.trained["pictures"] % 2 == 0  # equal pictures are on one side
    assert some.model_.trained["left_out"] == 0


def test_a_class_of_one_picture_is_learnt_from() -> None:
    X = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    y = np.array([*"a" * 28, "b", "c"])
    classifier = quick(validation_fraction=0.9).fit(X, y)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert classifier.model_.trained["pictures"] >= 3


def test_a_pipeline_a_cross_validation_and_a_search_take_it(digits) -> None:
    X, y = digits
    halved = FunctionTransformer(lambda pictures: pictures / 2)
    assert cross_val_score(make_pipeline(halved, quick(epochs=4)), X, y, cv=2).min() > 0.7
    grid = {"epochs": np.array([1, 3]), "settings": [{"training.learning_rate": 1e-5}, None]}
    search = GridSearchCV(quick(), grid, cv=2, error_score="raise").fit(X[:120], y[:120])
    assert search.best_params_ == {"epochs": 3, "settings": None}
    assert search.best_estimator_.model_.trained["epochs"] == 3


@pytest.mark.parametrize(
    ("parameters", "key", "value"),
    [
        ({"network": "lenet5"}, "network", 'name = "lenet5"'),
        ({"size": 16}, "data", 'size = "16x16"'),
        ({"size": (16, 20)}, "data", 'size = "16x20"'),
        ({"epochs": 1}, "training", "epochs = 1"),
        ({"random_state": 7}, "training", "seed = 7"),
        ({"settings": {"training.batch_size": 33}}, "training", "batch_size = 33"),
        ({}, "training", 'arithmetic = "fp32 channels-last"'),
    ],
)
def test_a_parameter_reaches_the_recipe(digits, parameters, key, value) -> None:
    X, y = digits
    recipe = quick(**parameters).fit(X[:60], y[:60]).model_.trained["recipe"]
    assert value in recipe.split(f"[{key}]")[1].split("\n\n")[0].splitlines()


def test_a_fit_may_be_given_minutes(digits) -> None:
    planned = quick(epochs="auto", minutes=0.05).fit(*digits)
    assert "minutes = 0.05" in planned.model_.trained["recipe"]
    assert planned.model_.trained["epochs"] >= 1


PICTURES, LABELS = np.zeros((6, 4, 4), np.uint8), np.array([0, 1, 0, 1, 0, 1])
WITH_NAN = np.where(np.arange(24).reshape(6, 4) == 13, np.nan, 1.0)


@pytest.mark.parametrize(
    ("parameters", "X", "y", "sentence"),
    [
        ({}, np.zeros((6, 5)), LABELS, r"X has 5 values a picture, which is no square: give picture_shape=\(H, W\)"),
        (
            {"picture_shape": (2, 3)},
            np.zeros((6, 5)),
            LABELS,
            r"5 values a picture, and picture_shape \(2, 3\) takes 6",
        ),
        ({"picture_shape": (2, 8)}, PICTURES, LABELS, r"pictures of \(4, 4, 1\) \(H, W, C\), and picture_shape is"),
        ({"picture_shape": (2, 0)}, PICTURES, LABELS, r"picture_shape must be .* is \(2, 0\)"),
        ({"picture_shape": "auto"}, PICTURES, LABELS, "picture_shape must be .* is 'auto'"),
        ({}, np.zeros((6, 3, 8, 8)), LABELS, r"its last axis must be 1, 3 or 4 colors; X.transpose\(0, 2, 3, 1\)"),
        ({}, np.zeros((6, 1, 1, 1, 1)), LABELS, r"X has shape \(6, 1, 1, 1, 1\); it must be"),
        ({}, [[[1, 2], [3, 4]], [[1, 2]]], LABELS[:2], "X is a list of unequal pictures"),
        ({}, WITH_NAN, LABELS, r"X holds NaN or infinity \(first in picture 3\)"),
        ({}, np.array([[-1e308, 1e308, 0, 0]] * 6), LABELS, "X holds numbers as large as infinity"),
        ({}, PICTURES[:5], LABELS, "inconsistent numbers of samples"),
        ({}, PICTURES, np.zeros(6), "y holds one class, 0.0; a classifier needs two classes"),
        ({}, PICTURES, np.array(["", "b"] * 3), "a class has no name"),
        ({"validation_fraction": 1}, PICTURES, LABELS, "validation_fraction must be at least 0 and below 1, is 1"),
        ({"validation_fraction": "all"}, PICTURES, LABELS, "validation_fraction must be .* is 'all'"),
        ({"network": "lenet-5"}, PICTURES, LABELS, 'did you mean "lenet5"'),
        ({"epochs": 0}, PICTURES, LABELS, "training.epochs must be at least 1 .*, is 0"),
        ({"random_state": -1}, PICTURES, LABELS, "training.seed must be at least 0, is -1"),
        ({"settings": {"training.epochs": 3}}, PICTURES, LABELS, "training.epochs is a parameter of ImageClassifier"),
        ({"settings": {"data.split": "a.csv"}}, PICTURES, LABELS, "data.split tells how foveal reads a folder"),
        ({"settings": {"training.epoch": 3}}, PICTURES, LABELS, 'unknown key "training.epoch"; did you mean'),
        ({"settings": {"training.task": "detect"}}, PICTURES, LABELS, "--task detect needs boxes"),
        ({"settings": {"augment.mosaic": 0.5}}, PICTURES, LABELS, "augment.mosaic is set, but --task classify does"),
    ],
)
def test_what_cannot_be_used_is_a_value_error_of_one_sentence(parameters, X, y, sentence) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        quick(**parameters).fit(X, y)
    assert "\n" not in str(refused.value)
    if "inconsistent" not in sentence:  # scikit-learn's own
        assert isinstance(refused.value, BadData | BadRecipe)


def test_pictures_of_another_shape_are_not_answered(fitted, digits) -> None:
    with pytest.raises(ValueError, match=r"pictures of \(4, 16, 1\), and the training's were \(8, 8, 1\)"):
        fitted.predict(digits[0].reshape(-1, 4, 16))
    with pytest.raises(ValueError, match="X has 63 features, but ImageClassifier is expecting 64"):
        fitted.predict(digits[0][:, :63])
    with pytest.raises(ValueError, match="X holds NaN"):
        fitted.predict(np.full((1, 64), np.nan))
    unfitted = quick()
    with pytest.raises(ValueError, match="one class"):
        unfitted.fit(digits[0], np.zeros(300))
    with pytest.raises(NotFittedError):
        unfitted.predict(digits[0])


class Heard:
    """A progress that hears sentences, and interrupts the training where it is asked to."""

    def __init__(self, interrupt: bool = False) -> None:
        self.said: list[str] = []
        self.interrupt = interrupt

    @contextmanager
    def task(self, name: str, total: int | None, unit: str = "pictures") -> Iterator[object]:
        def advance(n: int, note: str = "") -> None:
            if self.interrupt and name == "training":
                os.kill(os.getpid(), signal.SIGINT)

        yield advance

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_the_folder_of_a_fit_is_gone_afterwards_and_its_progress_was_told(digits, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    heard = Heard()
    classifier = quick(progress=heard).fit(*digits)
    pickle.dumps(clone(classifier).set_params(progress=None).fit(*digits))
    assert any(sentence.startswith("epoch 2/2") for sentence in heard.said)
    assert list(Path(tmp_path).iterdir()) == []


def test_control_c_ends_a_search_and_not_a_fold(digits, tmp_path, monkeypatch) -> None:
    """scikit-learn counts an Exception as a fold that is lost, and goes on with the next one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(quick(progress=Heard(interrupt=True)), *digits, cv=3)
    assert list(Path(tmp_path).iterdir()) == []
