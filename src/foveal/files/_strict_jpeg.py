"""JPEGs decoded by simplejpeg, for which each of libjpeg-turbo's warnings is an error: nothing lost goes unseen.

Its pixels are Pillow's to the bit, reduced scales included, since both ask the same library for the same. What it
declines (unusual sampling, 12 bits) is left to Pillow. What it warns of and every viewer shows rightly is put right in
memory first: a missing end marker, zeros that fill a gap, a version of JFIF that nobody knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.files.safely import Unreadable

if TYPE_CHECKING:
    from foveal.files._jpeg import Jpeg

__all__ = ["decode_strictly"]

_END = b"\xff\xd9"
_COLOURS = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}
_SMALLEST_REDUCED = 16  # pixels of the longer side; below it two scales may give one size
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]+)")


def decode_strictly(data: bytes, jpeg: Jpeg, channels: int | None, scale: int) -> NDArray[np.uint8] | None:
    """(H, W, C) uint8 as it is stored, C = 1 or 3 as wanted or as the file is, or 4 for CMYK; None where it declines.

    Args:   scale: 1, 2, 4 or 8, by which height and width are divided, rounded up.
    Raises: Unreadable when any of it was lost.
    """
    from simplejpeg import decode_jpeg, decode_jpeg_header

    if scale > 1 and max(jpeg.width, jpeg.height) < _SMALLEST_REDUCED:
        return None
    data = data if jpeg.closed else data[: jpeg.end] + _END
    try:
        height, width, space, _ = decode_jpeg_header(data, strict=False)
    except KeyError:  # of 4:4:1, for which simplejpeg has no name
        height, width, space = jpeg.height, jpeg.width, "YCbCr"
    except ValueError:
        return None
    if (height, width) != (jpeg.height, jpeg.width):
        raise Unreadable("is damaged")
    colours = _COLOURS.get(space)
    if colours is None:
        return None
    if colours != "CMYK" and channels in (1, 3):
        colours = "GRAY" if channels == 1 else "RGB"
    least = (-(-height // scale), -(-width // scale)) if scale > 1 else (0, 0)
    while True:
        try:
            pixels: NDArray[np.uint8] = decode_jpeg(
                data, colours, fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1], strict=True
            )
            return pixels
        except ValueError as error:
            mended = _mended(data, jpeg, str(error))
            if mended is None:
                raise Unreadable(_words(str(error), jpeg)) from None
            data = mended


def _words(warning: str, jpeg: Jpeg) -> str:
    if "premature end" not in warning.lower():
        return "is damaged"
    return "is damaged: its picture data ends early" if jpeg.closed else "is cut short"


def _mended(data: bytes, jpeg: Jpeg, warning: str) -> bytes | None:
    """The same picture with what is harmless put right, not a byte longer; None when something is amiss."""
    if "unknown JFIF revision" in warning:
        at = data.find(b"JFIF\0") + 5
        return data[:at] + b"\1" + data[at + 1 :] if at > 4 and data[at] != 1 else None
    found = _EXTRANEOUS.search(warning)
    if found is None:
        return None
    zeros, marker = bytes(int(found[1])), b"\xff" + bytes([int(found[2], 16)])
    for at in (jpeg.end - len(zeros), *jpeg.gaps):
        if at > 0 and data.startswith(zeros + marker, at):
            return data[:at] + b"\xff" * len(zeros) + data[at + len(zeros) :]  # bytes that may stand before any marker
    return None
