"""Class folders, and a table beside a folder of pictures: the two forms with one file a picture."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, ArrayPictures, Dataset
from foveal.data.formats._labels import SEPARATORS
from foveal.data.writers._copies import Copied, encoded
from foveal.data.writers._names import Free, file_name, renamed
from foveal.errors import shown
from foveal.files.spreadsheet import FORMULA
from foveal.progress import Progress

__all__ = ["label_cell", "only_one_each", "write_csv", "write_folders", "write_pictures"]

TABLE = "table.csv"


def write_folders(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """`<split>/<class>/<picture>`; class names that can be no folder's are changed, and told."""
    folders, changed = renamed(dataset.classes, file_name)
    homes = [f"{SPLITS[s]}/{folders[k]}" for s, k in zip(dataset.splits, dataset.labels, strict=True)]
    done, _ = write_pictures(dataset, place, homes, progress)
    done.notes += [f'Class "{shown(old)}" is the folder "{shown(new)}".' for old, new in changed]
    if dataset.groups is not None:
        done.notes.append("Folders cannot keep the groups; --to csv can.")
    return done


def write_csv(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """`table.csv` with path, label (or labels), split (and group), and the folder `pictures` beside it."""
    labels, changed = renamed(dataset.classes, label_cell)
    done, paths = write_pictures(dataset, place, ["pictures"] * len(dataset), progress)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    grouped = dataset.groups is not None
    writer.writerow(["path", "label" if dataset.multi_hot is None else "labels", "split", *["group"] * grouped])
    for i in done.written.tolist():
        group = [int(dataset.groups[i])] if dataset.groups is not None else []
        cell = labels[dataset.labels[i]] if dataset.multi_hot is None else _cell_of(labels, dataset.multi_hot[i])
        writer.writerow([paths[i], cell, SPLITS[dataset.splits[i]], *group])
    (place / TABLE).write_bytes(out.getvalue().encode("utf-8"))
    done.open = TABLE
    done.notes += [f'Class "{shown(old)}" is "{shown(new)}" in {TABLE}.' for old, new in changed]
    if grouped:
        done.notes.append(f"The groups are numbers in {TABLE}: --group-by group.")
    return only_one_each(dataset, done)


def only_one_each(dataset: Dataset, done: Copied) -> Copied:
    """What is said where pictures may have several labels and each has at most one: nothing in a table tells that."""
    if dataset.multi_hot is not None and dataset.multi_hot[done.written].sum(1).max(initial=0) < 2:
        done.notes.append("No picture has several labels; whoever opens the copy says --task multilabel.")
    return done


def _cell_of(labels: Sequence[str], shows: NDArray[np.bool_]) -> str:
    """What stands in a cell: labels with "; " between, in quotes what holds a separator or a quote itself."""
    chosen = [labels[k] for k in np.flatnonzero(shows).tolist()]
    return "; ".join(_quoted(label) if set(label) & {'"', *SEPARATORS} else label for label in chosen)


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def label_cell(name: str) -> str:
    """A label as a cell: no control characters, and no formula for a spreadsheet; numbers such as -1 are none."""
    text = shown(name).strip() or "_"
    return f"'{text}" if text.startswith(FORMULA) and not re.fullmatch(r"[+-]?[0-9.]+", text) else text


def write_pictures(
    dataset: Dataset, place: Path, homes: list[str], progress: Progress, mates: bool = False
) -> tuple[Copied, dict[int, str]]:
    """Each picture in its folder, under its own name where that is free and safe; returns where each went.

    `mates`: another file of each picture's name will stand for it, so that a.jpg and a.png cannot both be called a, and
    names are one word, as lists of them need it.
    """
    free = {home: Free() for home in dict.fromkeys(homes)}
    for home in free:
        (place / home).mkdir(parents=True)
    paths, done = dict[int, str](), Copied(np.zeros(0, np.int64))
    with progress.task("writing pictures", len(dataset)) as advance:
        for i, home in enumerate(homes):
            found = encoded(dataset, i)
            if isinstance(found, tuple):
                stem, suffix = _stem(dataset, i), found[1]
                name = free[home]("_".join(stem.split())) + suffix if mates else free[home](stem, suffix)
                paths[i] = f"{home}/{name}"
                (place / paths[i]).write_bytes(found[0])
            else:
                done.skipped.append(found)
            advance(1)
    done.written = np.array(sorted(paths), np.int64)
    return done, paths


def _stem(dataset: Dataset, index: int) -> str:
    if isinstance(dataset.pictures, ArrayPictures):
        return f"{index:06d}"
    return file_name(PurePosixPath(dataset.pictures.name(index).replace("\\", "/")).stem)
