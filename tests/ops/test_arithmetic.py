from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from foveal.ops.arithmetic import (
    convolution_multiply_adds,
    convolution_parameters,
    dense_multiply_adds,
    dense_parameters,
    output_size,
    parameter_formula,
    reach,
    receptive_field,
    same_padding,
    transposed_output_size,
    why_convolve,
)
from foveal.ops.convolution import convolution_layer

sides, kernels, strides, paddings, dilations = (
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(1, 3),
)


def parameters_of(module):
    return sum(p.numel() for p in module.parameters())


# sizes


@given(sides, kernels, strides, paddings, dilations)
def test_the_output_has_as_many_places_as_one_counts(n, f, s, p, d):
    places = [first for first in range(-p, n + p, s) if first + d * (f - 1) < n + p]
    if places:
        assert output_size(n, f, s, p, d) == len(places)
    else:
        with pytest.raises(ValueError, match=f"a kernel of {f}.* does not fit on {n} pixels with a padding of {p}"):
            output_size(n, f, s, p, d)


@given(st.integers(1, 30), st.integers(2, 30), st.integers(0, 4), dilations)
def test_the_padding_that_a_refusal_names_is_the_smallest_that_fits(missing, f, p, d):
    n = reach(f, d) - 2 * p - missing
    assume(n >= 1)
    with pytest.raises(ValueError) as refused:
        output_size(n, f, padding=p, dilation=d)
    enough = int(str(refused.value).rsplit(" ", 1)[1])
    assert output_size(n, f, padding=enough, dilation=d) >= 1
    with pytest.raises(ValueError, match="does not fit"):
        output_size(n, f, padding=enough - 1, dilation=d)


@given(sides, kernels, strides, paddings, dilations, st.data())
def test_a_transposed_size_is_one_that_the_convolution_brings_back(n, f, s, p, d, data):
    extra = data.draw(st.integers(0, s - 1))
    assume(s * (n - 1) + reach(f, d) - 2 * p + extra >= 1)
    large = transposed_output_size(n, f, s, p, extra, d)
    assert output_size(large, f, s, p, d) == n
    with torch.device("meta"):
        layer = torch.nn.ConvTranspose1d(1, 1, f, s, p, extra, dilation=d)
        assert layer(torch.empty(1, 1, n)).shape[2] == large


@given(sides, kernels, dilations)
def test_same_padding_keeps_the_size_or_there_is_none(n, f, d):
    keeping = [p for p in range(20) if n + 2 * p >= reach(f, d) and output_size(n, f, 1, p, d) == n]
    if keeping:
        assert keeping == [same_padding(f, d)]
    else:
        with pytest.raises(ValueError, match=f"a kernel of {f} has no middle pixel.* take {f - 1} or {f + 1}"):
            same_padding(f, d)


