"""Boxes of a data set: those of a picture stay with it, whatever pictures are taken."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.dataset import Boxes


def some_boxes(counts: list[int]) -> Boxes:
    """Boxes whose corners and labels tell which picture they are on, and as which."""
    rows = [(picture, number) for picture, count in enumerate(counts) for number in range(count)]
    table = np.array(rows, np.float64).reshape(-1, 2)
    xyxy = np.concatenate([table, table + 1], axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sizes = np.stack([np.arange(len(counts)), np.arange(len(counts)) + 1000], axis=1)
    marks = table[:, 1].astype(np.int64)
    return Boxes(xyxy, marks, starts, sizes, marks % 2 == 1, marks % 3 == 1)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_taking_pictures_takes_each_pictures_own_boxes(counts: list[int], data: st.DataObject) -> None:
    boxes = some_boxes(counts)
    indices = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=6)), np.int64)
    taken = boxes.take(indices)
    assert len(taken) == sum(counts[i] for i in indices)
    for place, index in enumerate(indices):
        assert np.array_equal(taken.xyxy[taken.of(place)], boxes.xyxy[boxes.of(int(index))])
        assert np.array_equal(taken.labels[taken.of(place)], boxes.labels[boxes.of(int(index))])
        assert np.array_equal(taken.crowd[taken.of(place)], boxes.crowd[boxes.of(int(index))])
        assert np.array_equal(taken.difficult[taken.of(place)], boxes.difficult[boxes.of(int(index))])
        assert tuple(taken.sizes[place]) == (index, index + 1000)


def test_each_box_knows_its_picture() -> None:
    boxes = some_boxes([2, 0, 3])
    assert boxes.pictures.tolist() == [0, 0, 2, 2, 2]
    assert boxes.counts.tolist() == [2, 0, 3]
