"""The report: one offline HTML file that a person wants to look at, the answer first.

Everything is inside: charts as SVG in the inks of the reader's light or dark scheme, pictures as PNG or WebP. The
page's own policy forbids it any connection, and every name from outside goes through `shown` and Jinja's escaping.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from foveal import __version__
from foveal.errors import shown
from foveal.files.durable import write_text
from foveal.report import plots, words
from foveal.report.pictures import contact_sheet, data_uri, filter_sheet, shrunk
from foveal.report.story import Mistake, Story

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

__all__ = [
    "Chart", "durations", "inline_chart", "page_file", "page_template", "recipe_sections", "render_report",
    "split_word", "write_report",
]  # fmt: skip

MISTAKE_SIDE = 192  # pixels, twice what a card shows: sharp on fine screens
MOST_MISTAKES = 24
MOST_ROWS = 1200  # of the per-class table; more would make the page heavy and tell nobody anything
SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}
XLINK = "{http://www.w3.org/1999/xlink}"


def write_report(story: Story, path: Path) -> None:
    """Write the page.

    Raises: NotWritable or NoSpace when the place refuses it.
    """
    write_text(path, render_report(story))


def render_report(story: Story) -> str:
    """The page as text."""
    script = page_file("page.js")
    return page_template("page.html.jinja").render(
        story=story,
        version=__version__,
        style=page_file("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        recipe=recipe_sections(story.recipe_toml),
        **_answer(story),
        **_findings(story),
        **_charts(story),
    )


def page_template(name: str) -> Template:
    """A template that lies beside this file, with the filters that the pages use."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        shown=shown, percent=words.percent, count=words.count, size=words.bytes_in_words, seconds=words.seconds_in_words
    )
    return environment.from_string(page_file(name))


def split_word(split: str) -> str:
    """A split as people call it."""
    return SPLIT_WORDS.get(split, split)


@dataclass(frozen=True)
class Chart:
    """A figure ready for the page: its message apart, as text that can wrap and be read aloud."""

    title: str
    svg: str


