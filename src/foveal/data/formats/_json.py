"""JSON from outside: read with limits, and refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foveal.errors import BadData, shown
from foveal.files.safely import Unreadable, open_regular, read_bytes

__all__ = ["read_json"]

BLOCK = 1 << 16


def read_json(path: Path, limit: int, what: str, lighter: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The value that a file of JSON holds.

    Args:   limit in bytes; what: "COCO file", …; lighter: makes of each object, the inner ones first, what is kept of
            it, where values are large that nobody asks for.
    Raises: BadData when it is larger than `limit` bytes, no JSON, nested for its own sake, or holds NaN.
    """
    _refuse_other(path, what)
    try:
        text = read_bytes(path, limit=limit, what=what, error=BadData).decode("utf-8-sig")
        return json.loads(text, parse_constant=_no_number, object_hook=lighter)
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start})"
    except json.JSONDecodeError as error:
        reason = f"is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg.lower()})"
    except RecursionError:
        reason = "is too deeply nested"
    except ValueError as error:  # a number of thousands of digits
        reason = (
            "holds NaN or Infinity, which JSON does not allow"
            if "no number" in str(error)
            else "holds an endless number"
        )
    raise BadData(f"{what} {shown(path)} {reason}.")


def _no_number(_: str) -> Any:
    raise ValueError("no number")


def _refuse_other(path: Path, what: str) -> None:
    """A gigabyte of something else is refused at its first byte."""
    try:
        with open_regular(path) as file:
            head = file.read(BLOCK).lstrip(b"\xef\xbb\xbf \t\r\n")
    except (Unreadable, OSError):
        return  # told by who reads it
    if not head:
        raise BadData(f"{what} {shown(path)} is empty.")
    if head[:1] not in b"{[":
        raise BadData(f"{what} {shown(path)} is not JSON (it begins with {head[:1]!r}).")