def test_same_padding_of_odd_kernels_is_half_of_what_is_left():
    assert [same_padding(f) for f in (1, 3, 5, 7, 11)] == [0, 1, 2, 3, 5]
    assert same_padding(3, dilation=4) == 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: output_size(4, 5), "a kernel of 5 does not fit on 4 pixels with a padding of 0: .* padding of 1$"),
        (lambda: output_size(4, 3, dilation=3), "a kernel of 3, 7 long at a dilation of 3, does not fit on 4 pixels"),
        (lambda: output_size(0, 1), "n must be at least 1, is 0"),
        (lambda: output_size(8, 0), "kernel must be at least 1, is 0"),
        (lambda: output_size(8, 3, stride=0), "stride must be at least 1, is 0"),
        (lambda: output_size(8, 3, padding=-1), "padding must be at least 0, is -1"),
        (lambda: output_size(8, 3, dilation=0), "dilation must be at least 1, is 0"),
        (lambda: transposed_output_size(1, 3, padding=2), "a padding of 2 leaves nothing of 3 pixels"),
        (lambda: transposed_output_size(4, 3, 2, output_padding=2), "output_padding must be below the stride of 2"),
        (lambda: convolution_parameters(6, 8, 3, groups=4), "6 and 8 channels cannot be shared out among 4 groups"),
        (lambda: convolution_parameters(8, 6, 3, groups=4), "8 and 6 channels cannot be shared out among 4 groups"),
        (lambda: convolution_parameters(3, 8, (5, 0)), "width must be at least 1, is 0"),
        (lambda: dense_parameters(0, 10), "in_features must be at least 1, is 0"),
        (lambda: receptive_field([(3, 0)]), "stride must be at least 1, is 0"),
        (lambda: why_convolve((32, 4, 3), 6, 5), "a kernel of 5 does not fit on 4 pixels"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# parameters and multiply-adds


@given(st.integers(1, 6), st.integers(1, 6), kernels, kernels, st.integers(1, 4), st.booleans())
def test_parameters_and_multiply_adds_of_a_convolution_are_those_pytorch_counts(c_in, c_out, fh, fw, groups, bias):
    c_in, c_out = c_in * groups, c_out * groups
    with torch.device("meta"):
        layer = torch.nn.Conv2d(c_in, c_out, (fh, fw), groups=groups, bias=bias)
        counter = FlopCounterMode(display=False)
        with counter:
            out = layer(torch.empty(1, c_in, 9, 12))
    count = convolution_parameters(c_in, c_out, (fh, fw), bias, groups)
    assert count == parameters_of(layer)
    assert parameter_formula((fh, fw, c_in // groups), c_out, bias).endswith(f" = {count}")
    work = convolution_multiply_adds(c_in, c_out, (fh, fw), tuple(out.shape[2:]), groups)
    assert 2 * work == counter.get_total_flops()


@given(st.integers(1, 500), st.integers(1, 500), st.booleans())
def test_parameters_and_multiply_adds_of_a_dense_layer_are_those_pytorch_counts(inputs, outputs, bias):
    with torch.device("meta"):
        layer = torch.nn.Linear(inputs, outputs, bias=bias)
        counter = FlopCounterMode(display=False)
        with counter:
            layer(torch.empty(1, inputs))
    assert dense_parameters(inputs, outputs, bias) == parameters_of(layer)
    assert 2 * dense_multiply_adds(inputs, outputs) == counter.get_total_flops()


def test_the_formula_is_written_as_on_a_board():
    assert parameter_formula((5, 5, 3), 8) == "(5·5·3 + 1)·8 = 608"
    assert parameter_formula((3, 3, 25), 50, bias=False) == "3·3·25·50 = 11250"
    assert parameter_formula((400,), 120) == "(400 + 1)·120 = 48120"
    assert parameter_formula((2,), 64, bias=False) == "2·64 = 128"  # a batch norm: γ and β of each channel


def test_the_course_lenet5_has_these_activations_and_parameters():
    side, channels, activations, parameters = 32, 3, [], []
    for filters in (8, 16):
        side = output_size(side, 5)
        activations.append(side * side * filters)
        parameters.append(convolution_parameters(channels, filters, 5))
        side, channels = output_size(side, 2, stride=2), filters
        activations.append(side * side * channels)
        parameters.append(0)
    for units in (120, 84, 10):
        parameters.append(dense_parameters(activations[-1], units))
        activations.append(units)
    assert activations == [6272, 1568, 1600, 400, 120, 84, 10]
    assert parameters == [608, 0, 3216, 0, 48120, 10164, 850]
    assert sum(parameters) == 62_958


def test_the_course_tables_forget_channels_and_biases():
    # 208 and 416: filters through one channel. 48,001, 10,081, 841: one bias for the whole layer.
    assert [convolution_parameters(1, filters, 5) for filters in (8, 16)] == [208, 416]
    pairs = [(400, 120), (120, 84), (84, 10)]
    assert [dense_parameters(*pair, bias=False) + 1 for pair in pairs] == [48_001, 10_081, 841]
    assert [convolution_parameters(1, filters, 3, bias=False) for filters in (25, 50)] == [25 * 9, 50 * 9]


def test_the_two_convolution_course_net_has_250_and_11300():
    side, channels, shapes, parameters = 28, 1, [], []
    for filters in (25, 50):
        parameters.append(convolution_parameters(channels, filters, 3))
        for f, s in ((3, 1), (2, 2)):
            side = output_size(side, f, s)
            shapes.append((filters, side, side))
        channels = filters
    assert shapes == [(25, 26, 26), (25, 13, 13), (50, 11, 11), (50, 5, 5)]
    assert parameters == [250, 11_300]


# receptive fields


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), max_size=4))
def test_the_receptive_field_is_where_the_gradient_of_a_unit_lies(layers):
    field = receptive_field(layers)
    first = field.offset - (field.size - 1) / 2  # of what unit 0 sees; below 0 when padding is part of it
    unit = max(0, math.ceil(-first / field.stride)) + 1
    start = int(first + unit * field.stride)
    strip = torch.ones(1, 1, start + field.size + 3, dtype=torch.float64, requires_grad=True)
    x = strip
    for f, s, p, d in layers:
        x = torch.nn.functional.conv1d(x, torch.ones(1, 1, f, dtype=x.dtype), stride=s, padding=p, dilation=d)
    (slope,) = torch.autograd.grad(x[0, 0, unit], strip)
    places = slope[0, 0].nonzero()
    assert (int(places.min()), int(places.max())) == (start, start + field.size - 1)


