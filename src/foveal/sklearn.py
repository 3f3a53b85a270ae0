"""`ImageClassifier`: a training as an estimator of scikit-learn, for pipelines, cross-validation and grid search.

    >>> from sklearn.datasets import load_digits
    >>> from foveal.sklearn import ImageClassifier
    >>> X, y = load_digits(return_X_y=True)                    # (1797, 64): pictures of 8 x 8, values of 0 to 16
    >>> classifier = ImageClassifier(network="lenet5", epochs=8, random_state=0).fit(X[:1400], y[:1400])
    >>> classifier.score(X[1400:], y[1400:]) > 0.9
    True

An estimator scores nothing by itself and writes no report: scikit-learn does the one, `foveal.train` the other.
"""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from foveal.data.dataset import SPLITS, ArrayPictures, Dataset, Origin
from foveal.data.fingerprints import digests, position
from foveal.errors import BadData, BadRecipe, Interrupted
from foveal.files.model_file import MODEL_FILE
from foveal.model import load
from foveal.model_files import check_keepable
from foveal.ops.statistics import softmax
from foveal.progress import SILENT, Progress
from foveal.recipe import Recipe
from foveal.tasks.registry import asked_task, check_keys
from foveal.training.asking import check_asked
from foveal.training.settle import settle

if TYPE_CHECKING:
    from foveal.model import Model

__all__ = ["BadArrays", "BadParameter", "ImageClassifier"]

ARITHMETIC = "fp32 channels-last"  # not the way that is the fastest here: two folds would then differ by the clock
READ_KEYS = ("data.size", "data.store")  # of [data]; the others tell how a folder is read and split
AT_ONCE = 1024  # pictures converted or answered at a time
TRAIN, VAL = SPLITS.index("train"), SPLITS.index("val")

Shape = tuple[int, int, int]


class BadArrays(BadData, ValueError):
    """X or y that cannot be used; a ValueError as well, as scikit-learn has it."""


