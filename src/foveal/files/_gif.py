"""The way to a GIF's first picture: blocks as they must follow each other.

Pillow tells when the picture's own data are not whole, but looks for its beginning among whatever bytes there are:
after a table of colours that lost or gained a byte it finds the picture, in the wrong colours.

Source: GIF89a specification, sections 17 to 26.
"""

from __future__ import annotations

from foveal.files.safely import Unreadable

__all__ = ["size_of_first_picture"]

_PICTURE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def size_of_first_picture(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas and of the first picture on it, whichever is larger.

    Raises: Unreadable when blocks are not as they must be.
    """
    at = 13 + _table(data, 10)
    while at < len(data) and data[at] == _EXTENSION:
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    if at + 10 > len(data):
        raise Unreadable("is cut short")
    if data[at] != _PICTURE:
        raise Unreadable("holds no picture" if data[at] == _TRAILER else "is damaged")
    canvas, left_top, size = (_pair(data, i) for i in (6, at + 1, at + 5))
    return max(canvas[0], left_top[0] + size[0]), max(canvas[1], left_top[1] + size[1])


def _table(data: bytes, at: int) -> int:
    """How many bytes the table of colours takes that the flags at this place announce."""
    return 3 << (data[at] & 7) + 1 if at < len(data) and data[at] & 0x80 else 0


def _pair(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
