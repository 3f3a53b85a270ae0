"""A model is scored on the pictures that it was asked about, by the names of its classes, and on no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainings import pictures, quick

from foveal.data.dataset import Dataset, FilePictures
from foveal.errors import BadData, BadRecipe
from foveal.model import Model
from foveal.runs.evaluate import evaluate, scored_on
from foveal.tasks.task import Ask
from foveal.training.calibrate import calibrated
from foveal.training.loop import train_epochs


@pytest.fixture(scope="module")
def model() -> Model:
    """It tells bright from dark more often than not."""

    class Nobody:
        def after_step(self, *_: object) -> None: ...

        def after_epoch(self, *_: object) -> None: ...

    setup = quick(training__epochs=8, training__learning_rate=0.1)
    state = setup.begun()
    train_epochs(state, setup, Nobody())
    return calibrated(setup, state)


def on_disk(folder: Path, some: Dataset, broken: int = 0) -> Dataset:
    """As BMP; the first ones of the test are cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(f"{name}.bmp" for name in (some.pictures.name(i) for i in range(len(some))))
    for index, name in enumerate(names):
        Image.fromarray(some.pictures.content(index)[..., 0]).save(folder / name)
    for index in some.indices("test")[:broken]:
        path = folder / names[index]
        path.write_bytes(path.read_bytes()[:-30])
    return replace(some, pictures=FilePictures(folder, names), digests=None)


def right(model: Model, some: Dataset, indices: np.ndarray) -> int:
    """Counted one by one."""
    answers = [model.predict(some.pictures.content(i)).answer for i in indices.tolist()]
    return sum(
        answer is not None and answer.label == some.classes[some.labels[i]]
        for answer, i in zip(answers, indices.tolist(), strict=True)
    )


def test_scores_are_what_one_counts_picture_by_picture(model: Model) -> None:
    some = pictures(seed=4, parts={"train": 8, "val": 5, "test": 30})
    test = some.indices("test")
    some.labels[test[:7]] = 1 - some.labels[test[:7]]  # which it cannot know
    found = scored_on(model, some.take(test), Ask()).scores.as_dict()
    assert found["n"] == 30
    assert found["top1"] == pytest.approx(right(model, some, test) / 30)
    assert 0.5 < found["top1"] < 1.0


def test_classes_in_another_order_and_beside_others_are_found_by_name(model: Model) -> None:
    some = pictures(seed=4)
    plain = scored_on(model, some, Ask()).scores.as_dict()
    turned = replace(some, classes=("bright", "dark"), labels=1 - some.labels)
    assert scored_on(model, turned, Ask()).scores.as_dict() == plain
    labels = turned.labels + 1  # a first class that the model does not know, of the first four pictures
    labels[:4] = 0
    more = replace(turned, classes=("aloe", "bright", "dark"), labels=labels)
    found = scored_on(model, more, Ask())
    assert found.scores.as_dict() == scored_on(model, some.take(np.arange(4, len(some))), Ask()).scores.as_dict()
    assert any("does not know 1 of the classes (aloe)" in note for note in found.notes)
    with pytest.raises(BadData, match="no usable picture of a class that the model knows"):
        scored_on(model, replace(some, classes=("aloe", "agave")), Ask())


def test_broken_pictures_are_told_and_not_scored(model: Model, tmp_path: Path) -> None:
    some = pictures(seed=4, parts={"train": 2, "val": 2, "test": 20})
    test = some.indices("test")
    found = scored_on(model, on_disk(tmp_path, some, broken=3).take(test), Ask())
    sound = scored_on(model, on_disk(tmp_path / "sound", some).take(test[3:]), Ask())
    assert len(found.skipped) == 3
    assert found.scores.as_dict() == sound.scores.as_dict()
    assert found.scores.as_dict()["n"] == 17


def test_one_split_or_all_of_a_source_is_scored(model: Model, tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        for number in range(count):
            for name in model.classes:
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                pixels = np.full((8, 10), number + 16 * (name == "bright"), np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{split}{number}.png")
    counts = {on: evaluate(model, tmp_path, on=on).scores.as_dict()["n"] for on in ("train", "val", "test", "all")}
    assert counts == {"train": 12, "val": 6, "test": 8, "all": 26}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"on": "tset"}, '--on is one of train, val, test, all, got "tset"; did you mean "test"'),
        ({"views": "mirrored"}, '--views is one of none, mirror, mirror.shift, got "mirrored"; did you mean "mirror"'),
        ({"precision": 0.9}, "--precision is for detectors and multi-label models, but this model is a classifier"),
        ({"accuracy": 1.5}, "the target accuracy must be at least 0 and below 1, such as 0.95, got 1.5"),
    ],
)
def test_words_and_wishes_that_are_none_are_refused(model: Model, asked: dict[str, object], words: str) -> None:
    with pytest.raises(BadRecipe, match=words):
        evaluate(model, "digits", **asked)
