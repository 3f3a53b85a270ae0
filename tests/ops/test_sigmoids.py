"""Sigmoids fitted to what is so: scikit-learn's Platt scaling as the oracle, and what a prior does to few pictures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration
from sklearn.metrics import log_loss

from foveal.ops.sigmoids import binary_log_loss, fit_sigmoid, fit_sigmoids, sigmoid


def drawn(seed: int, n: int, slope: float = 0.5, offset: float = -1.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 3, n)
    return z, rng.random(n) < sigmoid(slope * z + offset)


@pytest.mark.parametrize("seed", range(5))
def test_a_sigmoid_is_the_one_that_sklearn_fits(seed):
    z, truth = drawn(seed, 200)
    a, b = fit_sigmoid(z, truth)
    theirs = _SigmoidCalibration().fit(z, truth)
    np.testing.assert_allclose(sigmoid(a * z + b), theirs.predict(z), atol=1e-4)


def test_a_separable_label_is_not_sure_without_end():
    z = np.array([-2.0, -1, 1, 2])
    a, b = fit_sigmoid(z, z > 0)
    assert 0.6 < sigmoid(np.array([a * 2 + b]))[0] < 0.9


def test_many_pictures_find_the_slope_and_few_stay_near_all_labels():
    z, truth = (np.stack(column, 1) for column in zip(drawn(0, 20_000), drawn(1, 20_000, 2.0, 0.5), strict=True))
    many = fit_sigmoids(z, truth)
    np.testing.assert_allclose(many.slopes, [0.5, 2.0], rtol=0.05)
    np.testing.assert_allclose(many.offsets, [-1.0, 0.5], atol=0.1)
    rare = np.concatenate([truth, np.zeros((len(truth), 1), bool)], 1)
    rare[np.argmax(z[:, 0]), 2] = True
    found = fit_sigmoids(np.concatenate([z, z[:, :1]], 1), rare)
    assert found.slopes[2] > 0
    assert found.probabilities(np.full((1, 3), -3.0))[0, 2] < 0.01


def test_order_stays_whatever_the_pictures_say():
    z, truth = drawn(0, 500)
    both = fit_sigmoids(np.stack([z, z], 1), np.stack([truth, ~truth], 1))
    assert (both.slopes > 0).all()


def test_the_loss_is_that_of_sklearn():
    z, truth = drawn(3, 100)
    assert binary_log_loss(z[:, None], truth[:, None]) == pytest.approx(log_loss(truth, sigmoid(z)), abs=1e-9)


def test_a_label_on_no_picture_gets_the_sigmoid_of_all():
    z, truth = drawn(4, 300)
    found = fit_sigmoids(np.stack([z, z], 1), np.stack([truth, np.zeros(300, bool)], 1))
    a, b = fit_sigmoid(np.concatenate([z, z]), np.concatenate([truth, np.zeros(300, bool)]))
    assert (found.slopes[1], found.offsets[1]) == (pytest.approx(a), pytest.approx(b))
