"""What a picture's header tells without decoding it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture
from foveal.files._heif import heic_header, kind_of
from foveal.files._quiet import quiet_warnings
from foveal.files.pictures import Encoded
from foveal.files.safely import Unreadable, open_regular, read_all

__all__ = ["Header", "header_of", "shape_of"]

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
_LARGEST = 1 << 30  # bytes of a HEIC, which tells its size at the end of many boxes
_GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "LA")
_BANDS = "4 bands"  # of pixels in memory; in a file the fourth channel is opacity
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side
_PNG = b"\x89PNG\r\n\x1a\n"
_TURNING = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # where a PNG may tell its orientation


@dataclass(frozen=True)
class Header:
    """What a picture says of itself."""

    height: int  # pixels, upright
    width: int
    format: str  # by content: "JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIC"; "" for pixels in memory
    mode: str  # Pillow's: "RGB", "L", "CMYK", "I;16", …
    turned: bool  # whether its EXIF orientation asks for more than showing it as it is stored
    orientation: int = 1  # of EXIF: 1 as it is stored, 2 to 8 mirrored or turned

    @property
    def channels(self) -> int:
        """As `read_image` would give it: 1, 3 or 4."""
        return 4 if self.mode == _BANDS else 1 if self.mode in _GREY else 3


def shape_of(source: Encoded | NDArray[np.uint8], name: str = "", sound: bool = False) -> tuple[int, int, int]:
    """(height, width, channels) as `read_image` would give them, channels 1 or 3. Raises: BadPicture."""
    header = header_of(source, name, sound)
    return header.height, header.width, header.channels


def header_of(source: Encoded | NDArray[np.uint8], name: str = "", sound: bool = False) -> Header:
    """A picture's header. Args: sound, whether it was decoded whole already. Raises: BadPicture."""
    if isinstance(source, np.ndarray):
        mode = "L" if source.ndim == 2 or source.shape[2] == 1 else _BANDS if source.shape[2] == 4 else "RGB"
        return Header(source.shape[0], source.shape[1], "", mode, False)
    from PIL import Image

    try:
        with quiet_warnings(), open_regular(source) if isinstance(source, Path) else io.BytesIO(source) as file:
            if kind_of(file.read(256)) == "HEIC":
                heic = heic_header(source if isinstance(source, bytes) else read_all(source, _LARGEST))
                return Header(heic.height, heic.width, "HEIC", heic.mode, False)
            file.seek(0)
            picture = Image.open(file, formats=_FORMATS)
            width, height = picture.size
            turn = 1 if sound and _stored_upright(source) else picture.getexif().get(_ORIENTATION, 1)
            if picture.format != "TIFF" and turn in (5, 6, 7, 8):  # the size of a TIFF is turned by Pillow already
                width, height = height, width
            turned = turn in range(2, 9)
            return Header(height, width, picture.format or "", picture.mode, turned, int(turn) if turned else 1)
    except Unreadable as error:
        raise BadPicture(name or str(source), error.reason) from None
    except Exception as error:  # Pillow's readers raise whatever their input makes them
        raise BadPicture(name or "a picture", "is not a picture foveal reads") from error


def _stored_upright(source: Encoded) -> bool:
    """Whether this is a PNG in memory in which nothing could turn it: Pillow would decode it whole to find that out."""
    return isinstance(source, bytes) and source.startswith(_PNG) and not any(mark in source for mark in _TURNING)
