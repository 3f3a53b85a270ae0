"""Tables for a terminal, and shares as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from foveal.errors import brief, shown

__all__ = ["counted", "aligned", "in_thousandths", "percent", "table", "widths"]

LONGEST_CELL = 200  # letters; CSV and JSON have them all


def percent(share: float | None, digits: int = 2, space: str = " ") -> str:
    """A share in per cent; a dash for what is not defined. Nothing below 100 % is rounded up to it.

    >>> percent(0.98611), percent(0.99999, 1), percent(None)
    ('98.61 %', '99.9 %', '–')
    """
    if share is None or not math.isfinite(share):
        return "–"
    text = f"{100 * share:.{digits}f}"
    if float(text) == 100 and share < 1:
        text = f"{100 - 10**-digits:.{digits}f}"
    return f"{text}{space}%"


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
    lines = [head, *rows]
    columns = widths(lines)
    return "\n".join(aligned(line, columns) for line in lines)


def _cell(text: str) -> str:
    return brief(shown(text), LONGEST_CELL)


def widths(lines: Iterable[Sequence[str]]) -> list[int]:
    """Cells of the terminal that each column needs. Args: lines, of equally many texts, as they are before escaping."""
    from rich.cells import cell_len

    needed: list[int] = []
    for line in lines:
        lengths = [cell_len(_cell(text)) for text in line]
        needed = [max(pair) for pair in zip(needed, lengths, strict=True)] if needed else lengths
    return needed


def aligned(line: Sequence[str], columns: Sequence[int]) -> str:
    """One line of a table. Args: columns, their widths; a longer text pushes what stands behind it to the right.

    >>> aligned(["a.png", "cat"], [9, 5])
    'a.png      cat'
    """
    from rich.cells import cell_len

    texts = [_cell(text) for text in line]
    return "  ".join(t + " " * (w - cell_len(t)) for t, w in zip(texts, columns, strict=True)).rstrip()


def counted(n: int, word: str, several: str = "") -> str:
    """A number with its word, in ASCII.

    >>> counted(1, "epoch"), counted(2, "epoch"), counted(1200, "class", "classes")
    ('1 epoch', '2 epochs', '1,200 classes')
    """
    return f"{n:,} {word if n == 1 else several or word + 's'}"
