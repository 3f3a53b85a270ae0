"""The learning rate: its value where one can tell it by hand, and what holds all along."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.training.schedules import rate_factor

SCHEDULES = ("one-cycle", "cosine", "linear", "constant")
plans = st.tuples(st.sampled_from(SCHEDULES), st.floats(0, 0.9), st.integers(1, 300))


@pytest.mark.parametrize(
    ("schedule", "first", "risen", "middle", "last"),
    [  # 100 steps, 20 of which warm up: step 0, step 19, step 60 and step 99
        ("constant", 0.05, 1.0, 1.0, 1.0),
        ("linear", 0.05, 1.0, 0.5, 1 / 80),
        ("cosine", 0.05, 1.0, 0.5, (1 + math.cos(math.pi * 79 / 80)) / 2),
        ("one-cycle", 1 - (1 - 1 / 25) * (1 + math.cos(math.pi / 20)) / 2, 1.0, (1 + 1 / 250_000) / 2, 3.895e-4),
    ],
)
def test_rates_are_those_that_one_finds_by_hand(
    schedule: str, first: float, risen: float, middle: float, last: float
) -> None:
    assert rate_factor(schedule, 0.2, 0, 100) == pytest.approx(first)
    assert rate_factor(schedule, 0.2, 19, 100) == pytest.approx(risen)
    assert rate_factor(schedule, 0.2, 20, 100) == pytest.approx(1.0)  # the peak, where it begins to fall
    assert rate_factor(schedule, 0.2, 60, 100) == pytest.approx(middle)
    assert rate_factor(schedule, 0.2, 99, 100) == pytest.approx(last, rel=1e-3)


def test_one_cycle_begins_at_a_25th_and_ends_at_a_250_000th() -> None:
    steps = 10**6
    assert rate_factor("one-cycle", 0.3, 0, steps) == pytest.approx(1 / 25, rel=1e-4)
    assert rate_factor("one-cycle", 0.3, steps, steps) == pytest.approx(1 / 250_000)
    assert rate_factor("one-cycle", 0.3, steps * 15 // 100, steps) == pytest.approx((1 + 1 / 25) / 2, rel=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warmup_the_first_step_has_the_peak(schedule: str) -> None:
    assert rate_factor(schedule, 0.0, 0, 7) == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_rates_end_at_nothing(schedule: str) -> None:
    assert rate_factor(schedule, 0.1, 50, 50) == pytest.approx(0.0, abs=1e-12)


@given(plans)
def test_a_rate_is_never_above_the_peak_and_falls_only_after_it_has_risen(plan: tuple[str, float, int]) -> None:
    schedule, warmup, steps = plan
    rates = [rate_factor(schedule, warmup, step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    rising = [rate for step, rate in enumerate(rates) if step / steps < warmup]
    assert all(a <= b for a, b in itertools.pairwise(rising))
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates[len(rising) :]))
