"""Many pictures through a model into one file, row by row: what `foveal predict` does.

Memory is bounded by what the model holds at once, not by the number of pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import Any, Protocol, TextIO

from foveal.errors import BadData, BadPicture, BadRecipe, NotWritable, shown
from foveal.files.durable import check_new_file, new_folder, no_write, writing
from foveal.files.free_names import first_free
from foveal.files.given import Picture
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress
from foveal.tasks.answers import Detections, Prediction
from foveal.tasks.formats import Writer, format_of, writer_for
from foveal.tasks.task import Ask, Asked

__all__ = ["TOP", "Answering", "Batched", "check_batch", "predict_to"]

TOP = 3  # answers a picture, of models that give several
HELD = 5000  # pictures that could not be used, after which what was found is written although none could so far
REASONS_SHOWN = 20
QUALITY = 92  # of the JPEGs that are drawn


class Answering(Protocol):
    """All that is needed of a model."""

    @property
    def task(self) -> Asked:
        """What kind of answers it gives, and what may be asked of it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """How it sees a picture: what is white in one of more than 8 bits, to draw it so."""
        ...

    @property
    def stream(self) -> Callable[..., Iterator[Prediction]]:
        """Answers one after another: `stream(pictures, *, keep_pictures, progress, **asked)`, as of `Model`."""
        ...


@dataclass(frozen=True)
class Batched:
    """What came of it."""

    rows: int  # as the format counts them: lines of a table, objects of a list
    pictures: int
    unused: int  # pictures of them that could not be used; their rows say why


def predict_to(
    model: Answering,
    pictures: Picture | Iterable[Picture],
    output: Path | TextIO,
    *,
    format: str | None = None,  # noqa: A002 - as everybody calls it
    top: int | None = None,
    draw: Path | None = None,
    progress: Progress = SILENT,
    **asked: Any,
) -> Batched:
    """Answers for paths, folders, file contents, arrays or PIL pictures, written as they come.

    Args:   output, a new file, or a text stream; format, a name of `foveal.tasks.formats.FORMATS`, by default what the
            file's name asks for; top, how many answers a picture (3); draw, a new folder for the pictures with their
            boxes; asked, what else `model.stream` takes.
    Raises: BadData where no picture could be used, and then nothing is written; NotWritable, NoSpace; what the model
            and the format refuse.
    """
    path = output if isinstance(output, Path) else None
    ranks = "top" in model.task.asks
    if top is None and ranks:
        top = TOP
    elif top is not None and ranks and top > (most := len(model.classes)):
        progress.say(f"The model has {most} classes: each picture gets {most} answers, not {top}.")
        top = most
    asked |= {} if top is None else {"top": top}
    writer = check_batch(model.task, path, format=format, draw=draw, **asked)
    predictions = model.stream(pictures, keep_pictures=draw is not None, progress=progress, **asked)
    tally = _Tally(progress)
    with _opened(output) as out:
        told = tally.of(predictions if draw is None else _drawn_into(draw, predictions, model.preprocess.white))
        rows = _written(writer(out, model.task.answer, top or 1), _from_the_first_usable(told))
    return Batched(rows, tally.pictures, tally.unused)


def check_batch(
    task: Asked,
    output: Path | None,
    *,
    format: str | None = None,  # noqa: A002 - as of `predict_to`
    draw: Path | None = None,
    **asked: Any,
) -> type[Writer]:
    """What `predict_to` refuses before it needs a model. Returns: what writes.

    Raises: BadRecipe for what such a task has no use for; NotWritable for a file that exists, or a folder to draw into
            that holds something.
    """
    writer = writer_for(format if format is not None else format_of(output), task.answer)
    Ask(**asked).check(task)
    if output is not None:
        check_new_file(output)
    if draw is not None and not issubclass(task.answer, Detections):
        raise BadRecipe(f"--draw is for detectors, but this model is {task.kind}.")
    if draw is not None and os.path.lexists(draw) and not (os.path.isdir(draw) and not os.listdir(draw)):
        raise NotWritable(
            f"{shown(draw)} is not empty, and foveal does not overwrite files; choose another --draw folder."
        )
    return writer


def _opened(output: Path | TextIO) -> AbstractContextManager[TextIO]:
    return writing(output) if isinstance(output, Path) else nullcontext(output)


def _written(writer: Writer, predictions: Iterator[Prediction]) -> int:
    """How many rows. What is refused before there is a first prediction leaves nothing written."""
    first = list(islice(predictions, 1))
    writer.begin()
    rows = sum(writer.add(prediction) for prediction in chain(first, predictions))
    writer.end()
    return rows


def _from_the_first_usable(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
    """The same, none of them before one has an answer: where none has, nothing shall be written."""
    held: list[Prediction] = []
    for prediction in predictions:
        held.append(prediction)
        if prediction.answer is not None or len(held) == HELD:
            break
    yield from held
    held.clear()
    yield from predictions


class _Tally:
    """Counts what passes, and tells what could not be used."""

    def __init__(self, progress: Progress) -> None:
        self.pictures = 0
        self.unused = 0
        self._progress = progress

    def of(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions. Raises: BadData at the end when none had an answer."""
        for prediction in predictions:
            self.pictures += 1
            if prediction.answer is None:
                self.unused += 1
                if self.unused <= REASONS_SHOWN:
                    self._progress.say(f"skipped: {shown(prediction.name)} {prediction.reason}")
            yield prediction
        if self.unused > REASONS_SHOWN:
            self._progress.say(f"and {self.unused - REASONS_SHOWN} more; their rows say why.")
        if self.unused and self.unused == self.pictures:
            raise BadData(f"no usable picture among the {self.pictures} given.")
        if self.unused:
            self._progress.say(f"{self.unused} of {self.pictures} pictures could not be used.")


def _drawn_into(folder: Path, predictions: Iterable[Prediction], white: float | None) -> Iterator[Prediction]:
    """The same without their pictures, each of which was drawn into a new or empty folder on its way."""
    new_folder(folder)
    names = _DrawnNames()
    for prediction in predictions:
        if isinstance(prediction.answer, Detections) and prediction.picture is not None:
            place = folder / names.of(prediction.name)
            _draw(prediction.answer, prediction.picture, prediction.name, place, white)
        yield replace(prediction, picture=None)


class _DrawnNames:
    """`photo.jpg`, `photo-2.jpg`, … each once, also where large and small letters are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}  # number of each stem: frames of a thousand films may be called alike

    def of(self, name: str) -> str:
        stem = PurePath(name).stem
        free, self._last[stem.lower()] = first_free(
            lambda number: f"{stem}.jpg" if number == 1 else f"{stem}-{number}.jpg",
            lambda candidate: candidate.lower() in self._taken,
            self._last.get(stem.lower(), 1),
        )
        self._taken.add(free.lower())
        return free


def _draw(found: Detections, picture: Any, name: str, place: Path, white: float | None) -> None:
    from PIL import Image

    from foveal.files.pictures import read_image
    from foveal.pages.drawn_boxes import boxes_of, draw_boxes

    try:
        pixels = read_image(picture, name=name, channels=3, white=white)
    except BadPicture:  # larger than is drawn
        return
    classes = found.classes or [str(k) for k in range(found.labels.max(initial=-1) + 1)]
    with no_write(place):
        Image.fromarray(draw_boxes(pixels, boxes_of(found, classes))).save(place, quality=QUALITY)
