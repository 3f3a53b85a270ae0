"""Pictures drawn with their boxes: wherever the pixels go, the boxes go as well."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.data.augment import resolve_boxes
from foveal.data.box_batches import BoxBatches, padded
from foveal.data.dataset import Boxes
from foveal.recipe import AugmentRecipe

HEIGHT, WIDTH = 96, 160


class Painted:
    """Grey pictures with one bright rectangle each, where the box says."""

    def __init__(self, n: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        left, top = rng.integers(10, 90, n), rng.integers(10, 50, n)
        self.xyxy = np.stack([left, top, left + rng.integers(20, 60, n), top + rng.integers(15, 35, n)], 1).astype(
            float
        )
        self.pixels = np.full((n, HEIGHT, WIDTH, 3), 40, np.uint8)
        for picture, (x1, y1, x2, y2) in zip(self.pixels, self.xyxy.astype(int), strict=True):
            picture[y1:y2, x1:x2] = 250

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.pixels.shape

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices].copy()

    def boxes(self) -> Boxes:
        n = len(self.pixels)
        nobody = np.zeros(n, bool)
        sizes = np.tile([[HEIGHT, WIDTH]], (n, 1))
        return Boxes(self.xyxy, np.arange(n) % 3, np.arange(n + 1), sizes, nobody, nobody)


def batches(store: Painted, epochs: int = 4, batch: int = 4, **drawn: object) -> BoxBatches:
    recipe = AugmentRecipe.model_validate({"color": 0.0, **drawn})
    augment = resolve_boxes(recipe, (HEIGHT, WIDTH), 3, len(store.pixels))
    indices = np.arange(len(store.pixels))
    return BoxBatches(store, store.boxes(), indices, batch, augment, np.full(3, 114, np.uint8), 0, epochs, 1)


def bright(picture: np.ndarray) -> np.ndarray:
    return picture[:, :, 0] > 180


def painted_area(boxes: np.ndarray) -> np.ndarray:
    grid = np.zeros((HEIGHT, WIDTH), bool)
    for x1, y1, x2, y2 in np.round(boxes).astype(int).clip(0):
        grid[y1:y2, x1:x2] = True
    return grid


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_lie_where_the_bright_rectangles_went(mosaic: float) -> None:
    store = Painted(12)
    drawn = batches(store, mosaic=mosaic)
    for epoch in range(3):
        pictures, said = drawn.shown_with_boxes(epoch, np.arange(12))
        for picture, (labels, boxes) in zip(pictures, said, strict=True):
            assert len(labels) == len(boxes)
            seen, told = bright(picture), painted_area(boxes)
            if mosaic:  # a rectangle of which little is left has no box
                assert (told & ~seen).sum() <= 0.08 * told.sum() + 60
            elif len(boxes):
                assert (seen ^ told).sum() <= 0.08 * told.sum() + 60
            else:
                assert seen.sum() < 0.5 * 60 * 35  # what is left of it is no example of anything


def test_labels_stay_with_their_boxes() -> None:
    store = Painted(9)
    _, said = batches(store, zoom=0.0, translate=0.0, mosaic=0.0).shown_with_boxes(0, np.arange(9))
    assert [int(labels[0]) for labels, _ in said] == [i % 3 for i in range(9)]


def test_mosaics_show_several_pictures_and_end_before_the_training_does() -> None:
    drawn = batches(Painted(12), epochs=8, mosaic=1.0)
    early = [len(labels) for labels, _ in drawn.shown_with_boxes(0, np.arange(12))[1]]
    late = [len(labels) for labels, _ in drawn.shown_with_boxes(6, np.arange(12))[1]]
    assert max(early) > 1
    assert set(late) <= {0, 1}


def test_mixup_shows_the_objects_of_both_pictures() -> None:
    """A rectangle is brighter than its setup in the measure of its share; the boxes of both are told."""
    store = Painted(12)
    pictures, said = batches(store, epochs=8, mixup=8.0, mosaic=0.0).shown_with_boxes(0, np.arange(12))
    plain = batches(store, epochs=8, mosaic=0.0).shown_with_boxes(0, np.arange(12))[1]
    assert max(len(labels) for labels, _ in said) == 2
    for picture, (labels, boxes), (_, alone) in zip(pictures, said, plain, strict=True):
        assert len(labels) == len(boxes)
        assert np.array_equal(boxes[: len(alone)], alone)
        for x1, y1, x2, y2 in np.round(boxes).astype(int).clip(0):
            inside = picture[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3, 0]
            assert inside.size == 0 or inside.min() > 60
    late = batches(store, epochs=8, mixup=8.0, mosaic=0.0).shown_with_boxes(7, np.arange(12))[1]
    assert all(len(labels) <= 1 for labels, _ in late)


def test_a_batch_is_the_same_whoever_loads_it() -> None:
    store = Painted(10)
    one = list(batches(store, mosaic=0.5, mixup=1.0).epoch(1))
    again = list(batches(store, mosaic=0.5, mixup=1.0).epoch(1, start=1))
    assert one[1].pixels.equal(again[0].pixels)
    assert one[1].labels.equal(again[0].labels)


def test_crowds_are_not_learnt() -> None:
    store = Painted(4)
    plain = store.boxes()
    crowded = Boxes(
        plain.xyxy, plain.labels, plain.starts, plain.sizes, np.array([True, False, False, False]), plain.crowd
    )
    drawn = batches(store)
    object.__setattr__(drawn, "boxes", crowded)
    assert [len(labels) for labels, _ in drawn.shown_with_boxes(9, np.arange(4))[1]] == [0, 1, 1, 1]


def test_filling_has_no_class() -> None:
    table = padded([(np.array([2, 1]), np.array([[0.0, 1, 2, 3], [4, 5, 6, 7]])), (np.zeros(0, int), np.zeros((0, 4)))])
    assert table.shape == (2, 2, 5)
    assert table[0].tolist() == [[2, 0, 1, 2, 3], [1, 4, 5, 6, 7]]
    assert (table[1, :, 0] == -1).all()


def test_nothing_is_turned_or_mirrored_in() -> None:
    settled = resolve_boxes(AugmentRecipe(), (HEIGHT, WIDTH), 3, 100)
    assert (settled.rotate, settled.shear, settled.crop, settled.mixup) == (0, 0, 1, 0)
    assert settled.mosaic > 0
    store = Painted(6)
    pictures, said = batches(store, zoom=0.5, translate=0.0, mosaic=0.0, flip="none").shown_with_boxes(2, np.arange(6))
    for picture, (_, boxes) in zip(pictures, said, strict=True):
        assert (bright(picture) & ~painted_area(boxes + np.array([-2, -2, 2, 2]))).sum() == 0  # no second rectangle
