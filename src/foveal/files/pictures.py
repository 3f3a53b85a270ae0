"""Bytes become pixels here and nowhere else.

A picture is used whole or not at all. Formats are told by content, among those that Pillow decodes safely; sizes are
checked in the header, before anything is decoded; every mode is converted deliberately: deep samples by what is white,
transparency laid on white, colour profiles ignored, the EXIF orientation applied, the first frame of an animation.
Whatever goes wrong is a `BadPicture` with a reason that completes "a.jpg …".
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture
from foveal.files import _heif, _png, _tiff
from foveal.files._foreign import foreign_picture
from foveal.files._gif import size_of_first_picture
from foveal.files._jpeg import Jpeg, decode_whole, open_jpeg, scan
from foveal.files._limits import check_bytes, check_size
from foveal.files._modes import as_array
from foveal.files._quiet import quiet_warnings
from foveal.files._strict_jpeg import decode_strictly
from foveal.files._upright import orientation_of, upright
from foveal.files.deep import is_deep, levelled, samples_of
from foveal.files.safely import Unreadable, in_bytes, read_all

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PICTURE_SUFFIXES", "Encoded", "is_picture_name", "not_bytes", "read_image"]

Encoded: TypeAlias = Path | bytes

PICTURE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp",
    ".avif", ".heic", ".heif",
})  # fmt: skip
BAND_PIXELS = 1 << 20  # that are converted together
DRAFT_GAP = 1.5  # a JPEG is decoded at the smallest scale that still has this many pixels for each one wanted
_JPEG_PIXELS_A_BYTE = 600  # Huffman coding spends at least a bit on each block of 64 pixels: 512 pixels a byte
_WEBP_BYTES_A_PIXEL = 16  # a frame, the canvas, the canvas before it, and what Pillow makes of it
_NOT_READ = "is not a picture foveal reads (JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, HEIC)"


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is to be read as a picture: by its suffix, in any case, and not hidden.

    >>> [is_picture_name(n) for n in ("a/B.JPG", "a/._b.jpg", "Thumbs.db", "notes.txt")]
    [True, False, False, False]
    """
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in PICTURE_SUFFIXES


def read_image(
    source: Encoded | NDArray[np.uint8],
    *,
    name: str = "",
    channels: int | None = None,
    cover: tuple[int, int] | None = None,
    max_megapixels: float = 100.0,
    white: float | None = None,
) -> NDArray[np.uint8]:
    """(H, W, C) uint8 of one picture, upright; may be read-only.

    Args:   source: a path, a file's bytes, or pixels (H, W) or (H, W, 1 | 3 | 4) uint8.
            name: what to call it in errors; the path by default.
            channels: 3 RGB, 1 grey (ITU-R 601 luma), None as the file is.
            cover: (height, width) that the caller will shrink the upright picture to, keeping proportions and covering
            it; a JPEG may then be decoded at a reduced scale that keeps at least 1.5 pixels for each one wanted.
            white: the value that is white in pictures of more than 8 bits a sample, as `data/white.py` measures it;
            None: by their type, 65535 for 16 bits and 1 or 255 for floats.
    Raises: BadPicture.
    """
    label = name or (str(source) if isinstance(source, Path) else "picture")
    try:
        with quiet_warnings():
            if isinstance(source, np.ndarray):
                return _from_pixels(source, channels)
            data = source if isinstance(source, bytes) else read_all(source, _largest_file(max_megapixels))
            picture, turn = _decode(data, channels, cover, max_megapixels)
            if white is not None and not isinstance(picture, np.ndarray) and is_deep(picture, data):
                picture = levelled(picture, data, white, max_megapixels)
            del data  # before room is made for what comes of it
            pixels = _converted(picture, channels)
            del picture
            return upright(pixels, turn)
    except Unreadable as error:
        raise BadPicture(label, error.reason) from None
    except MemoryError:
        raise BadPicture(label, "needs more memory than there is") from None
    except Exception as error:  # Pillow raises nearly everything: OSError, SyntaxError, struct.error, IndexError, …
        raise BadPicture(label, _words(error)) from error


def deep_samples(source: Encoded, name: str = "", max_megapixels: float = 100.0) -> NDArray[Any]:
    """(H, W) or (H, W, C) samples of a picture of more than 8 bits, as its file has them. Raises: BadPicture."""
    label = name or (str(source) if isinstance(source, Path) else "picture")
    try:
        with quiet_warnings():
            data = source if isinstance(source, bytes) else read_all(source, _largest_file(max_megapixels))
            picture = _decode(data, None, None, max_megapixels)[0]
            return picture if isinstance(picture, np.ndarray) else samples_of(picture, data, max_megapixels)
    except Unreadable as error:
        raise BadPicture(label, error.reason) from None
    except Exception as error:  # as in `read_image`
        raise BadPicture(label, _words(error)) from error


