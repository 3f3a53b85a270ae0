"""What every reader of tables does with its rows: pictures found, labels and splits checked, the rest told."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, FilePictures, Origin, Skipped, rarest
from foveal.data.formats import listed, named_labels, relative, several_labels, split_of
from foveal.data.formats._labels import RowLabels
from foveal.data.formats._nearby import Nearby
from foveal.data.formats._pairs import split_by_folders
from foveal.data.formats._sheets import PATH, Sheet, columns_of
from foveal.errors import BadData, did_you_mean, shown
from foveal.files.safely import why

__all__ = ["SPLIT", "Part", "dataset_of_rows", "picture_file"]

SPLIT = ("split", "subset")


@dataclass(frozen=True)
class Part:
    """A table whose labels are known."""

    sheet: Sheet
    labels: RowLabels
    home: str = ""  # the table's folder, relative to the data set's
    split: int = UNSPLIT  # of rows that do not say theirs
    by_folders: bool = False  # else what the folders of the picture tell


@dataclass(frozen=True)
class _Row:
    where: str  # "line 7", or "train/metadata.csv line 7"
    path: str  # as FilePictures keeps it
    labels: tuple[str, ...]
    split: int


def dataset_of_rows(
    parts: Sequence[Part], root: Path, origin: Origin, notes: Sequence[str] = (), among: Sequence[str] = ()
) -> Dataset:
    """The data set of all rows that name a picture and a label.

    Args:   among: the pictures that lie there; those that no row names become rows of what is left out.
    Raises: BadData when no row can be used.
    """
    found = _Usable(several=len(parts) > 1)
    told = [*notes, *dict.fromkeys(note for part in parts for note in part.labels.notes)]
    for part in parts:
        folder = part.sheet.path.parent
        nearby = Nearby(folder)
        for row in _checked(part, folder, nearby, found.several):
            found.take(row)
        told += nearby.notes(shown(part.sheet.path.name))
    rows, skipped = list(found.rows.values()), found.skipped
    if not rows:
        why = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise BadData(f"{origin.place} names no usable picture{why}; paths are relative to its folder.")
    labels, classes, multi_hot = _labels_of(rows, any(part.labels.several for part in parts))
    if skipped:
        told.append(f"{len(skipped)} of {len(rows) + len(skipped)} rows of {shown(origin.place)} skipped "
                    f"({shown(skipped[0].name)}: {skipped[0].reason}).")  # fmt: skip
    if rest := [path for path in among if path not in found.rows and path not in found.contradicted]:
        told.append(f"{len(rest)} picture{'s' * (len(rest) > 1)} that no row names skipped ({listed(rest)}).")
        skipped = [*skipped, *(Skipped(path, "is in no row") for path in rest)]
    return Dataset(
        FilePictures(root, tuple(row.path for row in rows)),
        labels,
        classes,
        np.array([row.split for row in rows], np.int8),
        origin,
        notes=tuple(told),
        skipped=tuple(skipped),
        multi_hot=multi_hot,
    )


def _labels_of(
    rows: Sequence[_Row], several: bool
) -> tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.bool_] | None]:
    """(N,) labels, the classes, and where there may be several a picture (N, K) which of them."""
    if not several:
        return *named_labels([row.labels[0] for row in rows]), None
    multi_hot, classes = several_labels([row.labels for row in rows])
    return rarest(multi_hot), classes, multi_hot


class _Usable:
    """Rows that name a regular file and a label, each file once."""

    def __init__(self, several: bool) -> None:
        self.several = several
        self.rows: dict[str, _Row] = {}
        self.skipped: list[Skipped] = []
        self.contradicted: dict[str, str] = {}

    def take(self, row: _Row | Skipped) -> None:
        if isinstance(row, Skipped):
            self.skipped.append(row)
            return
        other = self.rows.get(row.path)
        if other is None and row.path not in self.contradicted:
            self.rows[row.path] = row
        elif other is not None and (set(other.labels), other.split) == (set(row.labels), row.split):
            self.skipped.append(Skipped(row.where, f"repeats {other.where}"))
        else:  # which of the two is right cannot be known
            before = other.where if other else self.contradicted[row.path]
            about = f"about {shown(row.path)}; both are skipped"
            if other:
                self.contradicted[row.path] = other.where
                del self.rows[row.path]
                self.skipped.append(Skipped(before, f"contradicts {row.where} {about}"))
            self.skipped.append(Skipped(row.where, f"contradicts {before} {about}"))


def _checked(part: Part, folder: Path, nearby: Nearby, several: bool) -> Sequence[_Row | Skipped]:
    """Each row as it can be used, or why it cannot be."""
    sheet, out = part.sheet, list[_Row | Skipped]()
    (path,), column = columns_of(sheet.header, PATH), columns_of(sheet.header, SPLIT)
    table = f"{part.home}/{sheet.path.name}".lstrip("/")
    paths, splits = sheet.texts(path), sheet.texts(column[0]) if column else []
    for i, (line, _) in enumerate(sheet.rows):
        where = f"{table} line {line}" if several else f"line {line}"
        word = splits[i] if splits else ""
        if word and split_of(word) == UNSPLIT:
            raise BadData(f'{shown(sheet.path)}, line {line}: split "{shown(word)}" is none of {", ".join(SPLITS)}'
                          f"{did_you_mean(word, SPLITS)}")  # fmt: skip
        reason = part.labels.reasons[i] if part.labels.reasons else ""
        found, reason = (None, reason) if reason else _picture(folder, paths[i], nearby)
        if found is None:
            out.append(Skipped(where, reason))
        else:
            inside = found if os.path.isabs(found) or not part.home else os.path.normpath(f"{part.home}/{found}")
            split = split_of(word) if word else part.split
            split = split_by_folders(inside) if split == UNSPLIT and part.by_folders else split
            out.append(_Row(where, inside, part.labels.labels[i], split))
    return out


def _picture(folder: Path, written: str, nearby: Nearby) -> tuple[str | None, str]:
    if not written:
        return None, "has no path"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", written):
        return None, f"{shown(written)[:80]}: foveal does not download pictures; save them first"
    return picture_file(folder, written, nearby)


def picture_file(folder: Path, written: str, nearby: Nearby | None = None) -> tuple[str | None, str]:
    """The path that names a regular file, as written or with its backslashes turned; else why there is none.

    Where it is not there, the one picture below the folder that `nearby` takes it for.
    """
    reason = f"file {shown(written)[:200]} not found"
    base = str(folder)
    for candidate in dict.fromkeys((os.path.normpath(written), relative(written))):
        path = os.path.join(base, candidate)
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                reason = f"file {shown(written)[:200]} {why(error, path)}"
            continue
        except ValueError:  # no possible file name
            continue
        if stat.S_ISREG(mode):
            return candidate, ""
        reason = f"file {shown(written)[:200]} is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}"
    found, several = (nearby or Nearby(folder)).find(written)
    return found, reason if not several else f"{shown(written)[:200]} {several}"
