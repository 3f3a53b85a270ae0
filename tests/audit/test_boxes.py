"""Odd boxes in `foveal data check`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from boxed import picture

from foveal.audit.checking import check
from foveal.audit.page import answer, check_page
from foveal.pages.render import render

LINES = {
    "a.jpg": ["1,1,99,99,cat", "1,1,99,98.5,cat", "30,30,60,60,dog"],
    "b.jpg": ["10,10,90,90,cat", "10,10,90,91,dog"],
    "c.jpg": ["0,0,400,300,cat"],
    "d.jpg": ["5,5,7,7,cat", "5,5,300,10,dog"],
    "e.jpg": [",,,,"],
    "f.jpg": ["5,5,5,60,cat", "50,50,80,80,dog"],
    "g.jpg": ["500,5,505,60,cat", "10,10,60,60,dog"],
    **{f"h{i}.jpg": ["10,10,60,60,cat", "70,70,200,200,dog"] for i in range(9)},
}


def table(folder: Path) -> Path:
    for seed, name in enumerate(LINES):
        picture(folder / name, (400, 300), seed=seed)
    lines = [f"{name},{line}" for name, several in LINES.items() for line in several]
    (folder / "t.csv").write_text("\n".join(["path,x1,y1,x2,y2,label", *lines]))
    return folder / "t.csv"


def test_each_odd_box_is_told_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_DATA", str(tmp_path / "none"))
    found = check(table(tmp_path))
    told = {(o.name, o.reason) for o in found.odd_boxes}
    assert told == {
        ("a.jpg", "box 2 repeats box 1"),
        ("b.jpg", 'box 2 lies on the "cat" of box 1'),
        ("c.jpg", "box 1 covers the whole picture"),
        ("d.jpg", "box 1 is too small to show anything"),
        ("d.jpg", "box 2 is thin as a line"),
    }
    broken = {(o.name, o.reason) for o in found.broken}
    assert {("line 11", "zero area"), ("line 13", "lies outside the picture")} <= broken
    counts = found.counts()
    assert (counts["odd_boxes"], counts["boxes"], counts["without_object"]) == (5, 28, 1)
    assert found.as_dict()["classes"] == {"cat": 14, "dog": 14}
    assert not found.wrong_labels
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert sum(row["finding"] == "odd box" for row in rows) == 5
    page = render(check_page(found))
    assert "box 2 repeats box 1" in page
    assert any(what == "5 odd boxes" for what, _ in answer(found))