class BadParameter(BadRecipe, ValueError):
    """A parameter or a setting that does not go; a ValueError as well, as scikit-learn has it."""


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A convolutional network that learns from arrays and tells one of K classes a picture, with probabilities.

    X is (N, H, W), (N, H, W, C) with C of 1, 3 or 4, or (N, D) with a picture a row. Values of uint8 are taken as they
    are, and so are floats where all of the training lie in [0, 1]; any other training X sets its own scale: its
    smallest value is black, its largest white. The scale is kept, and what lies beyond it at `predict` is clipped.
    All pictures of X are used, equal ones too, whatever their labels. Several fits may run in processes (`n_jobs`), and
    not in threads.

    Args:
        picture_shape: (H, W) or (H, W, C) of a row of a 2-D X. None: rows of D values are square and grey. "square":
            the same, filled up with black where D is no square.
        network: a name of `foveal networks`, or a notation; "auto" chooses by the pictures.
        weights: "auto", "scratch", "imagenet" or a file: what the network starts from.
        epochs: how many; "auto" by the network and the number of pictures.
        minutes: that a fit may take, and plan its epochs for; None for no limit. What fits depends on the clock.
        size: side in pixels of the network's input, or (height, width); "auto" by the pictures.
        validation_fraction: share of X that is not learnt from, but makes the probabilities trustworthy (the
            temperature of the softmax). It is chosen by content, so that equal pictures stay together, and no class
            is left without a picture to learn from. 0 learns from all.
        random_state: an int makes fits repeatable to the bit on one machine with one number of threads.
        settings: any other key of a recipe, as `{"augment.preset": "off"}`. `{"training.arithmetic": "auto"}` times
            which way of computing is the fastest here, and takes it: quicker, and not repeatable.
        progress: what hears how far a fit is; None for silence.

    Attributes:
        classes_ (K,) the labels, sorted; n_features_in_, values a picture; picture_shape_, (H, W, C);
        value_range_, (black, white) in X's own numbers; model_, the `foveal.Model`, which can be saved.

    Raises (`fit`, `predict`): BadArrays, BadParameter, which are ValueErrors; Missing for weights that are not there.
    """

    def __init__(
        self,
        picture_shape: tuple[int, ...] | str | None = None,
        *,
        network: str = "auto",
        weights: str = "auto",
        epochs: int | str = "auto",
        minutes: float | None = None,
        size: int | str | tuple[int, int] = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        settings: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.picture_shape = picture_shape
        self.network = network
        self.weights = weights
        self.epochs = epochs
        self.minutes = minutes
        self.size = size
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.settings = settings
        self.progress = progress

    def fit(self, X: ArrayLike, y: ArrayLike) -> ImageClassifier:
        """Learn from pictures and their labels, (N,) of any kind. X is left as it is. Returns: itself."""
        began = time.perf_counter()
        flat, given = _flat(X)
        flat, y = validate_data(self, flat, y, ensure_all_finite=False)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise BadArrays(f"y holds one class, {classes[0]}; a classifier needs two classes.")
        shape, value_range = _shape_of(self.picture_shape, given, flat.shape[1]), _range_of(flat)
        dataset = _dataset(_pixels(flat, shape, value_range), labels, classes, self.validation_fraction)
        with _as_scikit_learn_has_it():
            self.model_ = _trained(dataset, self._recipe(), self.progress or SILENT, began)
        self.classes_, self.picture_shape_, self.value_range_ = classes, shape, value_range
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(N, K) calibrated probabilities; the columns are those of `classes_`."""
        check_is_fitted(self, "model_")
        flat, given = _flat(X)
        if given not in (None, self.picture_shape_):
            raise BadArrays(f"X holds pictures of {given}, and the training's were {self.picture_shape_} (H, W, C).")
        flat = validate_data(self, flat, reset=False, ensure_all_finite=False)
        _check_scale(flat, self.value_range_)
        parts = [
            self._logits(_pixels(flat[start : start + AT_ONCE], self.picture_shape_, self.value_range_))
            for start in range(0, len(flat), AT_ONCE)
        ]
        return softmax(np.concatenate(parts).astype(np.float64) / self.model_.temperature)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(N,) the likeliest label of each picture."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[likeliest]
        return labels

    def _logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        prepared = np.stack([self.model_.preprocess.pixels(picture) for picture in pixels])
        logits: NDArray[np.float32] = self.model_.logits(prepared).numpy()
        return logits

    def _recipe(self) -> Recipe:
        """What the parameters ask for. Raises: BadRecipe for a key that they set twice, or that no array needs."""
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        size = "x".join(str(side) for side in self.size) if isinstance(self.size, tuple | list) else str(self.size)
        asked = {
            "network.name": self.network, "network.weights": self.weights, "training.epochs": self.epochs,
            "training.minutes": "auto" if self.minutes is None else self.minutes, "data.size": size,
        }  # fmt: skip
        own = {key: value for key, value in asked.items() if value != "auto"} | {"training.seed": seed}
        settings = dict(self.settings or {})
        for key in settings:
            if key in own:
                raise BadRecipe(f"settings: {key} is a parameter of ImageClassifier, and set there; leave it out.")
            if str(key).startswith("data.") and key not in READ_KEYS:
                raise BadRecipe(f"settings: {key} tells how foveal reads a folder, and X is an array; leave it out.")
        every = {"training.arithmetic": ARITHMETIC} | own | settings
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in every.items()}
        return Recipe().with_settings(plain, "ImageClassifier")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """With the bytes of the model's own file in place of the model."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
                self.model_.save(Path(folder) / MODEL_FILE)
                state["model_"] = (Path(folder) / MODEL_FILE).read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
                (Path(folder) / MODEL_FILE).write_bytes(state["model_"])
                state = {**state, "model_": load(Path(folder) / MODEL_FILE)}
        super().__setstate__(state)


# -- arrays


def _flat(X: Any) -> tuple[Any, Shape | None]:
    """(N, D) of pictures, and their (H, W, C); what has two axes or fewer is left to scikit-learn's own checks."""
    if not hasattr(X, "shape"):
        try:
            X = np.asarray(X)
        except ValueError:
            raise BadArrays("X is a list of unequal pictures; give pictures of one shape.") from None
    if len(X.shape) <= 2:
        return X, None
    if len(X.shape) > 4:
        raise BadArrays(f"X has shape {tuple(X.shape)}; it must be (N, H, W), (N, H, W, C) or (N, D).")
    H, W, C = (int(side) for side in (*X.shape[1:], 1)[:3])
    if C not in (1, 3, 4):
        raise BadArrays(
            f"X has shape {tuple(X.shape)}, and its last axis must be 1, 3 or 4 colors; "
            "X.transpose(0, 2, 3, 1) brings those of (N, C, H, W) there."
        )
    return X.reshape(len(X), H * W * C), (H, W, C)


def _shape_of(asked: Any, given: Shape | None, values: int) -> Shape:
    """(H, W, C) of each picture. Args: asked, picture_shape; given, by X itself; values, of a picture."""
    if asked is None or (isinstance(asked, str) and asked == "square"):
        if given is not None:
            return given
        side = math.isqrt(values - 1) + 1
        if asked is None and side * side != values:
            raise BadArrays(
                f"X has {values} values a picture, which is no square: give picture_shape=(H, W) or (H, W, C), "
                'or "square" to fill them up to one.'
            )
        return side, side, 1
    shape = _checked_shape(asked)
    if given not in (None, shape):
        raise BadArrays(f"X holds pictures of {given} (H, W, C), and picture_shape is {asked}; leave it out.")
    if math.prod(shape) != values:
        raise BadArrays(f"X has {values} values a picture, and picture_shape {asked} takes {math.prod(shape)}.")
    return shape


