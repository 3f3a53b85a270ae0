"""A network on one offline page: its picture, blocks drawn to the scale of their activations, and the layer table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from foveal import __version__
from foveal.errors import shown
from foveal.files.durable import write_text
from foveal.networks.layers import Layer, LayerTable, in_sides
from foveal.report import words

__all__ = ["render_network", "write_network"]

TALLEST, WIDEST = 150.0, 54.0  # pixels of the page, for the largest map and the most channels
THINNEST = 5.0
GAP_ACROSS, GAP_DOWN, MARGIN = 16.0, 14.0, 18.0
_QUIET = ("Identity", "Dropout", "Dropout2d", "Flatten", "StochasticDepth")  # nothing to see: the shape stays
_ROUTINE = ("Norm", "ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Hardswish", "Hardsigmoid", "LeakyReLU", "Softmax")


@dataclass(frozen=True)
class Box:
    """A layer in the picture, in pixels of the page."""

    number: int  # of its row
    x: float
    y: float
    width: float
    height: float
    look: str  # "conv", "pool", "dense", "join" or "other"
    words: str


@dataclass(frozen=True)
class Picture:
    """Boxes and the lines between them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]  # SVG paths


def write_network(name: str, about: str, table: LayerTable, path: Path) -> None:
    """Write the page. Raises: NotWritable or NoSpace when the place refuses it."""
    write_text(path, render_network(name, about, table))


def render_network(name: str, about: str, table: LayerTable) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=shown, count=words.count, size=words.bytes_in_words)
    return environment.from_string(_file("network.html.jinja")).render(
        name=name,
        about=about,
        table=table,
        totals=table.as_dict()["totals"],
        rows=[layer.as_dict() for layer in table.layers],
        picture=picture(table.layers),
        style=_file("page.css"),
        version=__version__,
        sides=in_sides,
    )


def picture(rows: Sequence[Layer]) -> Picture:
    """Left to right by how many drawn layers lie before; side by side what runs in parallel.

    A box is as tall as the square root of its map's height and as wide as that of its channels, so that its area grows
    with the root of its activations.
    """
    drawn = [i for i, row in enumerate(rows) if _is_drawn(row)]
    before = _connections(rows, drawn)
    column: dict[int, int] = {}
    for i in drawn:
        column[i] = max((column[j] + 1 for j in before[i]), default=0)
    columns = [[i for i in drawn if column[i] == c] for c in range(max(column.values(), default=-1) + 1)]
    most_high = max((_side(rows[i]) for i in drawn), default=1.0)
    most_wide = max((rows[i].shape[0] for i in drawn), default=1)
    sizes = {i: _size(rows[i], most_high, most_wide) for i in drawn}
    return _laid_out(rows, columns, sizes, before)


def _is_drawn(row: Layer) -> bool:
    return row.kind not in _QUIET and not any(word in row.kind for word in _ROUTINE) and bool(row.shape)


def _connections(rows: Sequence[Layer], drawn: Sequence[int]) -> dict[int, list[int]]:
    """From each drawn layer back to the drawn ones before it, through those that are left out."""
    wanted = set(drawn)
    origins: dict[int, set[int]] = {}
    for i, row in enumerate(rows):
        through = set().union(*({j} if j in wanted else origins.get(j, set()) for j in row.inputs if j >= 0))
        origins[i] = through
    return {i: sorted(origins[i]) for i in drawn}


def _side(row: Layer) -> float:
    return float(max(row.shape[1:])) if len(row.shape) == 3 else 1.0


def _size(row: Layer, most_high: float, most_wide: int) -> tuple[float, float]:
    if len(row.shape) < 3:  # a dense layer stands upright: its units are its height
        return THINNEST + 2, min(TALLEST, THINNEST + 1.8 * math.sqrt(row.shape[0]))
    height = max(THINNEST, TALLEST * math.sqrt(_side(row) / most_high))
    return max(THINNEST, WIDEST * math.sqrt(row.shape[0] / most_wide)), height


def _laid_out(
    rows: Sequence[Layer],
    columns: Sequence[Sequence[int]],
    sizes: dict[int, tuple[float, float]],
    before: dict[int, list[int]],
) -> Picture:
    tall = max((sum(sizes[i][1] + GAP_DOWN for i in column) - GAP_DOWN for column in columns), default=0.0)
    boxes: dict[int, Box] = {}
    x = MARGIN
    for column in columns:
        wide = max(sizes[i][0] for i in column)
        y = MARGIN + (tall - sum(sizes[i][1] + GAP_DOWN for i in column) + GAP_DOWN) / 2
        for i in column:
            width, height = sizes[i]
            boxes[i] = Box(i, x + (wide - width) / 2, y, width, height, _look(rows[i].kind), _words(rows[i]))
            y += height + GAP_DOWN
        x += wide + GAP_ACROSS
    lines = [_line(boxes[j], boxes[i]) for i in boxes for j in before[i]]
    return Picture(x - GAP_ACROSS + MARGIN, tall + 2 * MARGIN, tuple(boxes.values()), tuple(lines))


def _line(start: Box, end: Box) -> str:
    """A curve from the right of one box to the left of the other."""
    x0, y0 = start.x + start.width, start.y + start.height / 2
    x1, y1 = end.x, end.y + end.height / 2
    bend = max(6.0, (x1 - x0) / 2)
    return f"M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"


def _look(kind: str) -> str:
    for word, look in (("Conv", "conv"), ("Pool", "pool"), ("Linear", "dense"), ("Add", "join"), ("Concat", "join")):
        if word in kind:
            return look
    return "join" if kind == "Multiply" else "other"


def _words(row: Layer) -> str:
    """What is read when the pointer rests on a box: its row."""
    lines = [
        row.name,
        f"{row.kind} {row.settings}".strip(),
        f"output {'×'.join(map(str, row.shape))}: {words.count(row.activations)} activations",
        f"parameters {row.formula or 0}",
        f"{words.count(row.multiply_adds)} multiply-adds",
        f"receptive field {in_sides(row.as_dict()['receptive_field'])}",
    ]
    return "\n".join(shown(line) for line in lines)


def _file(name: str) -> str:
    return resources.files("foveal.report").joinpath(name).read_text(encoding="utf-8")
