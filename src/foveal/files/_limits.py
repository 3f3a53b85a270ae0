"""What one picture may cost: checked against what its header claims, before anything is decoded."""

from __future__ import annotations

from foveal.files.safely import Unreadable

__all__ = ["MOST_BYTES", "check_bytes", "check_size"]

LARGEST_RATIO = 200  # of the sides; beyond it a resize to a square makes millions of pixels out of a hair
MOST_BYTES = 1 << 30  # while one picture is decoded, above what the process takes anyway


def check_size(width: int, height: int, limit: float) -> None:
    """Raises: Unreadable when there are no pixels, or more than `limit` megapixels, or hardly more than a line."""
    megapixels = width * height / 1e6
    if width <= 0 or height <= 0:
        raise Unreadable("has no pixels")
    if megapixels > limit:
        raise Unreadable(f"claims {megapixels:.0f} megapixels, limit {limit:g} (data.max_megapixels)")
    if max(width, height) > LARGEST_RATIO * min(width, height):
        raise Unreadable(f"is too thin ({width} x {height})")


def check_bytes(width: int, height: int, bytes_a_pixel: float, way_out: str = "save it smaller, or as JPEG") -> None:
    """Raises: Unreadable when decoding would need more memory than one picture may."""
    needed = width * height * bytes_a_pixel
    if needed > MOST_BYTES:
        raise Unreadable(f"needs {needed / 2**30:.1f} GiB to decode, limit {MOST_BYTES >> 30} GiB; {way_out}")
