"""Pascal VOC: `JPEGImages/`, `Annotations/` with an XML file a picture, and the lists of `ImageSets/Main/`.

Source: see `data/formats/voc.py`. Pixels count from 1 and both ends belong to a box, so 1 is added to its first corner.
Where a box has a fraction of a pixel, or is one pixel wide (flat to whoever does not count as VOC does), all are
written as they are and with decimals, as the tools do that count from 0: readers tell the two apart by that.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.writers._boxed import Box, boxes_of, plain_names, told_lost, without_crowds
from foveal.data.writers._copies import Copied
from foveal.data.writers.folders import write_pictures
from foveal.progress import Progress

__all__ = ["write_voc"]

FORM, PICTURES = "Pascal VOC", "JPEGImages"


def write_voc(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """All of it; crowds are left out, and the order of classes is that of the alphabet when it is read."""
    left = without_crowds(dataset, FORM)
    dataset = left.dataset
    done, paths = write_pictures(dataset, place, [PICTURES] * len(dataset), progress, mates=True)
    names = plain_names(dataset, done.notes)
    (place / "Annotations").mkdir()
    first = _first(dataset)
    for i, path in paths.items():
        file = PurePosixPath(path)
        (place / f"Annotations/{file.stem}.xml").write_bytes(_xml(dataset, i, file.name, names, first).encode("utf-8"))
    _write_lists(dataset, place, paths)
    return left.finished(done, *told_lost(dataset, done.written, order=FORM))


def _first(dataset: Dataset) -> int:
    """What the first pixel is called."""
    assert dataset.boxes is not None
    xyxy = dataset.boxes.xyxy
    whole = bool((xyxy == np.round(xyxy)).all())
    return int(whole and bool((xyxy[:, 2:] - xyxy[:, :2] > 1).all()))


def _xml(dataset: Dataset, index: int, name: str, names: tuple[str, ...], first: int) -> str:
    assert dataset.boxes is not None
    height, width = dataset.boxes.sizes[index].tolist()
    size = f"<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>"
    objects = "".join(_object(box, names[box.label], first) for box in boxes_of(dataset, index))
    return (
        f"<annotation>\n\t<folder>{PICTURES}</folder>\n\t<filename>{escape(name)}</filename>\n\t{size}\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _object(box: Box, name: str, first: int) -> str:
    corners = {"xmin": box.x1 + first, "ymin": box.y1 + first, "xmax": box.x2, "ymax": box.y2}
    ends = "".join(f"\n\t\t\t<{tag}>{int(v) if first else float(v)!r}</{tag}>" for tag, v in corners.items())
    return (
        f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<difficult>{int(box.difficult)}</difficult>\n"
        f"\t\t<bndbox>{ends}\n\t\t</bndbox>\n\t</object>\n"
    )


def _write_lists(dataset: Dataset, place: Path, paths: dict[int, str]) -> None:
    lists = place / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for number, split in enumerate(SPLITS):
        stems = [PurePosixPath(path).stem for i, path in paths.items() if dataset.splits[i] == number]
        if stems:
            (lists / f"{split}.txt").write_bytes("".join(f"{stem}\n" for stem in stems).encode("utf-8"))