def _checked_shape(asked: Any) -> Shape:
    sides: list[Any] = list(asked) if isinstance(asked, tuple | list) else []
    whole = all(isinstance(side, int | np.integer) and side > 0 for side in sides)
    if len(sides) not in (2, 3) or not whole or (*sides, 1)[2] not in (1, 3, 4):
        raise BadParameter(
            f'picture_shape must be None, "square", (H, W) or (H, W, C) with C of 1, 3 or 4, is {asked!r}.'
        )
    H, W, C = (int(side) for side in (*sides, 1)[:3])
    return H, W, C


def _range_of(flat: NDArray[Any]) -> tuple[float, float]:
    """The values that become black and white."""
    if flat.dtype == np.uint8:
        return 0.0, 255.0
    low, high = _ends(flat)
    return (0.0, 1.0) if flat.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def _ends(flat: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest value. Raises: BadArrays where one is not finite."""
    low, high = float(flat.min()), float(flat.max())
    if not math.isfinite(high - low):
        rows = np.flatnonzero(~np.isfinite(flat).all(axis=1))
        where = f"NaN or infinity (first in picture {rows[0]})" if len(rows) else "numbers as large as infinity"
        raise BadArrays(f"X holds {where}; leave such pictures out, or fill the gaps.")
    return low, high


def _check_scale(flat: NDArray[Any], value_range: tuple[float, float]) -> None:
    """A warning where X is on another scale than the training's. Raises: BadArrays as of `_ends`."""
    (low, high), (black, white) = _ends(flat), value_range
    beyond = high > 2 * white - black or low < 2 * black - white
    if beyond or (white == 255 and flat.dtype.kind == "f" and 0 <= low < high <= 1):
        warnings.warn(
            f"X holds values of {low:g} to {high:g}, and those of the training were taken as {black:g} to {white:g}; "
            "give both on one scale.",
            stacklevel=3,
        )


def _pixels(flat: NDArray[Any], shape: Shape, value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """(N, D) -> (N, H, W, C) uint8; rows that are too short end in black."""
    (black, white), (N, D) = value_range, flat.shape
    out = np.zeros((N, math.prod(shape)), np.uint8)
    scale = 255 / (white - black) if white > black else 0.0
    for start in range(0, N, AT_ONCE):
        part = flat[start : start + AT_ONCE]
        as_is = part.dtype == np.uint8 and value_range == (0.0, 255.0)
        scaled = part if as_is else np.rint(np.clip((part.astype(np.float64) - black) * scale, 0, 255))
        out[start : start + AT_ONCE, :D] = scaled
    return out.reshape(N, *shape)


# -- training


def _dataset(pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: NDArray[Any], share: Any) -> Dataset:
    """Every picture, a share of them for validation by content; never all of a class."""
    if not (isinstance(share, int | float | np.number) and 0 <= share < 1):
        raise BadParameter(f"validation_fraction must be at least 0 and below 1, is {share!r}.")
    pictures = ArrayPictures(pixels, tuple(f"X[{i}]" for i in range(len(pixels))))
    found, labels = digests(pictures), labels.reshape(-1).astype(np.int64)
    held = position(found) < share
    held &= (np.bincount(labels[~held], minlength=len(classes)) > 0)[labels]
    splits = np.where(held, VAL, TRAIN).astype(np.int8)
    names, how = tuple(str(name) for name in classes), f"content hash: {100 * share:g} % val"
    return Dataset(pictures, labels, names, splits, Origin("(X, y)", "(X, y)", "arrays", how), digests=found)


def _trained(dataset: Dataset, recipe: Recipe, progress: Progress, began: float) -> Model:
    """A calibrated model; the run's folder is a temporary one."""
    check_asked(recipe)
    task, dataset = asked_task(dataset, recipe)
    check_keys(task, recipe, boxes=False)
    recipe = settle(task, dataset, recipe, say=progress.say)
    check_keepable(task, dataset.classes, recipe, dataset.origin.place)
    from foveal.runs.training_run import carried_out, computing  # with PyTorch

    with tempfile.TemporaryDirectory(prefix="foveal-") as folder, computing(recipe):
        return carried_out(task, Path(folder), dataset, recipe, None, progress, began)[2]


@contextmanager
def _as_scikit_learn_has_it() -> Iterator[None]:
    """Refusals are ValueErrors, and a signal ends a whole search: of other errors it would only count one fold lost."""
    try:
        yield
    except BadData as error:
        raise BadArrays(str(error)) from None
    except BadRecipe as error:
        raise BadParameter(str(error)) from None
    except Interrupted as stop:
        if stop.exit_code == 130:
            raise KeyboardInterrupt from None
        raise SystemExit(stop.exit_code) from None
