"""`Model`: what a user carries away. What computes, preprocessing, classes and calibration; one for every task.

It imports without PyTorch, and answers with whatever engine computes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from foveal.engines import Engine, TorchEngine
from foveal.errors import BadModel, BadPicture, BadRecipe, brief, check_kind, shown
from foveal.files.given import Picture, check_pictures, count_pictures, is_one_picture, named_pictures
from foveal.files.headers import shape_of
from foveal.files.model_file import model_file
from foveal.files.pictures import Encoded, picture_bytes
from foveal.files.plain_table import counted
from foveal.files.safely import Unreadable
from foveal.model_files import Description, described, network_of, read_darknet, with_weights, write_model
from foveal.networks.index import CUSTOM
from foveal.preprocess import VIEWS, Preprocess, Views
from foveal.progress import SILENT, Progress
from foveal.tasks.answered import Answers
from foveal.tasks.answers import Prediction
from foveal.tasks.classify import Classify, LabelCalibration
from foveal.tasks.detect import MOST, OVERLAP
from foveal.tasks.heads.head import Architecture
from foveal.tasks.task import Ask, Indices, Task
from foveal.tasks.tiles import TooMany, check_count, check_tile, pieces_of, put_together

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from foveal.data.batches import Rows

__all__ = ["CUSTOM", "VIEWS", "Answers", "Ask", "Asking", "Model", "Prediction", "Views", "classifier", "load"]

MOST_AT_ONCE = 256  # pictures that are read before they are answered


class Asking(TypedDict, total=False):
    """What `Model.predict` and `Model.stream` take beside the pictures."""

    top: int | None
    views: Views
    accuracy: float | None
    score: float | None
    precision: float | None
    iou: float | None
    tile: int
    keep_pictures: bool
    progress: Progress


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A trained network that answers for pictures.

    >>> model = foveal.load(run.folder)
    >>> model.predict(zero).label
    '0'
    """

    engine: Engine
    preprocess: Preprocess
    task: Task
    calibration: Any  # the task's
    architecture: Architecture
    trained: Mapping[str, Any] = field(default_factory=dict)  # how it came to be, for people

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart.

        >>> model.classes[:3]
        ('0', '1', '2')
        """
        return self.task.classes

    @property
    def network(self) -> Any:
        """The `nn.Module` that computes. Raises: BadModel where something else does.

        >>> type(model.network).__name__
        'MLP'
        """
        if isinstance(self.engine, TorchEngine):
            return self.engine.network
        raise BadModel("this model holds no network of PyTorch's.")

    @property
    def network_name(self) -> str:
        """Of the network, or of the trunk.

        >>> model.network_name
        'mlp'
        """
        return self.architecture.trunk

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the network's builder.

        >>> dict(model.options)
        {}
        """
        return self.architecture.options

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input.

        >>> model.size
        (24, 24)
        """
        return self.preprocess.height, self.preprocess.width

    @property
    def temperature(self) -> float:
        """Of the softmax of a classifier.

        >>> model.temperature > 0
        True
        """
        return float(self.calibration.temperature)

    @property
    def threshold(self) -> float:
        """Least score that a detector shows.

        >>> detector.threshold
        0.5
        """
        return float(self.calibration.threshold)

    @property
    def trust(self) -> Any:
        """How far its answers carry; None where no picture was kept aside to tell.

        >>> model.trust is not None
        True
        """
        return self.calibration.trust

    @property
    def kind(self) -> str:
        """The head of a detector, as before 0.2; it goes with 0.3."""
        warnings.warn("Model.kind is Model.architecture.kind now", DeprecationWarning, stacklevel=2)
        return self.architecture.kind

    def __repr__(self) -> str:
        height, width = self.size
        count = counted(len(self.classes), "class", "classes")
        return f"Model({self.task.name}: {brief(shown(self.network_name))}, {count}, {height}×{width} pixels)"

    # -- answers

    @overload
    def predict(self, pictures: bytes | Image | Tensor, **asked: Unpack[Asking]) -> Prediction: ...

    @overload
    def predict(  # type: ignore[overload-overlap] # a text can be iterated as well
        self, pictures: str | Path | NDArray[np.uint8], **asked: Unpack[Asking]
    ) -> Prediction | Any: ...

    @overload
    def predict(self, pictures: Iterable[Any], **asked: Unpack[Asking]) -> Answers: ...

    def predict(self, pictures: Any, **asked: Unpack[Asking]) -> Any:
        """What is on one picture, or on several.

        Args:    pictures, one: a path, a file's content, a PIL picture, an array (H, W) or (H, W, C) uint8 with C 1, 3
                 or 4. Several: a list, a generator, a folder (all pictures below it), `TypedPaths`, an array
                 (N, H, W, C). asked, as of `stream`.
        Returns: of one its `Prediction`, with the picture kept for notebooks; of several `Answers`, which are read as
                 they are asked for, where a picture that cannot be read has a reason and no answer.
        Raises:  BadPicture for a single picture that cannot be read; Missing for a path that is not there; BadRecipe
                 for what the model has no use or no answer for.

        >>> model.predict(zero).label
        '0'
        >>> [answer.label for answer in model.predict([zero, one])]
        ['0', '1']
        """
        if not is_one_picture(pictures):
            check_pictures(pictures)
            return Answers(self.stream(pictures, **asked))
        (prediction,) = self.stream(pictures, **{"keep_pictures": True, **asked})  # type: ignore[arg-type]
        if prediction.answer is None:
            raise BadPicture(prediction.name, prediction.reason)
        return prediction

    def probabilities(self, pictures: Picture | Iterable[Picture], views: Views = "none") -> NDArray[np.float32]:
        """(N, K) calibrated probabilities of each class for N pictures, float32; K in the order of `classes`.

        Args:   pictures as of `predict`, of which one is N = 1; views to average over, as of `stream`.
        Raises: BadPicture for one that cannot be read, so that each row is its picture's; BadRecipe where a model
                does not give every class a probability.

        >>> model.probabilities([zero, one]).shape
        (2, 10)
        """
        self.check(Ask(views=views))
        return self._of_each(pictures, lambda arrays: self.task.probabilities(arrays, self.calibration), views)

    def embed(self, pictures: Picture | Iterable[Picture]) -> NDArray[np.float32]:
        """(N, D) features of N pictures, float32: what enters the classifier, in which pictures that the network takes
        for alike lie near each other. D is the network's.

        Args:   pictures as of `predict`, of which one is N = 1.
        Raises: BadPicture for one that cannot be read; BadRecipe of a detector, and of a network without a linear
                classifier.

        >>> model.embed([zero, one]).shape
        (2, 512)
        """
        if not self.task.linear:
            raise BadRecipe(
                f"this model is {self.task.kind}, which has no features of a whole picture; one that is trained on "
                'the same pictures with task="classify" has.'
            )
        return self._of_each(pictures, lambda arrays: arrays["features"].astype(np.float32), features=True)

    def _of_each(
        self,
        pictures: Picture | Iterable[Picture],
        take: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]],
        views: Views = "none",
        features: bool = False,
    ) -> NDArray[np.float32]:
        """A row a picture, or an error. Args: take, from the engine's arrays."""
        is_one_picture(pictures)
        named, parts = named_pictures(pictures), list[NDArray[np.float32]]()
        while batch := list(islice(named, min(MOST_AT_ONCE, self._at_once()))):
            pixels = np.stack([self._pixels(name, source) for name, source in batch])
            parts += [take(arrays) for _, arrays in self.arrays(pixels, views, features)]
        if parts:
            return np.concatenate(parts)
        blank = np.zeros((1, *self.size, self.preprocess.channels), np.uint8)
        return take(self.engine(blank, views, features))[:0]

    def _pixels(self, name: str, source: Encoded | NDArray[np.uint8] | Unreadable) -> NDArray[np.uint8]:
        if isinstance(source, Unreadable):
            raise BadPicture(name, source.reason)
        return self.preprocess.pixels(source, name)

    def stream(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        top: int | None = None,
        views: Views = "none",
        accuracy: float | None = None,
        score: float | None = None,
        precision: float | None = None,
        iou: float | None = None,
        tile: int = 0,
        keep_pictures: bool = False,
        progress: Progress = SILENT,
    ) -> Iterator[Prediction]:
        """As `predict` of several, one after another and once: names are read as they come, and one batch is held.

        Args:   of classifiers top, how many answers a picture (5), views to average over, and accuracy, the target
                accuracy: less confident answers are marked as abstained (by default the one it was trained for).
                Of detectors and multi-label models score, the minimum of a box or label (by default the model's own),
                and precision, the target precision. Of detectors iou, above which two boxes of a class are one
                object, and tile, pixels a side: larger pictures are predicted tile by tile.
                keep_pictures, to have the content of each picture in its prediction.

        >>> [answer.label for answer in model.stream([zero, one], top=1)]
        ['0', '1']
        """
        ask = Ask(top, views, accuracy, score, precision, iou, tile)
        self.check(ask)
        return self._streamed(pictures, ask, keep_pictures, progress)

    def check(self, ask: Ask) -> None:
        """Raises: BadRecipe for what the model has no use for, or knows nothing about.

        >>> from foveal.model import Ask
        >>> model.check(Ask(top=3, accuracy=0.95))
        """
        ask.check(self.task)
        check_tile(ask.tile, self.size)
        self.task.check_ask(ask, self.calibration)

    def promise(self, accuracy: float | None = None, precision: float | None = None) -> str:
        """In one sentence what a target accuracy or precision does, given or trained for; "" without one.

        >>> model.promise(accuracy=0.9)
        '...90...%...'
        """
        return self.task.promise(Ask(accuracy=accuracy, precision=precision), self.calibration)

    def _streamed(
        self, pictures: Picture | Iterable[Picture], ask: Ask, keep: bool, progress: Progress
    ) -> Iterator[Prediction]:
        named = named_pictures(pictures)
        step = 1 if ask.tile else min(MOST_AT_ONCE, self._at_once())
        with progress.task("predicting", count_pictures(pictures)) as advance:
            while batch := list(islice(named, step)):
                yield from self._answered(batch, ask, keep)
                advance(len(batch))

    def _answered(
        self, batch: Sequence[tuple[str, Encoded | NDArray[np.uint8] | Unreadable]], ask: Ask, keep: bool
    ) -> Iterator[Prediction]:
        """Each file is opened once."""
        told: list[Prediction] = []
        pixels: list[NDArray[np.uint8]] = []
        pieces: list[Any] = []
        sizes: list[tuple[int, int]] = []
        for name, source in batch:
            try:
                if isinstance(source, Unreadable):
                    raise BadPicture(name, source.reason)
                content = picture_bytes(source, name, self.preprocess.max_megapixels)
                if ask.tile:
                    parts, pieces = self._pieces(content, name, ask.tile)
                else:
                    parts = [self.preprocess.pixels(content, name)]
                size = shape_of(content, name, sound=True)[:2]
                pixels += parts
                sizes.append(size)
                told.append(Prediction(name, None, "", size, content if keep else None))
            except BadPicture as error:
                told.append(Prediction(name, None, error.reason))
        answers = iter(self._answers(pixels, sizes, pieces, ask))
        for one in told:
            yield one if one.reason else Prediction(one.name, next(answers), "", one.size, one.picture)

    def _answers(
        self, pixels: list[NDArray[np.uint8]], sizes: list[tuple[int, int]], pieces: list[Any], ask: Ask
    ) -> list[Any]:
        if not pixels:
            return []
        inside = [piece[2:] for piece in pieces] if ask.tile else sizes
        found = [
            answer
            for start, arrays in self.arrays(np.stack(pixels), ask.views, self._wants_features(ask))
            for answer in self.task.answers(
                arrays, inside[start : start + len(next(iter(arrays.values())))], self.preprocess, self.calibration, ask
            )
        ]
        if not ask.tile:
            return found
        return [put_together(found, pieces, sizes[0], OVERLAP if ask.iou is None else ask.iou, MOST)]

    def _pieces(self, content: Any, name: str, tile: int) -> tuple[list[NDArray[np.uint8]], list[Any]]:
        picture = self.preprocess.upright(content, name)
        try:
            check_count(picture.shape[0], picture.shape[1], tile)
        except TooMany as many:
            raise BadPicture(name, str(many)) from None
        pieces = pieces_of(picture.shape[0], picture.shape[1], tile)
        cut = [np.ascontiguousarray(picture[top : top + h, left : left + w]) for top, left, h, w in pieces]
        return [self.preprocess.pixels(part, name) for part in cut], pieces

    # -- what computes

    def arrays(
        self, pixels: NDArray[np.uint8], views: Views = "none", features: bool = False
    ) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """(N, H, W, C) uint8 as `preprocess` made them -> the engine's arrays, some pictures at a time, and the number
        of the first of them. Raises: as of `Engine`.

        >>> pixels = np.stack([model.preprocess.pixels(picture) for picture in (zero, one)])
        >>> [(start, arrays["logits"].shape) for start, arrays in model.arrays(pixels)]
        [(0, (2, 10))]
        """
        step = self._at_once()
        for start in range(0, len(pixels), step):
            yield start, self.engine(pixels[start : start + step], views, features)

    def evidence(
        self,
        store: Rows,
        indices: Indices,
        sizes: Indices | None = None,
        *,
        views: Views = "none",
        features: bool = False,
        progress: Progress = SILENT,
    ) -> Any:
        """What calibration and scores need of stored pictures.

        Args: sizes, (n, 2) height and width of the upright pictures, for tasks with boxes.

        >>> from foveal.data.store import open_store
        >>> store = open_store(dataset, model.preprocess)
        >>> model.evidence(store, dataset.indices("val")).logits.shape
        (128, 10)
        """
        from foveal.data.batches import batches_in_order

        parts, done = [], 0
        with progress.task("scoring", len(indices)) as advance:
            for batch in batches_in_order(store, indices, 64 if self.task.whole else 512):
                for start, arrays in self.arrays(batch.numpy(), views, features):
                    first, count = done + start, len(next(iter(arrays.values())))
                    own = np.zeros((count, 2), np.int64) if sizes is None else sizes[first : first + count]
                    parts.append(self.task.evidence(arrays, own, self.preprocess))
                done += len(batch)
                advance(len(batch))
        return self.task.joined(parts)

    def logits(self, pixels: Any, views: Views = "none") -> Any:
        """Of a classifier: (N, H, W, C) uint8 as `preprocess` made them -> (N, K) float32 tensor on the CPU.

        >>> model.logits(model.preprocess.pixels(zero)[None]).shape
        torch.Size([1, 10])
        """
        import torch

        pixels = pixels if isinstance(pixels, np.ndarray) else pixels.numpy()
        parts = [torch.from_numpy(arrays["logits"]) for _, arrays in self.arrays(pixels, views)]
        return torch.cat(parts) if parts else torch.zeros(0, len(self.classes))

    def _at_once(self) -> int:
        return self.task.at_once(self.size, self.engine.device)

    def _wants_features(self, ask: Ask) -> bool:
        return self.task.wants_features(ask, self.calibration)

    def save(self, path: Path) -> None:
        """Write the model as one `.safetensors` file, durably.

        >>> model.save(Path("digits.safetensors"))
        >>> foveal.load("digits.safetensors").predict(zero).label
        '0'
        """
        write_model(
            path, self.network, self.task, self.architecture, self.preprocess, self.calibration, self.trained
        )  # fmt: skip


