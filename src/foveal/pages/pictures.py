"""Sheets of small pictures, and pictures as text that stands inside the page. NumPy in; NumPy or a data address out."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FILTER_COLUMNS", "contact_sheet", "data_uri", "filter_sheet", "for_page", "rgb", "sheet", "shrunk",
]  # fmt: skip

Pixels = NDArray[np.uint8]
FILTER_COLUMNS = 16
GAP = 2  # pixels between the pictures of a sheet, times the enlargement
SMALL = 96  # pixels: pictures up to this side are drawn with sharp pixels and kept without loss
QUALITY = 82  # of WebP
SIDE = 320  # pixels of the longer side of a picture that boxes are drawn on


def rgb(picture: Pixels) -> Pixels:
    """(H, W) or (H, W, C) -> (H, W, 3): the first three channels, or one thrice."""
    picture = picture[:, :, None] if picture.ndim == 2 else picture
    return picture[:, :, :3] if picture.shape[2] >= 3 else np.repeat(picture[:, :, :1], 3, axis=2)


def shrunk(picture: Pixels, side: int) -> Pixels:
    """The picture as (H, W, 3), its longer side at most `side` pixels."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgb(picture)))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def for_page(pixels: Pixels) -> tuple[Pixels, NDArray[np.float64]]:
    """The picture for the page, and what its boxes are multiplied with."""
    if max(pixels.shape[:2]) > SIDE:
        small = shrunk(pixels, SIDE)
    else:
        factor = max(1, SIDE // max(pixels.shape[:2]))
        small = pixels.repeat(factor, 0).repeat(factor, 1)
    across, down = small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]
    return small, np.array([across, down, across, down])


def sheet(rows: Sequence[Sequence[Pixels]], side: int = SMALL, apart: bool = False) -> Pixels:
    """Rows of pictures of one size -> one (H', W', 4) picture, transparent between them.

    Pictures below half of `side` are enlarged by a whole factor, so that their pixels stay square; larger ones shrink.
    `apart` sets the first column off from the others.
    """
    cells = [[shrunk(picture, side) for picture in row] for row in rows]
    height, width = cells[0][0].shape[:2]
    factor = max(1, side // max(height, width))
    height, width, gap = height * factor, width * factor, GAP * max(1, factor // 2)
    columns, aside = max(len(row) for row in cells), width // 4 if apart else 0
    out = np.zeros((len(cells) * (height + gap) - gap, columns * (width + gap) - gap + aside, 4), dtype=np.uint8)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            place = out[i * (height + gap) :, j * (width + gap) + aside * (j > 0) :][:height, :width]
            place[..., :3] = cell.repeat(factor, axis=0).repeat(factor, axis=1)
            place[..., 3] = 255
    return out


def contact_sheet(originals: Pixels, augmented: Pixels, most_rows: int = 8) -> Pixels:
    """Each original (R, H, W, C), followed in its row by its V drawn versions, of (R · V, H, W, C)."""
    versions = len(augmented) // len(originals)
    return sheet(
        [[originals[r], *augmented[r * versions : (r + 1) * versions]] for r in range(min(most_rows, len(originals)))],
        apart=True,
    )


def filter_sheet(filters: NDArray[np.float32], most: int = 96) -> Pixels:
    """(O, C, h, w) weights -> a sheet of O small pictures: grey is 0, each filter stretched to its largest weight.

    Filters on three channels are shown in colour, others as the mean over their channels.
    """
    weights = np.nan_to_num(np.asarray(filters[:most], dtype=np.float32))
    if weights.shape[1] != 3:
        weights = weights.mean(axis=1, keepdims=True)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    pictures = np.round(127.5 + 127.5 * weights / np.maximum(largest, 1e-12)).astype(np.uint8).transpose(0, 2, 3, 1)
    columns = min(FILTER_COLUMNS, len(pictures))
    return sheet([pictures[i : i + columns] for i in range(0, len(pictures), columns)], side=36)


def data_uri(picture: Pixels) -> str:
    """(H, W, 3 or 4) -> `data:image/…;base64,…`: PNG for small or flat pictures, WebP for large ones."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    png, webp = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    if png.tell() > 8000:  # bytes; below, nothing is to be gained from a loss
        image.save(webp, "WEBP", quality=QUALITY)
    kind, data = ("webp", webp) if 0 < webp.tell() < 0.7 * png.tell() else ("png", png)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
