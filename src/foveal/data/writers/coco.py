"""COCO JSON: `images/`, and `annotations/instances_<split>.json` for each split.

Source: see `data/formats/coco.py`.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.writers._boxed import boxes_of, counted, plain_names, told_lost
from foveal.data.writers._copies import Copied
from foveal.data.writers.folders import write_pictures
from foveal.files.headers import header_of
from foveal.progress import Progress

__all__ = ["write_coco"]


def write_coco(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """All of it, but no marks of what is difficult. Category ids and picture ids begin at 1.

    Of pictures with several labels and no boxes, an annotation for each label, which has no box either.
    """
    done, paths = write_pictures(dataset, place, ["images"] * len(dataset), progress)
    names = plain_names(dataset, done.notes)
    (place / "annotations").mkdir()
    number = 0
    for split, word in enumerate(SPLITS):
        chosen = {i: path for i, path in paths.items() if dataset.splits[i] == split}
        if chosen:
            content, number = _content(dataset, chosen, number)
            categories = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(names, 1)]
            content["categories"] = categories
            text = json.dumps(content, ensure_ascii=True, allow_nan=False)
            (place / f"annotations/instances_{word}.json").write_bytes(text.encode("ascii"))
    if dataset.boxes is None:
        return done
    done.boxes = counted(dataset, done.written)
    done.notes += told_lost(dataset, done.written, difficult="COCO JSON")
    return done


def _content(dataset: Dataset, paths: dict[int, str], number: int) -> tuple[dict[str, Any], int]:
    """One file but for its categories, and the last annotation's id."""
    if dataset.boxes is None:
        return _labels_alone(dataset, paths, number)
    images, annotations = [], []
    for i, path in paths.items():
        height, width = dataset.boxes.sizes[i].tolist()
        images.append({"id": i + 1, "file_name": PurePosixPath(path).name, "width": width, "height": height})
        for box in boxes_of(dataset, i):
            number += 1
            w, h = box.x2 - box.x1, box.y2 - box.y1
            annotations.append({
                "id": number, "image_id": i + 1, "category_id": box.label + 1, "bbox": [box.x1, box.y1, w, h],
                "area": w * h, "iscrowd": int(box.crowd), "segmentation": [],
            })  # fmt: skip
    return {"images": images, "annotations": annotations}, number


def _labels_alone(dataset: Dataset, paths: dict[int, str], number: int) -> tuple[dict[str, Any], int]:
    """The same of pictures without boxes: annotations that have a category alone."""
    assert dataset.multi_hot is not None
    images, annotations = [], []
    for i, path in paths.items():
        header = header_of(dataset.pictures.content(i), dataset.pictures.name(i))
        name = PurePosixPath(path).name
        images.append({"id": i + 1, "file_name": name, "width": header.width, "height": header.height})
        for k in np.flatnonzero(dataset.multi_hot[i]).tolist():
            number += 1
            annotations.append({"id": number, "image_id": i + 1, "category_id": k + 1})
    return {"images": images, "annotations": annotations}, number
