"""Names for what foveal writes, of which nothing may take the place of something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

__all__ = ["as_word", "first_free"]


def as_word(text: str, longest: int = 60) -> str:
    """Letters, digits, dots and dashes of a text, to be a part of a name.

    >>> as_word("conv(8), pool 2")
    'conv-8-pool-2'
    """
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:longest]


def first_free(name: Callable[[int], str], taken: Callable[[str], bool], start: int = 1) -> tuple[str, int]:
    """The first of name(start), name(start + 1), … that is not taken, and its number.

    >>> first_free(lambda number: f"run-{number}", {"run-1", "run-2"}.__contains__)
    ('run-3', 3)
    """
    return next((name(number), number) for number in count(start) if not taken(name(number)))
