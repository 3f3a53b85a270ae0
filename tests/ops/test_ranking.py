"""Average precision, F1 and thresholds, with scikit-learn as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from foveal.ops.ranking import average_precision, counts_of, drawn_average_precision, f1_bound, jaccard


def drawn(seed: int, n: int = 60, K: int = 5, levels: int = 8):
    """Scores with ties, and truths that they say something about."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, K)) < rng.uniform(0.05, 0.6, K)
    scores = np.round((rng.normal(size=(n, K)) + truth) * levels) / levels
    return scores, truth


@given(st.integers(0, 10_000))
def test_average_precision_is_that_of_sklearn(seed):
    scores, truth = drawn(seed)
    truth[:, 4] = False
    ours = average_precision(scores, truth)
    for k in range(4):
        if truth[:, k].any():
            assert ours[k] == pytest.approx(metrics.average_precision_score(truth[:, k], scores[:, k]), abs=1e-12)
    assert np.isnan(ours[4])


@given(st.integers(0, 10_000))
def test_a_weight_counts_a_picture_as_often(seed):
    scores, truth = drawn(seed, n=30)
    times = np.random.default_rng(seed).integers(0, 4, 30)
    ours = drawn_average_precision(scores, truth, times[None].astype(float))[0]
    again = average_precision(np.repeat(scores, times, 0), np.repeat(truth, times, 0))
    np.testing.assert_allclose(ours, again, atol=1e-12)


@given(st.integers(0, 10_000))
def test_counts_and_jaccard_are_those_of_sklearn(seed):
    scores, truth = drawn(seed)
    named = scores > 0.5
    counts = counts_of(named, truth)
    kinds = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}
    for name, theirs in kinds.items():
        np.testing.assert_allclose(np.nan_to_num(getattr(counts, name)),
                                   theirs(truth, named, average=None, zero_division=0), atol=1e-12)  # fmt: skip
        micro = theirs(truth, named, average="micro", zero_division=0)
        assert np.nan_to_num(getattr(counts.together, name))[0] == pytest.approx(micro, abs=1e-12)
    expected = metrics.jaccard_score(truth, named, average="samples", zero_division=1)
    assert jaccard(named, truth).mean() == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10_000))
def test_no_other_bound_has_a_higher_f1(seed):
    scores, truth = drawn(seed, K=1, n=25)
    scores, truth = scores[:, 0], truth[:, 0]
    bound = f1_bound(scores, truth)
    if not truth.any():
        assert bound == np.inf
        return
    best = metrics.f1_score(truth, scores >= bound)
    for other in [*np.unique(scores), scores.max() + 1]:
        assert metrics.f1_score(truth, scores >= other, zero_division=0) <= best + 1e-12


def test_a_bound_lies_between_two_scores():
    assert f1_bound(np.array([0.9, 0.7, 0.2, 0.1]), np.array([True, True, False, False])) == pytest.approx(0.45)
