"""Numbers as people say them: on pages with narrow spaces, in the terminal with plain ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.errors import shown
from foveal.files import plain_table

__all__ = [
    "THIN", "bytes_in_words", "clipped", "count", "counted", "decimals", "durations", "percent", "seconds_in_words",
    "split_word",
]  # fmt: skip

THIN = "\u202f"  # narrow no-break space: between a number and its unit
SPLIT_WORDS = {"test": "test", "val": "validation", "train": "training"}


def decimals(n: int) -> int:
    """Decimals of a percentage that n pictures can tell apart."""
    return 1 if n < 2000 else 2


def percent(share: float | None, digits: int = 1, space: str = THIN) -> str:
    """A share in per cent; a dash for what is not defined. Nothing below 100 % is rounded up to it.

    >>> percent(0.98061, 2, " "), percent(0.99999, 1, " "), percent(None)
    ('98.06 %', '99.9 %', '–')
    """
    return plain_table.percent(share, digits, space)


def count(n: float) -> str:
    """1234567 -> "1 234 567", with narrow spaces."""
    return f"{n:,.0f}".replace(",", THIN)


def counted(n: int, word: str, several: str = "") -> str:
    """1 -> "1 object", 2 -> "2 objects"."""
    return f"{count(n)} {word if n == 1 else several or word + 's'}"


def bytes_in_words(n: int) -> str:
    """2 300 000 -> "2.3 MB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.1f}{THIN}{unit}"
    return f"{n}{THIN}bytes"


def seconds_in_words(seconds: float, tenths_below: float = 10, space: str = THIN) -> str:
    """A duration in its two largest units.

    >>> seconds_in_words(75.2, space=" "), seconds_in_words(4.21, space=" "), seconds_in_words(4.21, 0, " ")
    ('1 min 15 s', '4.2 s', '4 s')
    """
    if seconds < tenths_below:
        return f"{seconds:.1f}{space}s"
    whole = round(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    said = [f"{value}{space}{unit}" for value, unit in parts if value]
    return " ".join(said[:2]) or f"0{space}s"


def durations(seconds: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What took how long, in words."""
    known = {"store": "reading pictures", "measure": "measuring", "train": "training", "test": "scoring"}
    known |= {"baseline": "baseline", "total": "altogether"}
    return [(known.get(name, name), seconds_in_words(float(value))) for name, value in seconds.items() if value]


def split_word(split: str) -> str:
    """A split as people call it."""
    return SPLIT_WORDS.get(split, split)


def clipped(name: str, length: int = 24) -> str:
    """A name from outside, escaped, and short enough for the edge of a plot."""
    text = shown(name)
    return text if len(text) <= length else f"{text[: length - 1]}…"
