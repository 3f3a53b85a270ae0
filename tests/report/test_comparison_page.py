"""The page of runs that start from weights in several ways."""

from __future__ import annotations

from reading import HOSTILE, Reader

from foveal.pages.render import render
from foveal.report.comparison_page import Compared, comparison, gain

RUNS = [
    Compared("head", 0.8, (0.74, 0.85), 33.0, 1234, "head/report.html"),
    Compared("last:1", 0.85, (0.79, 0.89), 75.0, 9876, "last-1/report.html"),
    Compared("scratch", 0.5, (0.43, 0.57), 70.0, 123456, "scratch/report.html"),
]


def test_the_page_tells_what_the_weights_brought_and_leads_to_each_report() -> None:
    reader = Reader(render(comparison("flowers-compare-1", RUNS, 200, 120.0)))
    assert reader.open == []
    text = " ".join(reader.text.replace("\u202f", " ").split())
    assert gain(RUNS, 200).replace("\u202f", " ") in text
    assert "Pretrained weights change the accuracy by +35.0 points" in text
    assert "Each way had 2 min, the same 200 test pictures" in text
    assert [link["href"] for link in reader.of("a")] == [run.page for run in RUNS]
    assert len(reader.of("svg")) == 1


def test_names_from_outside_stay_text() -> None:
    everywhere = " ".join(HOSTILE)
    reader = Reader(render(comparison(everywhere, [Compared(everywhere, 0.8, (0.7, 0.9), 1.0, 1, "r.html")], 9, 1.0)))
    assert reader.open == []
    assert reader.of("script") == []
