"""Asking a model from Python: one picture in, one answer out; many in, answers as they are read."""

from __future__ import annotations

import base64
import copy
import io
import pickle
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from trainings import quick_boxed

from foveal.errors import BadPicture, BadRecipe, Missing
from foveal.files.given import TypedPaths
from foveal.model import Model, classifier, model_of
from foveal.preprocess import Preprocess
from foveal.tasks.answered import Answers
from foveal.tasks.answers import Detections, Label, Labels, Prediction
from foveal.tasks.localise import Localise

NAMES = ("dark", "middle", "bright")


class Brightness(nn.Module):
    """Logits that grow with the brightness, each at its own pace, out of the one feature that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 3)
        self.fc.weight.data = torch.tensor([[-4.0], [0.0], [4.0]])
        self.fc.bias.data = torch.tensor([1.5, 0.5, -2.0])

    def forward(self, x):
        return self.fc(x.mean((1, 2, 3))[:, None])


@pytest.fixture(scope="module")
def model() -> Model:
    return classifier(Brightness(), Preprocess(8, 8, channels=1, mean=(0.0,), std=(1.0,)), NAMES, temperature=2.0)


@pytest.fixture(scope="module")
def detector() -> Model:
    setup = quick_boxed()
    return model_of(setup.network, Localise, ("blue", "red"), setup.preprocess, setup.architecture)


def grey(value: int, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def saved(path: Path, value: int) -> Path:
    Image.fromarray(grey(value)).save(path)
    return path


def test_one_picture_gets_one_answer_however_it_is_given(model, tmp_path):
    path = saved(tmp_path / "bright.png", 250)
    for picture in (
        path, str(path), path.read_bytes(), Image.open(path), grey(250), grey(250, (8, 8, 1)), grey(250, (8, 8, 3)),
        torch.from_numpy(grey(250)),
    ):  # fmt: skip
        answer = model.predict(picture)
        assert isinstance(answer, Prediction)
        assert answer.label == answer.answer.label == "bright"
        assert answer.picture is not None  # for notebooks
    assert model.predict(path, keep_pictures=False).picture is None
    assert len(model.predict(path, top=2).ranked) == 2


def test_several_pictures_get_answers(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [saved(folder / f"{value:03}.png", value) for value in (0, 120, 255)]
    for pictures in (
        paths, tuple(paths), iter(paths), folder, str(folder), TypedPaths([str(folder / "*.png")]),
        np.stack([grey(v, (8, 8, 1)) for v in (0, 120, 255)]), [grey(0), Image.open(paths[1]), str(paths[2])],
    ):  # fmt: skip
        answers = model.predict(pictures)
        assert isinstance(answers, Answers)
        assert [one.label for one in answers] == ["dark", "middle", "bright"]
        assert answers[-1].picture is None
    assert len(model.predict([])) == 0
    assert list(model.predict([])) == []
    assert not model.predict([])


def test_answers_read_a_batch_when_they_are_asked_and_keep_it(tmp_path):
    big = classifier(Brightness(), Preprocess(200, 200, channels=1, mean=(0.0,), std=(1.0,)), NAMES)
    opened: list[int] = []

    def pictures():
        for number in range(100):
            opened.append(number)
            yield grey(number)

    step = big._at_once()
    assert step < 20
    answers = big.predict(pictures())
    assert opened == []
    assert repr(answers) == "Answers(0 so far)"
    assert next(answers).name == "picture 0"
    assert len(opened) == step
    assert answers[0].name == "picture 0"
    assert [one.name for one, _ in zip(answers, range(3), strict=False)] == ["picture 0", "picture 1", "picture 2"]
    assert next(answers).name == "picture 1"
    assert len(opened) == step
    assert [one.name for one in answers[2:4]] == ["picture 2", "picture 3"]
    assert len(opened) == step
    assert answers[-1].name == "picture 99"
    assert len(answers) == len(opened) == 100
    assert len(list(answers)) == 100
    assert len(opened) == 100  # nothing is read twice
    assert repr(answers) == "Answers(100)"


def test_answers_that_failed_midway_never_look_complete(model, tmp_path):
    here = saved(tmp_path / "a.png", 9)

    def names():
        yield here
        yield tmp_path / "gone.png"

    answers = model.predict(names())
    for _ in range(2):
        with pytest.raises(Missing, match="does not exist"):
            len(answers)
        with pytest.raises(Missing, match="does not exist"):
            list(answers)


def test_what_cannot_be_read_is_a_row_among_several_and_an_error_alone(model, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    answers = model.predict([grey(0), broken])
    assert answers[1].answer is None
    with pytest.raises(BadPicture, match=r"broken\.png is cut short"):
        answers[1].label  # noqa: B018
    for ask in (model.predict, model.probabilities, model.embed):
        with pytest.raises(BadPicture, match=r"broken\.png is cut short"):
            ask(broken)
    for ask in (model.probabilities, model.embed):  # rows must be their pictures'
        with pytest.raises(BadPicture, match=r"broken\.png is cut short"):
            ask([grey(0), broken])
    for pictures in (tmp_path / "gone.png", [grey(0), tmp_path / "gone.png"], "gone.png"):
        with pytest.raises(Missing, match=r"gone\.png does not exist"):
            model.predict(pictures)  # at once, not at the first answer


NOT_PICTURES = [
    (np.zeros((2, 2, 8, 8, 3), np.uint8), r"an array of shape \(2, 2, 8, 8, 3\) holds no pictures"),
    (np.zeros((5, 8, 8), np.uint8), r"colours come last, and several grey pictures are list\(X\)"),
    (np.zeros((3, 8, 8), np.uint8), "colours come last"),
    (np.zeros((2, 3, 8, 8), np.uint8), "holds no pictures"),
    (np.zeros(8, np.uint8), r"shape \(8,\) holds no pictures"),
    (np.zeros((8, 8)), r"holds float64 values; give pixels as uint8, 0 to 255: of floats in 0…1, \(255 \* x\)"),
    (np.full((8, 8), np.nan, np.float32), "holds float32 values"),
    (np.zeros((8, 8), np.int64), "holds int64 values"),
    (np.full((8, 8), None, object), "holds object values"),
    (np.zeros((0, 8), np.uint8), "picture 0 "),
    (np.zeros((5, 8, 8, 3)), "holds float64 values; give pixels as uint8"),
    (torch.zeros(5, 8, 8, 3), "holds float32 values; give pixels as uint8"),
    ("", "an empty text is no picture"),
    (None, "None is no picture; give a path"),
    (3, "int is no picture; give a path"),
]


@pytest.mark.parametrize(("what", "words"), NOT_PICTURES)
def test_what_is_no_picture_is_refused_in_one_sentence(model, what, words):
    for ask in (model.predict, model.probabilities, model.embed):
        with pytest.raises(BadPicture, match=words) as refused:
            ask(what)
        assert "\n" not in str(refused.value)


def test_an_open_file_is_refused_and_unequal_lists_are_rows(model, tmp_path):
    with saved(tmp_path / "a.png", 3).open("rb") as file, pytest.raises(BadPicture, match="give its path"):
        model.predict(file)
    unequal, none = model.predict([[[0, 1], [2]], None])
    assert unequal.reason == none.reason == "holds object values; give pixels as uint8, 0 to 255"


def test_probabilities_are_those_of_the_answers(model):
    pictures = [grey(value) for value in range(0, 256, 5)]
    rows = model.probabilities(pictures)
    assert rows.shape == (len(pictures), 3)
    assert rows.dtype == np.float32
    assert np.allclose(rows.sum(1), 1, atol=1e-6)
    for row, one in zip(rows, model.predict(pictures, top=3), strict=True):
        told = dict(one.ranked)
        assert np.allclose(row, [told[name] for name in model.classes], atol=1e-6)
    values = np.arange(0, 256, 5)[:, None] / 255
    logits = np.hstack([1.5 - 4 * values, 0.5 + 0 * values, -2 + 4 * values]) / 2.0  # by hand, with the temperature
    assert np.allclose(rows, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), atol=1e-5)
    assert model.probabilities(pictures[0]).shape == (1, 3)
    assert model.probabilities([]).shape == (0, 3)


def test_features_are_what_enters_the_classifier(model):
    rows = model.embed([grey(51), grey(255)])
    assert rows.dtype == np.float32
    assert np.allclose(rows, [[0.2], [1.0]])
    assert model.embed(grey(51)).shape == (1, 1)
    assert model.embed([]).shape == (0, 1)


def test_a_detector_says_what_to_use_instead(detector):
    with pytest.raises(BadRecipe, match="this model is a detector, which gives boxes their scores"):
        detector.probabilities(grey(0))
    with pytest.raises(BadRecipe, match=r'a detector, which has no features .* task="classify"'):
        detector.embed(grey(0))


def test_a_prediction_passes_on_what_its_answer_knows(model, detector):
    label = model.predict(grey(0))
    assert (label.probability, label.runners_up) == (label.answer.probability, label.answer.runners_up)
    with pytest.raises(AttributeError, match="a prediction with Label has no 'xyxy'"):
        label.xyxy  # noqa: B018
    found = detector.predict(grey(0, (32, 48, 3)), score=0.0)
    assert found.xyxy.shape == (1, 4)
    assert found.labels.shape == found.scores.shape == (1,)
    for one in (label, found):
        assert repr(copy.copy(one)) == repr(copy.deepcopy(one)) == repr(pickle.loads(pickle.dumps(one))) == repr(one)
    without = Prediction("a\x1b.png", None, "is empty (0 bytes)")
    assert not hasattr(without, "nonsense")
    with pytest.raises(BadPicture, match="is empty"):
        without.scores  # noqa: B018


LONG = "x" * 1000


@given(st.integers(1, 300), st.text(max_size=3))
def test_what_a_prompt_shows_is_short_whatever_is_told(K, more):
    names = tuple(f"{LONG}{number}{more}" for number in range(K))
    label = Label(names[0], 0.9, tuple((name, 0.01) for name in names[1:]), abstained=True, unlike=True)
    several = Labels(names, dict.fromkeys(names, 0.5), unlike=True)
    found = Detections(np.zeros((K, 4)), np.arange(K), np.linspace(1, 0.5, K), names)
    for answer in (label, several, found):
        for told in (answer, Prediction(LONG, answer), Prediction(LONG, None, LONG)):
            assert len(repr(told)) <= 400
            assert "\n" not in repr(told)


def test_what_a_prompt_shows_is_the_answer(model, detector):
    assert repr(model) == "Model(classify: custom, 3 classes, 8×8 pixels)"
    label = Label("cat", 0.9, (("dog", 0.1),))
    assert repr(label) == "Label('cat' 90.00 %, 'dog' 10.00 %)"
    found = Detections(np.array([[0.0, 0, 2, 2]]), np.array([0]), np.array([0.5]), ("cup",))
    assert repr(Prediction("a.png", found)) == "Prediction('a.png': Detections(1 object: 'cup' 0.50))"
    assert repr(Labels(("a",), {"a": 0.75, "b": 0.1})) == "Labels('a' 75.00 %)"
    assert len(repr(detector)) < 400


def test_a_notebook_shows_the_picture_its_bars_and_boxes(model, detector):
    page = model.predict(grey(0))._repr_html_()
    picture = ElementTree.fromstring(page).find(".//image")  # well-formed: nothing in it breaks the page
    shown = Image.open(io.BytesIO(base64.b64decode(picture.get("href").partition(",")[2])))
    assert np.array_equal(np.asarray(shown), grey(0, (8, 8, 3)))
    assert "data:image/png;base64," in page
    assert page.count("<tr>") == 3
    assert "dark" in page
    found = detector.predict(grey(0, (32, 48, 3)), score=0.0)
    page = found._repr_html_()
    assert ElementTree.fromstring(page).find(".//svg").get("viewBox") == "0 0 48 32"
    x1, y1, x2, y2 = found.xyxy[0]
    assert f"<rect x='{x1:.1f}' y='{y1:.1f}' width='{x2 - x1:.1f}' height='{y2 - y1:.1f}'" in page
    hostile = Prediction("<script>", Label("<b>cat", 0.5))._repr_html_()
    assert "<script>" not in hostile
    assert "&lt;b&gt;cat" in hostile
    assert "is empty" in Prediction("a.png", None, "is empty")._repr_html_()
    many = model.predict([grey(v) for v in range(30)])._repr_html_()
    assert many.count("<tr>") == 11


def test_answers_become_a_data_frame(model):
    pandas = pytest.importorskip("pandas")
    frame = model.predict([grey(0), grey(0, (8, 8, 2)), grey(255)]).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.label.tolist()[::2] == ["dark", "bright"]
    assert "shape" in frame.reason[1]
