"""Every pixel mode that Pillow knows, as grey or RGB of 8 bits: each converted on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.files.safely import Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_array"]


def as_array(image: Image, channels: int | None) -> NDArray[np.uint8]:
    """(H, W, C) uint8: C as wanted, or 1 or 3 as the picture is. Raises: Unreadable where four bands are wanted."""
    if channels == 4:
        raise Unreadable("has not the four bands that the network looks at; give them as an array (H, W, 4)")
    plain = _plain(image)
    mode = {None: plain.mode, 1: "L", 3: "RGB"}[channels]
    if plain.mode != mode:
        plain = plain.convert(mode)
    pixels: NDArray[np.uint8] = np.asarray(plain)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _plain(image: Image) -> Image:
    """Any mode of Pillow as L or RGB."""
    from PIL.Image import fromarray

    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return fromarray(_levels(np.asarray(image)))
    if mode in ("La", "RGBa"):  # colours already multiplied by their opacity
        image = image.convert("LA" if mode == "La" else "RGBA")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        return _on_white(image)
    if mode in ("L", "RGB"):
        return image
    return image.convert("L" if mode == "1" else "RGB")


def _on_white(image: Image) -> Image:
    from PIL.Image import new

    grey = image.mode in ("LA", "L", "1")
    opaque = image.convert("RGBA")
    paper = new("RGB", image.size, (255, 255, 255))
    paper.paste(opaque, mask=opaque.getchannel("A"))
    return paper.getchannel("R") if grey else paper


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Deeper samples as 256 levels.

    16 bits: v / 257, rounded. 32-bit integers: as they are up to 255, as 16 bits up to 65535. Floats: 0 to 1 is black
    to white; else 0 to 255. Anything else has no scale that one could guess.
    """
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise Unreadable("has NaN values")
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 255):
            raise Unreadable(f"has values outside 0…1 and 0…255 ({low:g} to {high:g})")
        levels: NDArray[np.uint8] = np.rint(values * 255 if high <= 1 else values).astype(np.uint8)
        return levels
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise Unreadable(f"has values outside 0…65535 ({low} to {high})")
    if values.dtype.itemsize > 2 and high <= 255:
        return values.astype(np.uint8)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
