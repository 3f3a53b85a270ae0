"""Small data sets with boxes, written by hand in each form: the pictures are wider than high, and one may be turned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), orientation: int = 1, seed: int = 0) -> Path:
    """A picture of its own content, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *path.name.encode()]).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(noise)
    exif = image.getexif()
    if orientation != 1:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def voc(objects: Sequence[str], size: tuple[int, int] | None = (WIDTH, HEIGHT), filename: str = "") -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    named = f"<filename>{filename}</filename>" if filename else ""
    return f"<annotation>{named}{sides}{''.join(objects)}</annotation>"


def thing(name: str, *corners: float | str, more: str = "") -> str:
    ends = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in ends)
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], names: dict[int, str]) -> str:
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def rows(dataset) -> dict[str, str]:
    return {row.name: row.reason for row in dataset.skipped}


def boxes(dataset) -> dict[str, list[tuple[str, list[float]]]]:
    """Of each picture by name: class and corners of its boxes."""
    found = {}
    for i in range(len(dataset)):
        at = dataset.boxes.of(i)
        pairs = zip(dataset.boxes.labels[at].tolist(), dataset.boxes.xyxy[at].tolist(), strict=True)
        found[dataset.pictures.name(i)] = [(dataset.classes[label], corners) for label, corners in pairs]
    return found


def told(dataset) -> str:
    return "\n".join(dataset.notes)
