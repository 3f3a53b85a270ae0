"""Results as text survive whatever a file can be called."""

import csv
import io
import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveal.cli._texts import json_text, table
from foveal.files.spreadsheet import csv_text

anything = st.text(st.characters(), max_size=30)  # surrogates as well: bytes of names that are not UTF-8


@given(st.lists(st.tuples(anything, anything), max_size=5))
def test_csv_is_utf8_has_a_line_a_row_and_no_formulas(rows):
    text = csv_text(["picture", "label"], rows)
    text.encode("utf-8")
    read = list(csv.reader(io.StringIO(text)))
    assert len(read) == len(rows) + 1 == len(text.splitlines())
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in read[1:] for cell in row)


def test_csv_leaves_ordinary_names_alone():
    assert csv_text(["picture"], [['a,b"c.png'], ["café.jpg"]]) == 'picture\n"a,b""c.png"\ncafé.jpg\n'


def test_csv_numbers_stay_numbers():
    assert csv_text(["x"], [[-0.5]]) == "x\n-0.5\n"


@given(anything)
def test_json_is_ascii_and_gives_names_back(name):
    text = json_text({"picture": name})
    assert text.isascii()
    back = json.loads(text)["picture"]
    back.encode("utf-8")
    if not any("\ud800" <= c <= "\udfff" for c in name):
        assert back == name


def test_json_takes_numpy_and_has_null_for_what_is_not_finite():
    value = {"top1": np.float64(0.5), "loss": math.inf, "n": np.int64(3), "recall": np.array([1.0, math.nan]), 4: True}
    assert json.loads(json_text(value)) == {"top1": 0.5, "loss": None, "n": 3, "recall": [1.0, None], "4": True}


@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=5))
def test_a_table_has_a_line_a_row_that_a_terminal_can_show(rows):
    lines = table(["picture", "label"], rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(c.isprintable() for line in lines for c in line if not "\ud800" <= c <= "\udfff")


def test_columns_stand_below_each_other_for_wide_characters_too():
    lines = table(["picture", "label"], [["猫.png", "x"], ["abcdef", "y"]]).split("\n")
    assert lines[1].index("x") + 1 == lines[2].index("y")  # one wide character is two cells
