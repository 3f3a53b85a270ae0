"""The layers of a CNN in plain NumPy, a few lines each: what they compute, not how fast it can be done.

The tests hold each of them against PyTorch. Shapes are given for pictures, (…, H, W) or (N, C, H, W); the number of
axes of the kernel decides, so rows (n,) and volumes go the same way. A stride, padding or dilation is one number, or
one for each of these axes. Values are float64. What does not fit is a ValueError; how large things come out is told in
ops/arithmetic.py, and the softmax is in ops/statistics.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from foveal.ops.arithmetic import output_size, reach, transposed_output_size

__all__ = [
    "average_pool",
    "batch_norm_testing",
    "batch_norm_training",
    "convolution_layer",
    "convolve",
    "correlate",
    "dropout",
    "local_response_norm",
    "max_pool",
    "relu",
    "transposed_convolution_layer",
    "windows",
]

Floats = NDArray[np.float64]
Sides = int | Sequence[int]  # one number, or one for each axis of the kernel


# Filters


def windows(
    x: ArrayLike, kernel: Sequence[int], stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1, fill: float = 0.0
) -> Floats:
    """What a kernel sees at each place: (…, H, W) -> (…, H′, W′, f, f), a view that cannot be written to.

    Args:     kernel, its sides (height, width); fill, the value of the padding.
    Raises:   ValueError when the kernel does not fit on the padded picture.
    """
    picture, D = np.asarray(x, dtype=np.float64), len(kernel)
    if picture.ndim < D:
        raise ValueError(f"a kernel of {D} axes needs a picture of as many, got the shape {picture.shape}")
    strides, paddings, dilations = (_each(value, D) for value in (stride, padding, dilation))
    for side in zip(picture.shape[picture.ndim - D :], kernel, strides, paddings, dilations, strict=True):
        output_size(*side)  # raises when the kernel does not fit
    around = [(0, 0)] * (picture.ndim - D) + [(p, p) for p in paddings]
    reaches = tuple(reach(f, d) for f, d in zip(kernel, dilations, strict=True))
    padded = np.pad(picture, around, constant_values=fill)
    everywhere = sliding_window_view(padded, reaches, axis=tuple(range(-D, 0)))
    seen: Floats = everywhere[_last_axes(slice(None, None, step) for step in (*strides, *dilations))]
    return seen


def correlate(
    x: ArrayLike,
    kernel: ArrayLike,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    *,
    normalised: bool = False,
) -> Floats:
    """Lay the kernel on every place, multiply, sum: yᵢ = Σₐ kₐ·x(s·i + d·a − p). Deep learning's "convolution".

    Args:     x (…, H, W); kernel (f, f); `normalised` divides by the sum of the kernel, so that even areas stay as
              they are.
    Returns:  (…, H′, W′).
    Raises:   ValueError when the kernel does not fit, or sums to 0 and is to be normalised.
    """
    k = np.asarray(kernel, dtype=np.float64)
    if normalised:
        if abs(k.sum()) <= 1e-12 * abs(k).sum():  # 0 up to rounding
            raise ValueError("a kernel that sums to 0 cannot be normalised: it measures differences, not a mean")
        k = k / k.sum()
    y: Floats = np.tensordot(windows(x, k.shape, stride, padding, dilation), k, k.ndim)
    return y


def convolve(
    x: ArrayLike,
    kernel: ArrayLike,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    *,
    normalised: bool = False,
) -> Floats:
    """The convolution of mathematics: `correlate` with the kernel turned round along every axis.

    It may be learnt either way, which is why networks leave the turning out; for filters with a left and a right, and
    for convolving twice (which then is one convolution by both kernels' convolution), it matters.
    """
    return correlate(x, np.flip(np.asarray(kernel)), stride, padding, dilation, normalised=normalised)


# Layers with weights


def convolution_layer(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    groups: int = 1,
) -> Floats:
    """Every filter is correlated with all channels of its group, and their maps are summed.

    Args:     x (N, C_in, H, W); weight (C_out, C_in / groups, f, f); bias (C_out,).
    Returns:  (N, C_out, H′, W′).
    Raises:   ValueError when shapes do not fit each other, or the kernel does not fit on the padded picture.
    """
    maps, w = np.asarray(x, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    _check_channels(maps, w, w.shape[1] * groups, w.shape[0] % groups == 0)
    seen = windows(maps, w.shape[2:], stride, padding, dilation)  # (N, C_in, H′, W′, f, f)
    summed = (1, *range(2 - w.ndim, 0))  # channels and the kernel's sides
    parts = zip(np.split(seen, groups, axis=1), np.split(w, groups), strict=True)
    y = np.concatenate([np.tensordot(part, filters, (summed, summed)) for part, filters in parts], axis=-1)
    return _with_bias(np.moveaxis(y, -1, 1), bias)


def transposed_convolution_layer(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sides = 1,
    padding: Sides = 0,
    output_padding: Sides = 0,
    dilation: Sides = 1,
) -> Floats:
    """Every value lays the kernel, times itself, onto a map s times as large; what overlaps is summed.

    As matrices it is the transpose of the convolution with the same weights, hence the name and the order of axes.

    Args:     x (N, C_in, H, W); weight (C_in, C_out, f, f); bias (C_out,); padding is cut off at each end.
    Returns:  (N, C_out, H′, W′).
    Raises:   ValueError when shapes do not fit each other, or nothing is left.
    """
    maps, w = np.asarray(x, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    _check_channels(maps, w, w.shape[0], True)
    sides = zip(
        maps.shape[2:],
        w.shape[2:],
        *(_each(value, w.ndim - 2) for value in (stride, padding, output_padding, dilation)),
        strict=True,
    )
    axes = [(n, s, p, d, transposed_output_size(n, f, s, p, o, d)) for n, f, s, p, o, d in sides]
    y = np.zeros((len(maps), w.shape[1], *(size + 2 * p for *_, p, _, size in axes)))
    for tap in np.ndindex(w.shape[2:]):  # the places where this weight of the kernel falls
        places = (slice(d * t, d * t + s * (n - 1) + 1, s) for t, (n, s, _, d, _) in zip(tap, axes, strict=True))
        y[_last_axes(places)] += np.moveaxis(np.tensordot(maps, w[(..., *tap)], (1, 0)), -1, 1)
    return _with_bias(y[_last_axes(slice(p, p + size) for *_, p, _, size in axes)], bias)


# Layers without weights


def relu(x: ArrayLike) -> Floats:
    """max(0, x), value by value."""
    return np.maximum(np.asarray(x, dtype=np.float64), 0.0)


def max_pool(x: ArrayLike, kernel: Sides, stride: Sides | None = None, padding: Sides = 0) -> Floats:
    """The largest value of each window: (…, H, W) -> (…, H′, W′). The padding never wins.

    Args:     kernel, a square's side or (height, width); stride, the kernel's where none is given.
    Raises:   ValueError when the kernel does not fit, or the padding is more than half of it.
    """
    largest: Floats = _pooled(x, kernel, stride, padding, fill=-np.inf).max(axis=-1)
    return largest


def average_pool(
    x: ArrayLike, kernel: Sides, stride: Sides | None = None, padding: Sides = 0, *, count_padding: bool = True
) -> Floats:
    """The mean of each window: (…, H, W) -> (…, H′, W′); arguments and errors of `max_pool`.

    `count_padding`: padding counts as pixels of value 0 (PyTorch's default); False divides by the real ones only.
    """
    total = _pooled(x, kernel, stride, padding).sum(axis=-1)
    share = _pooled(np.ones(np.shape(x)), kernel, stride, padding, fill=float(count_padding))
    mean: Floats = total / share.sum(axis=-1)
    return mean


def local_response_norm(x: ArrayLike, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> Floats:
    """Channels at one place dampen their neighbours: aᵢ / (k + α Σⱼ aⱼ²)^β, j over the `size` channels around i.

    Args:     x (N, C, H, W). PyTorch's alpha is `size` times this one.
    Raises:   ValueError for an even size.
    Source:   Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks",
              section 3.3.
    """
    if size % 2 == 0:
        raise ValueError(f"size must be odd, as many channels before as behind, is {size}")
    a = np.asarray(x, dtype=np.float64)
    around = windows(np.moveaxis(a * a, 1, -1), (size,), padding=size // 2).sum(axis=-1)  # (N, H, W, C)
    dampened: Floats = a / (k + alpha * np.moveaxis(around, -1, 1)) ** beta
    return dampened


# Layers that train in one way and answer in another


def batch_norm_training(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    running_mean: ArrayLike,
    running_variance: ArrayLike,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Floats, Floats, Floats]:
    """Each channel to mean 0 and variance 1 over this batch, then times γ plus β; and the averages for later, moved on.

    Args:     x (N, C, H, W); the others (C,).
    Returns:  y (N, C, H, W), and the moving averages (C,): (1 − m)·old + m·new. The new variance is divided by n − 1
              for them, by n inside the layer.
    Raises:   ValueError when a channel has one value only: it has no variance.
    Source:   Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.
    """
    a = np.asarray(x, dtype=np.float64)
    axes, n = (0, *range(2, a.ndim)), a.size // a.shape[1]
    if n < 2:
        raise ValueError("batch norm cannot train on one value a channel: take more pictures a batch, or larger ones")
    mean, variance = a.mean(axis=axes), a.var(axis=axes)
    y = batch_norm_testing(a, gamma, beta, mean, variance, eps)
    moved_mean = (1 - momentum) * np.asarray(running_mean) + momentum * mean
    moved_variance = (1 - momentum) * np.asarray(running_variance) + momentum * variance * n / (n - 1)
    return y, moved_mean, moved_variance


def batch_norm_testing(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, mean: ArrayLike, variance: ArrayLike, eps: float = 1e-5
) -> Floats:
    """γ (x − μ) / √(σ² + ε) + β, with the averages that training left: a picture's answer is its own.

    Args:     x (N, C, H, W); the others (C,).
    Returns:  (N, C, H, W).
    Source:   Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 2, step 11.
    """
    a = np.asarray(x, dtype=np.float64)
    γ, β, μ, σ2 = (_a_channel(values, a) for values in (gamma, beta, mean, variance))
    y: Floats = γ * (a - μ) / np.sqrt(σ2 + eps) + β
    return y


def dropout(x: ArrayLike, rate: float, chance: np.random.Generator | ArrayLike) -> Floats:
    """Values are set to 0 with probability `rate`, the others divided by 1 − rate: the mean stays, and testing does
    nothing.

    Args:     x of any shape; chance, a generator that draws which values stay, or these as a mask (True: stays).
    Raises:   ValueError when rate is not in [0, 1).
    Source:   Srivastava et al. 2014, JMLR 15:1929–1958; scaled while training, as their section 10 offers.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), is {rate}")
    a = np.asarray(x, dtype=np.float64)
    stays = chance.random(a.shape) >= rate if isinstance(chance, np.random.Generator) else np.asarray(chance, bool)
    return np.where(stays, a / (1 - rate), 0.0)


def _each(value: Sides, D: int) -> tuple[int, ...]:
    """One number for each of D axes."""
    each = (value,) * D if isinstance(value, int) else tuple(value)
    if len(each) != D:
        raise ValueError(f"expected one number, or one for each of {D} axes, got {each}")
    return each


def _last_axes(slices: Iterable[slice]) -> tuple[Any, ...]:
    """An index of the last axes, whatever stands before them."""
    return (..., *slices)


def _pooled(x: ArrayLike, kernel: Sides, stride: Sides | None, padding: Sides, fill: float = 0.0) -> Floats:
    """(…, H, W) -> (…, H′, W′, f·f): what each window of a pooling holds."""
    sides = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    for f, p in zip(sides, _each(padding, len(sides)), strict=True):
        if 2 * p > f:
            raise ValueError(f"a padding of {p} is more than half a pooling's {f}: a window could lie in it entirely")
    seen = windows(x, sides, sides if stride is None else stride, padding, fill=fill)
    return seen.reshape(*seen.shape[: -len(sides)], -1)


def _check_channels(x: Floats, weight: Floats, in_channels: int, whole: bool) -> None:
    if x.ndim != weight.ndim or x.shape[1] != in_channels or not whole:
        raise ValueError(f"weights {weight.shape} do not fit pictures (N, C, …) of the shape {x.shape}")


def _with_bias(y: Floats, bias: ArrayLike | None) -> Floats:
    return y if bias is None else y + _a_channel(bias, y)


def _a_channel(values: ArrayLike, x: Floats) -> Floats:
    """(C,) -> (C, 1, 1), to stand beside (N, C, H, W)."""
    a = np.asarray(values, dtype=np.float64)
    if a.shape != x.shape[1:2]:
        raise ValueError(f"expected a value for each of {x.shape[1]} channels, got the shape {a.shape}")
    return a.reshape(-1, *[1] * (x.ndim - 2))
