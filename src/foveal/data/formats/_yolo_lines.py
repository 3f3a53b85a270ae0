"""A line of YOLO's label files: what its columns are, and the box that it means.

Five are a class and a box: the middle's x and y, width, height. A sixth is a score, which is not looked at. More are
points: of a polygon or an oriented box (`class x y x y …`), or key points behind a box (`class x y width height`, then
x and y of each, and perhaps whether it is seen). `kpt_shape` of a data.yaml tells the two apart. Without it, lines are
of key points where all that are longer have equally many columns and the points of each lie in the box that its first
four numbers make, and either each third number says how well it is seen, or the points fill half of the box and the
width and height are, as a place, not near them. Where only the last does not hold, nobody can tell, and it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foveal.data.formats._found import number_of
from foveal.data.formats._masks import round_points
from foveal.errors import shown

__all__ = ["KeyPoints", "Line", "box_of", "class_of"]

HAIR = 1.001  # a coordinate up to here is rounding of one at the edge
IN_BOX = 0.02  # of the picture: how far a key point may lie outside its box
SEEN = (0.0, 1.0, 2.0)
FLAT = 1e-9  # area of a polygon whose points lie on a line
SCORE = ("score behind a box ignored", "scores behind boxes ignored")
POLYGON = ("polygon taken as the box round it", "polygons taken as the boxes round them")
KEY_POINTS = ("line of key points taken as its box", "lines of key points taken as their boxes")


@dataclass(frozen=True)
class Line:
    """A box and its class, and what had to be assumed."""

    number: int  # of the class
    corners: tuple[float, float, float, float]  # shares of the picture
    assumed: tuple[tuple[str, str], ...] = ()  # words of `Found.assume`


def class_of(word: str) -> int | str:
    """A class number, however it is printed (`1`, `1.0`, `1.000e+00`), or what is wrong with it."""
    value = number_of(word)
    if value is None or value < 0 or value != int(value) or value >= 1e9 or word.startswith("-"):
        return f"class {shown(word)[:40]} is no whole number from 0"
    return int(value)


def box_of(words: Sequence[str], key_points: int) -> Line | str:
    """What a line says, or what is wrong with it.

    Args: key_points: numbers behind the box in this data set's longer lines; 0: those are polygons.
    """
    kind = class_of(words[0])
    n = len(words)
    if isinstance(kind, str):
        return kind
    if n < 5:
        return f"has {n} columns, a box has 5: class, x, y, width, height"
    values = [number_of(word) for word in words[1:]]
    for word, value in zip(words[1:], values, strict=True):
        if value is None:
            return f"{shown(word)[:40]} is not a number"
    numbers = [value or 0.0 for value in values]
    if n > 5 and key_points and n - 5 in (key_points, key_points + 1):
        corners = _corners(words[1:5], numbers[:4])
        return corners if isinstance(corners, str) else Line(kind, corners, (KEY_POINTS,))
    if n > 6 and not key_points:
        return _polygon(kind, words, numbers)
    if n > 6 or (n == 6 and not 0 <= numbers[4] <= 1):
        last = f" and {shown(words[5])[:40]} is no score between 0 and 1" if n == 6 else ""
        return f"has {n} columns, a box has 5: class, x, y, width, height{last}"
    corners = _corners(words[1:5], numbers[:4])
    return corners if isinstance(corners, str) else Line(kind, corners, (SCORE,) if n == 6 else ())


def _corners(words: Sequence[str], numbers: Sequence[float]) -> tuple[float, float, float, float] | str:
    for word, value in zip(words, numbers, strict=True):
        if not 0 <= value <= HAIR:
            return f"{shown(word)[:40]} is not a share between 0 and 1"
    x, y, width, height = numbers
    if not width or not height:
        return "zero area"
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _polygon(kind: int, words: Sequence[str], numbers: list[float]) -> Line | str:
    assumed: tuple[tuple[str, str], ...] = (POLYGON,)
    if len(numbers) % 2:
        if not 0 <= numbers[-1] <= 1:
            return f"has {len(words)} columns: a class and points have an odd number"
        numbers, assumed = numbers[:-1], (POLYGON, SCORE)
    for word, value in zip(words[1:], numbers, strict=False):
        if not 1 - HAIR <= value <= HAIR:
            return f"{shown(word)[:40]} is not a share between 0 and 1"
    if len(numbers) < 6 or abs(_area(numbers)) < FLAT:
        return f"has {len(words)} columns: {len(numbers) // 2} points on one line, zero area"
    return Line(kind, round_points(numbers), assumed)


def _area(flat: Sequence[float]) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = flat[0::2], flat[1::2]
    return sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x))) / 2


class KeyPoints:
    """Tells whether the longer lines of a data set are of key points, when all have been seen."""

    def __init__(self) -> None:
        self.possible, self.sure = True, True
        self.behind = 0  # numbers behind the box of a line
        self.lines = self.filled = self.among = 0

    def see(self, words: Sequence[str]) -> None:
        """Look at one line."""
        if len(words) <= 6 or not self.possible:
            return
        numbers = [value for word in words[1:] if (value := number_of(word)) is not None]
        box, rest = numbers[:4], numbers[4:]
        points, sure = _points(box, rest)
        self.possible = len(numbers) == len(words) - 1 and self.behind in (0, len(rest)) and _inside(box, points)
        if self.possible:
            self.behind = len(rest)
            self.lines += 1
            self.sure &= sure
            self.filled += _fill(box, points)
            self.among += _among(box[2], box[3], points)

    @property
    def decided(self) -> int | None:
        """How many numbers stand behind each box; 0 where longer lines are polygons; None where it could be either."""
        if not self.possible or not self.lines:
            return 0
        if self.sure:
            return self.behind
        if self.behind <= 4 or 2 * self.filled < self.lines:  # three points, or four: an oriented box
            return 0
        return self.behind if 2 * self.among < self.lines else None


def _points(box: Sequence[float], rest: Sequence[float]) -> tuple[list[Sequence[float]], bool]:
    """The key points that numbers may be, without those that are not marked, and whether they can be nothing else."""
    pairs, triples = ([rest[i : i + 2] for i in range(0, len(rest), each)] for each in (2, 3))
    pairs, triples = ([point for point in points if any(point)] for points in (pairs, triples))
    marked = len(rest) % 3 == 0 and all(value in SEEN for value in rest[2::3])
    odd = len(rest) % 2 == 1
    if marked or odd or not _inside(box, pairs):
        return triples if len(rest) % 3 == 0 and all(0 <= value <= 2 for value in rest[2::3]) else [], marked or odd
    return pairs, False


def _inside(box: Sequence[float], points: Sequence[Sequence[float]]) -> bool:
    """Whether there are points, and all lie in the box."""
    x, y, width, height = box
    return bool(points) and all(
        abs(px - x) <= width / 2 + IN_BOX and abs(py - y) <= height / 2 + IN_BOX for px, py in points
    )


def _fill(box: Sequence[float], points: Sequence[Sequence[float]]) -> bool:
    """Whether points span at least half of their box, one way."""
    x1, y1, x2, y2 = round_points([v for point in points for v in point])
    return 2 * (x2 - x1) >= box[2] or 2 * (y2 - y1) >= box[3]


def _among(x: float, y: float, points: Sequence[Sequence[float]]) -> bool:
    """Whether a point lies no farther from others than half of what they span: as a polygon's next one does."""
    x1, y1, x2, y2 = round_points([v for point in points for v in point])
    near = max(x2 - x1, y2 - y1) / 2 + IN_BOX
    return x1 - near <= x <= x2 + near and y1 - near <= y <= y2 + near
