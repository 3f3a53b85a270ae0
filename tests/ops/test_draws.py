"""Chance as a function of (seed, epoch, sample)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveal.ops.draws import batch_generator, shuffled, step_seed, uniforms

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 10_000)


@given(seeds, epochs, st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.randoms())
def test_a_sample_draws_the_same_in_any_company(seed, epoch, samples, random):
    alone = {s: uniforms(seed, epoch, np.array([s]), 5)[0] for s in samples}
    random.shuffle(samples)
    together = uniforms(seed, epoch, np.array(samples), 5)
    for sample, row in zip(samples, together, strict=True):
        assert (row == alone[sample]).all()


def test_draws_are_uniform_and_uncorrelated():
    u = uniforms(3, 7, np.arange(20_000), 4)
    assert ((u >= 0) & (u < 1)).all()
    assert np.abs(u.mean(0) - 0.5).max() < 0.01
    assert np.abs(u.var(0) - 1 / 12).max() < 0.003
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.03
    assert np.abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03, "neighbouring samples"


def test_seeds_and_epochs_draw_differently():
    base = uniforms(0, 0, np.arange(1000), 1)[:, 0]
    for other in (uniforms(1, 0, np.arange(1000), 1), uniforms(0, 1, np.arange(1000), 1)):
        assert abs(np.corrcoef(base, other[:, 0])[0, 1]) < 0.1


@given(seeds, epochs, st.sets(st.integers(0, 10**6), min_size=2, max_size=50))
def test_leaving_one_out_keeps_the_order_of_the_rest(seed, epoch, samples):
    ordered = np.array(sorted(samples))
    whole = shuffled(seed, epoch, ordered)
    assert sorted(whole) == sorted(samples)
    without = shuffled(seed, epoch, ordered[1:])
    assert list(without) == [s for s in whole if s != ordered[0]]


def test_a_shuffle_moves_things():
    order = np.arange(1000)
    assert (shuffled(0, 0, order) == order).mean() < 0.02
    assert (shuffled(0, 0, order) == shuffled(0, 1, order)).mean() < 0.02


@given(seeds, st.integers(0, 10**7))
def test_a_step_has_one_seed_that_torch_takes(seed, step):
    assert step_seed(seed, step) == step_seed(seed, step)
    assert 0 <= step_seed(seed, step) < 2**63


def test_a_batch_generator_starts_anew_for_each_step():
    assert batch_generator(1, 2, 3).random() == batch_generator(1, 2, 3).random()
    assert batch_generator(1, 2, 3).random() != batch_generator(1, 2, 4).random()
