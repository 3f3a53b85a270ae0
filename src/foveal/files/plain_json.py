"""JSON that every reader takes: no NaN, no stray bytes, plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TextIO

from foveal.errors import shown

__all__ = ["JsonList", "json_text"]


def json_text(value: Any) -> str:
    """JSON that every parser takes: ASCII only, null where a number is not finite, stray bytes of names escaped.

    >>> print(json_text({"loss": float("nan"), "name": "\\u202ea"}))
    {
      "loss": null,
      "name": "\\u202ea"
    }
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


class JsonList:
    """A list, written value by value: between `begin` and `end` the text grows into `json_text` of the whole list."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._count = 0

    def begin(self) -> None:
        """What stands before the first value."""
        self._out.write("[")

    def add(self, value: Any) -> None:
        """One value more."""
        self._out.write(",\n  " if self._count else "\n  ")
        self._out.write(json_text(value).replace("\n", "\n  "))
        self._count += 1

    def end(self) -> None:
        """What stands behind the last one."""
        self._out.write("\n]\n" if self._count else "]\n")


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
