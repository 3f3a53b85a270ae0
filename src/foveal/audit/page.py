"""A data set on one offline page: what should be looked at first, with the pictures themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal import __version__
from foveal.audit.findings import Findings
from foveal.data.dataset import NOTHING
from foveal.errors import BadPicture, shown
from foveal.files.durable import write_text
from foveal.files.pictures import read_image
from foveal.report import words
from foveal.report.pictures import data_uri, shrunk

__all__ = ["CSV_FILE", "PAGE_FILE", "render_check", "write_check"]

PAGE_FILE, CSV_FILE = "check.html", "findings.csv"
CARD_SIDE, POINT_SIDE = 176, 40  # pixels of a picture in a list and on the map
MOST_SHOWN = 60  # pictures of each finding; the CSV has all
MOST_ROWS = 200  # of each table
HUES = 12  # classes on the map that can be told apart by the color of their frame


@dataclass(frozen=True)
class Card:
    """A picture with what there is to say of it."""

    picture: str  # a data address; "" when it cannot be shown
    name: str
    label: str
    split: str
    small: bool  # its pixels are shown as they are


@dataclass(frozen=True)
class Point:
    """A picture on the map."""

    picture: str
    left: float  # percent of the map
    top: float
    hue: int
    title: str


def write_check(findings: Findings, folder: Path) -> None:
    """Write the page and the CSV into a folder that exists. Raises: NotWritable or NoSpace."""
    write_text(folder / CSV_FILE, findings.csv())
    write_text(folder / PAGE_FILE, render_check(findings))


def render_check(findings: Findings) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(shown=shown, count=words.count, percent=words.percent, seconds=words.seconds_in_words)
    names = [*findings.dataset.classes]
    return environment.from_string(_file("foveal.audit", "check.html.jinja")).render(
        f=findings,
        counts=findings.counts(),
        version=__version__,
        style=_file("foveal.report", "page.css"),
        csv=CSV_FILE,
        answer=answer(findings),
        most=MOST_SHOWN,
        rows=MOST_ROWS,
        pairs=[(pair, _card(findings, pair.first), _card(findings, pair.second))
               for pair in findings.duplicates[:MOST_SHOWN]],
        suspects=[(s, _card(findings, s.index), names[s.likely]) for s in findings.wrong_labels[:MOST_SHOWN]],
        outliers=[(o, _card(findings, o.index)) for o in findings.outliers[:MOST_SHOWN]],
        classes=_classes(findings),
        points=_points(findings),
        legend=[(name, _hue(k)) for k, name in enumerate(names[:HUES])],
    )  # fmt: skip


def answer(findings: Findings) -> list[tuple[str, str]]:
    """(what, why it matters) in the order in which it should be mended; nothing where all is well.

    Words of the page and of the command.
    """
    counts, found = findings.counts(), []
    if n := counts["duplicates_across_splits"]:
        found.append(
            (f"{_many(n, 'copy', 'copies')} across splits", "what is tested was learnt, so scores come out too good")
        )
    if n := counts["duplicates_with_two_labels"]:
        found.append((f"{_many(n, 'copy', 'copies')} with another label", "one of the two is wrong"))
    if n := counts["wrong_labels"]:
        found.append((f"{_many(n, 'label')} probably wrong", "look at them in the order of the list"))
    boxed = findings.dataset.boxes is not None
    if n := counts["broken"]:
        what = _many(n, "file or box", "files or boxes") if boxed else _many(n, "file")
        found.append((f"{what} that cannot be used", "training leaves them out"))
    if n := counts.get("odd_boxes", 0):
        found.append((f"{_many(n, 'odd box', 'odd boxes')}", "drawn twice, tiny, thin, or as large as the picture"))
    if n := counts["duplicates"] - counts["duplicates_across_splits"]:
        found.append((f"{_many(n, 'copy', 'copies')} within a split", "they count twice and teach once"))
    if n := counts["outliers"]:
        found.append((f"{_many(n, 'picture')} unlike all others", "do they belong here?"))
    if n := counts["tiny_classes"]:
        found.append(
            (
                f"{_many(n, 'class', 'classes')} with few {'boxes' if boxed else 'pictures'}",
                "too few to learn from, or to test on",
            )
        )
    if n := counts["odd"]:
        found.append((f"{_many(n, 'odd file')}", "usable, but not like the others"))
    return found


def _many(n: int, one: str, several: str = "") -> str:
    return f"{words.count(n)} {one if n == 1 else several or one + 's'}"


def _card(findings: Findings, index: int) -> Card:
    pixels = _pixels(findings, index)
    name, label, split = findings.name(index), findings.label(index), findings.split(index)
    if pixels is None:
        return Card("", name, label, split, False)
    return Card(data_uri(shrunk(pixels, CARD_SIDE)), name, label, split, max(pixels.shape[:2]) < CARD_SIDE // 2)


def _pixels(findings: Findings, index: int) -> NDArray[np.uint8] | None:
    """A picture to show; None when it went away since it was looked at."""
    try:
        content = findings.dataset.pictures.content(index)
        return read_image(content, channels=3, cover=(CARD_SIDE, CARD_SIDE))
    except (BadPicture, OSError):
        return None


def _points(findings: Findings) -> list[Point]:
    points = []
    for place, index in zip(findings.places, findings.placed.tolist(), strict=True):
        pixels = _pixels(findings, index)
        if pixels is not None:
            title = f"{shown(findings.name(index))} · {shown(findings.label(index))}"
            left, top = (round(96 * float(v), 2) for v in place)
            hue = _hue(int(findings.dataset.labels[index]))
            points.append(Point(data_uri(shrunk(pixels, POINT_SIDE)), left, top, hue, title))
    return points


def _hue(label: int) -> int:
    """Degrees on the color circle; neighbours in the list of classes lie far apart on it."""
    return label % HUES * 5 % HUES * 360 // HUES


def _classes(findings: Findings) -> list[dict[str, Any]]:
    """A row a class: its pictures by split, and what was found in it."""
    dataset = findings.dataset
    K = len(dataset.classes)
    each = {split: findings.counted(split) for split in ("train", "val", "test")}
    total = findings.of_classes
    wrong = _counted([s.label for s in findings.wrong_labels], K)
    labels = [int(dataset.labels[p.second]) for p in findings.duplicates]
    copies = _counted([label for label in labels if label != NOTHING], K)
    order = np.argsort(-total, kind="stable")[:MOST_ROWS]
    return [
        {"name": dataset.classes[k], **{s: int(n[k]) for s, n in each.items()}, "total": int(total[k]),
         "share": float(total[k] / max(1, total.max())), "wrong": int(wrong[k]), "copies": int(copies[k])}
        for k in order
    ]  # fmt: skip


def _counted(labels: Sequence[int], K: int) -> NDArray[np.int64]:
    return np.bincount(np.array(labels, np.int64), minlength=K).astype(np.int64)


def _file(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
