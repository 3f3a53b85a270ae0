"""HEIC and AVIF: pictures in the boxes of ISO's media files. The first is read by pillow-heif, the second by Pillow.

Neither need be there: HEIC's decoder is an extra, and Pillow may be built without AVIF's. HEIC says itself how it is
turned, and its EXIF orientation only repeats that; Pillow tells an AVIF's turn as if it stood in EXIF.

Source: ISO/IEC 23008-12 (HEIF), 6.5.10 and annex B; AV1 Image File Format, section 6.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.files._limits import check_bytes, check_size
from foveal.files.safely import Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["HeicHeader", "heic_header", "kind_of", "read_avif", "read_heic"]

_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1 mif2".split())


@dataclass(frozen=True)
class HeicHeader:
    """The primary picture of a file."""

    width: int  # pixels, upright
    height: int
    mode: str  # "RGB", "RGBA", "L" or "LA": 8 bits each


def kind_of(data: bytes) -> str:
    """ "HEIC", "AVIF" or "", by the brands in the first box."""
    if data[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIC else ""


def heic_header(data: bytes) -> HeicHeader:
    """Raises: Unreadable, also when the extra is missing."""
    file = _opened(data)
    width, height = file.size
    return HeicHeader(width, height, file.mode)


def read_heic(data: bytes, limit: float) -> NDArray[np.uint8]:
    """(H, W, C) uint8, upright, C = 1 to 4 as in its mode. Raises: Unreadable, and what pillow-heif raises."""
    file = _opened(data)
    width, height = file.size
    check_size(width, height, limit)
    check_bytes(width, height, _bytes_a_pixel(data, file.mode), len(data), limit)
    rows = np.frombuffer(file.data, np.uint8).reshape(-1, file.stride)
    width, height = file.size
    return rows[:height, : width * len(file.mode)].reshape(height, width, len(file.mode))


def _opened(data: bytes) -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise _not_here("a HEIC") from None
    if int.from_bytes(data[:4], "big") > len(data):
        raise Unreadable("is cut short")
    try:
        return pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    except (ValueError, RuntimeError, EOFError, SyntaxError) as error:
        raise Unreadable(_words(str(error))) from error


def _words(error: str) -> str:
    return "is cut short" if "end of file" in error.lower() else "is damaged"


def read_avif(data: bytes, limit: float) -> Image:
    """Decoded; its EXIF says how it is turned. Raises: Unreadable, and what Pillow raises."""
    from PIL import features

    if not features.check("avif"):
        raise _not_here("an AVIF")
    from PIL.AvifImagePlugin import AvifImageFile

    image = AvifImageFile(io.BytesIO(data))
    check_size(image.width, image.height, limit)
    check_bytes(*image.size, _bytes_a_pixel(data, image.mode), len(data), limit)
    image.load()
    return image


def _bytes_a_pixel(data: bytes, mode: str) -> float:
    """Of memory: planes as they are coded, what is made of them, and what is handed over. Measured, and rounded up."""
    depths = data.find(b"pixi") + 9  # of the first picture [ISO/IEC 23008-12, 6.5.6]
    deep = depths > 9 and depths < len(data) and data[depths] > 8
    return (12.5 if mode.endswith("A") else 10.5) + 4.5 * deep


def _not_here(what: str) -> Unreadable:
    return Unreadable(f'is {what} picture; pip install "foveal[heif]" reads it, or save it as JPEG or PNG')