def _converted(picture: Image | NDArray[np.uint8], channels: int | None) -> NDArray[np.uint8]:
    """As `as_array`, band by band: without a second copy of a large picture on the way."""
    if isinstance(picture, np.ndarray):
        height, width, depth = picture.shape
        if depth == (channels or (1 if depth == 1 else 3)):
            return picture
    else:
        width, height = picture.size
    rows = max(1, BAND_PIXELS // width)
    if rows >= height or (not isinstance(picture, np.ndarray) and picture.mode in ("I", "F")):
        return as_array(_as_image(picture), channels)  # deep samples are scaled by the whole picture's range
    pixels = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        if isinstance(picture, np.ndarray):
            band = as_array(_as_image(picture[top:bottom]), channels)
        else:
            band = as_array(picture.crop((0, top, width, bottom)), channels)
        pixels = np.empty((height, *band.shape[1:]), np.uint8) if pixels is None else pixels
        pixels[top:bottom] = band
    assert pixels is not None  # a picture has rows
    return pixels


def _as_image(picture: Image | NDArray[np.uint8]) -> Image:
    from PIL.Image import fromarray

    if not isinstance(picture, np.ndarray):
        return picture
    return fromarray(np.ascontiguousarray(picture[:, :, 0] if picture.shape[2] == 1 else picture))


def picture_bytes(
    source: Encoded | NDArray[np.uint8], name: str = "", max_megapixels: float = 100.0
) -> bytes | NDArray[np.uint8]:
    """A file's content, so that it is opened once whatever is asked of it; pixels as they are. Raises: BadPicture."""
    if not isinstance(source, Path):
        return source
    try:
        return read_all(source, _largest_file(max_megapixels))
    except Unreadable as error:
        raise BadPicture(name or str(source), error.reason) from None


def _words(error: Exception) -> str:
    text = str(error).lower()
    if "truncated" in text or "unexpected end" in text:
        return "is cut short"
    if "text" in text and ("too large" in text or "too much memory" in text):
        return "has oversized text data"
    if "exceeds limit of" in text:
        return "claims more pixels than Pillow opens"
    return "is damaged"


def _largest_file(max_megapixels: float) -> int:
    return max(1 << 26, int(max_megapixels * 8e6))  # four 16-bit values a pixel, uncompressed


def _decode(
    data: bytes, channels: int | None, cover: tuple[int, int] | None, limit: float
) -> tuple[Image | NDArray[np.uint8], int]:
    """The picture as it is stored, in its own mode or as pixels, and its EXIF orientation."""
    if not data:
        raise Unreadable("is empty (0 bytes)")
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data, channels, cover, limit)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        image = _png_file(data, limit)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        image = _gif(data, limit)
    elif data.startswith(_tiff.SIGNS):
        image = _tiff.read_tiff(data, limit)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        image = _webp(data, limit)
    elif data.startswith(b"BM"):
        image = _bmp(data, limit)
    elif (kind := _heif.kind_of(data)) == "HEIC":
        pixels = _heif.read_heic(data, limit)
        return (_as_image(pixels) if channels == 4 else pixels), 1  # upright already; opacity is no fourth band
    elif kind == "AVIF":
        image = _heif.read_avif(data, limit)
    elif any(magic.startswith(data) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM")):
        raise Unreadable(f"is cut short ({in_bytes(len(data))})")
    else:
        raise Unreadable(foreign_picture(data) or _NOT_READ)
    turn = orientation_of(image)  # a TIFF is turned by Pillow while it loads, and then says 1
    image.fp = None  # type: ignore[attr-defined] # nothing more is read from it
    return image, turn


def _loaded(image: Any, limit: float, besides: int, bytes_a_pixel: int = 4) -> Image:
    check_size(image.width, image.height, limit)
    check_bytes(image.width, image.height, bytes_a_pixel, besides, limit)
    image.load()
    return image  # type: ignore[no-any-return]


def _jpeg(
    data: bytes, channels: int | None, cover: tuple[int, int] | None, limit: float
) -> tuple[Image | NDArray[np.uint8], int]:
    marks = scan(data)
    if not marks.frame or not marks.scans:
        raise Unreadable("is damaged" if marks.closed else f"is cut short ({in_bytes(len(data))})")
    _check_jpeg(marks, data, limit)
    lost = "is damaged: its picture data ends early" if marks.closed else "is cut short"
    if not marks.complete(data) or (marks.arithmetic and not marks.closed):  # libjpeg says nothing of these
        raise Unreadable(lost)
    turn = orientation_of(open_jpeg(data)) if marks.notes else 1
    scale = _draft_scale(marks, turn, cover) if cover else 1
    pixels = decode_strictly(data, marks, channels, scale)
    if pixels is not None and pixels.shape[2] == 4:
        from PIL.Image import frombuffer

        size, inks = (
            (pixels.shape[1], pixels.shape[0]),
            np.invert(pixels, out=pixels),
        )  # as Adobe has it
        return frombuffer("CMYK", size, inks, "raw", "CMYK", 0, 1), turn
    if pixels is not None:
        return pixels, turn
    if not marks.plain_sampling():
        raise Unreadable("keeps its colours at a scale that foveal doesn't read; save it again as JPEG or PNG")
    image = open_jpeg(data)
    if image.size != (marks.width, marks.height) or not image.tile:
        raise Unreadable("is damaged")
    grey = "L" if channels == 1 and image.mode == "RGB" else None
    if scale > 1 or grey:
        image.draft(grey, (image.width // scale, image.height // scale))
    if not decode_whole(image, data, marks):
        raise Unreadable(lost)
    return image, turn


def _check_jpeg(marks: Jpeg, data: bytes, limit: float) -> None:
    megapixels = marks.width * marks.height / 1e6
    if megapixels > 1 and not marks.arithmetic and megapixels * 1e6 > _JPEG_PIXELS_A_BYTE * len(data):
        raise Unreadable(f"says {megapixels:.0f} megapixels in {len(data)} bytes")
    check_size(marks.width, marks.height, limit)
    check_bytes(marks.width, marks.height, marks.bytes_a_pixel(), len(data), limit)
    if marks.slow():
        raise Unreadable(f"takes too long to decode ({marks.scans} scans of {megapixels:.0f} megapixels)")


def _draft_scale(marks: Jpeg, turn: int, cover: tuple[int, int]) -> int:
    """1, 2, 4 or 8: how far a JPEG may be shrunk while it is decoded."""
    height, width = (marks.width, marks.height) if turn >= 5 else (marks.height, marks.width)
    shrink = 1 / max(cover[0] / height, cover[1] / width)
    return max((s for s in (1, 2, 4, 8) if s * DRAFT_GAP <= shrink), default=1)


def _gif(data: bytes, limit: float) -> Image:
    from PIL.GifImagePlugin import GifImageFile

    check_size(*size_of_first_picture(data), limit)
    return _loaded(GifImageFile(io.BytesIO(data)), limit, len(data))


def _png_file(data: bytes, limit: float) -> Image:
    from PIL.PngImagePlugin import PngImageFile

    if len(data) < 33:
        raise Unreadable(f"is cut short ({in_bytes(len(data))})")
    width, height = _png.size_in_header(data)
    if width == -1:
        raise Unreadable("is damaged")
    check_size(width, height, limit)
    image = _loaded(PngImageFile(io.BytesIO(data)), limit, len(data))
    rows = [image.crop((0, y, width, y + 1)).tobytes() for y in range(max(0, height - 2), height)]
    if not all(any(row) for row in rows) and not _png.has_all_rows(data):
        raise Unreadable("is damaged: its picture data ends early")
    return image


def _bmp(data: bytes, limit: float) -> Image:
    from PIL.BmpImagePlugin import BmpImageFile

    if len(data) < 26:
        raise Unreadable(f"is cut short ({in_bytes(len(data))})")
    if int.from_bytes(data[14:18], "little") not in (12, 16, 40, 52, 56, 64, 108, 124):
        raise Unreadable(_NOT_READ)  # "BM" alone is two letters, not a sign
    return _loaded(BmpImageFile(io.BytesIO(data)), limit, len(data))


def _webp(data: bytes, limit: float) -> Image:
    from PIL.WebPImagePlugin import WebPImageFile

    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise Unreadable(f"is cut short ({in_bytes(len(data))})")
    if size := _webp_size(data):  # Pillow makes room for the canvas when it opens the file
        check_size(*size, limit)
        check_bytes(*size, _WEBP_BYTES_A_PIXEL, len(data), limit)
    return _loaded(WebPImageFile(io.BytesIO(data)), limit, len(data), _WEBP_BYTES_A_PIXEL)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in the first chunk. Source: RFC 9649, sections 2.5 to 2.7."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if data[12:16] == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def not_bytes(dtype: Any) -> str:
    """What is wrong with values of a type of NumPy's or PyTorch's; "" of uint8.

    >>> not_bytes(np.dtype("int64"))
    'holds int64 values; give pixels as uint8, 0 to 255'
    """
    name = str(dtype).removeprefix("torch.")
    hint = ": of floats in 0…1, (255 * x).astype(np.uint8)" if "float" in name else ""
    return "" if name == "uint8" else f"holds {name} values; give pixels as uint8, 0 to 255{hint}"


def _from_pixels(pixels: NDArray[Any], channels: int | None) -> NDArray[np.uint8]:
    """Pixels that are already decoded: checked, and their colours converted as those of a file are."""
    if reason := not_bytes(pixels.dtype):
        raise Unreadable(reason)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise Unreadable(f"has shape {pixels.shape}; a picture is (H, W) or (H, W, 1, 3 or 4)")
    check_size(pixels.shape[1], pixels.shape[0], math.inf)
    return _converted(pixels, channels)
