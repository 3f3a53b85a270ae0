"""Formats of answers: the text of each, and that it grows picture by picture.

The texts below data/formats were printed by the functions that wrote all answers at once, before there were formats.
"""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from foveal.errors import BadRecipe
from foveal.tasks.answers import Answer, Detections, Label, Labels, Prediction
from foveal.tasks.formats import FORMATS, Format, Writer, format_of, table, writer_for

GOLDEN = Path(__file__).parent / "data" / "formats"
ODD = '-x,\u202e\udcff"猫.png'


def label(name: str, *ranked: tuple[str, float], abstained: bool = False, unlike: bool = False) -> Prediction:
    return Prediction(name, Label(*ranked[0], ranked[1:], abstained, unlike))


def boxes(name: str, size: tuple[int, int], *rows: tuple[float, ...]) -> Prediction:
    """Rows: x1, y1, x2, y2, score, index of the class."""
    array = np.array(rows, float).reshape(-1, 6)
    found = Detections(array[:, :4], array[:, 5].astype(np.int64), array[:, 4], ("cat", "=dog()", "owl"))
    return Prediction(name, found, size=size)


BROKEN = Prediction("broken.jpg", None, "is cut short (3 bytes)")
PLAIN = [
    label("a.png", ("cat", 0.98611234567), ("=dog()", 0.0123), ("owl", 1e-9)),
    label("folder/b.png", ("owl", 1.0)),
    BROKEN,
]
MARKED = [
    *PLAIN,
    label(ODD, ("=dog()", 0.41), ("cat", 0.4), abstained=True, unlike=True),
    label("c.png", ("cat", 0.5), ("owl", 0.25), ("=dog()", 0.25), unlike=True),
]
BOXES = [
    boxes("a.png", (480, 640), (1.25, 2.349, 30.06, 40.0, 0.98765, 1), (0.0, 0.0, 7.123456, 1000.5, 0.25, 0)),
    boxes("b.png", (4, 3), (0, 0, 3, 4, 0.5, 2)),
]
PREDICTIONS: dict[str, tuple[type[Answer], list[Prediction]]] = {
    "labels": (Label, PLAIN),
    "marked": (Label, MARKED),
    "none": (Label, []),
    "boxes": (Detections, BOXES),
    "odd_boxes": (Detections, [BOXES[0], boxes(ODD, (10, 20)), BROKEN, BOXES[1]]),
    "no_boxes": (Detections, []),
}
SUFFIXES = {"txt": "table", "csv": "csv", "json": "json", "coco.json": "coco"}
FILES = sorted(path.name for path in GOLDEN.iterdir())


def written(name: str, answer: type[Answer], predictions: list[Prediction], top: int = 3) -> tuple[str, int]:
    """The text, and how many rows it is said to have."""
    out = io.StringIO()
    writer = writer_for(name, answer)(out, answer, top)
    writer.begin()
    rows = sum(writer.add(prediction) for prediction in predictions)
    writer.end()
    return out.getvalue(), rows


@pytest.mark.parametrize("file", FILES)
def test_the_text_is_what_it_was_to_the_byte(file: str) -> None:
    name, _, suffix = file.partition(".")
    text, _ = written(SUFFIXES[suffix], *PREDICTIONS[name])
    assert text.encode() == (GOLDEN / file).read_bytes()


def test_every_format_has_its_golden_texts() -> None:
    assert len(FILES) == 3 * len(PREDICTIONS) + 3
    assert set(SUFFIXES.values()) == set(FORMATS)


def test_rows_are_those_of_the_file() -> None:
    for name, (answer, predictions) in PREDICTIONS.items():
        text, rows = written("csv", answer, predictions)
        assert rows == len(text.splitlines()) - 1 == written("table", answer, predictions)[1], name
        text, rows = written("json", answer, predictions)
        assert rows == len(json.loads(text)) == len(predictions)
        if answer is Detections:
            text, rows = written("coco", answer, predictions)
            assert rows == len(json.loads(text))


