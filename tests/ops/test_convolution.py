from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal
from torch.nn import functional as F

from foveal.ops.arithmetic import reach
from foveal.ops.convolution import (
    average_pool,
    batch_norm_testing,
    batch_norm_training,
    convolution_layer,
    convolve,
    correlate,
    dropout,
    local_response_norm,
    max_pool,
    relu,
    transposed_convolution_layer,
    windows,
)
from foveal.ops.statistics import softmax

EDGE_INPUT = [
    [3, 0, 1, 2, 7, 4],
    [1, 5, 8, 9, 3, 1],
    [2, 7, 2, 5, 1, 3],
    [0, 1, 3, 1, 7, 8],
    [4, 2, 1, 6, 2, 8],
    [2, 4, 5, 2, 3, 9],
]

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """A layer on a batch: sides and options differ between the axes."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    options: dict[str, Any]


@st.composite
def cases(draw, axes=2, transposed=False):
    each = st.integers(1, 3)
    N, c_in, c_out, groups = draw(each), draw(each), draw(each), 1 if transposed else draw(each)
    kernel, stride, dilation = (tuple(draw(st.integers(1, high)) for _ in range(axes)) for high in (4, 3, 3))
    length = [reach(f, d) for f, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, (r - 1) // 2)) for r in length)
    least = [1 if transposed else r - 2 * p for r, p in zip(length, padding, strict=True)]
    sides = tuple(max(1, low) + draw(st.integers(0, 5)) for low in least)
    rng = np.random.default_rng(draw(seeds))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if transposed:
        options["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
        weight = rng.normal(size=(c_in, c_out, *kernel))
    else:
        options["groups"] = groups
        weight = rng.normal(size=(c_out * groups, c_in, *kernel))
    return Case(rng.normal(size=(N, c_in * groups, *sides)), weight, rng.normal(size=c_out * groups), options)


@st.composite
def pictures(draw):
    """(N, C, H, W)"""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.integers(1, 9)))
    return np.random.default_rng(draw(seeds)).normal(size=shape) * 3


@st.composite
def pools(draw):
    """A picture, and kernel, stride, padding of a pooling that fits it."""
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    padding = tuple(draw(st.integers(0, f // 2)) for f in kernel)
    stride = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    sides = tuple(f + draw(st.integers(0, 5)) for f in kernel)
    return np.random.default_rng(draw(seeds)).normal(size=(2, 3, *sides)), kernel, stride, padding


def agrees(ours, theirs):
    assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-9)


# PyTorch's layers


@pytest.mark.parametrize(("axes", "theirs"), [(1, F.conv1d), (2, F.conv2d), (3, F.conv3d)])
@settings(max_examples=60)
@given(data=st.data())
def test_a_convolution_layer_is_pytorchs(axes, theirs, data):
    case = data.draw(cases(axes))
    expected = theirs(*map(torch.from_numpy, (case.x, case.weight, case.bias)), **case.options)
    agrees(convolution_layer(case.x, case.weight, case.bias, **case.options), expected)


@pytest.mark.parametrize(("axes", "theirs"), [(1, F.conv_transpose1d), (2, F.conv_transpose2d)])
@settings(max_examples=60)
@given(data=st.data())
def test_a_transposed_convolution_layer_is_pytorchs(axes, theirs, data):
    case = data.draw(cases(axes, transposed=True))
    expected = theirs(*map(torch.from_numpy, (case.x, case.weight, case.bias)), **case.options)
    agrees(transposed_convolution_layer(case.x, case.weight, case.bias, **case.options), expected)


@given(cases(transposed=True))
def test_the_transposed_convolution_is_the_transpose_of_the_convolution(case):
    y = transposed_convolution_layer(case.x, case.weight, **case.options)
    z = np.random.default_rng(0).normal(size=y.shape)
    back = convolution_layer(z, case.weight, **{k: v for k, v in case.options.items() if k != "output_padding"})
    assert (y * z).sum() == pytest.approx((case.x * back).sum(), abs=1e-8)


@given(pools())
def test_max_pooling_is_pytorchs(pool):
    x, *how = pool
    agrees(max_pool(x, *how), F.max_pool2d(torch.from_numpy(x), *how))


@given(pools(), st.booleans())
def test_average_pooling_is_pytorchs(pool, count):
    x, *how = pool
    expected = F.avg_pool2d(torch.from_numpy(x), *how, count_include_pad=count)
    agrees(average_pool(x, *how, count_padding=count), expected)


def test_pooling_a_row_is_pytorchs():
    x = np.random.default_rng(0).normal(size=(2, 3, 11))
    agrees(max_pool(x, (3,), 2, 1), F.max_pool1d(torch.from_numpy(x), 3, 2, 1))
    agrees(average_pool(x, (3,), 2), F.avg_pool1d(torch.from_numpy(x), 3, 2))


@given(pictures())
def test_relu_and_softmax_are_pytorchs(x):
    agrees(relu(x), F.relu(torch.from_numpy(x)))
    agrees(softmax(x), F.softmax(torch.from_numpy(x), dim=-1))


@given(pictures(), st.sampled_from([1, 3, 5, 7]), st.floats(1e-4, 2), st.floats(0.5, 1), st.floats(1, 3))
def test_local_response_norm_is_pytorchs_with_size_times_the_alpha(x, size, alpha, beta, k):
    agrees(
        local_response_norm(x, size, alpha, beta, k),
        F.local_response_norm(torch.from_numpy(x), size, alpha * size, beta, k),
    )


@given(pictures(), seeds, st.floats(0, 1), st.floats(1e-6, 0.1))
def test_batch_norm_and_its_moving_averages_are_pytorchs(x, seed, momentum, eps):
    C = x.shape[1]
    gamma, beta, mean = np.random.default_rng(seed).normal(size=(3, C))
    variance = np.random.default_rng(seed).random(C) + 0.1
    theirs = [torch.tensor(a) for a in (mean, variance, gamma, beta)]
    expected = F.batch_norm(torch.from_numpy(x), *theirs, training=False, eps=eps)
    agrees(batch_norm_testing(x, gamma, beta, mean, variance, eps), expected)
    if x.size > C:
        expected = F.batch_norm(torch.from_numpy(x), *theirs, training=True, momentum=momentum, eps=eps)
        y, moved_mean, moved_variance = batch_norm_training(x, gamma, beta, mean, variance, momentum, eps)
        # looser: values that are nearly equal are divided by little more than √ε
        assert_allclose(y, expected.numpy(), rtol=1e-6, atol=1e-6)
        agrees(moved_mean, theirs[0])
        agrees(moved_variance, theirs[1])
    else:
        with pytest.raises(ValueError, match="cannot train on one value a channel"):
            batch_norm_training(x, gamma, beta, mean, variance)


def test_batch_norm_leaves_the_averages_it_was_given_as_they_are():
    mean, variance = np.zeros(3), np.ones(3)
    batch_norm_training(np.random.default_rng(0).normal(size=(4, 3, 2, 5)), np.ones(3), np.zeros(3), mean, variance)
    assert_array_equal((mean, variance), ([0, 0, 0], [1, 1, 1]))


@given(pictures(), st.floats(0, 0.95), seeds)
def test_dropout_with_the_same_mask_is_pytorchs(x, rate, seed):
    torch.manual_seed(seed)
    expected = F.dropout(torch.from_numpy(x), rate)
    torch.manual_seed(seed)
    mask = F.dropout(torch.ones(x.shape, dtype=torch.float64), rate).numpy() != 0
    agrees(dropout(x, rate, mask), expected)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(rate):
    y = dropout(np.ones((300, 400)), rate, np.random.default_rng(0))
    assert (y != 0).mean() == pytest.approx(1 - rate, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.03)
    assert_array_equal(np.unique(y[y != 0]), [1 / (1 - rate)])
    assert_array_equal(dropout(np.ones((300, 400)), rate, np.random.default_rng(0)), y)


# filters


@given(cases())
def test_a_filter_goes_over_every_picture_of_a_stack(case):
    options = {name: value for name, value in case.options.items() if name != "groups"}
    kernel = case.weight[0, 0]
    stack = torch.from_numpy(case.x.reshape(-1, 1, *case.x.shape[2:]))
    expected = F.conv2d(stack, torch.from_numpy(kernel)[None, None], **options)
    agrees(correlate(case.x, kernel, **options).reshape(expected.shape), expected)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), seeds)
def test_convolution_and_correlation_are_scipys(H, W, fh, fw, seed):
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(H, W)), rng.normal(size=(fh, fw))
    full = (fh - 1, fw - 1)
    assert_allclose(convolve(x, k, padding=full), signal.convolve2d(x, k), atol=1e-9)
    assert_allclose(correlate(x, k, padding=full), signal.correlate2d(x, k), atol=1e-9)
    assert_allclose(convolve(x[0], k[0], padding=fw - 1), np.convolve(x[0], k[0]), atol=1e-9)


@given(st.integers(4, 9), st.integers(4, 9), seeds)
def test_convolving_twice_is_convolving_with_the_convolved_kernels(H, W, seed):
    rng = np.random.default_rng(seed)
    x, a, b = rng.normal(size=(H, W)), rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
    both = convolve(a, b, padding=(2, 1))
    assert_allclose(convolve(convolve(x, a), b), convolve(x, both), atol=1e-9)


def test_the_convolution_with_a_mirrored_kernel_is_the_correlation():
    symmetric = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert_array_equal(convolve(EDGE_INPUT, symmetric), correlate(EDGE_INPUT, symmetric))
    vertical = [[1, 0, -1]] * 3
    assert_array_equal(convolve(EDGE_INPUT, vertical), -correlate(EDGE_INPUT, vertical))


@given(st.integers(3, 9), st.integers(3, 9), seeds, st.floats(-5, 5))
def test_a_normalised_filter_leaves_an_even_area_as_it_is(H, W, seed, value):
    kernel = np.random.default_rng(seed).random((3, 2)) + 0.1
    assert_allclose(correlate(np.full((H, W), value), kernel, normalised=True), value, atol=1e-9)


def test_windows_are_what_the_kernel_lies_on():
    x = np.arange(20).reshape(4, 5)
    seen = windows(x, (2, 3), stride=(2, 1), dilation=(1, 2))
    assert seen.shape == (2, 1, 2, 3)
    assert_array_equal(seen[:, 0], [[[0, 2, 4], [5, 7, 9]], [[10, 12, 14], [15, 17, 19]]])


# numbers of the courses, to be checked by hand


def test_121_at_a_place_with_neighbours_1_1_2_gives_5_and_normalised_5_quarters():
    assert correlate([1, 1, 2], [1, 2, 1]) == [5]
    assert correlate([1, 1, 2], [1, 2, 1], normalised=True) == [5 / 4]


def test_the_mean_of_3x3_by_hand():
    x = [[1, 2, 0, 1, 3], [2, 1, 4, 2, 2], [1, 0, 1, 0, 1], [1, 2, 1, 0, 2], [2, 5, 3, 1, 2]]
    mean = correlate(x, np.ones((3, 3)), normalised=True)
    assert_allclose(9 * mean, [[12, 11, 14], [13, 11, 13], [16, 13, 11]])


def test_the_diagonal_filter_by_hand():
    rows = ["100001", "010010", "001100", "100010", "010010", "001010"]
    x, diagonal = [[int(pixel) for pixel in row] for row in rows], 2 * np.eye(3) - 1
    assert_array_equal(correlate(x, diagonal), [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]])
    assert_array_equal(correlate(x, diagonal, stride=2), [[3, -3], [-3, 0]])


def test_the_vertical_edge_filter_by_hand():
    edges = correlate(EDGE_INPUT, [[1, 0, -1]] * 3)
    assert_array_equal(edges, [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]])


def test_pooling_by_hand():
    assert_array_equal(max_pool(EDGE_INPUT, 2), [[5, 9, 7], [7, 5, 8], [4, 6, 9]])
    assert_array_equal(average_pool(EDGE_INPUT, 2), [[2.25, 5, 3.75], [2.5, 2.75, 4.75], [3, 3.5, 5.5]])


def test_1x1_filters_mix_the_192_channels_of_each_pixel_into_32():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1, 192, 28, 28)), rng.normal(size=(32, 192, 1, 1))
    y = convolution_layer(x, weight)
    assert y.shape == (1, 32, 28, 28)
    assert_allclose(y[0, :, 3, 20], weight[:, :, 0, 0] @ x[0, :, 3, 20])


def test_batch_norm_by_hand():
    # Mean 4, variance 5 (÷ 4) in the layer and 20/3 (÷ 3) in the average.
    y, mean, variance = batch_norm_training([[1.0], [3.0], [5.0], [7.0]], [1.0], [0.0], [0.0], [1.0], eps=0.0)
    assert_allclose(y[:, 0], np.array([-3, -1, 1, 3]) / np.sqrt(5))
    assert_allclose((mean[0], variance[0]), (0.4, 0.9 + 0.1 * 20 / 3))


def test_dropout_by_hand():
    assert_array_equal(dropout([1, 2, 3, 4], 0.5, [True, False, True, False]), [2, 0, 6, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: correlate(np.ones((4, 6)), np.ones((5, 3))), "a kernel of 5 does not fit on 4 pixels"),
        (lambda: correlate(np.ones((6, 4)), np.ones((3, 2)), dilation=(1, 4)), "5 long at a dilation of 4, does not"),
        (lambda: correlate(np.ones(4), np.ones((2, 2))), "a kernel of 2 axes needs a picture of as many"),
        (lambda: correlate(np.ones((4, 4)), np.ones((2, 2)), stride=(1, 1, 1)), "one for each of 2 axes"),
        (lambda: correlate(EDGE_INPUT, [[1, 0, -1]] * 3, normalised=True), "sums to 0 cannot be normalised"),
        (lambda: correlate([1, 2, 3], [0.1, 0.2, -0.3], normalised=True), "sums to 0 cannot be normalised"),
        (lambda: convolution_layer(np.ones((1, 3, 8, 9)), np.ones((4, 2, 3, 3))), "do not fit pictures"),
        (lambda: convolution_layer(np.ones((1, 4, 8, 9)), np.ones((3, 2, 3, 3)), groups=2), "do not fit pictures"),
        (lambda: convolution_layer(np.ones((3, 8, 9)), np.ones((4, 3, 3, 3))), "do not fit pictures"),
        (lambda: convolution_layer(np.ones((1, 3, 8, 9)), np.ones((4, 3, 3, 3)), np.ones(3)), "each of 4 channels"),
        (lambda: transposed_convolution_layer(np.ones((1, 3, 4, 5)), np.ones((2, 3, 3, 3))), "do not fit pictures"),
        (lambda: max_pool(np.ones((4, 6)), 5), "a kernel of 5 does not fit on 4 pixels"),
        (lambda: max_pool(np.ones((4, 6)), 2, padding=(0, 2)), "a padding of 2 is more than half a pooling's 2"),
        (lambda: local_response_norm(np.ones((1, 4, 2, 3)), 4), "size must be odd"),
        (lambda: batch_norm_testing(np.ones((2, 3)), *[[1.0]] * 4), "each of 3 channels"),
        (lambda: dropout([1.0], 1.0, [True]), r"rate must lie in \[0, 1\), is 1.0"),
        (lambda: dropout([1.0], -0.1, [True]), "rate must lie in"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
