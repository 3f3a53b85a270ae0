"""YOLO's label files: `images/<split>/`, `labels/<split>/` and `data.yaml`.

Source: see `data/formats/yolo_txt.py`.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.writers._boxed import boxes_of, plain_names, told_lost, without_crowds
from foveal.data.writers._copies import Copied
from foveal.data.writers.folders import write_pictures
from foveal.progress import Progress

__all__ = ["write_yolo"]

FORM = "YOLO txt"


def write_yolo(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """All of it, but no crowds and no marks of what is difficult. A picture of nothing has an empty label file."""
    left = without_crowds(dataset, FORM)
    dataset = left.dataset
    homes = [f"images/{SPLITS[split]}" for split in dataset.splits]
    done, paths = write_pictures(dataset, place, homes, progress, mates=True)
    names = plain_names(dataset, done.notes)
    for home in dict.fromkeys(homes):
        (place / home.replace("images", "labels", 1)).mkdir(parents=True)
    for i, path in paths.items():
        file = PurePosixPath(path.replace("images", "labels", 1)).with_suffix(".txt")
        (place / file).write_bytes(_lines(dataset, i).encode("ascii"))
    (place / "data.yaml").write_bytes(_yaml(names, list(dict.fromkeys(homes))).encode("utf-8"))
    return left.finished(done, *told_lost(dataset, done.written, difficult=FORM))


def _lines(dataset: Dataset, index: int) -> str:
    """A line a box: class, and middle, width and height as shares, of as many digits as a box can tell."""
    assert dataset.boxes is not None
    height, width = dataset.boxes.sizes[index].tolist()
    return "".join(
        f"{b.label} {(b.x1 + b.x2) / 2 / width!r} {(b.y1 + b.y2) / 2 / height!r} "
        f"{(b.x2 - b.x1) / width!r} {(b.y2 - b.y1) / height!r}\n"
        for b in boxes_of(dataset, index)
    )


def _yaml(names: tuple[str, ...], homes: list[str]) -> str:
    """Where the splits are, and the classes; a JSON text is one of YAML."""
    order = sorted(homes, key=lambda home: SPLITS.index(home.rpartition("/")[2]))
    splits = "".join(f"{home.rpartition('/')[2]}: {home}\n" for home in order)
    return f"{splits}names:\n" + "".join(f"  {k}: {json.dumps(n, ensure_ascii=False)}\n" for k, n in enumerate(names))