def test_several_labels_a_picture_need_nothing_of_the_formats() -> None:
    both = Labels(("cat", "owl"), {"cat": 0.9, "owl": 0.75, "dog": 0.1})
    predictions = [Prediction("a.png", both), Prediction("b.png", Labels((), {"cat": 0.1}, unlike=True)), BROKEN]
    rows = list(csv.reader(io.StringIO(written("csv", Labels, predictions)[0])))
    assert rows[:3] == [
        ["picture", "label", "probability", "unlike", "reason"],
        ["a.png", "cat", "0.900000", "", ""],
        ["a.png", "owl", "0.750000", "", ""],
    ]
    assert rows[4] == ["broken.jpg", "", "", "", "is cut short (3 bytes)"]
    assert written("table", Labels, predictions)[0].splitlines() == [
        "picture     labels                    remark",
        "a.png       cat 90.00 %, owl 75.00 %",
        "b.png       –                         unlike the training pictures",
        "broken.jpg  –                         is cut short (3 bytes)",
    ]
    facts = json.loads(written("json", Labels, predictions)[0])
    assert facts[0]["labels"] == ["cat", "owl"]
    assert facts[2] == {"picture": "broken.jpg", "labels": None, "reason": "is cut short (3 bytes)"}


def test_numbers_of_numpy_are_written_as_plain_ones() -> None:
    answer = Label("cat", np.float32(0.25), abstained=np.bool_(True))  # type: ignore[arg-type]
    assert written("csv", Label, [Prediction("a.png", answer)], top=1)[0].splitlines()[1] == "a.png,cat,0.250000,yes,,"


def test_a_table_holds_no_more_lines_than_it_needs_to_settle_its_columns() -> None:
    out = io.StringIO()
    writer = writer_for("table", Label)(out, Label, 1)
    writer.begin()
    for number in range(table.HELD):
        assert out.getvalue() == ""
        writer.add(label(f"{number:04}.png", ("cat", 0.5)))
    assert len(out.getvalue().splitlines()) == table.HELD + 1
    writer.add(label("a-longer-name.png", ("cat", 0.5), unlike=True))
    writer.add(label("last.png", ("cat", 0.5)))
    writer.end()
    assert out.getvalue().splitlines()[-3:] == [
        "0999.png  cat     50.00 %",
        "a-longer-name.png  cat     50.00 %                  unlike the training pictures",
        "last.png  cat     50.00 %",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_pictures(name: str) -> None:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    writer = writer_for(name, Detections)(Nowhere(), Detections, 1)
    writer.begin()
    held = []
    tracemalloc.start()
    try:
        for _ in range(2):
            for _ in range(2000):
                writer.add(BOXES[0])
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 20_000


def test_a_files_name_tells_its_format() -> None:
    names = ("a.csv", "a.JSON", "a.txt", "a", "csv")
    assert [format_of(Path(name)) for name in names] == ["csv", "json", "table", "table", "table"]
    assert format_of(None) == "table"


@pytest.mark.parametrize("ending", [".xlsx", ".XLS", ".ods", ".parquet", ".tsv", ".html", ".gz", ".jsonl"])
def test_an_ending_that_is_not_written_is_refused(ending: str) -> None:
    with pytest.raises(BadRecipe, match=rf"answers{ending}: no {ending.lower()} is written; give CSV \(\.csv\) or"):
        format_of(Path(f"answers{ending}"))


def test_what_there_is_not_or_does_not_fit_is_refused() -> None:
    with pytest.raises(BadRecipe, match=r'no such format: "jsno" .*table, csv, json, coco.*did you mean "json"'):
        writer_for("jsno", Label)
    for answer in (Label, Labels):
        with pytest.raises(BadRecipe, match="coco is for detectors"):
            writer_for("coco", answer)


class Names(Writer):
    """A toy format."""

    def add(self, prediction: Prediction) -> int:
        self.out.write(f"{prediction.name}\n")
        return 1


def test_a_format_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type("Module", (), {"Writer": Names})
    monkeypatch.setitem(__import__("sys").modules, "toy_format", module)  # type: ignore[arg-type]
    monkeypatch.setitem(FORMATS, "names", Format("toy_format", ".names"))
    assert format_of(Path("a.names")) == "names"
    assert written("names", Label, PLAIN) == ("a.png\nfolder/b.png\nbroken.jpg\n", 3)
