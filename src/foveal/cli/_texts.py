"""Results as text: aligned tables for a person, JSON for a program (CSV for a spreadsheet: files/spreadsheet.py)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foveal.errors import shown

__all__ = ["json_text", "percent", "table"]


def percent(share: float | None) -> str:
    """
    >>> percent(0.98611), percent(None)
    ('98.61 %', '–')
    """
    return "–" if share is None or not math.isfinite(share) else f"{share * 100:.2f} %"


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


def json_text(value: Any) -> str:
    """JSON that every parser takes: ASCII only, null where a number is not finite, stray bytes of names escaped.

    >>> print(json_text({"loss": float("nan"), "name": "\\u202ea"}))
    {
      "loss": null,
      "name": "\\u202ea"
    }
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # half a surrogate pair, as Python carries a stray byte, is no valid JSON text
        return "".join(shown(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy's and PyTorch's numbers and arrays
        return _plain(value.tolist())
    return value if value is None or isinstance(value, bool | int) else _plain(str(value))
