"""What a classic method reaches on the same split: HOG and a linear classifier, beside every result.

A histogram of oriented gradients says of each small cell of a picture which way its edges run (Dalal and Triggs 2005,
"Histograms of oriented gradients for human detection", CVPR); a logistic regression draws a plane between the classes.
That was the state of the art for a decade and takes seconds, so a network that doesn't beat it has bought nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadData
from foveal.ops.logistic import fit_logistic
from foveal.progress import SILENT, Progress
from foveal.tasks.task import LinearTask

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["Baseline", "baseline_seconds", "hog_baseline", "hog_features"]

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]
PixelsOf = Callable[[Indices], NDArray[np.uint8]]

CHUNK = 128  # pictures whose features are found at a time
MOST_TRAIN, MOST_TEST = 10_000, 5_000  # pictures: whatever the machine, so that a seed has one figure
MOST_WORK = 2e8  # values times classes of the table that is fitted; fewer pictures where there would be more
LEAST_OF_CLASS = 2  # training pictures of each class all the same
FIT_WORK = 2e10  # values times classes times iterations: some seconds
FIT_SECONDS = 2.0
C = 0.01  # inverse strength of the penalty on standardised features; flat between 0.003 and 0.1 on MNIST and digits
MAX_ITERATIONS = 100
SEED = 0  # which pictures a subset takes must not change from run to run


@dataclass(frozen=True)
class Baseline:
    """How well the classic method did, and on how much it was allowed to learn."""

    name: str
    score: float  # of the task's measure
    interval: tuple[float, float]  # 95 %
    n_train: int
    n_test: int
    seconds: float
    note: str  # on how many of the pictures, where it was not all; completes "HOG + linear …"
    measure: str = "top1"  # of `LinearTask`

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `metrics.json`; the figure under its own name."""
        rest = {key: value for key, value in asdict(self).items() if key != "score"}
        return {**rest, self.measure: self.score, "interval": list(self.interval)}


def hog_baseline(
    pixels_of: PixelsOf,
    truth: NDArray[Any],
    train_indices: Indices,
    test_indices: Indices,
    task: LinearTask,
    progress: Progress = SILENT,
) -> Baseline:
    """HOG + logistic regression, fitted on train and scored on test as the task scores.

    Of many pictures a fixed number is taken, the same for a seed on every machine: of training as many of each class as
    far as they go, of the test without regard to class, so that the figure estimates the same thing.

    Args:     pixels_of gives (n, H, W, C) uint8 for n indices; truth of all pictures, (N,) class indices or (N, K)
              whether a picture has a label.
    Raises:   BadData when train or test holds no picture.
    """
    if not len(train_indices) or not len(test_indices):
        raise BadData("The baseline needs pictures in train and in test; one of them is empty.")
    start, rng, K = time.monotonic(), np.random.default_rng(SEED), len(task.classes)
    train = _by_turns(train_indices, truth, rng)
    test = rng.permutation(test_indices)[:MOST_TEST]
    with progress.task("baseline: HOG + linear", min(len(train), MOST_TRAIN) + len(test)) as advance:
        test_table = _table(pixels_of, test, advance)
        train = train[: _enough(test_table.shape[1], K)]
        train_table = _table(pixels_of, train, advance)
    answers = _fit_and_answer(train_table, truth[train], test_table, K)
    return Baseline(
        name="HOG + linear",
        score=task.measured(answers, truth[test]),
        interval=task.interval(answers, truth[test]),
        n_train=len(train),
        n_test=len(test),
        seconds=time.monotonic() - start,
        note=_note(len(train), len(train_indices), len(test), len(test_indices)),
        measure=task.measure,
    )


def baseline_seconds(pixels_of: PixelsOf, train: int, test: int) -> float:
    """What it is likely to take with so many pictures: the features of the first one are timed.

    Its fit is a bounded amount of work, however many there are.
    """
    if not train or not test:
        return 0.0
    one = pixels_of(np.zeros(1, np.int64))
    hog_features(one)  # its libraries are imported
    began = time.perf_counter()
    hog_features(one)
    return (min(train, MOST_TRAIN) + min(test, MOST_TEST)) * (time.perf_counter() - began) + FIT_SECONDS


