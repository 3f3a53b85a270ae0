"""How charts are drawn and get onto a page: few inks, a title that is the message, and SVG that knows no screen.

Charts stay readable in grey (lines differ by dash, cells carry their counts) and are drawn in the few inks of `INKS`,
which `inline_chart` exchanges for those of the reader's light or dark scheme.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec
from xml.etree import ElementTree

from markupsafe import Markup
from numpy.typing import NDArray

from foveal.pages.page import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DASHES", "INKS", "STYLE", "WIDTH", "canvas", "draw_interval", "inline_chart", "label_ends", "name_ticks", "styled",
]  # fmt: skip

P = ParamSpec("P")

XLINK = "{http://www.w3.org/1999/xlink}"
DASHES = (0, (4, 2))  # of a line that stands beside a full one
INKS = {  # contrast on white: ink 15.5, muted 5.7, accent 5.3, warm 5.2 to 1
    "ink": "#1c2430",
    "muted": "#5a6775",
    "rule": "#d9dfe6",
    "accent": "#1d6fb0",
    "warm": "#b4541a",
    "paper": "#ffffff",
}
WIDTH = 5.2  # inches: half of the page on a desk, all of it on a phone

STYLE: Mapping[Any, Any] = {
    "font.size": 9,
    "text.color": INKS["ink"],
    "text.parse_math": False,  # a class may be called "$x$"
    "axes.edgecolor": INKS["rule"],
    "axes.labelcolor": INKS["muted"],
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": INKS["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": INKS["rule"],
    "ytick.color": INKS["rule"],
    "xtick.labelcolor": INKS["muted"],
    "ytick.labelcolor": INKS["muted"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "figure.facecolor": INKS["paper"],
    "axes.facecolor": "none",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws with the report's style; matplotlib's settings are the caller's again afterwards."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(dict(STYLE)):
            figure = draw(*args, **kwargs)
            for axes in figure.axes:  # ticks are made when first looked at, and would take the caller's style
                for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                    label.set_parse_math(False)
        return figure

    return drawn


def canvas(title: str, height: float, **layout: Any) -> tuple[Figure, NDArray[Any]]:
    """An empty figure with its message as title, and its axes in rows and columns."""
    from foveal.pages.shown_figure import ShownFigure

    figure = ShownFigure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(textwrap.fill(title, 70), x=0.01, ha="left", fontsize=10.5)  # wrap=True would read $ as formulas
    axes: NDArray[Any] = figure.subplots(squeeze=False, **layout)
    return figure, axes


def name_ticks(axes: Axes, which: Literal["x", "y"], places: Sequence[int], names: Sequence[str]) -> None:
    """Names at some places of an axis, in the ink of the text."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(list(places), list(names))
    for label in axis.get_ticklabels():
        label.set(parse_math=False, color=INKS["ink"])


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names the lines at their right end, above and below each other where the ends are close."""
    ordered = sorted(ends, key=lambda end: -end[1])
    for place, (x, y, name, ink) in enumerate(ordered):
        shift = 0 if len(ordered) == 1 else 5 - 10 * place
        axes.annotate(
            name, (x, y), (6, shift), textcoords="offset points", color=ink, va="center", annotation_clip=False
        )


def draw_interval(
    axes: Axes,
    y: int,
    share: float,
    interval: tuple[float, float],
    words: str,
    ink: str,
    mark: str = "o",
    size: int = 8,
) -> None:
    """A share as a mark with its words above it, on a bar that is its 95 % interval, both in per cent."""
    low, high = interval
    axes.plot([100 * low, 100 * high], [y, y], color=ink, linewidth=5, alpha=0.3, solid_capstyle="butt")
    axes.plot([100 * share], [y], mark, color=ink, markersize=size)
    above = axes.annotate(words, (100 * share, y), (0, 9), textcoords="offset points")
    above.set(ha="center", va="bottom", color=ink, fontweight="bold")


def inline_chart(figure: Figure, key: str, note: str = "") -> Chart:
    """A figure as an SVG element that takes the page's font and inks.

    The names of elements get `key` before them: a page holds many charts, and each would call something "axes_1".
    `note` is a sentence below it.
    """
    import matplotlib

    title = figure.get_suptitle().replace("\n", " ")
    figure.suptitle("")
    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": key}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has its own fonts for those
        figure.savefig(
            text, format="svg", metadata={"Date": None}, transparent=True, bbox_inches="tight", pad_inches=0.02
        )
    root = ElementTree.fromstring(text.getvalue())  # what matplotlib has just written
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        _at_home(element, key)
    return Chart(title, Markup(ElementTree.tostring(root, encoding="unicode")), note)


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
        for ink, color in INKS.items():
            value = value.replace(color, f"var(--{ink})")
        element.attrib[name] = value


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 600" if "bold" in match[1] or "700" in match[1] else ""
    return f"font-size: {match[2]}{weight}"
