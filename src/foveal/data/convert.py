"""A data set written in another form: the same pictures, labels and splits in a new folder; all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.writers._copies import Copied, stage
from foveal.data.writers.box_table import write_box_table
from foveal.data.writers.class_table import write_class_table
from foveal.data.writers.coco import write_coco
from foveal.data.writers.folders import write_csv, write_folders
from foveal.data.writers.idx import check_idx, write_idx
from foveal.data.writers.shards import write_shards
from foveal.data.writers.voc import write_voc
from foveal.data.writers.yolo_txt import write_yolo
from foveal.errors import BadData, NotWritable, shown
from foveal.progress import SILENT, Progress

__all__ = ["Form", "Written", "convert"]

Form = Literal["folders", "csv", "classes-csv", "shards", "idx", "voc", "coco", "yolo", "boxes-csv"]
WRITERS: dict[str, Callable[[Dataset, Path, Progress], Copied]] = {
    "folders": write_folders,
    "csv": write_csv,
    "classes-csv": write_class_table,
    "shards": write_shards,
    "idx": write_idx,
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
    "boxes-csv": write_box_table,
}
OF_LABELS: tuple[Form, ...] = ("folders", "csv", "classes-csv", "shards", "idx")
OF_SEVERAL: tuple[Form, ...] = ("csv", "classes-csv", "coco")
OF_BOXES: tuple[Form, ...] = ("voc", "coco", "yolo", "boxes-csv")


@dataclass(frozen=True)
class Written:
    """What stands in the new folder."""

    open: Path  # what to give foveal: the folder, or the table in it
    form: str
    classes: tuple[str, ...]  # as the source calls them
    splits: dict[str, int]  # pictures of each
    notes: tuple[str, ...]  # what could not be kept
    skipped: tuple[Skipped, ...]  # pictures that could not be read or are not in the copy
    boxes: int | None = None  # of the pictures that are in the copy; None where it is one of classes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "open": str(self.open),
            "form": self.form,
            "pictures": sum(self.splits.values()),
            **({} if self.boxes is None else {"boxes": self.boxes}),
            "splits": self.splits,
            "classes": list(self.classes),
            "notes": list(self.notes),
            "skipped": [{"name": row.name, "reason": row.reason} for row in self.skipped],
        }


def convert(dataset: Dataset, out: str | Path, to: Form, progress: Progress = SILENT) -> Written:
    """Write a data set in another form.

    Args:   dataset: as `open_dataset` gives it, its splits decided. out: a new or empty folder, not inside the source.
            to: of data sets with a label a picture "folders" (`<split>/<class>/<picture>`), "csv" (`table.csv` and
            `pictures/`), "classes-csv" (a column a class), "shards" (WebDataset), "idx" (grey, of one size); with
            several labels "csv", "classes-csv" or "coco" (annotations without boxes); with boxes "voc" (Pascal VOC),
            "coco" (COCO JSON), "yolo" (a .txt a picture) or "boxes-csv" (`boxes.csv` and `pictures/`). Files are copied
            byte for byte; pixels in memory become PNG.
    Raises: NotWritable, NoSpace; BadData when the form cannot hold the pictures. Nothing is left behind then.
    """
    out = Path(out).expanduser()
    _refuse_inside(dataset, out)
    _refuse_other_kind(dataset, to)
    if to == "idx":
        check_idx(dataset)
    with stage(out) as place:
        done = WRITERS[to](dataset, place, progress)
        if not len(done.written):
            raise BadData(f"{shown(dataset.origin.place)}: no picture can be read.")
    splits = np.bincount(dataset.splits[done.written], minlength=len(SPLITS))
    return Written(
        out / done.open if done.open else out,
        to,
        dataset.classes,
        {name: int(n) for name, n in zip(SPLITS, splits, strict=True)},
        (*done.notes, *_missing(splits.tolist()), *_left_out(done.skipped)),
        (*dataset.skipped, *done.skipped),
        done.boxes,
    )


def _refuse_inside(dataset: Dataset, out: Path) -> None:
    """A copy inside the source would be part of the source the next time."""
    root = dataset.origin.place
    if not os.path.isabs(root) or not os.path.isdir(root):  # memory; a table or a shard, beside which a copy may lie
        return
    inner, outer = os.path.realpath(out), os.path.realpath(root)
    if inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep):
        raise NotWritable(f"{shown(out)} lies inside the source {shown(root)}; choose a folder elsewhere.")


def _refuse_other_kind(dataset: Dataset, to: Form) -> None:
    """Boxes go into forms of boxes, several labels a picture into those that hold them."""
    if dataset.boxes is not None:
        forms, what = OF_BOXES, f"has boxes, which {to} cannot hold"
    elif dataset.multi_hot is not None:
        forms, what = OF_SEVERAL, f"has several labels a picture, which {to} cannot hold"
    else:
        forms, what = OF_LABELS, f"has a class a picture, and no boxes for {to}"
    if to not in forms:
        raise BadData(f"{shown(dataset.origin.source)} {what}; use --to {', '.join(forms[:-1])} or {forms[-1]}.")


def _missing(splits: list[int]) -> list[str]:
    lacking = [name for name, n in zip(SPLITS, splits, strict=True) if not n and name != "train"]
    if not lacking:
        return []
    if lacking == ["test"]:
        return ["There are no test pictures; whoever opens the copy scores on those of val."]
    return [f"There are no {' and no '.join(lacking)} pictures; whoever opens the copy may take some out of train."]


def _left_out(skipped: list[Skipped]) -> list[str]:
    if not skipped:
        return []
    return [f"{len(skipped)} pictures skipped ({shown(skipped[0].name)} {skipped[0].reason})."]
