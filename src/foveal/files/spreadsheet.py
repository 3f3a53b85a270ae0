"""CSV for spreadsheets: what looks like a formula stays a text, and no name can break a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from foveal.errors import shown

__all__ = ["csv_text", "csv_writer"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula when a cell begins with it


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV that a spreadsheet opens as text: what looks like a formula gets an apostrophe before it.

    >>> csv_text(["picture", "label"], [["=cmd().png", "cat"]])
    "picture,label\\n'=cmd().png,cat\\n"
    """
    out = io.StringIO()
    write = csv_writer(out)
    for row in (head, *rows):
        write(row)
    return out.getvalue()


def csv_writer(out: TextIO) -> Callable[[Sequence[object]], None]:
    """What writes a row, as `csv_text` does, whenever it is called with one."""
    writer = csv.writer(out, lineterminator="\n")

    def write(row: Sequence[object]) -> None:
        writer.writerow([_cell(value) if isinstance(value, str) else value for value in row])

    return write


def _cell(text: str) -> str:
    escaped = shown(text)
    return f"'{escaped}" if text.startswith(FORMULA) else escaped
