"""Many pictures into one file: rows come as they are found, memory stays flat, and what cannot be used is told."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BadData, BadRecipe, NoSpace, NotWritable
from foveal.files import durable
from foveal.progress import SILENT, Progress
from foveal.runs import batch
from foveal.runs.batch import Batched, predict_to
from foveal.tasks.answers import Answer, Detections, Label, Prediction

ONE_BOX = np.array([[1.0, 2.0, 9.0, 8.0]])


class Fake:
    """A model that answers names, or (name, content): "bad" among the letters of a name makes it unusable."""

    def __init__(self, answer: type[Answer] = Label) -> None:
        asks = frozenset({"top", "views"} if answer is Label else {"score", "precision"})
        self.task = SimpleNamespace(answer=answer, asks=asks, kind="a toy")
        self.classes = ("cat", "dog")
        self.preprocess = SimpleNamespace(white=None)
        self.asked: dict[str, Any] = {}
        self.read = 0

    def stream(
        self, pictures: Iterable[Any], *, keep_pictures: bool = False, progress: Progress = SILENT, **asked: Any
    ) -> Iterator[Prediction]:
        self.asked = asked
        for given in pictures:
            self.read += 1
            name, picture = given if isinstance(given, tuple) else (given, None)
            if "bad" in name:
                yield Prediction(name, None, "is cut short")
            else:
                yield Prediction(name, self._answer(), "", (10, 12), picture if keep_pictures else None)

    def _answer(self) -> Any:
        if self.task.answer is Label:
            return Label("cat", 0.75, (("dog", 0.25),))
        return Detections(ONE_BOX, np.array([1]), np.array([0.5]), ("cat", "dog"))


class Said:
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.task = SILENT.task

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def test_rows_are_counted_and_stand_in_the_file_that_tells_its_format(tmp_path: Path) -> None:
    model = Fake()
    assert predict_to(model, ["a.png", "bad.png", "b.png"], tmp_path / "rows.csv") == Batched(3, 3, 1)
    assert (tmp_path / "rows.csv").read_text().splitlines()[1:] == [
        "a.png,cat,0.750000,dog,0.250000,,,,,",
        "bad.png,,,,,,,,,is cut short",
        "b.png,cat,0.750000,dog,0.250000,,,,,",
    ]
    assert model.asked == {"top": 3}
    predict_to(model, ["a.png"], tmp_path / "rows.json", top=2, views="mirror")
    assert json.loads((tmp_path / "rows.json").read_text())[0]["label"] == "cat"
    assert model.asked == {"top": 2, "views": "mirror"}
    out = io.StringIO()
    assert predict_to(Fake(Detections), ["a.png", "b.png"], out, format="coco", score=0.5) == Batched(2, 2, 0)
    assert [row["image_id"] for row in json.loads(out.getvalue())] == [0, 1]


def test_a_model_without_several_answers_is_not_asked_for_them() -> None:
    model = Fake(Detections)
    predict_to(model, ["a.png"], io.StringIO())
    assert model.asked == {}
    with pytest.raises(BadRecipe, match="--top is for classifiers, but this model is a toy"):
        predict_to(model, ["a.png"], io.StringIO(), top=2)


def test_rows_are_written_before_the_last_picture_is_read() -> None:
    model, seen = Fake(), []

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            seen.append(model.read)
            return super().write(text)

    predict_to(model, (f"{number}.png" for number in range(1000)), Watched(), format="csv")
    assert seen[:4] == [1, 1, 2, 3]
    assert model.read == 1000


@pytest.mark.parametrize("name", ["csv", "json", "table"])
def test_a_hundred_thousand_pictures_need_no_more_memory_than_a_thousand(tmp_path: Path, name: str) -> None:
    def lazily(N: int) -> Iterator[str]:
        for number in range(N):
            yield f"folder/of/pictures/{number:06}{'bad' if number % 10 == 5 else ''}.png"

    predict_to(Fake(), lazily(2000), tmp_path / "warm", format=name)
    tracemalloc.start()
    try:
        done = predict_to(Fake(), lazily(100_000 if name == "csv" else 20_000), tmp_path / "rows", format=name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.pictures == done.rows == 10 * done.unused >= 20_000
    assert peak < 4 << 20


def test_what_cannot_be_used_is_told_at_most_twenty_times() -> None:
    said = Said()
    predict_to(Fake(), ["a.png", *(f"bad\u202e{number}.png" for number in range(25))], io.StringIO(), progress=said)
    assert said.sentences[0] == "skipped: bad\\u202e0.png is cut short"
    assert said.sentences[19:] == [
        "skipped: bad\\u202e19.png is cut short",
        "and 5 more; their rows say why.",
        "25 of 26 pictures could not be used.",
    ]
    said = Said()
    predict_to(Fake(), ["a.png"], io.StringIO(), progress=said)
    assert said.sentences == []


def test_more_answers_than_classes_are_not_written_and_that_is_said() -> None:
    out, said = io.StringIO(), Said()
    model = Fake()
    most = len(model.classes)
    predict_to(model, ["a.png"], out, format="csv", top=100, progress=said)
    assert out.getvalue().splitlines()[0].count("label") == most
    assert said.sentences == [f"The model has {most} classes: each picture gets {most} answers, not 100."]


def test_where_none_can_be_used_nothing_is_written(tmp_path: Path) -> None:
    out, said = io.StringIO(), Said()
    with pytest.raises(BadData, match="no usable picture among the 30 given"):
        predict_to(Fake(), ["bad.png"] * 30, out, format="csv", progress=said)
    assert out.getvalue() == ""
    assert len(said.sentences) == 21
    with pytest.raises(BadData):
        predict_to(Fake(), ["bad.png"] * (batch.HELD + 2), tmp_path / "rows.csv")
    assert os.listdir(tmp_path) == []


def test_what_is_held_back_comes_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["bad1", "bad2", "a", "bad3", "b"]
    for held in (1, 2, 3, 10):
        monkeypatch.setattr(batch, "HELD", held)
        out = io.StringIO()
        predict_to(Fake(), names, out, format="json")
        assert [row["picture"] for row in json.loads(out.getvalue())] == names


def test_of_no_pictures_there_is_a_head_and_no_row() -> None:
    out = io.StringIO()
    assert predict_to(Fake(), [], out, format="csv", top=1) == Batched(0, 0, 0)
    assert out.getvalue() == "picture,label,probability,abstained,unlike,reason\n"


def test_what_is_refused_is_refused_before_a_picture_is_read(tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").touch()
    refused: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
        (lambda m: predict_to(m, ["a"], tmp_path / "there.csv"), NotWritable, "does not overwrite files"),
        (lambda m: predict_to(m, ["a"], tmp_path / "none" / "a.csv"), NotWritable, "no folder"),
        (lambda m: predict_to(m, ["a"], io.StringIO(), format="cvs"), BadRecipe, 'did you mean "csv"'),
        (lambda m: predict_to(m, ["a"], io.StringIO(), format="coco"), BadRecipe, "coco is for detectors"),
        (lambda m: predict_to(m, ["a"], io.StringIO(), draw=tmp_path / "new"), BadRecipe, "--draw is for detectors"),
    ]
    model = Fake()
    for ask, kind, words in refused:
        with pytest.raises(kind, match=words):
            ask(model)
    with pytest.raises(BadRecipe, match="--score and --precision both"):
        predict_to(Fake(Detections), ["a"], io.StringIO(), score=0.5, precision=0.5)
    for folder in ("full", "there.csv"):
        with pytest.raises(NotWritable, match="is not empty"):
            predict_to(Fake(Detections), ["a"], io.StringIO(), draw=tmp_path / folder)
    assert model.read == 0
    assert sorted(os.listdir(tmp_path)) == ["full", "there.csv"]


def test_a_full_disk_midway_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(NoSpace, match=r"rows\.csv"):
        predict_to(Fake(), (f"{number}.png" for number in range(100_000)), tmp_path / "rows.csv")
    assert os.listdir(tmp_path) == []


class Keeping(Fake):
    """Remembers which contents it gave away."""

    def __init__(self) -> None:
        super().__init__(Detections)
        self.kept: list[Any] = []

    def stream(self, pictures: Iterable[Any], **asked: Any) -> Iterator[Prediction]:
        for prediction in super().stream(pictures, **asked):
            self.kept.append(prediction.picture)
            yield prediction


def test_boxes_are_drawn_on_the_content_that_was_read_and_no_name_is_taken_twice(tmp_path: Path) -> None:
    pixels = np.full((10, 12, 3), 200, np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    pictures = [("in/a.png", encoded.getvalue()), ("other/A.jpg", pixels), ("bad", b""), ("in/a-2.png", pixels),
                ("a.gif", pixels), ("large.png", b"no picture")]  # fmt: skip
    model = Keeping()
    assert predict_to(model, pictures, io.StringIO(), draw=tmp_path / "drawn") == Batched(6, 6, 1)
    drawn = sorted(os.listdir(tmp_path / "drawn"))
    assert drawn == ["A-2.jpg", "a-2-2.jpg", "a-3.jpg", "a.jpg"]
    for name in drawn:
        found = np.asarray(Image.open(tmp_path / "drawn" / name)).astype(int)
        assert found.shape == (10, 12, 3)
        assert np.abs(found - 200).max() > 50
    assert model.kept[0] == encoded.getvalue()
    plain = Keeping()
    predict_to(plain, pictures, io.StringIO())
    assert plain.kept == [None] * 6, "nothing is kept where nothing is drawn"
