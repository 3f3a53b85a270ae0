"""TIFF: many ways to keep pixels, most of them decoded by libtiff, which goes on after damage and tells it."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

from foveal.files._libtiff import errors_kept, warnings_of
from foveal.files._limits import check_bytes, check_size
from foveal.files.safely import Unreadable, in_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SIGNS", "read_tiff"]

SIGNS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COMPRESSION, _PHOTOMETRIC, _DNG_VERSION = 259, 262, 50706
_ABOUT_PIXELS = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
_NUMBERS = frozenset({1, 3, 4, 13, 16, 18})  # types of a tag's values: whole, without a sign
_ONLY_WARNED_OF = frozenset({2, 3, 4, 6, 7, 32771, 32773})  # fax, JPEG, PackBits: codecs that fill what is lost
_DEFLATE = frozenset({8, 32946})
_PLACES = ((273, 279), (324, 325))  # tags of strips and of tiles: where each begins, how many bytes it has
_AT_ONCE = 1 << 17  # bytes that are inflated together
_BYTES_A_DEEP_PIXEL = 16  # of 32 bits: as they are decoded, as an array, and twice on the way to 256 levels


def read_tiff(data: bytes, limit: float) -> Image:
    """The first picture, decoded, and turned as its orientation says. Raises: Unreadable, and what Pillow raises."""
    from PIL.TiffImagePlugin import TiffImageFile

    first = int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big")
    if data[2:3] != b"+" and data[3:4] != b"+" and first + 2 > len(data):
        raise Unreadable(f"is cut short ({in_bytes(len(data))})")
    image = TiffImageFile(io.BytesIO(data))
    if _DNG_VERSION in image.tag_v2:
        raise Unreadable("is a raw photograph (DNG); save it as JPEG or PNG")
    if (
        any(image.tag_v2.tagtype.get(tag, 3) not in _NUMBERS for tag in _ABOUT_PIXELS)
        or _PHOTOMETRIC not in image.tag_v2
    ):
        raise Unreadable("is damaged")  # libtiff would guess, Pillow takes black for white
    check_size(image.width, image.height, limit)
    deep = image.mode in ("I", "F")
    check_bytes(*image.size, _BYTES_A_DEEP_PIXEL if deep else 4, len(data) + _largest_piece(image), limit)
    if image.tag_v2.get(_COMPRESSION) in _ONLY_WARNED_OF and warnings_of(data):
        raise Unreadable("is damaged")
    if image.tag_v2.get(_COMPRESSION) in _DEFLATE and not _checksums_hold(image, data):
        raise Unreadable("is damaged")
    with errors_kept() as said:
        image.load()
    if said:
        raise Unreadable("is damaged")
    return image


def _checksums_hold(image: Any, data: bytes) -> bool:
    """Whether each deflated piece is what was deflated: libtiff stops before the checksum at its end."""
    offsets, counts = next((image.tag_v2[a], image.tag_v2[b]) for a, b in _PLACES if a in image.tag_v2)
    whole = memoryview(data)
    for offset, count in zip(offsets, counts, strict=False):
        inflate, piece = zlib.decompressobj(), whole[offset : offset + count]
        try:
            while piece and not inflate.eof:
                rest: bytes | memoryview = piece[:_AT_ONCE]
                piece = piece[_AT_ONCE:]
                while rest and not inflate.eof:
                    inflate.decompress(rest, _AT_ONCE)
                    rest = inflate.unconsumed_tail
        except zlib.error:
            return False
    return True


def _largest_piece(image: Any) -> int:
    """Bytes of a strip or a tile, decoded: libtiff holds one beside the picture."""
    tags, width, height = image.tag_v2, image.width, image.height
    bits = tags.get(258, (1,))
    bits_a_pixel = sum(bits) * (tags.get(277, 1) if len(bits) == 1 else 1)
    if 322 in tags:
        width, height = tags[322], tags.get(323, height)
    else:
        height = min(height, tags.get(278, height))
    return int(width * height * bits_a_pixel // 8)
