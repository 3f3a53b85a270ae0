"""Tables for a terminal: aligned columns, and shares in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from foveal.errors import shown

__all__ = ["in_thousandths", "percent", "table"]


def percent(share: float | None) -> str:
    """
    >>> percent(0.98611), percent(None)
    ('98.61 %', '–')
    """
    return "–" if share is None or not math.isfinite(share) else f"{share * 100:.2f} %"


def in_thousandths(value: float | None) -> str:
    """
    >>> in_thousandths(0.12345), in_thousandths(float("nan"))
    ('0.123', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, in cells of the terminal; texts from outside are escaped.

    >>> print(table(["picture", "label"], [["a.png", "cat"], ["long-name.png", "dog"]]))
    picture        label
    a.png          cat
    long-name.png  dog
    """
    from rich.cells import cell_len

    lines = [[shown(cell) for cell in row] for row in [head, *rows]]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = [[c + " " * (w - cell_len(c)) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in padded)
