"""Numbers that a network is asked with: whole and positive, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

from foveal.errors import BadRecipe, kind_of, shown

__all__ = ["check_numbers", "sides_of"]


def check_numbers(**given: Any) -> None:
    """Raises: BadRecipe for one that is no whole number from 1 on. Args: given, each by its name."""
    for name, value in given.items():
        if not _is_number(value):
            raise BadRecipe(f"{name} is a whole number; got {_words(value)}.")
        if int(value) < 1:
            raise BadRecipe(f"{name} is at least 1; got {int(value)}.")


def sides_of(size: Any) -> tuple[int, int]:
    """(H, W) of that, or of one number for both. Raises: BadRecipe.

    >>> sides_of(28), sides_of([28, 32])
    ((28, 28), (28, 32))
    """
    sides = (size, size) if _is_number(size) else size
    if not isinstance(sides, Sequence) or isinstance(sides, str) or len(sides) != 2:
        raise BadRecipe(f"size is (H, W) in pixels, or one number for both; got {_words(size)}.")
    check_numbers(height=sides[0], width=sides[1])
    return int(sides[0]), int(sides[1])


def _is_number(value: Any) -> bool:
    """Of Python's or NumPy's integers; an array has an index as well, as long as nobody asks for it."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool) and getattr(value, "ndim", 0) == 0


def _words(value: Any) -> str:
    return shown(repr(value))[:40] if isinstance(value, int | float | str | tuple | list) else kind_of(value)
