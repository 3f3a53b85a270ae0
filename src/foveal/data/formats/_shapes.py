"""Shapes that people draw, and what is learnt of them: the box round each, or a row that says why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foveal.data.formats._found import Found

__all__ = ["Corners", "add_shape", "flat_points", "is_number", "rotated", "round_ellipse"]

Corners = tuple[float, float, float, float]


def add_shape(found: Found, on: int, number: int, kind: str, corners: Corners | str, name: str, **marks: bool) -> None:
    """A box; one that is drawn as something else ("polygon", "rotated box", …) is counted.

    Args: kind: what is drawn; "" for a plain box. corners: the box round it, or what is wrong with it.
    """
    if isinstance(corners, str):
        found.lose(on, number, corners)
        return
    if kind:
        found.assume(
            f"{kind} taken as the box round it",
            f"{kind}{'es' if kind.endswith('x') else 's'} taken as the boxes round them",
            found.where(found.paths[on], number),
        )
    found.add_box(on, number, corners, name, **marks)


def rotated(corners: Corners, degrees: float, centre: tuple[float, float] | None = None) -> Corners:
    """The box round a box that is turned, clockwise as it is seen, about its middle or another point.

    >>> rotated((0, 0, 4, 2), 90)
    (1.0, -1.0, 3.0, 3.0)
    """
    x1, y1, x2, y2 = corners
    cx, cy = centre if centre is not None else ((x1 + x2) / 2, (y1 + y2) / 2)
    if degrees % 90 == 0:  # no rounding of what is exact
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(degrees // 90) % 4]
    else:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = [(x - cx, y - cy) for x in (x1, x2) for y in (y1, y2)]
    across = [cx + x * cos - y * sin for x, y in points]
    down = [cy + x * sin + y * cos for x, y in points]
    return min(across), min(down), max(across), max(down)


def round_ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0) -> Corners:
    """The box round an ellipse of two radii, turned about its middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    wide, high = (math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)) if degrees else (rx, ry)
    return cx - wide, cy - high, cx + wide, cy + high


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number that a coordinate can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def flat_points(points: object) -> list[float] | None:
    """x, y, x, y, … of a list of pairs; None where it is none."""
    if not isinstance(points, list) or not points:
        return None
    flat: list[float] = []
    for pair in points:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2 or not all(map(is_number, pair)):
            return None
        flat += [float(pair[0]), float(pair[1])]
    return flat
