"""The built-in data set with boxes: handwritten digits of several sizes, scattered on cluttered canvases.

The handwriting is scikit-learn's embedded digits, 8 × 8, redrawn as smooth strokes, a little turned and slanted.
Between the digits lie long faint strokes, blobs and scraps of handwriting too small to be read, on an uneven
noisy setup, light on dark or dark on light. Everything is drawn from `SEED`, each picture from a stream of its own.

2,000 pictures to train on hold about ten thousand digits, each glyph about eight times, and take a small detector
seconds an epoch; 500 to test hold about 2,500, so that a share near 0.98 is known to half a percent. No glyph is on
pictures of two splits: every fifth is test's, and of the others every eighth is val's.

Glyphs that two of the five glyphs nearest to them contradict are nobody's: at 12 pixels no reader would name them.

Source of the glyphs: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998 (its test part).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import ArrayPictures, Boxes, Dataset, Origin
from foveal.data.formats import Asked, numbered_labels

__all__ = ["COUNTS", "SIDE", "glyphs_by_split", "read_scenes"]

Grey = NDArray[np.float32]  # (H, W) pixels in [0, 255], or ink in [0, 1]

SEED = 20_1506
SIDE = 128  # pixels of a canvas, both ways
COUNTS = (2000, 200, 500)  # pictures of train, val and test
DIGITS = (2, 8)  # on a picture, both ends included
HEIGHTS = (12, 48)  # pixels of a digit
TEST_EVERY, VAL_EVERY = 5, 8
OVERLAP = 0.05  # share of a box that another may cover; the IoU of two is then below 0.03
GLYPH = 64  # pixels at which glyphs are redrawn before they get their size
INK = 0.25  # share of ink from which a pixel belongs to the digit; what is fainter is cut off
SCRAP = 8  # pixels: handwriting cut smaller than this is clutter, two thirds of the smallest digit
TRIES = 24  # places that are tried for a digit before it is left out


@dataclass(frozen=True, eq=False)
class Glyphs:
    """Handwriting of one split."""

    ink: Grey  # (n, GLYPH, GLYPH) in [0, 1]
    labels: NDArray[np.int64]  # (n,)


@dataclass(frozen=True, eq=False)
class Scene:
    """One canvas and what is on it."""

    pixels: NDArray[np.uint8]  # (SIDE, SIDE)
    xyxy: NDArray[np.float64]  # (n, 4)
    labels: NDArray[np.int64]  # (n,)


def read_scenes(asked: Asked) -> Dataset:
    """(2700, 128, 128) grey pictures with 2 to 8 digits each, their boxes and their splits."""
    drawn = _drawn()
    xyxy, digits = (np.concatenate(each) for each in zip(*((s.xyxy, s.labels) for s in drawn), strict=True))
    starts = np.concatenate([[0], np.cumsum([len(s.labels) for s in drawn])]).astype(np.int64)
    classes = asked.classes or tuple(str(digit) for digit in range(10))
    labels, classes = numbered_labels(digits, classes, "scenes")
    none = np.zeros(len(labels), np.bool_)
    sizes = np.full((len(drawn), 2), SIDE, np.int64)
    boxes = Boxes(xyxy, labels, starts, sizes, none, none.copy())
    areas = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    largest = np.array([a + areas[a:b].argmax() for a, b in pairwise(starts.tolist())])
    pictures = ArrayPictures(np.stack([s.pixels for s in drawn]), tuple(f"scenes[{i}]" for i in range(len(drawn))))
    splits = np.repeat(np.arange(3, dtype=np.int8), COUNTS)
    origin = Origin(asked.source, "built in", "scenes", "glyphs: those of test are on no other picture")
    return Dataset(pictures, labels[largest], classes, splits, origin, boxes=boxes)


@lru_cache(maxsize=1)  # the pictures are the same for ever, and a session opens them more than once
def _drawn() -> tuple[Scene, ...]:
    owners = np.repeat(np.arange(3), COUNTS)
    handwriting = glyphs_by_split()
    noise = np.random.default_rng(SEED).standard_normal((4 * SIDE, 4 * SIDE), dtype=np.float32)
    return tuple(
        _scene(np.random.default_rng([SEED, i]), handwriting[owner], noise) for i, owner in enumerate(owners.tolist())
    )


def glyphs_by_split() -> tuple[Glyphs, Glyphs, Glyphs]:
    """The legible glyphs of train, val and test, redrawn as strokes of GLYPH pixels."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    index = np.arange(len(loaded.target))
    owner = np.where(index % TEST_EVERY == 0, 2, np.where(index // TEST_EVERY % VAL_EVERY == 0, 1, 0))
    owner[~_legible(loaded.data, loaded.target)] = -1
    train, val, test = (
        Glyphs(np.stack([_strokes(loaded.images[i] / 16) for i in chosen]), loaded.target[chosen].astype(np.int64))
        for chosen in (np.flatnonzero(owner == split) for split in range(3))
    )
    return train, val, test


def _legible(glyphs: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether at least four of the five nearest other glyphs have the label. glyphs (n, 64)."""
    whole = glyphs.astype(np.float32)  # counts to 16: every product and sum is exact
    squares = (whole**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * whole @ whole.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, 5, axis=1)[:, :5]
    legible: NDArray[np.bool_] = (labels[nearest] == labels[:, None]).sum(axis=1) >= 4
    return legible


def _strokes(coarse: NDArray[np.float64]) -> Grey:
    """An 8 × 8 count of dark pixels as a stroke with a soft edge, (GLYPH, GLYPH) in [0, 1], with a rim of paper."""
    import cv2

    padded = np.pad(coarse.astype(np.float32), 2)
    smooth = cv2.resize(padded, (GLYPH, GLYPH), interpolation=cv2.INTER_CUBIC)
    edge = np.clip((cv2.GaussianBlur(smooth, (0, 0), 1.2) - 0.32) / 0.45, 0, 1)  # loops stay open
    return np.asarray(edge * edge * (3 - 2 * edge), np.float32)


def _scene(rng: np.random.Generator, glyphs: Glyphs, noise: Grey) -> Scene:
    """Setup, clutter and then the digits, whose ink stands out more than anything below them."""
    setup = rng.uniform(30, 90)
    contrast = rng.uniform(110, 150)
    if rng.random() < 0.5:  # dark on light
        setup, contrast = 255 - setup, -contrast
    canvas = _uneven(rng, setup)
    _clutter(rng, canvas, contrast, glyphs)
    xyxy, labels = _write_digits(rng, canvas, setup + contrast, glyphs)
    y, x = rng.integers(0, len(noise) - SIDE, 2)
    canvas += rng.uniform(1, 5) * noise[y : y + SIDE, x : x + SIDE]
    return Scene(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), xyxy, labels)


def _uneven(rng: np.random.Generator, level: float) -> Grey:
    """A ground that is lighter here and darker there."""
    import cv2

    hills = rng.normal(level, 14, (4, 4)).astype(np.float32)
    return np.asarray(cv2.resize(hills, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def _clutter(rng: np.random.Generator, canvas: Grey, contrast: float, glyphs: Glyphs) -> None:
    """Strokes longer than any digit, blobs, scraps smaller than any digit; all fainter than ink."""
    import cv2

    layer = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(rng.integers(1, 4)):
        ends = rng.uniform(0, SIDE, 2) + 0.6 * SIDE * _direction(rng)[None] * [[-1], [1]]
        middle = ends.mean(axis=0) + rng.normal(0, 16, 2)
        t = np.linspace(0, 1, 16)[:, None]
        curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * middle + t**2 * ends[1]
        points = [np.rint(curve * 8).astype(np.int32)]  # eighths of a pixel
        cv2.polylines(layer, points, False, rng.uniform(0.15, 0.4), int(rng.integers(1, 3)), cv2.LINE_AA, 3)
    for _ in range(rng.integers(1, 5)):
        centre, axes = rng.integers(0, SIDE, 2).tolist(), rng.integers(4, 14, 2).tolist()
        cv2.ellipse(layer, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(-0.25, 0.3), -1)
    layer = np.asarray(cv2.blur(layer, (3, 3)), np.float32)
    for _ in range(rng.integers(2, 8)):
        scrap = _scrap(rng, glyphs)
        y, x = rng.integers(0, SIDE - SCRAP, 2)
        layer[y : y + scrap.shape[0], x : x + scrap.shape[1]] += rng.uniform(0.3, 0.6) * scrap
    canvas += contrast * layer


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _scrap(rng: np.random.Generator, glyphs: Glyphs) -> Grey:
    """A splinter of a glyph, at most SCRAP pixels long and half as wide."""
    import cv2

    glyph = glyphs.ink[rng.integers(len(glyphs.ink))]
    long, lean = int(rng.integers(4, SCRAP + 1)), rng.random() < 0.5
    y, x = rng.integers(14, GLYPH // 2 - 4, 2)
    splinter = cv2.resize(glyph[y : y + 24, x : x + 12], (long // 2, long), interpolation=cv2.INTER_AREA)
    return np.asarray(splinter if lean else splinter.T, np.float32)


def _write_digits(
    rng: np.random.Generator, canvas: Grey, level: float, glyphs: Glyphs
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Digits in ink of about one level at free places, the largest first; their boxes (n, 4) and labels (n,)."""
    chosen = rng.integers(len(glyphs.ink), size=rng.integers(DIGITS[0], DIGITS[1] + 1))
    heights = -np.sort(-rng.integers(HEIGHTS[0], HEIGHTS[1] + 1, (2, len(chosen))).max(axis=0))  # few are tiny
    xyxy, labels = np.zeros((0, 4)), []
    for glyph, height in zip(chosen.tolist(), heights.tolist(), strict=True):
        digit = _written(rng, glyphs.ink[glyph], height)
        if (box := _free(rng, xyxy, digit.shape)) is not None:
            _cover(canvas, digit, int(box[0]), int(box[1]), level + rng.uniform(-15, 15))
            xyxy = np.concatenate([xyxy, box[None]])
            labels.append(int(glyphs.labels[glyph]))
    return xyxy, np.array(labels, np.int64)


def _written(rng: np.random.Generator, glyph: Grey, height: int) -> Grey:
    """(height, w) ink of a glyph a little turned, slanted and widened; its first and last rows and columns hold ink."""
    import cv2

    turn, slant, wide = rng.uniform(-0.15, 0.15), rng.uniform(-0.2, 0.2), rng.uniform(0.85, 1.15)
    c, s = np.cos(turn), np.sin(turn)
    linear = np.array([[c, -s], [s, c]]) @ np.array([[wide, slant], [0, 1]])
    centre = np.full(2, (GLYPH - 1) / 2)
    matrix = np.concatenate([linear, (centre - linear @ centre)[:, None]], axis=1)
    large = _tight(np.asarray(cv2.warpAffine(glyph, matrix, (GLYPH, GLYPH)), np.float32))
    width = max(3, round(large.shape[1] * height / large.shape[0]))
    way = cv2.INTER_AREA if height < large.shape[0] else cv2.INTER_LINEAR
    return _tight(np.asarray(cv2.resize(large, (width, height), interpolation=way), np.float32))


def _tight(ink: Grey) -> Grey:
    """What is left when rows and columns without ink are cut off the rim."""
    rows, columns = np.flatnonzero(ink.max(axis=1) >= INK), np.flatnonzero(ink.max(axis=0) >= INK)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free(rng: np.random.Generator, taken: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """(4,) the first of TRIES places for a box of (h, w) that overlaps little with those taken (n, 4)."""
    h, w = shape
    low = np.stack([rng.integers(0, SIDE - w + 1, TRIES), rng.integers(0, SIDE - h + 1, TRIES)], axis=1)
    boxes = np.concatenate([low, low + np.array([w, h])], axis=1).astype(np.float64)
    sides = np.minimum(boxes[:, None, 2:], taken[None, :, 2:]) - np.maximum(boxes[:, None, :2], taken[None, :, :2])
    both = np.maximum(sides, 0).prod(axis=2)
    areas = (taken[:, 2:] - taken[:, :2]).prod(axis=1)
    fits = (both <= OVERLAP * np.minimum(areas, h * w)).all(axis=1)
    return boxes[fits.argmax()] if fits.any() else None


def _cover(canvas: Grey, ink: Grey, x: int, y: int, level: float) -> None:
    """Ink that hides what it is written on."""
    h, w = ink.shape
    below = canvas[y : y + h, x : x + w]
    below += ink * (level - below)
