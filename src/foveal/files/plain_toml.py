"""TOML of bounded depth, looked through before it is parsed.

The parser of the standard library needs time and memory that grow with the square of the parts of one key, and a depth
of Python's stack for every bracket; a text of 78 KiB kept it busy for hours. One pass over strings, comments and
brackets, which costs a time in proportion to the text, tells such a text before it is parsed.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

__all__ = ["BadToml", "parse_toml"]

MOST_PARTS = 16  # of a key: a.b.c has three; those of a recipe have two
DEEPEST = 16  # of nested brackets
LONGEST = 1000  # letters of a bare key, a number or a date
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)'  # an unclosed string ends where the text does
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+"
    r"|(?P<word>[\w+:-]++)"
    r"|(?P<dot>\.)"
    r"|(?P<open>[\[{])"
    r"|(?P<close>[\]}])"
    r"|(?P<end>[=,\n])",
    re.DOTALL,
)


class BadToml(ValueError):
    """Why a text is no TOML that is read here, as the end of a sentence that begins with its place."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises: BadToml, with the line where it is known."""
    _look_through(text)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # of tomllib, and of Python for numbers of thousands of digits
        raise BadToml(f": {error}") from None
    except RecursionError:
        raise BadToml(" is nested too deeply") from None


def _look_through(text: str) -> None:
    depth = dots = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "word" and token.end() - token.start() > LONGEST:
            raise BadToml(f"{_line(text, token)}: a key or a number of more than {LONGEST} letters")
        if kind == "dot":
            dots += 1
            if dots >= MOST_PARTS:
                raise BadToml(f"{_line(text, token)}: a key of more than {MOST_PARTS} parts")
        elif kind == "open":
            depth, dots = depth + 1, 0
            if depth > DEEPEST:
                raise BadToml(f"{_line(text, token)} is nested too deeply, beyond {DEEPEST} brackets")
        elif kind == "close":
            depth, dots = depth - 1, 0
        elif kind == "end":
            dots = 0


def _line(text: str, token: re.Match[str]) -> str:
    return f" (line {text.count(chr(10), 0, token.start()) + 1})"
