from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics

from foveal.ops.statistics import (
    calibration_bins,
    confusion_matrix,
    difference_interval,
    expected_calibration_error,
    log_softmax,
    negative_log_likelihood,
    precision_recall_f1,
    softmax,
    wilson_interval,
)


@st.composite
def answers(draw, largest_k=8):
    """Labels and guesses of one length, and K."""
    K = draw(st.integers(1, largest_k))
    n = draw(st.integers(1, 60))
    one = st.integers(0, K - 1)
    return (
        np.array(draw(st.lists(one, min_size=n, max_size=n))),
        np.array(draw(st.lists(one, min_size=n, max_size=n))),
        K,
    )


@st.composite
def scored(draw):
    """(N, K) logits and (N,) labels."""
    N, K = draw(st.integers(1, 40)), draw(st.integers(1, 7))
    logits = draw(arrays(np.float64, (N, K), elements=st.floats(-50, 50)))
    return logits, np.array(draw(st.lists(st.integers(0, K - 1), min_size=N, max_size=N)))


# Wilson's interval


def test_wilson_of_81_of_263_is_the_value_in_newcombes_table():
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
    assert_allclose(wilson_interval(81, 263), (0.2553, 0.3662), atol=5e-5)
    assert_allclose(wilson_interval(15, 148), (0.0624, 0.1605), atol=5e-5)
    assert_allclose(wilson_interval(0, 20), (0.0, 0.1611), atol=5e-5)
    assert_allclose(wilson_interval(1, 29), (0.0061, 0.1718), atol=5e-5)


@given(st.integers(0, 5000), st.integers(0, 5000), st.floats(0.5, 0.999))
def test_wilson_holds_the_seen_share_inside_the_unit_interval(right, wrong, confidence):
    n = right + wrong
    low, high = wilson_interval(right, n, confidence)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= right / n <= high
        assert low < high


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_ends_solve_the_equation_that_defines_them(right, wrong):
    n, z = right + wrong, 1.959963984540054
    for p in wilson_interval(right, n):
        assert abs(abs(right / n - p) - z * math.sqrt(p * (1 - p) / n)) < 1e-9


@given(st.integers(0, 200), st.integers(0, 200))
def test_wilson_mirrors_when_right_and_wrong_change_places(right, wrong):
    low, high = wilson_interval(right, right + wrong)
    assert_allclose(wilson_interval(wrong, right + wrong), (1 - high, 1 - low), atol=1e-12)


