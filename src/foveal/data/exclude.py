"""Pictures that somebody looked at and does not want: `--exclude FILE.csv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foveal.data._lookup import Lookup
from foveal.data.dataset import Dataset, Skipped
from foveal.data.formats import listed
from foveal.data.formats.table import PATH, read_rows
from foveal.errors import BadData, did_you_mean, shown

__all__ = ["excluding"]

YES = frozenset({"yes", "y", "true", "x", "1"})
NO = frozenset({"", "no", "n", "false", "0", "-"})
NEIGHBOURS_MAX = 2000  # names that "did you mean" looks through


def excluding(dataset: Dataset, file: str | Path) -> Dataset:
    """The data set without the pictures that a table names; each becomes a row of what was left out.

    Args:    file: CSV or TSV with a column `path`, as `--split` takes them; where it has a column `exclude`, only
             rows that say yes, y, true, x or 1 there count.
    Raises:  BadData when it cannot be read, names no picture of the data set, or leaves none.
    """
    path = Path(file).expanduser()
    wanted = _wanted(path)
    lookup = Lookup(dataset)
    found = {name: lookup.find(name) for name in wanted}
    unknown = [name for name, index in found.items() if index is None]
    if unknown and len(unknown) == len(found):
        raise BadData(f"{shown(path)} names no picture of the data set ({_unlike(dataset, unknown)}).")
    gone = np.zeros(len(dataset), bool)
    gone[[index for index in found.values() if index is not None]] = True
    if gone.all():
        raise BadData(f"{shown(path)} excludes every picture of {shown(dataset.origin.place)}; keep some.")
    notes = [f"{gone.sum()} of {len(dataset)} pictures excluded by {shown(path)}."] if found else []
    if not found:
        notes.append(f"{shown(path)} excludes no picture (no row says yes).")
    if unknown:
        told = listed([lookup.told(name) for name in unknown])
        notes.append(f"{len(unknown)} of the paths in {shown(path)} are not in the data set ({told}).")
    rows = [Skipped(dataset.pictures.name(int(i)), f"is excluded by {path.name}") for i in np.flatnonzero(gone)]
    return dataset.take(np.flatnonzero(~gone).astype(np.int64)).noted(*notes, skipped=rows)


def _wanted(path: Path) -> dict[str, int]:
    """The paths to leave out, each with its line."""
    wanted: dict[str, int] = {}
    for line, row in read_rows(path, {"path": PATH, "exclude": ("exclude",)}, frozenset({"exclude"})):
        said = row.get("exclude", "yes").lower()
        if said not in YES | NO:
            raise BadData(f'{shown(path)}, line {line}: exclude is "{shown(said)[:40]}"; write yes, or leave it empty.')
        if said in YES:
            if not row["path"]:
                raise BadData(f"{shown(path)}, line {line}: has no path.")
            wanted.setdefault(row["path"], line)
    return wanted


def _unlike(dataset: Dataset, unknown: list[str]) -> str:
    names = [dataset.pictures.name(i) for i in range(min(len(dataset), NEIGHBOURS_MAX))]
    near = did_you_mean(unknown[0], names)
    return f"{listed(unknown, 1)}{near}" if near else f"{listed(unknown, 1)}; paths look like {listed(names[:1])}"
