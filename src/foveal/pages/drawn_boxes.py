"""Boxes drawn onto a picture: a line that shows on any picture, and a small tag with the class and its score.

Small pictures are enlarged by a whole factor first, so that their pixels stay square and the tags stay readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foveal.errors import shown
from foveal.pages.pictures import rgb
from foveal.tasks.answers import Detections

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["PALETTE", "DrawnBox", "boxes_of", "corners", "draw_boxes"]

Pixels = NDArray[np.uint8]

PALETTE = (  # contrast of a tag with its letters, white or black: at least 4.9 to 1
    "#1d6fb0", "#b4541a", "#1e7b4a", "#8a3fa0", "#a8324a", "#5b6b1f", "#00707c", "#c79a00", "#4b4fc4", "#7a5230",
)  # fmt: skip
DARK_LETTERS_FROM = 0.3  # relative luminance of a tag
LONGEST = 32  # letters of a tag
TEXT, LEAST_TEXT, MOST_TEXT = 1 / 38, 11, 26  # height of the letters: share of the picture's longer side; pixels


@dataclass(frozen=True)
class DrawnBox:
    """One box and what its tag says."""

    xyxy: tuple[float, float, float, float]  # pixels of the picture
    words: str = ""  # no tag without
    ink: str = PALETTE[0]  # "#rrggbb"
    dashed: bool = False


def corners(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(4,) as a `DrawnBox` wants it."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return x1, y1, x2, y2


def boxes_of(found: Detections, classes: Sequence[str]) -> list[DrawnBox]:
    """What a detector says of a picture: "dog 0.89", one ink a class, the surest last and so on top."""
    rows = zip(found.xyxy.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    drawn = [
        DrawnBox((x0, y0, x1, y1), f"{classes[k]} {score:.2f}", PALETTE[k % len(PALETTE)])
        for (x0, y0, x1, y1), k, score in rows
    ]
    return drawn[::-1]


def draw_boxes(picture: Pixels, boxes: Sequence[DrawnBox], least_side: int = 0) -> Pixels:
    """The picture (H, W) or (H, W, C) as (H', W', 3) with its boxes, in the order given.

    Its sides are those of the picture times the least whole factor that brings the longer one to `least_side`.
    """
    from PIL import Image, ImageDraw

    longer = max(picture.shape[:2])
    factor = max(1, -(-least_side // longer))
    enlarged = rgb(picture).repeat(factor, axis=0).repeat(factor, axis=1)
    image = Image.fromarray(np.ascontiguousarray(enlarged))
    draw = ImageDraw.Draw(image)
    font = _font(round(min(MOST_TEXT, max(LEAST_TEXT, TEXT * longer * factor))))
    width = max(1 if longer * factor < 200 else 2, round(longer * factor / 300))
    for box in boxes:
        corners = _corners(box, factor, image.size)
        _outline(draw, corners, box, width)
        if box.words:
            _tag(draw, corners, box, font, image.size)
    return np.asarray(image)


def _corners(box: DrawnBox, factor: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The first and last pixels of a box in the enlarged picture, inside it."""
    x0, y0 = (min(max(round(v * factor), 0), s - 1) for v, s in zip(box.xyxy[:2], size, strict=True))
    x1, y1 = (min(max(round(v * factor) - 1, 0), s - 1) for v, s in zip(box.xyxy[2:], size, strict=True))
    return x0, y0, max(x0, x1), max(y0, y1)


def _outline(draw: ImageDraw, corners: tuple[int, int, int, int], box: DrawnBox, width: int) -> None:
    """A line in the ink with a thin white one inside it: one of the two shows on any picture."""
    x0, y0, x1, y1 = corners
    if box.dashed:
        _dashes(draw, corners, box.ink, width)
        return
    if min(x1 - x0, y1 - y0) > 4 * width + 4:  # no room inside smaller ones
        draw.rectangle((x0 + width, y0 + width, x1 - width, y1 - width), outline="#ffffff", width=1)
    draw.rectangle(corners, outline=box.ink, width=width)


def _dashes(draw: ImageDraw, corners: tuple[int, int, int, int], ink: str, width: int) -> None:
    x0, y0, x1, y1 = corners
    dash = 4 * width + 2
    draw.rectangle(corners, outline="#ffffff", width=width)
    for x in range(x0, x1 + 1, 2 * dash):
        for y in (y0, y1 - width + 1):
            draw.rectangle((x, y, min(x + dash - 1, x1), y + width - 1), fill=ink)
    for y in range(y0, y1 + 1, 2 * dash):
        for x in (x0, x1 - width + 1):
            draw.rectangle((x, y, x + width - 1, min(y + dash - 1, y1)), fill=ink)


def _tag(
    draw: ImageDraw,
    corners: tuple[int, int, int, int],
    box: DrawnBox,
    font: FreeTypeFont | ImageFont,
    size: tuple[int, int],
) -> None:
    """The words on a plate of the ink: above the box, below it or inside it, wherever the picture has room."""
    words = shown(box.words)
    words = words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
    left, top, right, bottom = (round(v) for v in draw.textbbox((0, 0), words, font=font))
    w, h = right - left + 5, bottom - top + 4
    x0, y0, _, y1 = corners
    x = max(0, min(x0, size[0] - w))
    y = y0 - h if y0 >= h else (y1 + 1 if y1 + 1 + h <= size[1] else y0)
    draw.rectangle((x, y, x + w - 1, y + h - 1), fill=box.ink)
    draw.text((x + 3 - left, y + 2 - top), words, font=font, fill=_letters(box.ink))


def _letters(ink: str) -> str:
    """Black or white, whichever can be read on the ink (WCAG 2.1, relative luminance)."""
    share = [int(ink[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in share]
    return "#000000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > DARK_LETTERS_FROM else "#ffffff"


def _font(size: int) -> FreeTypeFont | ImageFont:
    """Pillow's own font, which holds Latin letters; others are drawn as empty boxes."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