def test_wilson_narrows_with_more_pictures_and_widens_with_confidence():
    widths = [high - low for low, high in (wilson_interval(9 * n, 10 * n) for n in (1, 10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)
    low95, high95 = wilson_interval(90, 100)
    low99, high99 = wilson_interval(90, 100, 0.99)
    assert low99 < low95 < high95 < high99


def test_wilson_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("arguments", [(5, 4), (-1, 4), (1, 2, 0.0), (1, 2, 1.0)])
def test_wilson_refuses_what_cannot_be(arguments):
    with pytest.raises(ValueError, match="must lie"):
        wilson_interval(*arguments)


# softmax and likelihood


@given(scored())
def test_softmax_sums_to_one_and_keeps_the_order(case):
    logits, _ = case
    p = softmax(logits)
    assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (p >= 0).all()
    picked = np.take_along_axis(p, logits.argsort(axis=1), axis=1)
    assert (np.diff(picked, axis=1) >= 0).all()
    assert_allclose(softmax(logits + 1234.5), p, atol=1e-9)
    assert_allclose(np.exp(log_softmax(logits)), p, rtol=1e-9)


def test_softmax_survives_huge_logits():
    assert_array_equal(softmax([[1e4, 0.0], [-1e4, 0.0]]), [[1, 0], [0, 1]])
    assert log_softmax([[1e4, 0.0]])[0, 1] == -1e4


@given(scored())
def test_likelihood_agrees_with_the_plain_loop(case):
    logits, labels = case
    slow = [math.log(sum(math.exp(z - row[y]) for z in row)) for row, y in zip(logits, labels, strict=True)]
    assert_allclose(negative_log_likelihood(logits, labels), np.mean(slow), rtol=1e-9, atol=1e-9)


def test_who_knows_nothing_of_ten_classes_pays_log_ten():
    assert negative_log_likelihood(np.zeros((4, 10)), [0, 3, 5, 9]) == pytest.approx(math.log(10))


# calibration


def _slow_ece(p, labels, bins):
    total = 0.0
    for b in range(bins):
        lo, hi = b / bins, (b + 1) / bins
        inside = [i for i in range(len(p)) if lo < max(p[i]) <= hi]
        if inside:
            right = np.mean([p[i].argmax() == labels[i] for i in inside])
            total += len(inside) / len(p) * abs(right - np.mean([max(p[i]) for i in inside]))
    return total


@given(scored(), st.integers(1, 20))
def test_ece_agrees_with_the_plain_loop(case, bins):
    p = np.round(softmax(case[0]), 6)  # no value within a rounding error of an edge, other than the edge itself
    p = np.where(np.isclose(p * bins % 1, 0, atol=1e-4) & (p < 1), p + 0.001, p)
    assert_allclose(expected_calibration_error(p, case[1], bins), _slow_ece(p, case[1], bins), atol=1e-9)


def test_ece_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    # 0.9 twice, one right: gap 0.4, weight 1/2. 0.6 twice, both right: gap 0.4, weight 1/2.
    assert expected_calibration_error(p, [0, 1, 0, 1]) == pytest.approx(0.4)
    bins = calibration_bins(p, [0, 1, 0, 1], bins=10)
    assert_array_equal(bins.count, [0, 0, 0, 0, 0, 2, 0, 0, 2, 0])
    assert_allclose(bins.accuracy[[5, 8]], [1.0, 0.5])
    assert_allclose(bins.confidence[[5, 8]], [0.6, 0.9])


def test_empty_bins_are_undefined_and_null_in_json():
    bins = calibration_bins([[1.0, 0.0]], [0])
    assert np.isnan(bins.accuracy[:-1]).all()
    assert bins.accuracy[-1] == 1
    assert bins.as_dict()["accuracy"][0] is None
    assert math.isnan(calibration_bins(np.zeros((0, 3)), []).error)


@given(scored())
def test_bins_hold_every_answer_once(case):
    bins = calibration_bins(softmax(case[0]), case[1])
    assert bins.count.sum() == len(case[1])
    full = bins.count > 0
    assert (bins.confidence[full] >= bins.edges[:-1][full] - 1e-12).all()
    assert (bins.confidence[full] <= bins.edges[1:][full] + 1e-12).all()


def test_answers_drawn_from_the_stated_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=40_000)
    labels = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)
    assert expected_calibration_error(p, labels) < 0.01
    assert expected_calibration_error(softmax(3 * np.log(p)), labels) > 0.1


# confusion, precision, recall


@given(answers())
def test_confusion_is_what_scikit_learn_counts(case):
    labels, guesses, K = case
    theirs = metrics.confusion_matrix(labels, guesses, labels=range(K + 1))  # one more: it warns of a single class
    assert_array_equal(confusion_matrix(labels, guesses, K + 1), theirs)


def test_rows_of_the_confusion_are_the_truth():
    assert_array_equal(confusion_matrix([0, 0, 1], [0, 1, 1], 3), [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


@given(answers())
def test_precision_recall_f1_are_those_of_scikit_learn(case):
    labels, guesses, K = case
    ours = precision_recall_f1(confusion_matrix(labels, guesses, K))
    theirs = metrics.precision_recall_fscore_support(labels, guesses, labels=range(K), zero_division=np.nan)
    for mine, other in zip(ours, theirs[:3], strict=True):
        assert_allclose(mine, other)


def test_a_class_without_pictures_has_no_recall():
    precision, recall, f1 = precision_recall_f1([[3, 1], [0, 0]])
    assert_allclose(precision, [1.0, 0.0])
    assert recall[0] == 0.75
    assert math.isnan(recall[1])
    assert_allclose(f1, [6 / 7, 0.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: confusion_matrix([0, 2], [0, 1], 2),
        lambda: confusion_matrix([0, -1], [0, 1], 2),
        lambda: confusion_matrix([0], [0, 1], 2),
        lambda: negative_log_likelihood([[0.0, 1.0]], [2]),
        lambda: negative_log_likelihood([[0.0, 1.0]], [-1]),
        lambda: calibration_bins([[0.5, 0.5]], [0, 1]),
        lambda: calibration_bins([[0.5, 0.5]], [0], bins=0),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError):
        call()


def test_the_interval_of_a_difference_is_newcombes():
    """His table II, case (a): 56 of 70 against 48 of 80."""
    assert difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert difference_interval(48, 80, 56, 70) == pytest.approx((-0.3339, -0.0524), abs=5e-5)


def test_a_difference_is_covered_as_often_as_said():
    rng = np.random.default_rng(0)
    inside = 0
    for a, b in zip(rng.binomial(60, 0.8, 2000), rng.binomial(90, 0.7, 2000), strict=True):
        low, high = difference_interval(int(a), 60, int(b), 90)
        inside += low <= 0.1 <= high
    assert 0.93 < inside / 2000 < 0.98
