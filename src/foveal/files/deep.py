"""Pictures of more than 8 bits a sample: 12-bit cameras in 16-bit files, float TIFF. What is white in them?

No file says it. So one value is measured for a whole data set (`data/white.py`), kept in the preprocessing, and used
for every picture alike; a range of each picture's own would make a dim one as bright as a bright one.

Pillow reads deep samples of one band as they are and keeps the upper eight bits of deep colours; those are decoded by
OpenCV once more, after Pillow has found the file whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveal.files._limits import check_bytes
from foveal.files._quiet import quiet_stderr, quiet_warnings
from foveal.files.safely import Unreadable, open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Depth", "depth_of", "is_deep", "levelled", "samples_of"]

Depth: TypeAlias = Literal["", "integers", "floats"]  # "": 8 bits or fewer

_BITS_PER_SAMPLE = 258  # tag of a TIFF
_PEEKED = 26  # bytes: as far as PNG's bit depth
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BLOCK = 1 << 20  # samples scaled at a time
_BESIDE_COLOURS = 12  # bytes a pixel that are held beside deep colours: Pillow's picture, a copy, what comes of it


def depth_of(source: Path | bytes) -> Depth:
    """What the samples of a picture are, by its header; "" too where it has none that is sound."""
    try:
        if isinstance(source, bytes):
            head = source[:_PEEKED]
        else:
            with open_regular(source) as file:
                head = file.read(_PEEKED)
        if head.startswith(_PNG):
            return "integers" if head[24:25] == b"\x10" else ""
        return _of_tiff(source) if head.startswith(_TIFF) else ""
    except (Unreadable, OSError):
        return ""


def _of_tiff(source: Path | bytes) -> Depth:
    import io

    from PIL.TiffImagePlugin import TiffImageFile

    try:
        with quiet_warnings(), open_regular(source) if isinstance(source, Path) else io.BytesIO(source) as file:
            image = TiffImageFile(file)
            return ("floats" if image.mode == "F" else "integers") if is_deep(image) else ""
    except Exception:  # noqa: BLE001  Pillow's readers raise whatever their input makes them; who decodes it tells
        return ""


def is_deep(image: Image, data: bytes = b"") -> bool:
    """Whether an opened file has more than 8 bits a sample, those that Pillow would drop among them.

    Args: data, the file's first bytes, which tell it of a PNG; a TIFF's tags do.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if data.startswith(_PNG):
        return data[24:25] == b"\x10"
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)
    return any(int(n) > 8 for n in (bits if isinstance(bits, tuple) else (bits,)))


def samples_of(image: Image, data: bytes, limit: float = 100.0) -> NDArray[Any]:
    """(H, W) or (H, W, C) samples as the file has them, RGB and opacity behind it; not turned.

    Args:   image, loaded whole and deep; data, the file's bytes; limit, megapixels, as of `read_image`.
    Raises: Unreadable.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(image)
    import cv2

    held = _BESIDE_COLOURS + 2 * len(image.getbands())
    check_bytes(image.width, image.height, held, len(data), limit)
    with quiet_stderr():  # OpenCV prints what libtiff finds odd
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[:2] != (image.height, image.width):
        raise Unreadable("has 16-bit colours in a form that foveal does not read; save it as 16-bit PNG")
    if deep.ndim == 3 and deep.shape[2] in (3, 4):
        code = cv2.COLOR_BGR2RGB if deep.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        cv2.cvtColor(deep, code, dst=deep)  # in its place
    return deep


def levelled(image: Image, data: bytes, white: float, limit: float = 100.0) -> Image:
    """A deep picture as L or RGB of 8 bits: 0 is black, `white` and what lies above is white; opacity laid on white.

    Raises: Unreadable for values that are not finite or below 0.
    """
    from PIL.Image import fromarray

    values = samples_of(image, data, limit)
    shape = values.shape if values.ndim == 2 else (*values.shape[:2], 3)
    pixels = np.empty(shape, np.uint8)
    table = np.minimum(np.rint(np.arange(65536) * (255 / white)), 255).astype(np.uint8)
    rows = max(1, _BLOCK // (values.size // len(values)))
    for top in range(0, len(values), rows):  # a band at a time: what stands between is larger than the picture
        band = values[top : top + rows]
        colours = band if band.ndim == 2 else band[:, :, :3]
        levels = table[colours] if values.dtype == np.uint16 else _levels(colours, white)
        pixels[top : top + rows] = levels if band.ndim == 2 or band.shape[2] == 3 else _on_white(levels, band[:, :, 3:])
    plain = fromarray(pixels)
    plain.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return plain


def _on_white(levels: NDArray[np.uint8], opacity: NDArray[np.uint16]) -> NDArray[np.uint8]:
    if (opacity == 65535).all():  # most are
        return levels
    share = opacity.astype(np.float32) / 65535
    return np.rint(levels * share + 255 * (1 - share)).astype(np.uint8)


def _levels(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """The same shape, v / white × 255 rounded."""
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        raise Unreadable("has values that are no finite numbers")
    if exact.min(initial=0) < 0:
        raise Unreadable(f"has values below 0 ({exact.min():g})")
    return np.minimum(np.rint(exact * (255 / white)), 255).astype(np.uint8)
