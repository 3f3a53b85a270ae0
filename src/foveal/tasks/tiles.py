"""Large pictures piece by piece: pieces that overlap, and what several of them see told once. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadRecipe
from foveal.ops.suppression import suppressed
from foveal.tasks.answers import Detections

__all__ = ["Piece", "TooMany", "check_count", "check_tile", "pieces_of", "put_together"]

BLOWN_UP = 8  # times that a piece may be enlarged to fill the network's input
MOST_PIECES = 1000  # of one picture, all of which are held until their objects are put together
OVERLAP = 0.2  # of a piece's side that its neighbour sees as well


class TooMany(Exception):
    """More pieces than are looked at; the text completes the sentence that begins with the picture's name."""


Piece = tuple[int, int, int, int]  # top, left, height, width in pixels of the picture


def check_tile(tile: int, size: tuple[int, int]) -> None:
    """Raises: BadRecipe for pieces of which the network would see little more than blown up pixels.

    Args: size, (height, width) of the network's input.
    """
    least = -(-min(size) // BLOWN_UP)
    if 0 < tile < least:
        input_ = f"{size[0]} × {size[1]}"
        raise BadRecipe(f"--tile {tile} is too small: the network looks at {input_} pixels; give {least} or more.")


def check_count(height: int, width: int, tile: int) -> None:
    """Raises: TooMany, before any piece is cut. Args: sides of the picture in pixels."""
    count = 1 + len(_starts(height, tile)) * len(_starts(width, tile))
    if count > MOST_PIECES:
        raise TooMany(f"makes {count:,} pieces of {tile} pixels, of at most {MOST_PIECES:,}: give a larger --tile")


def pieces_of(height: int, width: int, tile: int) -> list[Piece]:
    """The whole picture, and pieces of it of at most `tile` pixels a side."""
    pieces = [(0, 0, height, width)] + [
        (top, left, min(tile, height), min(tile, width))
        for top in _starts(height, tile) for left in _starts(width, tile)
    ]  # fmt: skip
    return list(dict.fromkeys(pieces))


def put_together(
    found: Sequence[Detections], pieces: Sequence[Piece], size: tuple[int, int], iou: float, most: int
) -> Detections:
    """Objects of each piece, in its pixels -> those of the picture of (height, width).

    A box that ends at a piece's edge where the picture goes on is left to the neighbour, or to the whole.
    """
    boxes, labels, scores = [], [], []
    for own, (top, left, high, wide) in zip(found, pieces, strict=True):
        inner = _not_cut(own.xyxy, (top, left, high, wide), size)
        boxes.append(own.xyxy[inner] + np.array([left, top, left, top]))
        labels.append(own.labels[inner])
        scores.append(own.scores[inner])
    classes = found[0].classes if found else ()
    together = Detections(np.concatenate(boxes), np.concatenate(labels), np.concatenate(scores), classes)
    return together.take(suppressed(together.xyxy, together.scores, together.labels, iou, most))


def _starts(length: int, tile: int) -> list[int]:
    """Where pieces begin along one side: evenly, overlapping by a share at least, the last one at the end."""
    if length <= tile:
        return [0]
    count = 1 + int(np.ceil((length - tile) / (tile * (1 - OVERLAP))))
    return [round(v) for v in np.linspace(0, length - tile, count)]


def _not_cut(xyxy: NDArray[np.float64], piece: Piece, whole: tuple[int, int]) -> NDArray[np.bool_]:
    """(n,) boxes that do not end at an edge where the picture goes on."""
    top, left, high, wide = piece
    open_edges = np.array([left > 0, top > 0, left + wide < whole[1], top + high < whole[0]])
    at_edge = np.abs(xyxy - np.array([0, 0, wide, high])) < 1.0
    clear: NDArray[np.bool_] = ~(at_edge & open_edges).any(1)
    return clear
