"""A table of paths and labels: CSV or TSV with a header, `path,label` and, where it has one, `split`.

Paths are relative to the table's folder. A row that cannot be used is listed with its line; the rest goes on.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveal.data.dataset import SPLITS, UNSPLIT, Dataset, FilePictures, Origin, Skipped
from foveal.data.formats import Asked, Format, Place, named_labels, relative, split_of
from foveal.errors import BadData, did_you_mean, shown
from foveal.files.safely import read_bytes, why

__all__ = ["FORMAT", "Columns", "picture_file", "read_rows"]

TABLE_MAX_BYTES = 1 << 30
Columns = dict[str, tuple[str, ...]]  # a column's name and what else people call it

PATH = ("path", "file", "filename", "file_name", "filepath", "image")
COLUMNS: Columns = {"path": PATH, "label": ("label", "class", "target"), "split": ("split", "subset")}


@dataclass(frozen=True)
class _Row:
    line: int
    path: str  # as FilePictures keeps it
    label: str
    split: int


def read_rows(
    path: Path, columns: Columns, optional: frozenset[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and named values of each row of a CSV or TSV file; blank lines are passed over.

    Raises: BadData when it is not UTF-8, a quote is never closed, or a column is missing.
    """
    raw = read_bytes(path, limit=TABLE_MAX_BYTES, what="table", error=BadData)
    text = _decoded(raw, path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(",;\t", key=lambda c: (first.count(c), -",;\t".index(c)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: dict[str, int] | None = None
    begun = 1
    try:
        for values in reader:
            line, begun = begun, reader.line_num + 1
            if not any(value.strip() for value in values):
                continue
            if header is None:
                header = _header(values, columns, optional, path)
                continue
            yield line, {name: values[i].strip() if i < len(values) else "" for name, i in header.items()}
    except csv.Error as error:
        raise BadData(f"{shown(path)}, line {begun}: {_plainer(str(error))}.") from None
    if header is None:
        raise BadData(f"{shown(path)} is empty; it needs a header such as path,label and a row a picture.")


def _decoded(raw: bytes, path: Path) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(f"{shown(path)}, line {line}: not UTF-8; save the table as UTF-8 text.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadData(f"{shown(path)}, line {line}: holds a NUL byte; save the table as UTF-8 text.")
    return text


def _plainer(error: str) -> str:
    if "unexpected end" in error:
        return "a quote is opened and never closed"
    if "field larger" in error:
        return "a field is longer than 131072 characters (is a quote left open?)"
    return f"is no proper table ({error}; is a quote left open?)"


def _header(values: list[str], columns: Columns, optional: frozenset[str], path: Path) -> dict[str, int]:
    """Where each column stands. Raises: BadData that names the columns that there are."""
    named = [value.strip().lower() for value in values]
    found: dict[str, int] = {}
    for name, others in columns.items():
        at = [i for i, value in enumerate(named) if value in others]
        if len(at) > 1:
            raise BadData(f'{shown(path)}: {len(at)} columns could be "{name}"; keep one.')
        if at:
            found[name] = at[0]
        elif name not in optional:
            near = did_you_mean(name, named) or ";"
            raise BadData(f'{shown(path)}: no column "{name}"{near} columns are '
                          f"{', '.join(shown(v)[:40] for v in values[:8])}.")  # fmt: skip
    return found


def _read(place: Place, asked: Asked) -> Dataset:
    rows, skipped = _usable(place.path)
    if not rows:
        why = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise BadData(f"{shown(place.path)} names no usable picture{why}; paths are relative to its folder.")
    labels, classes = named_labels([row.label for row in rows])
    notes = (f"{len(skipped)} of {len(rows) + len(skipped)} rows of {shown(place.path)} left out "
             f"({shown(skipped[0].name)}: {skipped[0].reason}).",) if skipped else ()  # fmt: skip
    return Dataset(
        FilePictures(place.path.parent, tuple(row.path for row in rows)),
        labels,
        classes,
        np.array([row.split for row in rows], np.int8),
        Origin(asked.source, str(place.path), "table", 'its column "split"' if any(r.split >= 0 for r in rows) else ""),
        notes=notes,
        skipped=tuple(skipped),
    )


def _usable(path: Path) -> tuple[list[_Row], list[Skipped]]:
    """Rows that name a regular file and a label, each file once."""
    rows: dict[str, _Row] = {}
    skipped: list[Skipped] = []
    contradicted: dict[str, int] = {}
    for line, values in read_rows(path, COLUMNS, frozenset({"split"})):
        where, row = f"line {line}", _checked(line, values, path)
        if isinstance(row, str):
            skipped.append(Skipped(where, row))
            continue
        other = rows.get(row.path)
        if other is None and row.path not in contradicted:
            rows[row.path] = row
        elif other is not None and (other.label, other.split) == (row.label, row.split):
            skipped.append(Skipped(where, f"repeats line {other.line}"))
        else:  # which of the two is right cannot be known
            before = other.line if other else contradicted[row.path]
            about = f"about {shown(row.path)}; both left out"
            if other:
                contradicted[row.path] = other.line
                del rows[row.path]
                skipped.append(Skipped(f"line {before}", f"contradicts line {line} {about}"))
            skipped.append(Skipped(where, f"contradicts line {before} {about}"))
    return list(rows.values()), skipped


def _checked(line: int, values: dict[str, str], path: Path) -> _Row | str:
    """A row that can be used, or why it cannot be."""
    written, label, split = values["path"], values["label"], values.get("split", "")
    if not written:
        return "has no path"
    if not label:
        return "has no label"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", written):
        return f"{shown(written)[:80]}: foveal does not download pictures; save them first"
    if split and split_of(split) == UNSPLIT:
        raise BadData(f'{shown(path)}, line {line}: split "{shown(split)}" is none of {", ".join(SPLITS)}'
                      f"{did_you_mean(split, SPLITS)}")  # fmt: skip
    found, reason = picture_file(path.parent, written)
    return reason if found is None else _Row(line, found, label, split_of(split) if split else UNSPLIT)


def picture_file(folder: Path, written: str) -> tuple[str | None, str]:
    """The path that names a regular file, as written or with its backslashes turned; else why there is none."""
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
    return None, reason


FORMAT = Format("table", lambda place: place.is_file and place.path.suffix.lower() in (".csv", ".tsv", ".tab"), _read)
