"""A network on one offline page: its picture, boxes √side high and √channels wide, and the layer table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.networks.layers import Layer, LayerTable, in_sides
from foveal.pages.page import Card, Fact, Facts, Page, Ready, Section
from foveal.pages.render import special, write_page
from foveal.pages.words import bytes_in_words, count

__all__ = ["network_page", "picture", "write_network"]

TALLEST, WIDEST = 150.0, 54.0  # pixels of the page, for the largest map and the most channels
THINNEST = 5.0
GAP_ACROSS, GAP_DOWN, MARGIN = 16.0, 14.0, 18.0
_QUIET = ("Identity", "Dropout", "Dropout2d", "Flatten", "StochasticDepth")  # nothing to see: the shape stays
_ROUTINE = ("Norm", "ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Hardswish", "Hardsigmoid", "LeakyReLU", "Softmax")
LOOKS = {
    "conv": "convolution",
    "pool": "pooling",
    "dense": "dense",
    "join": "sum, product or concatenation",
    "other": "other",
}
ABOUT_DRAWING = (
    "From the picture on the left to the output on the right. The height of a box is the square root of its map's "
    "side, its width that of its channels, so that large and small ones fit on one page. Hover over a box to read it, "
    "click to go to its row."
)
HEAD = (
    "layer", "kind", "output", "activations", "parameters", "multiply-adds", "memory", "receptive field", "stride",
    "offset",
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A layer in the picture, in pixels of the page."""

    number: int  # of its row
    x: float
    y: float
    width: float
    height: float
    look: str  # of LOOKS
    lines: tuple[str, ...]  # what is read when the pointer rests on it


@dataclass(frozen=True)
class Picture:
    """Boxes and the lines between them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]  # SVG paths


def write_network(name: str, about: str, table: LayerTable, path: Path) -> None:
    """Write the page. Raises: NotWritable or NoSpace when the place refuses it."""
    write_page(network_page(name, about, table), path)


def network_page(name: str, about: str, table: LayerTable) -> Page:
    """What is told of a network. Args: about, a phrase: the paper, the year."""
    drawing = special("network_drawing", drawing=picture(table.layers), name=name, looks=LOOKS)
    layers = special("network_layers", head=HEAD, rows=[_row(layer) for layer in table.layers])
    return Page(
        name,
        about,
        "layer by layer",
        [
            Section("", [Card([Facts(_facts(table))])]),
            Section(
                "The network",
                [Ready(drawing)],
                ABOUT_DRAWING,
            ),
            Section(
                "Layer by layer",
                [Ready(layers)],
                "Receptive field, stride and offset in pixels of the picture, height × width where they differ; the "
                "offset is where the centre of the first unit lies.",
            ),
        ],
        broad=True,
    )


def _facts(table: LayerTable) -> list[Fact]:
    totals = table.as_dict()["totals"]
    height, width = table.size
    kept = f"a picture a step; {count(totals['activations'])} activations"
    return [
        Fact("parameters", count(totals["parameters"])),
        Fact("multiply-adds", count(totals["multiply_adds"]), f"for one picture of {height}×{width} pixels"),
        Fact("receptive field", in_sides(totals["receptive_field"]), "of the last feature map, in pixels"),
        Fact(
            "memory for prediction", bytes_in_words(totals["inference_bytes"]), "weights and live activations, float32"
        ),
        Fact("memory for training", bytes_in_words(totals["training_bytes"]), kept),
    ]


def _row(layer: Layer) -> list[str]:
    """The cells of a layer, in the order of HEAD."""
    row = layer.as_dict()
    return [
        row["name"], f"{row['kind']} {row['settings']}", "×".join(map(str, row["shape"])), count(row["activations"]),
        str(row["formula"] or "0"), count(row["multiply_adds"]), bytes_in_words(row["bytes"]),
        in_sides(row["receptive_field"]), in_sides(row["stride"]), in_sides(row["offset"]),
    ]  # fmt: skip


def picture(rows: Sequence[Layer]) -> Picture:
    """Left to right by how many drawn layers lie before; side by side what runs in parallel.

    A box is as tall as the square root of its map's longer side and as wide as that of its channels. Its area is
    √(side · channels), which is not in proportion to the activations, side² · channels: these would not fit on a page.
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
            boxes[i] = Box(i, x + (wide - width) / 2, y, width, height, _look_of(rows[i].kind), _lines_of(rows[i]))
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


def _look_of(kind: str) -> str:
    """How a layer of some kind is drawn: one of LOOKS."""
    for word, look in (("Conv", "conv"), ("Pool", "pool"), ("Linear", "dense"), ("Add", "join"), ("Concat", "join")):
        if word in kind:
            return look
    return "join" if kind == "Multiply" else "other"


def _lines_of(layer: Layer) -> tuple[str, ...]:
    """What is read when the pointer rests on a box: its row."""
    return (
        layer.name,
        f"{layer.kind} {layer.settings}".strip(),
        f"output {'×'.join(map(str, layer.shape))}: {count(layer.activations)} activations",
        f"parameters {layer.formula or 0}",
        f"{count(layer.multiply_adds)} multiply-adds",
        f"receptive field {in_sides(layer.as_dict()['receptive_field'])}",
    )
