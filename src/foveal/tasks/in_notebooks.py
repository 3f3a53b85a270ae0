"""What a notebook shows of one answer: bars of probabilities, and the picture with its boxes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture, brief, shown
from foveal.files.pictures import read_image
from foveal.files.plain_table import percent

__all__ = ["bars", "picture_with_boxes"]

SIDE, LEAST_SIDE = 320, 96  # pixels of the longer side, as shown
MOST_BOXES = 50
INKS = ("#1d6fb0", "#b4541a", "#1e7b4a", "#8a3fa0", "#a8324a")
LONGEST = 40  # letters of a name

Box = tuple[Sequence[float], str, int]  # x1, y1, x2, y2 in pixels of the upright picture; words; number of its class


def bars(named: Iterable[tuple[str, float]], remark: str = "") -> str:
    """A bar a name, as long as its probability. Args: remark, a line below.

    >>> "width:50.0%" in bars([("cat", 0.5)])
    True
    """
    ink = f"background:{INKS[0]};height:10px"
    rows = "".join(
        f"<tr><td style='text-align:left'>{_text(name)}</td><td style='text-align:right'>{percent(share, 1)}</td>"
        f"<td style='width:160px'><div style='{ink};width:{100 * share:.1f}%'></div></td></tr>"
        for name, share in named
    )
    return f"<table>{rows}</table>" + (f"<div>{_text(remark)}</div>" if remark else "")


def picture_with_boxes(picture: bytes | NDArray[np.uint8], boxes: Sequence[Box] = ()) -> str:
    """The picture, small, with boxes drawn over it; "" for one that cannot be shown."""
    try:
        pixels = read_image(picture, channels=3)
    except BadPicture:
        return ""
    from PIL.Image import fromarray

    height, width = pixels.shape[:2]
    image, content = fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(content, "PNG")
    scale = min(SIDE, max(LEAST_SIDE, height, width)) / max(height, width)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    drawn = "".join(_drawn(box, max(height, width)) for box in list(boxes)[:MOST_BOXES][::-1])  # the surest on top
    return (
        f"<svg width='{width * scale:.0f}' height='{height * scale:.0f}' viewBox='0 0 {width} {height}'>"
        f"<image width='{width}' height='{height}' style='image-rendering:{'pixelated' if scale > 1 else 'auto'}' "
        f"href='data:image/png;base64,{data}'/>{drawn}</svg>"
    )


def _drawn(box: Box, longer: int) -> str:
    (x1, y1, x2, y2), words, number = box
    ink, size = INKS[number % len(INKS)], longer / 24
    return (
        f"<rect x='{x1:.1f}' y='{y1:.1f}' width='{x2 - x1:.1f}' height='{y2 - y1:.1f}' fill='none' stroke='{ink}' "
        f"stroke-width='{longer / 150:.2f}'/><text x='{x1:.1f}' y='{max(y1 - size / 4, size):.1f}' fill='{ink}' "
        f"font-size='{size:.1f}' stroke='white' stroke-width='{size / 6:.2f}' paint-order='stroke'>"
        f"{_text(words)}</text>"
    )


def _text(words: str) -> str:
    return escape(brief(shown(words), LONGEST))