def seen(*layers):
    """(size, stride, offset)"""
    field = receptive_field(layers)
    return field.size, field.stride, field.offset


def test_no_layer_sees_one_pixel():
    assert seen() == (1, 1, 0)


@pytest.mark.parametrize("N", range(8))
def test_stacked_3x3_layers_see_a_square_of_2n_plus_1(N):
    assert receptive_field([(3,)] * N).size == 2 * N + 1
    assert seen(*[(3, 1, 1)] * N) == (2 * N + 1, 1, 0)  # padded: centred on its own pixel


def test_the_receptive_field_grows_with_strides_and_dilation_by_hand():
    # 3x3 stride 2: 3 pixels, 2 apart. 3x3 on that: 3 + 2·2 = 7. Its dilation by 2: 3 + 4·2 = 11, middle 1 + 4.
    assert seen((3, 2)) == (3, 2, 1.0)
    assert seen((3, 2), (3,)) == (7, 2, 3.0)
    assert seen((3, 2), (3, 1, 0, 2)) == (11, 2, 5.0)
    assert seen((2, 2), (2, 2)) == (4, 4, 1.5)
    assert seen((7, 2, 3), (3, 2, 1)) == (11, 4, 0.0)  # how ResNet begins


# weight sharing


def test_a_convolution_with_456_parameters_replaces_a_dense_layer_with_14_million():
    sharing = why_convolve((32, 32, 3), filters=6, kernel=5)
    assert sharing.output_shape == (28, 28, 6)
    assert (sharing.convolution_parameters, sharing.grey_parameters) == (456, 156)
    assert sharing.dense_weights == 3072 * 4704 == 14_450_688
    assert sharing.dense_parameters == 3073 * 4704
    assert sharing.ratio == pytest.approx(31_700.4, abs=0.05)


@given(st.integers(4, 8), st.integers(4, 8), st.integers(1, 3), st.integers(1, 3), kernels, kernels, st.integers(1, 2))
def test_the_replaced_dense_layer_is_the_matrix_of_the_convolution(H, W, C, filters, fh, fw, stride):
    assume(fh <= H and fw <= W)
    sharing = why_convolve((H, W, C), filters, (fh, fw), (stride, 1))
    weights = 1.0 + np.arange(filters * C * fh * fw).reshape(filters, C, fh, fw)  # all different, none 0
    every_input = np.eye(H * W * C).reshape(-1, C, H, W)
    matrix = convolution_layer(every_input, weights, stride=(stride, 1)).reshape(len(every_input), -1)
    assert matrix.size == sharing.dense_weights
    assert matrix.shape[1] == math.prod(sharing.output_shape)
    assert len(np.unique(matrix[matrix != 0])) + filters == sharing.convolution_parameters


def test_the_rows_and_columns_of_a_picture_are_not_swapped():
    sharing = why_convolve((20, 30, 3), filters=4, kernel=(1, 7), stride=(2, 1), padding=(0, 3))
    assert sharing.output_shape == (10, 30, 4)
    assert why_convolve((20, 30, 3), filters=4, kernel=(7, 1)).output_shape == (14, 30, 4)
    assert sharing.convolution_parameters == (7 * 3 + 1) * 4
