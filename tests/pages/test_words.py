from __future__ import annotations

import pytest

from foveal.cli import _texts, console
from foveal.pages import words


@pytest.mark.parametrize(
    ("share", "digits", "said"),
    [(0.9806, 1, "98.1 %"), (1.0, 1, "100.0 %"), (0.99999, 1, "99.9 %"), (0.99999, 2, "99.99 %"), (0.996, 0, "99 %"),
     (0.0, 1, "0.0 %"), (float("nan"), 1, "–"), (None, 1, "–")],
)  # fmt: skip
def test_percentages_never_round_up_to_all(share, digits, said):
    assert words.percent(share, digits).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.6, "1 min"),
        (75.2, "1 min 15 s"),
        (3600, "1 h"),
        (7325, "2 h 2 min"),
    ],
)
def test_durations_are_said_as_people_do(seconds, said):
    assert words.seconds_in_words(seconds).replace("\u202f", " ") == said


def test_the_terminal_says_numbers_as_pages_do_with_plain_spaces():
    assert _texts.percent(0.99999) == words.percent(0.99999, 2).replace("\u202f", " ") == "99.99 %"
    assert [console.duration(s) for s in (0, 4.2, 60, 75, 7260)] == ["0 s", "4 s", "1 min", "1 min 15 s", "2 h 1 min"]