def inline_chart(figure: Figure, key: str) -> Chart:
    """A figure as an SVG element that takes the page's font and inks.

    The names of elements get `key` before them: a page holds many charts, and each would call something "axes_1".
    """
    import matplotlib

    title = figure.get_suptitle().replace("\n", " ")
    figure.suptitle("")
    text = io.StringIO()
    with matplotlib.rc_context({**plots.STYLE, "svg.fonttype": "none", "svg.hashsalt": key}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has its own fonts for those
        figure.savefig(
            text, format="svg", metadata={"Date": None}, transparent=True, bbox_inches="tight", pad_inches=0.02
        )
    root = ElementTree.fromstring(text.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _at_home(element, key)
    return Chart(title, ElementTree.tostring(root, encoding="unicode"))


def _at_home(element: ElementTree.Element, key: str) -> None:
    """Without namespaces (HTML knows SVG), with names of its own, in the page's inks and font."""
    element.tag = element.tag.rpartition("}")[2]
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        if name == "id":
            value = f"{key}-{value}"
        elif name == f"{XLINK}href":
            name, value = "href", value.replace("#", f"#{key}-") if value.startswith("#") else value
        elif name == "style":
            value = re.sub(r"font: ([^;]*?)([\d.]+px)[^;]*", _font, value)
        value = value.replace("url(#", f"url(#{key}-")
        for ink, color in plots.INKS.items():
            value = value.replace(color, f"var(--{ink})")
        element.attrib[name] = value


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 600" if "bold" in match[1] or "700" in match[1] else ""
    return f"font-size: {match[2]}{weight}"


def _answer(story: Story) -> dict[str, Any]:
    """What stands at the top of the page."""
    scores, digits = story.scores, words.decimals(story.scores.n)
    split = str(story.metrics.get("test", {}).get("split", "test"))
    low, high = scores.top1_interval
    return {
        "split": split_word(split),
        "accuracy": words.percent(scores.top1, digits),
        "interval": f"{words.percent(low, digits)} and {words.percent(high, digits)}",
        "errors": scores.n - scores.right,
        "doubt": words.doubt(scores, story.baseline) if story.baseline else "",
        "digits": digits,
        "temperature": words.temperature_in_words(story.temperature),
        "pictures_total": sum(int(np.sum(n)) for n in story.counts.values()),
        "views": [(shown(name), words.percent(top1, digits)) for name, top1 in story.views_scores.items()],
    }


def _findings(story: Story) -> dict[str, Any]:
    """Lists and tables."""
    timings = sorted(story.arithmetic.get("timings", ()), key=lambda row: -row["images_per_second"])
    return {
        "mistakes": [_card(mistake) for mistake in story.mistakes[:MOST_MISTAKES]],
        "confusions": words.confusions(story.scores),
        "class_rows": list(_class_rows(story)),
        "classes_left": max(0, len(story.classes) - MOST_ROWS),
        "timings": timings,
        "fastest": max((row["images_per_second"] for row in timings), default=1.0),
        "durations": durations(story.metrics.get("seconds", {})),
        "contact": _sheet_uri(story),
        "versions": len(story.augmented) // len(story.originals) if _has_contact(story) else 0,  # type: ignore[arg-type]
        "filters": None if story.filters is None or not story.filters.size else data_uri(filter_sheet(story.filters)),
    }


def _charts(story: Story) -> dict[str, Chart | None]:
    scores, history = story.scores, story.history
    comparison = story.baseline or story.views_scores
    figures: dict[str, Figure | None] = {
        "comparison": plots.plot_comparison(scores, story.baseline, story.views_scores) if comparison else None,
        "accuracy_chart": plots.plot_curves(history, "top1") if _ever(history, "top1") else None,
        "loss_chart": plots.plot_curves(history, "loss") if _ever(history, "loss") else None,
        "confusion": plots.plot_confusion(scores),
        "reliability": plots.plot_reliability(story.calibration),
        "class_f1": plots.plot_class_f1(scores),
        "risk_coverage": plots.plot_risk_coverage(story.tried) if story.tried else None,
        "learning_curve": plots.plot_learning_curve(story.learning_curve) if story.learning_curve else None,
    }
    return {name: inline_chart(figure, name) if figure else None for name, figure in figures.items()}


def _ever(history: Any, quantity: str) -> bool:
    keys = (f"train_{quantity}", f"val_{quantity}")
    return any(row.get(key) is not None and math.isfinite(row[key]) for row in history for key in keys)


def _card(mistake: Mistake) -> dict[str, Any]:
    height, width = mistake.picture.shape[:2]
    return {
        "uri": data_uri(shrunk(mistake.picture, MISTAKE_SIDE)),
        "sharp": max(height, width) < 64,
        "name": shown(mistake.name),
        "truth": shown(mistake.truth),
        "guess": shown(mistake.guess),
        "probability": words.percent(mistake.probability),
    }


def _class_rows(story: Story) -> Iterator[dict[str, Any]]:
    scores, train = story.scores, story.counts.get("train")
    for k, name in enumerate(story.classes[:MOST_ROWS]):
        yield {
            "name": shown(name),
            "train": None if train is None else int(train[k]),
            "support": int(scores.support[k]),
            "figures": [float(scores.precision[k]), float(scores.recall[k]), float(scores.f1[k])],
        }


def durations(seconds: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What took how long, in words."""
    known = {"store": "reading pictures", "measure": "measuring", "train": "training", "test": "scoring"}
    known |= {"baseline": "baseline", "total": "altogether"}
    return [(known.get(name, name), words.seconds_in_words(float(value))) for name, value in seconds.items() if value]


def _has_contact(story: Story) -> bool:
    return story.originals is not None and story.augmented is not None and bool(len(story.originals))


def _sheet_uri(story: Story) -> str | None:
    if not _has_contact(story):
        return None
    return data_uri(contact_sheet(story.originals, story.augmented))  # type: ignore[arg-type]


def recipe_sections(toml: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """[(section, [(key, value)])] of the recipe's own TOML; names that a user typed are escaped."""
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for line in toml.splitlines():
        if line.startswith("["):
            sections.append((shown(line.strip("[]")), []))
        elif "=" in line and sections:
            key, _, value = line.partition("=")
            sections[-1][1].append((shown(key.strip()), shown(value.strip())))
    return sections


def page_file(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files("foveal.report").joinpath(name).read_text(encoding="utf-8")
