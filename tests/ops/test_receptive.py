"""Receptive fields along one side."""

from hypothesis import given
from hypothesis import strategies as st

from foveal.ops.receptive import EVERYTHING, PIXEL, Reach, united

windows = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 3), st.integers(1, 3))


def seen_by(unit, layers):
    """The obvious way: the set of input positions that a unit sees, layer by layer backwards."""
    positions = {unit}
    for kernel, stride, padding, dilation in reversed(layers):
        positions = {p * stride - padding + dilation * k for p in positions for k in range(kernel)}
    return positions


@given(st.lists(windows, max_size=4), st.integers(0, 5))
def test_a_stack_of_windows_sees_from_the_first_to_the_last_of_its_pixels(layers, unit):
    reach = PIXEL
    for window in layers:
        reach = reach.window(*window)
    seen = seen_by(unit, layers)
    assert (reach.low + unit * reach.stride, reach.high + unit * reach.stride) == (min(seen), max(seen))
    assert reach.offset == (min(seen_by(0, layers)) + max(seen_by(0, layers))) / 2


def test_n_stacked_3x3_layers_see_2n_plus_1():
    reach = PIXEL
    for n in range(1, 6):
        reach = reach.window(3)
        assert reach.size == 2 * n + 1


def test_a_transposed_convolution_sees_at_most_what_its_kernel_covers():
    kernel, stride, padding = 4, 2, 1
    reach = PIXEL.spread(kernel, stride, padding)
    for out in range(20):
        seen = [i for i in range(-5, 20) if 0 <= out + padding - i * stride < kernel]
        assert reach.low + out * reach.stride <= min(seen)
        assert reach.high + out * reach.stride >= max(seen)


def test_branches_unite_from_the_first_pixel_to_the_last():
    assert united([Reach(0, 0, 2), Reach(-3, 3, 2)]) == Reach(-3, 3, 2)
    assert united([Reach(0, 4, 2), EVERYTHING]).everything


def test_what_sees_everything_keeps_seeing_it():
    assert EVERYTHING.window(3, 2, 1).everything
    assert EVERYTHING.spread(3, 2, 1).everything
    assert not PIXEL.window(3).everything


def test_every_second_unit_has_twice_the_stride():
    assert PIXEL.window(3).sliced(1, 2) == Reach(1, 3, 2)
