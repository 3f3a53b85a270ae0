"""How a table of boxes writes them: which columns, and what its numbers are. Told by the header, never guessed.

Two corners (`x1 y1 x2 y2`, `xmin …`, `left top right bottom`); a corner or a middle with the box's sides (`x y w h`,
`cx cy w h`); or all four in one column (`bbox_xywh`, `bbox_xyxy`, `bbox_cxcywh`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.data.formats._found import number_of
from foveal.data.formats.table import Columns
from foveal.errors import BadData, shown
from foveal.files.safely import Unreadable, open_regular

__all__ = ["Layout", "head_of", "is_of_boxes", "layout_of"]

PEEKED_BYTES = 1 << 16
Corners = tuple[float, float, float, float]

LEFT = ("x1", "xmin", "x_min", "left", "bbox_x1", "bbox_xmin")
TOP = ("y1", "ymin", "y_min", "top", "bbox_y1", "bbox_ymin")
CORNERS: Columns = {
    "x1": LEFT,
    "y1": TOP,
    "x2": ("x2", "xmax", "x_max", "right", "bbox_x2", "bbox_xmax"),
    "y2": ("y2", "ymax", "y_max", "bottom", "bbox_y2", "bbox_ymax"),
}
SHORT: Columns = {  # of the box, whatever else there is
    "w": ("w", "bbox_w", "bbox_width", "box_w", "box_width"),
    "h": ("h", "bbox_h", "bbox_height", "box_h", "box_height"),
}
LONG: Columns = {"w": (*SHORT["w"], "width"), "h": (*SHORT["h"], "height")}  # where no size of the picture is meant
CORNER: Columns = {"x": ("x", "bbox_x", "box_x", *LEFT), "y": ("y", "bbox_y", "box_y", *TOP)}
MIDDLE: Columns = {
    "cx": ("cx", "xc", "x_center", "x_centre", "xcenter", "center_x", "centre_x", "bbox_cx"),
    "cy": ("cy", "yc", "y_center", "y_centre", "ycenter", "center_y", "centre_y", "bbox_cy"),
}
LISTS: dict[str, tuple[str, ...]] = {
    "": ("bbox", "box", "bounding_box", "boundingbox"),
    "xywh": ("bbox_xywh", "xywh"),
    "xyxy": ("bbox_xyxy", "xyxy"),
    "cxcywh": ("bbox_cxcywh", "cxcywh"),
}
SETS = ("train", "validation", "test", "unassigned", "training")


@dataclass(frozen=True)
class Layout:
    """The columns of the boxes, and how they are read."""

    columns: Columns
    kind: str  # "xyxy", "xywh", "cxcywh"; "": not told by the header
    sizes: bool = True  # `width` and `height` are those of the picture
    note: str = ""

    @property
    def sided(self) -> bool:
        """Whether a box is written as a place, a width and a height."""
        return self.kind != "xyxy"

    def numbers(self, row: dict[str, str]) -> list[tuple[str, str]]:
        """Name and text of each number, as they are written."""
        if "bbox" not in self.columns:
            return [(name, row[name]) for name in self.columns]
        words = re.sub(r"[\[\](){}]", " ", row["bbox"]).replace(",", " ").split()
        return [(f"number {i + 1} of the box", word) for i, word in enumerate(words)]

    def corners(self, values: Sequence[float]) -> Corners | str:
        """x1, y1, x2, y2, or what is wrong."""
        a, b, c, d = values
        if self.kind == "xyxy":
            return a, b, c, d
        if c < 0 or d < 0:
            return "width or height below zero"
        if self.kind == "cxcywh":
            return a - c / 2, b - d / 2, a + c / 2, b + d / 2
        return a, b, a + c, b + d

    def decided(self, boxes: Iterable[Sequence[float]], path: Path) -> Layout:
        """The same, with what a list means where its name does not say it: no corner lies before the first one.

        Raises: BadData where both readings are possible.
        """
        if self.kind:
            return self
        if any(len(box) == 4 and (box[2] < box[0] or box[3] < box[1]) for box in boxes):
            return Layout(self.columns, "xywh", note="Boxes are read as x, y, width, height: as corners, some would be "
                                                     "swapped.")  # fmt: skip
        raise BadData(f"{shown(path)}: its boxes may be x, y, width, height or two corners; call the column bbox_xywh "
                      f"or bbox_xyxy.")  # fmt: skip


def head_of(path: Path) -> str:
    """The first bytes of a table as text; empty where it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(PEEKED_BYTES).decode("utf-8-sig", "replace").lstrip("\r\n")
    except (Unreadable, OSError):
        return ""


def _cells(head: str) -> list[str]:
    line = head.split("\n", 1)[0].strip("\r")
    separator = max(",;\t", key=lambda c: (line.count(c), -",;\t".index(c)))
    return [cell.strip().strip('"').lower() for cell in line.split(separator)]


def _has(named: set[str], columns: Columns) -> int:
    return sum(bool(named & set(names)) for names in columns.values())


def is_of_boxes(head: str) -> bool:
    """Whether a table's header has columns of a box, or most of them: a misspelt one is told, not passed over."""
    cells = _cells(head)
    named = set(cells)
    listed = any(named & set(names) for names in LISTS.values())
    sided = max(_has(named, CORNER), _has(named, MIDDLE)) == 2 and _has(named, LONG) > 0
    return _has(named, CORNERS) > 2 or listed or sided or bool(_foreign(cells, head))


def _foreign(cells: list[str], head: str) -> str:
    """What a table of boxes lacks that is known by its looks and not read."""
    numbers = [number_of(cell) is not None for cell in cells]
    if "region_shape_attributes" in cells:
        return "is a table of the VGG Image Annotator; export its annotations as COCO"
    if '""rectanglelabels""' in head or '""polygonlabels""' in head:
        return "is Label Studio's table; export as JSON"
    if any(cell.startswith("gs://") for cell in cells[:2]) or (len(cells) > 8 and cells[0] in SETS):
        header = "split,path,label,x1,y1,,,x2,y2,," if cells[0] in SETS else "path,label,x1,y1,,,x2,y2,,"
        return f'is a table of AutoML, which has no header; write "{header}" as its first line'
    if len(cells) == 6 and all(numbers[1:5]) and not numbers[5]:
        return 'has no header; write "path,x1,y1,x2,y2,label" as its first line'
    return ""


def layout_of(path: Path) -> Layout:
    """How a table writes its boxes. Raises: BadData that says what is needed."""
    head = head_of(path)
    cells = _cells(head)
    named = set(cells)
    if foreign := _foreign(cells, head):
        raise BadData(f"{shown(path)} {foreign}.")
    if _has(named, CORNERS) == 4:
        return Layout(CORNERS, "xyxy")
    sides, sizes = (SHORT, True) if _has(named, SHORT) == 2 else (LONG, False)
    if _has(named, MIDDLE) == 2 and _has(named, sides) == 2:
        return Layout(MIDDLE | sides, "cxcywh", sizes)
    if _has(named, CORNER) == 2 and _has(named, sides) == 2 and not _has(named, {"2": CORNERS["x2"] + CORNERS["y2"]}):
        bare = "x" in named and "y" in named
        note = "x and y are taken as a box's top left corner; call them cx and cy where they are its middle."
        return Layout(CORNER | sides, "xywh", sizes, note if bare else "")
    for kind, names in LISTS.items():
        if named & set(names):
            return Layout({"bbox": names}, kind)
    return Layout(CORNERS, "xyxy")
