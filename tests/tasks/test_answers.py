"""An answer tells the same as rows, as a dict and as a data frame."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from foveal.errors import Missing
from foveal.tasks.answers import Answer, Detections, Label, Labels, Prediction

BOXES = np.array([[1.0, 2.0, 30.5, 40.25], [0.0, 0.0, 5.0, 6.0]])
ANSWERS: list[Any] = [
    Label("cat", 0.75, (("dog", 0.2), ("owl", 0.05)), abstained=True),
    Labels(("cat", "indoors"), {"cat": 0.9, "dog": 0.1, "indoors": 0.6}, unlike=True),
    Detections(BOXES, np.array([1, 0]), np.array([0.9, 0.4]), ("cat", "dog")),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_rows_have_the_columns_that_were_promised(answer: Answer) -> None:
    assert isinstance(answer, Answer)
    columns = answer.columns(3)
    assert all(set(row) <= set(columns) for row in answer.rows())
    assert {column.rstrip("_23") for column in answer.DIGITS} <= {column.rstrip("_23") for column in columns}
    assert all(len(line) == len(answer.HEADINGS) + 1 for line in [*answer.lines(), answer.no_line("is empty")])


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_a_dict_is_plain_json_and_says_what_the_rows_say(answer: Answer) -> None:
    told = json.dumps(answer.as_dict(), allow_nan=False)
    assert all(str(row["label"]) in told for row in answer.rows())
    assert answer.NOTHING.keys() <= answer.as_dict().keys()


def test_a_box_comes_out_where_it_lies() -> None:
    first, second = ANSWERS[2].rows()
    assert first == {"label": "dog", "score": 0.9, "x1": 1.0, "y1": 2.0, "x2": 30.5, "y2": 40.25}
    assert second["label"] == "cat"
    assert ANSWERS[2].as_dict()["objects"][0]["box"] == [1.0, 2.0, 30.5, 40.25]
    assert [name for name, _, _ in ANSWERS[2].take(np.array([1]))] == ["cat"]


def test_a_prediction_adds_the_picture_or_the_reason() -> None:
    found = Prediction("a.png", ANSWERS[2], size=(50, 60))
    assert [row["picture"] for row in found.rows()] == ["a.png", "a.png"]
    assert list(found.as_dict())[:3] == ["picture", "height", "width"]
    assert (found.as_dict()["height"], found.as_dict()["width"]) == (50, 60)
    broken = Prediction("b.png", None, "is cut short")
    assert broken.rows() == [{"picture": "b.png", "reason": "is cut short"}]
    assert broken.as_dict(Label.NOTHING) == {"picture": "b.png", "label": None, "reason": "is cut short"}
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    assert Prediction("c.png", nothing).rows() == [{"picture": "c.png", "reason": "no object"}]


def test_data_frames_are_pandas_own_and_missed_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Missing, match="pip install pandas"):
        ANSWERS[0].to_pandas()
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows, columns: (rows, columns)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    rows, columns = ANSWERS[0].to_pandas()
    assert rows == ANSWERS[0].rows()
    assert columns == [
        "label",
        "probability",
        "label_2",
        "probability_2",
        "label_3",
        "probability_3",
        "abstained",
        "unlike",
    ]
    assert Prediction("a.png", ANSWERS[2]).to_pandas()[0] == Prediction("a.png", ANSWERS[2]).rows()
