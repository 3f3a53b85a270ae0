"""What one picture may cost: checked against what its header claims, before anything is decoded."""

from __future__ import annotations

import math

from foveal.files.safely import Unreadable

__all__ = ["MOST_BYTES", "check_bytes", "check_size"]

LARGEST_RATIO = 200  # of the sides; beyond it a resize to a square makes millions of pixels out of a hair
USUAL_LIMIT = 100  # megapixels
MOST_BYTES = (
    1 << 30
)  # while one picture is decoded, above what the process takes anyway; more for who allows more pixels


def check_size(width: int, height: int, limit: float) -> None:
    """Raises: Unreadable when there are no pixels, or more than `limit` megapixels, or hardly more than a line."""
    megapixels = width * height / 1e6
    if width <= 0 or height <= 0:
        raise Unreadable("has no pixels")
    if megapixels > limit:
        raise Unreadable(f"claims {megapixels:.0f} megapixels, limit {limit:g} (data.max_megapixels)")
    if max(width, height) > LARGEST_RATIO * min(width, height):
        raise Unreadable(f"is too thin ({width} x {height})")


def check_bytes(width: int, height: int, bytes_a_pixel: float, besides: int, limit: float) -> None:
    """Before decoding. Args: besides, the bytes of the file and of what is not held pixel by pixel; limit, megapixels.

    Raises: Unreadable when decoding would need more memory than one picture may.
    """
    needed, most = width * height * bytes_a_pixel + besides, MOST_BYTES * max(1, limit / USUAL_LIMIT)
    if needed > most:
        raise Unreadable(
            f"needs {needed / 2**30:.2f} GiB to decode, limit {most / 2**30:g} GiB; save it smaller, or set "
            f"data.max_megapixels to {math.ceil(needed / MOST_BYTES * USUAL_LIMIT)}"
        )
