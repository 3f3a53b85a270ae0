"""Whether a PNG holds all its rows.

zlib data that end properly but early leave the rest of the picture black without any error in Pillow. A picture whose
last rows are all zero is therefore inflated once more, for its length only.

Source: PNG specification (third edition), sections 7 and 8.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["has_all_rows", "size_in_header"]

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values a pixel
_AT_ONCE = 1 << 17  # bytes that are inflated together: of what waits, a copy is made each time
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def size_in_header(data: bytes) -> tuple[int, int]:
    """(width, height) as IHDR claims; (-1, -1) when there is no IHDR where it must stand."""
    if data[12:16] != b"IHDR" or len(data) < 26:
        return -1, -1
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def has_all_rows(data: bytes) -> bool:
    """Inflate the IDAT chunks, counting bytes."""
    wanted = _bytes_of_rows(data)
    inflate = zlib.decompressobj()
    for chunk in _idat(data):
        for start in range(0, len(chunk), _AT_ONCE):
            part: bytes | memoryview = chunk[start : start + _AT_ONCE]
            while part and wanted > 0:
                wanted -= len(inflate.decompress(part, min(wanted, 1 << 20)))
                part = inflate.unconsumed_tail
        if wanted <= 0:
            return True
    return wanted <= len(inflate.flush())


def _bytes_of_rows(data: bytes) -> int:
    width, height = size_in_header(data)
    depth, colour, interlaced = data[24], data[25], data[28]
    bits = depth * _SAMPLES.get(colour, 1)

    def rows(w: int, h: int) -> int:
        return h * (1 + (w * bits + 7) // 8) if w > 0 and h > 0 else 0  # each row begins with its filter's number

    if not interlaced:
        return rows(width, height)
    return sum(rows((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _ADAM7)


def _idat(data: bytes) -> Iterator[memoryview]:
    at, whole = 8, memoryview(data)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            yield whole[at + 8 : at + 8 + length]
        elif kind == b"IEND":
            return
        at += 12 + length
