"""What `foveal predict` prints and draws of a detector's answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from foveal.errors import BadPicture, NotWritable, shown

if TYPE_CHECKING:
    from foveal.detector import Found

__all__ = ["check_drawn", "coco_results", "drawn_into", "facts", "objects_text", "rows"]

HEAD = ["picture", "label", "score", "x1", "y1", "x2", "y2", "reason"]
QUALITY = 92  # of the JPEGs that are drawn


def objects_text(found: Sequence[Found], classes: Sequence[str], kind: str) -> str:
    """All answers as "table", "csv", "json" or "coco"."""
    from foveal.cli import _texts
    from foveal.files.spreadsheet import csv_text

    if kind == "json":
        return _texts.json_text([facts(one, classes) for one in found]) + "\n"
    if kind == "coco":
        return _texts.json_text(list(coco_results(found))) + "\n"
    table = [row for one in found for row in rows(one, classes)]
    if kind == "csv":
        return csv_text(HEAD, table)
    lines = [[row[0], row[1] or "–", row[2], " ".join(str(v) for v in row[3:7]), row[7]] for row in table]
    remark = any(line[4] for line in lines)
    return _texts.table(
        ["picture", "object", "score", "box", *(["remark"] if remark else [])],
        [[str(cell) for cell in (line if remark else line[:4])] for line in lines],
    )


def rows(found: Found, classes: Sequence[str]) -> Iterator[list[object]]:
    """A row an object; one without label for a picture that shows none, or could not be used."""
    if found.objects is None or not len(found.objects):
        yield [found.name, "", "", "", "", "", "", found.reason or "no object"]
        return
    for xyxy, label, score in zip(found.objects.xyxy, found.objects.labels, found.objects.scores, strict=True):
        yield [found.name, classes[int(label)], f"{score:.4f}", *(f"{v:.1f}" for v in xyxy), ""]


def facts(found: Found, classes: Sequence[str]) -> dict[str, Any]:
    """One picture's answer as plain values."""
    if found.objects is None:
        return {"picture": found.name, "objects": None, "reason": found.reason}
    objects = [
        {"label": classes[int(label)], "score": float(score), "box": [round(float(v), 2) for v in xyxy]}
        for xyxy, label, score in zip(found.objects.xyxy, found.objects.labels, found.objects.scores, strict=True)
    ]
    return {"picture": found.name, "height": found.size[0], "width": found.size[1], "objects": objects}


def coco_results(found: Iterable[Found]) -> Iterator[dict[str, Any]]:
    """The rows of a COCO results file; pictures and classes are numbered from 0, in their order."""
    for number, one in enumerate(found):
        if one.objects is None:
            continue
        for xyxy, label, score in zip(one.objects.xyxy, one.objects.labels, one.objects.scores, strict=True):
            x1, y1, x2, y2 = (round(float(v), 2) for v in xyxy)
            yield {
                "image_id": number, "file_name": one.name, "category_id": int(label),
                "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)], "score": float(score),
            }  # fmt: skip


def check_drawn(folder: Path) -> None:
    """Raises: NotWritable when the folder to draw into holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise NotWritable(f"{shown(folder)} is not empty, and foveal overwrites nothing; choose another --draw folder.")


def drawn_into(folder: Path, found: Iterable[Found], classes: Sequence[str]) -> Iterator[Found]:
    """The same answers, each drawn onto its picture and written into a new or empty folder on its way.

    Raises: NotWritable when the folder holds something.
    """
    from PIL import Image

    from foveal.files.durable import new_folder
    from foveal.files.pictures import read_image
    from foveal.pages.drawn_boxes import boxes_of, draw_boxes

    check_drawn(folder)
    new_folder(folder)
    taken: set[str] = set()
    for one in found:
        if one.objects is not None and Path(one.name).is_file():
            try:
                picture = read_image(Path(one.name), name=one.name, channels=3)
            except BadPicture:
                yield one
                continue
            drawn = draw_boxes(picture, boxes_of(one.objects, classes))
            Image.fromarray(drawn).save(folder / _free_name(one.name, taken), quality=QUALITY)
        yield one


def _free_name(name: str, taken: set[str]) -> str:
    """`photo.jpg`, `photo-2.jpg`, … each once."""
    stem, number = PurePath(name).stem, 1
    candidate = f"{stem}.jpg"
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}.jpg"
    taken.add(candidate.lower())
    return candidate