def _enough(values: int, classes: int) -> int:
    """How many training pictures of so many values each are taken."""
    return max(CHUNK, LEAST_OF_CLASS * classes, min(MOST_TRAIN, int(MOST_WORK / (values * classes))))


def hog_features(pixels: NDArray[np.uint8]) -> Floats:
    """(n, H, W, C) uint8 pictures -> (n, D) float32: 9 directions in each cell, normalised over blocks of 2 × 2 cells.

    Pictures of 24 to 40 pixels keep their size and have cells of 4 pixels; smaller ones are enlarged to 24, larger ones
    are brought to 64 with cells of 8. Of several colours, each pixel's steepest counts, as in the paper.
    """
    from skimage.feature import hog

    height, width, cell = _working_size(*pixels.shape[1:3])
    return np.stack(
        [
            hog(
                _resized(picture, height, width),
                orientations=9,
                pixels_per_cell=(cell, cell),
                cells_per_block=(2, 2),
                channel_axis=-1,
            )
            for picture in pixels
        ]
    ).astype(np.float32)


def _working_size(height: int, width: int) -> tuple[int, int, int]:
    """Height, width and cell in pixels, whole cells, the proportions kept as far as 4 : 1."""
    short = min(height, width)
    side, cell = (64, 8) if short > 40 else (max(24, short), 4)

    def whole_cells(length: int) -> int:
        return int(np.clip(round(length * side / short / cell), side // cell, 4 * side // cell)) * cell

    return whole_cells(height), whole_cells(width), cell


def _resized(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[Any]:
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=how).reshape(height, width, -1)


def _by_turns(indices: Indices, labels: NDArray[Any], rng: np.random.Generator) -> Indices:
    """The same pictures, one of each class after another, so that every beginning of the list is balanced; with several
    labels a picture as they come."""
    shuffled = rng.permutation(indices)
    if labels.ndim == 2:
        return shuffled
    own = labels[shuffled]
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], own[order], side="left")
    turn = np.empty(len(order), dtype=np.int64)
    turn[order] = np.arange(len(order)) - first  # the how-manieth of its class
    return shuffled[np.argsort(turn, kind="stable")]


def _table(pixels_of: PixelsOf, indices: Indices, advance: Callable[[int], None]) -> Floats:
    """(n, D) features of all the pictures."""
    parts: list[Floats] = []
    for start in range(0, len(indices), CHUNK):
        part = hog_features(pixels_of(indices[start : start + CHUNK]))
        parts.append(part)
        advance(len(part))
    return np.concatenate(parts)


def _fit_and_answer(train: Floats, truth: NDArray[Any], test: Floats, K: int) -> NDArray[Any]:
    """Fit on standardised features; (n, K) logits for the test rows. Both tables are overwritten."""
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    for table in (train, test):
        table -= mean
        table /= std
    if truth.ndim == 2:
        few, decay = (
            max(5, _iterations(train.size, K) // 2),
            1 / (C * len(train)),
        )  # a step costs about two of the others
        return fit_logistic(train, truth, K, decay, roughly=True, iterations=few, exact=False).logits(test)
    guesses = _logistic(train, truth).predict(test) if len(np.unique(truth)) > 1 else np.full(len(test), truth[0])
    answers: NDArray[Any] = np.eye(K)[guesses]
    return answers


def _logistic(train: Floats, labels: NDArray[np.int64]) -> LogisticRegression:
    """100 iterations of L-BFGS, fewer of a large table."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    iterations = _iterations(train.size, len(np.unique(labels)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is near enough, or large
        return LogisticRegression(C=C, max_iter=iterations).fit(train, labels)


def _iterations(values: int, classes: int) -> int:
    """So many that a fit is a bounded amount of work."""
    return int(min(MAX_ITERATIONS, max(5, FIT_WORK / (values * classes))))


def _note(train: int, all_train: int, test: int, all_test: int) -> str:
    parts = [
        f"{used:,} of {whole:,} {name} pictures"
        for used, whole, name in ((train, all_train, "training"), (test, all_test, "test"))
        if used < whole
    ]
    return f"on {' and '.join(parts)}" if parts else ""
