"""`classes.csv` with a column a class that holds 0 or 1, and the folder `pictures` beside it.

Source: see `data/formats/_one_hot.py`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from foveal.data.dataset import SPLITS, Dataset
from foveal.data.formats._one_hot import NO_CLASS
from foveal.data.formats._sheets import ELSE_PATH, PATH
from foveal.data.writers._copies import Copied
from foveal.data.writers._names import renamed
from foveal.data.writers.folders import label_cell, only_one_each, write_pictures
from foveal.errors import shown
from foveal.progress import Progress

__all__ = ["write_class_table"]

TABLE = "classes.csv"


def write_class_table(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """`classes.csv` with path, split (and group) and a column a class."""
    names, changed = renamed(dataset.classes, _column)
    done, paths = write_pictures(dataset, place, ["pictures"] * len(dataset), progress)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "split", *["group"] * (dataset.groups is not None), *names])
    for i in done.written.tolist():
        group = [int(dataset.groups[i])] if dataset.groups is not None else []
        shows = dataset.multi_hot[i] if dataset.multi_hot is not None else dataset.labels[i] == np.arange(len(names))
        writer.writerow([paths[i], SPLITS[dataset.splits[i]], *group, *shows.astype(int).tolist()])
    (place / TABLE).write_bytes(out.getvalue().encode("utf-8"))
    done.open = TABLE
    done.notes += [f'Class "{shown(old)}" is the column "{shown(new)}" of {TABLE}.' for old, new in changed]
    if dataset.groups is not None:
        done.notes.append(f"The groups are numbers in {TABLE}: --group-by group.")
    return only_one_each(dataset, done)


def _column(name: str) -> str:
    """A class as the name of a column: none of those that mean something else."""
    cell = label_cell(name)
    return f"class {cell}" if cell.lower() in (*NO_CLASS, *PATH, *ELSE_PATH) else cell
