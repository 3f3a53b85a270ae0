"""The sums behind a CNN, on whole numbers: sizes, padding, parameters, multiply-adds, receptive fields.

Each side of a picture has its own sum, so a size is asked for height and for width. A kernel whose weights are counted
is one number for a square, or (height, width). In the formulas n is the input's side, f the kernel's, s the stride, p
the padding at each end, d the dilation (1: the kernel's pixels lie side by side). What cannot be is a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from foveal.ops.receptive import PIXEL, Reach

__all__ = [
    "WeightSharing",
    "convolution_multiply_adds",
    "convolution_parameters",
    "dense_multiply_adds",
    "dense_parameters",
    "output_size",
    "parameter_formula",
    "reach",
    "receptive_field",
    "same_padding",
    "transposed_output_size",
    "why_convolve",
]

Sides = int | tuple[int, int]  # a square, or (height, width)


# Sizes


def reach(kernel: int, dilation: int = 1) -> int:
    """Pixels from the first to the last that a kernel looks at: d(f − 1) + 1."""
    _at_least(1, kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def output_size(n: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """At how many places along a side a kernel fits: ⌊(n + 2p − d(f − 1) − 1) / s⌋ + 1. Pooling has the same sum.

    Raises:   ValueError when the kernel reaches beyond the padded side.
    Source:   Dumoulin and Visin 2016, arXiv:1603.07285, relationships 6 and 15.
    """
    _at_least(1, n=n, kernel=kernel, stride=stride, dilation=dilation)
    _at_least(0, padding=padding)
    spare = n + 2 * padding - reach(kernel, dilation)
    if spare < 0:
        length = "" if dilation == 1 else f", {reach(kernel, dilation)} long at a dilation of {dilation},"
        raise ValueError(
            f"a kernel of {kernel}{length} does not fit on {n} pixels with a padding of {padding}: "
            f"take a smaller one, or a padding of {padding - spare // 2}"
        )
    return spare // stride + 1


def transposed_output_size(
    n: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """What a transposed convolution makes of a side: s(n − 1) + d(f − 1) + 1 − 2p + output_padding.

    It is a size that `output_size` brings back to n. There are s of them, and `output_padding` says which.

    Raises:   ValueError when nothing is left, or output_padding is not below the stride.
    Source:   Dumoulin and Visin 2016, arXiv:1603.07285, relationship 14.
    """
    _at_least(1, n=n, stride=stride)
    _at_least(0, padding=padding, output_padding=output_padding)
    if output_padding >= stride:
        raise ValueError(f"output_padding must be below the stride of {stride}, is {output_padding}")
    size = stride * (n - 1) + reach(kernel, dilation) - 2 * padding + output_padding
    if size < 1:
        raise ValueError(f"a padding of {padding} leaves nothing of {size + 2 * padding} pixels: take a smaller one")
    return size


def same_padding(kernel: int, dilation: int = 1) -> int:
    """The padding at each end that keeps a side as it is, at stride 1: d(f − 1) / 2.

    Raises: ValueError when that is not a whole number: an even kernel has no middle.
    """
    if reach(kernel, dilation) % 2 == 0:
        raise ValueError(
            f"a kernel of {kernel} has no middle pixel, so no padding that is equal at both ends keeps the size: "
            f"take {kernel - 1} or {kernel + 1}"
        )
    return reach(kernel, dilation) // 2


# Parameters and work


def convolution_parameters(
    in_channels: int, out_channels: int, kernel: Sides, bias: bool = True, groups: int = 1
) -> int:
    """What a convolution learns: (f·f·C_in / groups + 1)·C_out. Every filter goes through all channels of its group.

    Raises: ValueError when the channels cannot be shared out evenly among the groups.
    """
    return (prod(_filter(in_channels, out_channels, kernel, groups)) + bias) * out_channels


def dense_parameters(in_features: int, out_features: int, bias: bool = True) -> int:
    """What a dense layer learns: (inputs + 1)·outputs, one weight for every pair and one bias for every output."""
    _at_least(1, in_features=in_features, out_features=out_features)
    return (in_features + bias) * out_features


def parameter_formula(weights: Sequence[int], units: int, bias: bool = True) -> str:
    """The count as one writes it on a board: the weights of one unit as factors, its bias, how many units.

    >>> parameter_formula((5, 5, 3), 8)
    '(5·5·3 + 1)·8 = 608'
    >>> parameter_formula((400,), 120, bias=False)
    '400·120 = 48000'
    """
    _at_least(1, weights=min(weights), units=units)
    one = "·".join(map(str, weights))
    return f"{f'({one} + 1)' if bias else one}·{units} = {(prod(weights) + bias) * units}"


def convolution_multiply_adds(
    in_channels: int, out_channels: int, kernel: Sides, output: Sides, groups: int = 1
) -> int:
    """What a convolution computes for one picture: H·W·C_out values of f·f·C_in / groups products each.

    Args:     output, the side of the map that comes out, or its (height, width).
    Returns:  multiply-adds, each two floating-point operations; biases are not counted.
    """
    height, width = _pair(output)
    _at_least(1, height=height, width=width)
    return height * width * out_channels * prod(_filter(in_channels, out_channels, kernel, groups))


def dense_multiply_adds(in_features: int, out_features: int) -> int:
    """What a dense layer computes for one picture: one multiply-add for every weight."""
    return dense_parameters(in_features, out_features, bias=False)


# Receptive fields


def receptive_field(layers: Iterable[Sequence[int]]) -> Reach:
    """What a unit behind a stack of layers sees: size 1 + Σ d(f − 1)·(product of the strides before).

    Args:     layers, from the input on: (kernel, stride, padding, dilation), of which all but the first may be left
              out, as for `output_size`.
    Returns:  the pixels that unit 0 sees and the stride from one unit to the next; `size` and `offset` follow.
    Source:   Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks", Distill,
              doi:10.23915/distill.00021.
    """
    field = PIXEL
    for layer in layers:
        kernel, stride, padding, dilation = (*layer, *(1, 0, 1)[len(layer) - 1 :])
        _at_least(1, kernel=kernel, stride=stride, dilation=dilation)
        _at_least(0, padding=padding)
        field = field.window(kernel, stride, padding, dilation)
    return field


# Why a network for pictures is built of convolutions


@dataclass(frozen=True)
class WeightSharing:
    """A convolution beside the dense layer that joins the same inputs to the same outputs."""

    input_shape: tuple[int, int, int]  # (H, W, C)
    kernel: tuple[int, int]  # (height, width)
    output_shape: tuple[int, int, int]  # (H′, W′, filters)
    convolution_parameters: int
    grey_parameters: int  # of the same convolution on a picture with one channel
    dense_weights: int  # inputs × outputs
    dense_parameters: int  # and a bias for every output

    @property
    def ratio(self) -> float:
        """How many times more the dense layer has to learn."""
        return self.dense_parameters / self.convolution_parameters


def why_convolve(
    shape: tuple[int, int, int], filters: int, kernel: Sides, stride: Sides = 1, padding: Sides = 0
) -> WeightSharing:
    """What sharing weights saves on a picture (H, W, C).

    Raises: ValueError when the kernel does not fit on the padded picture.
    """
    height, width, channels = shape
    sides = zip((height, width), _pair(kernel), _pair(stride), _pair(padding), strict=True)
    out_height, out_width = (output_size(*side) for side in sides)
    inputs, outputs = height * width * channels, out_height * out_width * filters
    return WeightSharing(
        input_shape=shape,
        kernel=_pair(kernel),
        output_shape=(out_height, out_width, filters),
        convolution_parameters=convolution_parameters(channels, filters, kernel),
        grey_parameters=convolution_parameters(1, filters, kernel),
        dense_weights=inputs * outputs,
        dense_parameters=dense_parameters(inputs, outputs),
    )


def _filter(in_channels: int, out_channels: int, kernel: Sides, groups: int) -> tuple[int, int, int]:
    """(height, width, channels) of one filter, when all numbers can be."""
    height, width = _pair(kernel)
    _at_least(1, in_channels=in_channels, out_channels=out_channels, height=height, width=width, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"{in_channels} and {out_channels} channels cannot be shared out among {groups} groups")
    return height, width, in_channels // groups


def _pair(sides: Sides) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else sides


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, is {number}")
