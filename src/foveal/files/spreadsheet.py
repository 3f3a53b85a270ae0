"""CSV for spreadsheets: what looks like a formula stays a text, and no name can break a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from foveal.errors import shown

__all__ = ["csv_text"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula when a cell begins with it


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV that a spreadsheet opens as text: what looks like a formula gets an apostrophe before it.

    >>> csv_text(["picture", "label"], [["=cmd().png", "cat"]])
    "picture,label\\n'=cmd().png,cat\\n"
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(value) if isinstance(value, str) else value for value in row])
    return out.getvalue()


def _cell(text: str) -> str:
    escaped = shown(text)
    return f"'{escaped}" if text.startswith(FORMULA) else escaped
