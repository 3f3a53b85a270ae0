"""The learning curve: a law that is there is found, its doubt shrinks with evidence, and noise promises nothing."""

import re

import numpy as np
import pytest

from foveal.training.curve import fit_curve

PICTURES = np.array([30, 60, 100, 150, 220, 300])


def errors_of(a, b, c, noise, repeats, seed=0):
    clean = a + b * PICTURES.astype(float) ** -c
    return clean[:, None] + np.random.default_rng(seed).normal(0, noise, (len(PICTURES), repeats))


def test_a_law_is_found_and_foretells():
    curve = fit_curve(PICTURES, errors_of(0.1, 2.0, 0.5, 0.0, 3))
    assert 1 - curve.doubled == pytest.approx(0.1 + 2.0 * 600**-0.5, abs=1e-3)
    np.testing.assert_allclose(1 - curve.predicted(np.array([45, 1000])), 0.1 + 2.0 * np.array([45, 1000.0]) ** -0.5,
                               atol=5e-3)  # fmt: skip
    assert "about 3.4 points of accuracy" in curve.sentence


def test_the_truth_lies_within_the_doubt_and_more_folds_mean_less_of_it():
    gain = 2.0 * (300**-0.5 - 600**-0.5)
    narrow, wide = (fit_curve(PICTURES, errors_of(0.1, 2.0, 0.5, 0.02, repeats)) for repeats in (40, 4))
    for curve in (narrow, wide):
        assert curve.gain[0] - 0.01 <= gain <= curve.gain[2] + 0.01
    assert narrow.gain[2] - narrow.gain[0] < wide.gain[2] - wide.gain[0]


def test_errors_that_stay_promise_nothing():
    assert "would hardly help" in fit_curve(PICTURES, np.full((6, 5), 0.3)).sentence


def test_too_few_points_are_told():
    curve = fit_curve(np.array([2, 2, 3]), np.full((3, 5), 0.5))
    assert curve.law is None
    assert curve.as_dict()["doubled"] is None
    assert "Too few" in curve.sentence


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_lies_within_its_interval_as_it_is_printed(seed):
    """Few folds and much noise: the draws lean to one side, and rounded figures must not part either."""
    curve = fit_curve(PICTURES, errors_of(0.1, 1.0, 0.5, 0.04, 5, seed), seed=seed)
    low, middle, high = curve.gain
    assert low <= middle <= high
    assert curve.doubled_low <= curve.doubled <= curve.doubled_high
    if found := re.search(r"about ([\d.]+) points of accuracy \(([\d.]+) to ([\d.]+)\)", curve.sentence):
        told, least, most = map(float, found.groups())
        assert least <= told <= most
