"""The shared pieces against the same written as loops over numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from foveal.networks.blocks import Add, Concat, Multiply, SqueezeExcite, conv_norm, divisible


def test_add_multiply_and_concat_are_what_their_names_say_and_change_nothing():
    torch.manual_seed(0)
    x, y, z, gate = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), torch.rand(2, 3, 1, 1)
    before = x.clone()
    assert torch.equal(Add()(x, y, z), x + y + z)
    assert torch.equal(Concat()(x, y[:, :2])[:, 3:], y[:, :2])
    assert torch.equal(Multiply()(x, gate)[1, 2], x[1, 2] * gate[1, 2, 0, 0])
    assert torch.equal(x, before)


def dense(weights, biases, inputs):
    return [sum(w * i for w, i in zip(ws, inputs, strict=True)) + b for ws, b in zip(weights, biases, strict=True)]


def by_loops(module, x):
    """Squeeze-and-excite as in the paper: means, two dense layers, a gate for each channel."""
    w1, b1, w2, b2 = (p.flatten(1).tolist() if p.ndim > 1 else p.tolist() for p in module.parameters())
    out = torch.empty_like(x)
    for n, picture in enumerate(x):
        means = [sum(sum(row) for row in channel.tolist()) / channel.numel() for channel in picture]
        hidden = [max(0.0, h) for h in dense(w1, b1, means)]
        for c, z in enumerate(dense(w2, b2, hidden)):
            out[n, c] = picture[c] / (1 + math.exp(-z))
    return out


@torch.no_grad()
def test_squeeze_and_excite_is_the_papers():
    torch.manual_seed(0)
    module, x = SqueezeExcite(6, 4), torch.randn(2, 6, 3, 5) + torch.arange(6.0).view(6, 1, 1)
    assert torch.allclose(module(x), by_loops(module, x), atol=1e-6)
    assert not torch.allclose(module(x), by_loops(module, x.flip(1)).flip(1), atol=1e-3)


def test_a_gate_kept_open_lets_everything_through():
    module, x = SqueezeExcite(4, 2, nn.SiLU, nn.Hardsigmoid), torch.randn(1, 4, 3, 2)
    nn.init.constant_(module.fc2.bias, 100)
    assert torch.equal(module(x), x)
    nn.init.constant_(module.fc2.bias, -100)
    assert module(x).abs().max() == 0


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_with_its_norm_keeps_the_size_at_stride_1_and_halves_it_at_2(kernel):
    x = torch.randn(2, 4, 7, 10)
    assert conv_norm(4, 8, kernel)(x).shape == (2, 8, 7, 10)
    halved = conv_norm(4, 8, kernel, stride=2, groups=4, activation=nn.ReLU)
    assert halved(x).shape == (2, 8, 4, 5)
    assert halved(x).min() == 0
    assert len(halved) == 3
    assert len(conv_norm(4, 8)) == 2


@given(st.floats(1, 4000))
def test_rounded_channels_are_a_multiple_of_8_near_enough(channels):
    rounded = divisible(channels)
    assert rounded % 8 == 0
    assert rounded >= 8
    assert 0.9 * channels <= rounded < channels + 8


def test_18_channels_become_24_for_16_would_lack_more_than_a_tenth():
    assert [divisible(c) for c in (18, 36, 20, 26.4, 1, 3.9, 256)] == [24, 40, 24, 24, 8, 8, 256]
