"""Pascal VOC: `JPEGImages/`, `Annotations/` with an XML file a picture, and the lists of `ImageSets/Main/`.

Source: see `data/formats/voc.py`. Pixels count from 1 and both ends belong to a box, so 1 is added to its first corner;
fractions of a pixel are kept.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.writers._boxed import Box, boxes_of, plain_names, told_lost, without_crowds
from foveal.data.writers._copies import Copied
from foveal.data.writers.folders import write_pictures
from foveal.progress import Progress

__all__ = ["write_voc"]

FORM, PICTURES = "Pascal VOC", "JPEGImages"
HAIR = 1e-9  # pixels


def write_voc(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """All of it; crowds are left out, and the order of classes is that of the alphabet when it is read."""
    left = without_crowds(dataset, FORM)
    dataset = left.dataset
    done, paths = write_pictures(dataset, place, [PICTURES] * len(dataset), progress, mates=True)
    names = plain_names(dataset, done.notes)
    (place / "Annotations").mkdir()
    for i, path in paths.items():
        file = PurePosixPath(path)
        (place / f"Annotations/{file.stem}.xml").write_bytes(_xml(dataset, i, file.name, names).encode("utf-8"))
    _write_lists(dataset, place, paths)
    return left.finished(done, *told_lost(dataset, done.written, order=FORM))


def _xml(dataset: Dataset, index: int, name: str, names: tuple[str, ...]) -> str:
    assert dataset.boxes is not None
    height, width = dataset.boxes.sizes[index].tolist()
    size = f"<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>"
    objects = "".join(_object(box, names[box.label]) for box in boxes_of(dataset, index))
    return (
        f"<annotation>\n\t<folder>{PICTURES}</folder>\n\t<filename>{escape(name)}</filename>\n\t{size}\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _object(box: Box, name: str) -> str:
    corners = {"xmin": box.x1 + 1, "ymin": box.y1 + 1, "xmax": box.x2, "ymax": box.y2}
    for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
        if corners[low] == corners[high]:  # one pixel wide, and flat to whoever does not count as VOC does
            corners[high] += HAIR
    ends = "".join(f"\n\t\t\t<{tag}>{_number(value)}</{tag}>" for tag, value in corners.items())
    return (
        f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<difficult>{int(box.difficult)}</difficult>\n"
        f"\t\t<bndbox>{ends}\n\t\t</bndbox>\n\t</object>\n"
    )


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _write_lists(dataset: Dataset, place: Path, paths: dict[int, str]) -> None:
    lists = place / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for number, split in enumerate(SPLITS):
        stems = [PurePosixPath(path).stem for i, path in paths.items() if dataset.splits[i] == number]
        if stems:
            (lists / f"{split}.txt").write_bytes("".join(f"{stem}\n" for stem in stems).encode("utf-8"))
