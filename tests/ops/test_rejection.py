"""Answering only when sure: the curve, the bound for a wished accuracy, and distances to what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.ops.rejection import conformal_bound, nearest_distances, risk_coverage

answers = st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.5, 0.7, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


@given(answers)
def test_each_point_counts_the_answers_at_least_so_sure(rows: list[tuple[float, bool]]) -> None:
    sure = np.array([r[0] for r in rows])
    right = np.array([r[1] for r in rows])
    curve = risk_coverage(sure, right)
    assert curve.bounds.tolist() == sorted(set(sure.tolist()), reverse=True)
    for bound, answered, good in zip(curve.bounds, curve.answered, curve.right, strict=True):
        assert answered == (sure >= bound).sum()
        assert good == right[sure >= bound].sum()
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(1 - right.mean())


@given(answers, st.floats(0.05, 0.95))
def test_the_bound_answers_as_many_as_it_may(rows: list[tuple[float, bool]], wished: float) -> None:
    sure = np.array([r[0] for r in rows])
    right = np.array([r[1] for r in rows])
    fits = [b for b in sure if (right[sure >= b].sum() + 0.5) / ((sure >= b).sum() + 1) >= wished]
    assert risk_coverage(sure, right).bound_for(wished) == (min(fits) if fits else math.inf)


def test_few_right_answers_are_no_promise() -> None:
    curve = risk_coverage(np.linspace(0.5, 1, 10), np.ones(10, bool))
    assert curve.bound_for(0.99) == math.inf
    assert curve.bound_for(0.9) == 0.5


def test_area_is_smallest_when_the_wrong_answers_are_the_least_sure() -> None:
    sure, right = np.linspace(0, 1, 10), np.arange(10) >= 3
    best = risk_coverage(sure, right).area
    worst = risk_coverage(-sure, right).area
    chance = np.mean([risk_coverage(sure, np.random.default_rng(i).permutation(right)).area for i in range(400)])
    assert best < chance < worst
    assert chance == pytest.approx(0.3, abs=0.02)
    assert best == pytest.approx(sum(1 - 7 / k for k in (8, 9, 10)) / 10)


def test_thinning_keeps_the_end_and_takes_no_new_point() -> None:
    rng = np.random.default_rng(0)
    curve = risk_coverage(rng.random(1000), rng.random(1000) < 0.8)
    thin = curve.thinned(50)
    assert len(thin.bounds) == 50
    assert thin.n == 1000
    assert set(thin.bounds) <= set(curve.bounds)
    assert curve.thinned(5000) is curve


@pytest.mark.parametrize(("n", "rate"), [(33, 0.05), (200, 0.02), (10, 0.05)])
def test_a_further_value_exceeds_the_bound_as_rarely_as_said(n: int, rate: float) -> None:
    rng = np.random.default_rng(1)
    said, seen = [], []
    for _ in range(3000):
        values = rng.exponential(size=n + 1)
        bound, promised = conformal_bound(values[:n], rate)
        said.append(promised)
        seen.append(values[n] > bound)
    assert said[0] <= max(rate, 1 / (n + 1)) + 1e-12
    assert np.mean(seen) == pytest.approx(said[0], abs=0.012)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_distances_equal_a_slow_obvious_search(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    rows, bank = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)

    def slow(row: np.ndarray, others: np.ndarray) -> float:
        return sorted(1 - float(row @ o) / float(np.linalg.norm(row) * np.linalg.norm(o)) for o in others)[rank - 1]

    assert nearest_distances(rows, bank, rank) == pytest.approx([slow(r, bank) for r in rows], abs=1e-5)
    left_out = [slow(r, np.delete(bank, i, 0)) for i, r in enumerate(bank)]
    assert nearest_distances(bank, bank, rank, apart=True) == pytest.approx(left_out, abs=1e-5)


def test_length_of_features_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows, bank = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    assert nearest_distances(rows * 9, bank) == pytest.approx(nearest_distances(rows, bank * 0.1), abs=1e-6)
