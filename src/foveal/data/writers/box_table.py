"""`boxes.csv` with a row a box, and the folder `pictures` beside it.

Source: see `data/formats/box_table.py`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.writers._boxed import boxes_of, counted, told_lost
from foveal.data.writers._copies import Copied
from foveal.data.writers._names import renamed
from foveal.data.writers.folders import label_cell, write_pictures
from foveal.errors import shown
from foveal.progress import Progress

__all__ = ["write_box_table"]

TABLE = "boxes.csv"
COLUMNS = ("path", "x1", "y1", "x2", "y2", "label", "split", "crowd", "difficult")


def write_box_table(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """All of it; the order of classes is that of the alphabet when it is read."""
    done, paths = write_pictures(dataset, place, ["pictures"] * len(dataset), progress)
    names, changed = renamed(dataset.classes, label_cell)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *["group"] * (dataset.groups is not None)])
    for i in done.written.tolist():
        writer.writerows(_rows(dataset, i, paths[i], names))
    (place / TABLE).write_bytes(out.getvalue().encode("utf-8"))
    done.open = TABLE
    done.notes += [f'Class "{shown(old)}" is "{shown(new)}" in {TABLE}.' for old, new in changed]
    if dataset.groups is not None:
        done.notes.append(f"The groups are numbers in {TABLE}: --group-by group.")
    done.boxes = counted(dataset, done.written)
    done.notes += told_lost(dataset, done.written, order="A table")
    return done


def _rows(dataset: Dataset, index: int, path: str, names: tuple[str, ...]) -> Iterator[list[str | int | float]]:
    """A row for each box; one without coordinates where nothing is."""
    split = SPLITS[dataset.splits[index]]
    group = [int(dataset.groups[index])] if dataset.groups is not None else []
    boxes = list(boxes_of(dataset, index))
    for b in boxes:
        yield [path, b.x1, b.y1, b.x2, b.y2, names[b.label], split, int(b.crowd), int(b.difficult), *group]
    if not boxes:
        yield [path, "", "", "", "", "", split, 0, 0, *group]
