"""3×3 matrices: worked by hand, and by what must hold for any."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from foveal.ops.geometry import (
    flip_matrix,
    inverse,
    linear_about,
    map_points,
    on_pixel_centres,
    scale_matrix,
    translation,
)

angles = st.floats(-180, 180)
small = st.floats(-40, 40)


def test_a_mirrored_picture_carries_its_left_edge_to_the_right():
    matrix = flip_matrix(True, False, width=10, height=4)
    assert_allclose(map_points(matrix, np.array([[0.0, 1.0], [10.0, 4.0]])), [[10, 1], [0, 4]])


def test_a_picture_turned_upside_down_keeps_x():
    matrix = flip_matrix(False, True, width=10, height=4)
    assert_allclose(map_points(matrix, np.array([[3.0, 1.0]])), [[3, 3]])


def test_a_quarter_turn_is_clockwise_as_seen():
    turn = linear_about(0, 0, np.array([90.0]), np.zeros(1), np.ones(1))
    assert_allclose(map_points(turn, np.array([[[1.0, 0.0]]])), [[[0, 1]]], atol=1e-12)  # right goes down


def test_the_centre_stays_under_rotation_shear_and_zoom():
    matrix = linear_about(5, 3, np.array([33.0]), np.array([20.0]), np.array([1.7]))
    assert_allclose(map_points(matrix, np.array([[[5.0, 3.0]]])), [[[5, 3]]], atol=1e-12)


@given(angles, small, st.floats(0.3, 3), small, small)
def test_there_and_back_is_home(angle, shear, zoom, dx, dy):
    matrix = translation(dx, dy) @ linear_about(7, 9, np.array(angle), np.array(shear), np.array(zoom))
    points = np.array([[0.0, 0.0], [14, 3], [2, 18]])
    assert_allclose(map_points(inverse(matrix), map_points(matrix, points)), points, atol=1e-8)


@given(angles, st.floats(0.3, 3))
def test_rotation_keeps_area_and_zoom_squares_it(angle, zoom):
    matrix = linear_about(1, 2, np.array(angle), np.array(0.0), np.array(zoom))
    assert_allclose(np.linalg.det(matrix), zoom**2, rtol=1e-9)


def test_stacks_map_pairwise():
    matrices = np.stack([translation(1, 0), scale_matrix(2, 3)])
    points = np.array([[[1.0, 1.0]], [[1.0, 1.0]]])
    assert_allclose(map_points(matrices, points), [[[2, 1]], [[2, 3]]])


def test_the_first_pixels_centre_is_half_a_pixel_in():
    halved = on_pixel_centres(
        scale_matrix(0.5, 0.5)
    )  # pixel 0 and 1 meet in pixel 0: centres 0.5 and 1.5 -> 0.25, 0.75
    assert_allclose(map_points(halved, np.array([[0.0, 0.0], [1.0, 1.0]])), [[-0.25, -0.25], [0.25, 0.25]])