def load(path: str | Path, network: nn.Module | None = None) -> Model:
    """A model from a run's folder, a `.safetensors` file, or Darknet's `.cfg` with its `.weights`.

    Args:   network, needed where the model was trained from a network of one's own: the same class, built anew.
    Raises: Missing, or BadModel with what is wrong with the file. Nothing in the file is executed.

    >>> foveal.load(run.folder)
    Model(classify: mlp, 10 classes, 24×24 pixels)
    """
    check_kind(path, str | Path, "a model is a run's folder or a file", BadModel)
    if not str(path):
        raise BadModel("a model is a run's folder or a file; got an empty name.")
    file = model_file(path)
    if file.metadata is None:
        known, built = read_darknet(file.path)
        return _as_described(built, known, {})
    known = described(file.metadata, file.path)
    built = network if network is not None else network_of(known, file.path)
    arrays = with_weights(known, file.path, built)
    return _as_described(built, known, arrays)


def _as_described(network: nn.Module, known: Description, arrays: Mapping[str, NDArray[Any]]) -> Model:
    calibration = known.calibration.calibration(arrays)
    return model_of(
        network, known.task, known.classes, known.preprocess, known.architecture, calibration, known.trained
    )


def model_of(
    network: Any,
    kind: type[Task],
    classes: Sequence[str],
    preprocess: Preprocess,
    architecture: Architecture,
    calibration: Any = None,
    trained: Mapping[str, Any] | None = None,
) -> Model:
    """A model of a network of PyTorch's; without a calibration its answers are what the network says."""
    task = kind.reading(tuple(classes), architecture, (preprocess.height, preprocess.width), network)
    linear, name = kind.linear, architecture.trunk

    def classifier_of() -> str:
        from foveal.networks.head import classifier_path

        return classifier_path(network, name)

    engine = TorchEngine(network, preprocess, task.tensors, classifier_of if linear else None, folding=not linear)
    known = calibration if calibration is not None else task.uncalibrated()
    return Model(engine, preprocess, task, known, architecture, dict(trained or {}))


def classifier(
    network: nn.Module,
    preprocess: Preprocess,
    classes: Sequence[str],
    name: str = CUSTOM,
    options: Mapping[str, Any] | None = None,
    *,
    temperature: float = 1.0,
    trust: Any = None,
    trained: Mapping[str, Any] | None = None,
) -> Model:
    """A classifier out of a network of one's own, which maps (N, C, H, W) to (N, K) logits.

    Args: name and options, of the catalogue's builder where it is one of its networks.
    """
    built = Architecture("", name, dict(options or {}))
    return model_of(network, Classify, classes, preprocess, built, LabelCalibration(temperature, trust), trained)
