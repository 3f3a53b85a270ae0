"""JSON that every reader takes: no NaN, no stray bytes, plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from foveal.errors import shown

__all__ = ["json_text"]


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
