"""Plane geometry as 3×3 matrices: one matrix moves the pixels of a picture, its points and its boxes.

Coordinates are continuous: x right, y down, (0, 0) the outer corner of the top left pixel, (W, H) the outer corner of
the bottom right one, so the centre of the first pixel is (0.5, 0.5). A matrix maps homogeneous columns (x, y, 1) of the
original picture to places in the new one; stacks (N, 3, 3) map picture by picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["flip_matrix", "inverse", "linear_about", "map_points", "on_pixel_centres", "scale_matrix", "translation"]

Matrix = NDArray[np.float64]


def translation(dx: NDArray[np.float64] | float, dy: NDArray[np.float64] | float) -> Matrix:
    """(..., 3, 3): moves by (dx, dy) pixels."""
    dx, dy = np.broadcast_arrays(np.asarray(dx, np.float64), np.asarray(dy, np.float64))
    matrix = np.zeros((*dx.shape, 3, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = matrix[..., 2, 2] = 1
    matrix[..., 0, 2], matrix[..., 1, 2] = dx, dy
    return matrix


def scale_matrix(sx: NDArray[np.float64] | float, sy: NDArray[np.float64] | float) -> Matrix:
    """(..., 3, 3): stretches by sx and sy about the origin."""
    sx, sy = np.broadcast_arrays(np.asarray(sx, np.float64), np.asarray(sy, np.float64))
    matrix = np.zeros((*sx.shape, 3, 3))
    matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2] = sx, sy, 1
    return matrix


def flip_matrix(
    horizontal: NDArray[np.bool_] | bool, vertical: NDArray[np.bool_] | bool, width: float, height: float
) -> Matrix:
    """(..., 3, 3): mirrors left to right and/or top to bottom within a picture of width × height."""
    horizontal, vertical = np.broadcast_arrays(np.asarray(horizontal), np.asarray(vertical))
    matrix = scale_matrix(np.where(horizontal, -1.0, 1.0), np.where(vertical, -1.0, 1.0))
    matrix[..., 0, 2] = np.where(horizontal, width, 0.0)
    matrix[..., 1, 2] = np.where(vertical, height, 0.0)
    return matrix


def linear_about(
    x: float,
    y: float,
    angle_degrees: NDArray[np.float64],
    shear_degrees: NDArray[np.float64],
    zoom: NDArray[np.float64],
) -> Matrix:
    """(N, 3, 3): rotate (clockwise as seen, since y points down), shear along x and zoom, about the point (x, y)."""
    angle, shear = np.deg2rad(angle_degrees), np.tan(np.deg2rad(shear_degrees))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((*np.shape(angle), 3, 3))
    matrix[..., 0, 0], matrix[..., 0, 1] = zoom * cos, zoom * (cos * shear - sin)
    matrix[..., 1, 0], matrix[..., 1, 1] = zoom * sin, zoom * (sin * shear + cos)
    matrix[..., 2, 2] = 1
    about: Matrix = translation(x, y) @ matrix @ translation(-x, -y)
    return about


def inverse(matrix: Matrix) -> Matrix:
    """(..., 3, 3): the way back."""
    return np.linalg.inv(matrix).astype(np.float64)


def map_points(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., P, 2) points (x, y) in pixels, carried by a matrix (..., 3, 3); stacks go pairwise."""
    moved = points @ np.swapaxes(matrix[..., :2, :2], -1, -2)
    carried: NDArray[np.float64] = moved + matrix[..., None, :2, 2]
    return carried


def on_pixel_centres(matrix: Matrix) -> Matrix:
    """The same map for libraries that call the centre of the first pixel (0, 0), as OpenCV does."""
    return translation(-0.5, -0.5) @ matrix @ translation(0.5, 0.5)
