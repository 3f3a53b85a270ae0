"""What a picture's header tells without decoding it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture
from foveal.files._quiet import quiet_warnings
from foveal.files.pictures import Encoded
from foveal.files.safely import Unreadable, open_regular

__all__ = ["shape_of"]

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
_GREY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "LA")
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


def shape_of(source: Encoded | NDArray[np.uint8], name: str = "") -> tuple[int, int, int]:
    """(height, width, channels) as `read_image` would give them, channels 1 or 3. Raises: BadPicture."""
    if isinstance(source, np.ndarray):
        return source.shape[0], source.shape[1], 1 if source.ndim == 2 or source.shape[2] == 1 else 3
    from PIL import Image

    try:
        with quiet_warnings(), open_regular(source) if isinstance(source, Path) else io.BytesIO(source) as file:
            picture = Image.open(file, formats=_FORMATS)
            width, height = picture.size
            turned = picture.format != "TIFF"  # whose size Pillow has turned already
            if turned and picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
                width, height = height, width
            return height, width, 1 if picture.mode in _GREY else 3
    except Unreadable as error:
        raise BadPicture(name or str(source), error.reason) from None
    except Exception as error:  # Pillow's readers raise whatever their input makes them
        raise BadPicture(name or "a picture", "is not a picture foveal reads") from error
