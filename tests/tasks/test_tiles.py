"""Large pictures piece by piece: pieces that cover them, and objects that are told once, where they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import BadRecipe
from foveal.tasks.answers import Detections
from foveal.tasks.tiles import MOST_PIECES, TooMany, check_count, check_tile, pieces_of, put_together


@given(st.integers(1, 900), st.integers(1, 900), st.integers(40, 400))
def test_pieces_cover_the_picture_overlap_and_stay_inside(height: int, width: int, tile: int) -> None:
    whole, *parts = pieces_of(height, width, tile)
    assert whole == (0, 0, height, width)
    if max(height, width) <= tile:
        assert not parts
        return
    seen = np.zeros((height, width), bool)
    for top, left, high, wide in parts:
        assert high <= tile
        assert wide <= tile
        assert top >= 0
        assert left >= 0
        assert top + high <= height
        assert left + wide <= width
        seen[top : top + high, left : left + wide] = True
    assert seen.all()
    for starts, length in ((sorted({p[0] for p in parts}), height), (sorted({p[1] for p in parts}), width)):
        for one, other in itertools.pairwise(starts):
            assert one + min(tile, length) - other >= 0.2 * tile - 1  # a fifth is seen by both


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 4000))
def test_a_picture_is_never_cut_into_more_pieces_than_are_looked_at(height: int, width: int, tile: int) -> None:
    count = len(pieces_of(height, width, tile))
    if count > MOST_PIECES:
        with pytest.raises(TooMany, match=f"pieces of {tile} pixels, of at most {MOST_PIECES:,}: give a larger --tile"):
            check_count(height, width, tile)
    else:
        check_count(height, width, tile)


def test_pieces_smaller_than_the_network_can_use_are_refused() -> None:
    for tile in (0, 40, 41, 10_000):
        check_tile(tile, (320, 416))
    for tile in (1, 39):
        with pytest.raises(BadRecipe, match=f"--tile {tile} is too small: .* 320 × 416 pixels; give 40 or more"):
            check_tile(tile, (320, 416))


def found(*rows: tuple[float, float, float, float, int, float]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4].astype(np.int64), table[:, 5], ("a", "b"))


def test_an_object_is_told_once_in_the_pictures_own_pixels() -> None:
    """A picture of 100 rows and 300 columns; the second piece begins at row 20 and column 160."""
    pieces = [(0, 0, 100, 300), (20, 160, 80, 80)]
    told = put_together(
        [found((170, 30, 190, 60, 0, 0.6)), found((10, 10, 30, 40, 0, 0.9), (40, 50, 55, 60, 1, 0.7))],
        pieces, (100, 300), 0.6, 100,
    )  # fmt: skip
    assert told.xyxy.tolist() == [[170, 30, 190, 60], [200, 70, 215, 80]]
    assert told.scores.tolist() == [0.9, 0.7]
    assert told.labels.tolist() == [0, 1]
    assert told.classes == ("a", "b")


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((0, 30, 20, 50), False),  # ends at the left edge of the piece, where the picture goes on
        ((60, 30, 80, 50), False),  # at its right one
        ((30, 0, 50, 20), False),  # at its upper one
        ((30, 60, 50, 80), True),  # at its lower one, which is the picture's
        ((30, 30, 50, 50), True),
    ],
)
def test_a_box_that_is_cut_by_a_piece_is_left_to_who_sees_it_whole(box: tuple[int, ...], told: bool) -> None:
    pieces = [(0, 0, 100, 300), (20, 160, 80, 80)]
    parts = [found(), found((*box, 0, 0.9))]  # type: ignore[arg-type]
    assert len(put_together(parts, pieces, (100, 300), 0.6, 100)) == told


def test_no_more_than_the_most_are_told() -> None:
    rows = [(10.0 * i, 0.0, 10.0 * i + 8, 8.0, 0, 0.9 - 0.1 * i) for i in range(6)]
    told = put_together([found(*rows)], [(0, 0, 100, 300)], (100, 300), 0.6, 4)
    assert told.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
