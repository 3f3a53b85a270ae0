"""Groups of pictures that belong together: one patient, one film, one plant. A group never lies in two splits.

A group is named by a column of the source's table, or by a regular expression in the path. What has no name is a group
of its own. Groups that hold equal pictures are one. The hash that splits is taken over the group's *name*: pictures
that are added to a group later cannot move it, as the smallest of its contents could.

Where nobody names groups, copies that an export has augmented are those of their source. Only names that cannot mean
anything else count: Roboflow's `x_jpg.rf.<hash>.jpg`, Augmentor's `<class>_original_x.jpg_<uuid>.jpg`, and
`x_aug_3.jpg` where `x.jpg` lies beside it. `x (1).jpg` is how people number different pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data._lookup import Lookup
from foveal.data.dataset import SPLITS, UNSPLIT, Dataset
from foveal.data.fingerprints import BYTES, contents, position
from foveal.data.formats import Place, listed, split_of
from foveal.data.formats._sheets import PATH, columns_of, read_rows
from foveal.data.formats.metadata import sheets_of
from foveal.errors import BadData, shown

__all__ = ["AUTO", "Groups", "augmented", "followed", "groups_by", "refuse_straddling", "source_names"]

AUTO = "auto"
EXPORTED = (
    re.compile(r"(?P<source>.+)\.rf\.(?P<copy>[0-9A-Za-z]{20,40})"),
    re.compile(
        r"(?P<source>.+_original_.+)_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
    ),
)
MARKS = (".rf.", "_original_", "aug", "Aug", "AUG")  # one of them is in every such name
BESIDE = re.compile(r"(?P<source>.+?)[_-](aug|augmented)([_-]?\d+)?", re.IGNORECASE)  # with x beside x_aug_3


@dataclass(frozen=True)
class Groups:
    """Which pictures belong together, and where the hash puts them."""

    names: tuple[str, ...]  # G, of `named`; "" for a picture without one
    named: NDArray[np.int64]  # (N,) index into names: before groups with equal pictures were joined
    number: NDArray[np.int64]  # (N,) of the group, after
    placed: NDArray[np.float64]  # (N,) in [0, 1), equal within a group; see `fingerprints.position`
    note: str


def groups_by(dataset: Dataset, by: str) -> Groups:
    """The groups of a data set whose digests are filled.

    Args:    by: a column, where the source is a table that has it; else a regular expression, whose first group (else
             the whole match) names the group.
    Raises:  BadData when nothing is named, or everything the same.
    """
    assert dataset.digests is not None
    column = _from_column(dataset, by)
    names = column if column is not None else _from_paths(dataset, by)
    known = {name for name in names if name}
    what = f'column "{shown(by)}"' if column is not None else f'"{shown(by)}"'
    if len(known) == 1 and "" not in names and len(dataset) > 1:
        raise BadData(f'--group-by: {what} puts every picture into one group, "{shown(min(known))[:80]}"; '
                      f"nothing could be held out. Paths look like {listed([dataset.pictures.name(0)])}.")  # fmt: skip
    if not known:
        where = "is empty" if column is not None else "matches no picture"
        raise BadData(f"--group-by: {what} {where}; {_ways_out(dataset)}.")
    return _grouped(dataset, names, what)


def _grouped(dataset: Dataset, names: Sequence[str], what: str) -> Groups:
    """What bears one name, and what equal pictures join."""
    assert dataset.digests is not None
    order = sorted({name for name in names if name})
    index = {name: i for i, name in enumerate(order)}
    alone = iter(range(len(order), len(order) + len(names)))
    named = np.array([index[name] if name else next(alone) for name in names], np.int64)
    number = _joined(named, contents(dataset.digests))
    note = _told(what, order, names, int(named.max()) + 1 - len(np.unique(number)))
    return Groups((*order, *[""] * (len(names))), named, number, _placed(dataset, order, number), note)


def augmented(dataset: Dataset) -> Groups | None:
    """The sources of copies that an export has augmented, by their names; None where no source has two."""
    if not len(dataset):
        return None
    names = source_names(dataset)
    copies = Counter(name for name in names if name)
    several = [name for name, n in copies.items() if n > 1]
    if not several:
        return None
    first = dataset.pictures.name(names.index(several[0]))
    many = sum(copies[name] for name in several)
    note = f"{many} pictures are augmented copies of {len(several)} sources by their names ({shown(first)})"
    return replace(_grouped(dataset, names, ""), note=note)


def source_names(dataset: Dataset) -> list[str]:
    """For each picture the source that its name says it is a copy of, its folders before it but for those of splits.

    Its class belongs to it, where it has one: what is called alike in two classes has two sources.
    """
    paths = [dataset.pictures.name(i) for i in range(len(dataset))]
    names = [""] * len(paths)
    marked = [i for i, path in enumerate(paths) if any(mark in path for mark in MARKS)]
    beside = list[tuple[int, str, str]]()
    for i in marked:
        home, stem = _home_and_stem(paths[i])
        if found := next((match for form in EXPORTED if (match := form.fullmatch(stem))), None):
            names[i] = f"{home}/{found['source']}"
        elif found := BESIDE.fullmatch(stem):
            beside.append((i, home, found["source"]))
    if beside:
        there = {_home_and_stem(path): i for i, path in enumerate(paths)}
        for i, home, stem in beside:
            if (source := there.get((home, stem))) is not None:
                names[i] = names[source] = f"{home}/{stem}"
    if dataset.boxes is None and dataset.multi_hot is None:
        kinds = dataset.labels.tolist()
        names = [name and f"{dataset.classes[kind]}/{name}" for name, kind in zip(names, kinds, strict=True)]
    return names


def _home_and_stem(path: str) -> tuple[str, str]:
    *folders, name = path.replace("\\", "/").split("/")
    homes = [folder for folder in folders if split_of(folder) == UNSPLIT and not folder.endswith((".tar", ".parquet"))]
    return "/".join(homes), name.rpartition(".")[0] or name


def refuse_straddling(dataset: Dataset, groups: Groups, *, against_test: bool = False) -> None:
    """Raises: BadData that names the first group which whoever decided the splits put into two of them.

    Equal pictures in two splits are left to be told as the leak they are. `against_test`: what is not test is of no
    split yet, but was decided to be no test.
    """
    splits = np.where(dataset.splits == SPLITS.index("test"), 2, 0) if against_test else dataset.splits
    decided = np.flatnonzero(splits != UNSPLIT)
    first: dict[int, int] = {}
    torn: dict[int, tuple[int, int]] = {}
    for i in decided.tolist():
        other = first.setdefault(int(groups.named[i]), i)
        if splits[other] != splits[i]:
            torn.setdefault(int(groups.named[i]), (other, i))
    if torn:
        number, (a, b) = min(torn.items())
        name, more = dataset.pictures.name, f" ({len(torn) - 1} more such groups)" if len(torn) > 1 else ""
        sides = [f"{'train' if against_test and splits[i] == 0 else SPLITS[splits[i]]} ({shown(name(i))})"
                 for i in (a, b)]  # fmt: skip
        raise BadData(
            f'--group-by: group "{shown(groups.names[number])}" lies in {sides[0]} and in {sides[1]}{more}; '
            "a group must be in one split: mend --split or --test-if, or the source's own split."
        )


def followed(dataset: Dataset, groups: Groups) -> NDArray[np.int8]:
    """(N,) splits, where pictures that nobody decided on follow those of their group that somebody did."""
    splits = dataset.splits.copy()
    for of in (groups.named, groups.number):
        first = np.full(int(of.max(initial=0)) + 1, UNSPLIT, np.int8)
        decided = np.flatnonzero(splits > 0)  # val and test; train may still give to them, as whole groups
        first[of[decided]] = splits[decided]
        splits = np.where(splits == UNSPLIT, first[of], splits).astype(np.int8)
    return splits


def _from_column(dataset: Dataset, by: str) -> list[str] | None:
    """The column's value for each picture; None where the source has no table with it."""
    lookup, names, column = Lookup(dataset), [""] * len(dataset), by.strip().lower()
    form, place = dataset.origin.format, Path(dataset.origin.place)
    several = form == "metadata" or (form == "box table" and place.is_dir())
    rows = _column_of_tables(dataset, column) if several else _column_of(dataset, column)
    if rows is None:
        return None
    for path, group in rows:
        if (at := lookup.find(path)) is not None:
            names[at] = group
    return names


def _column_of(dataset: Dataset, column: str) -> list[tuple[str, str]] | None:
    """(path, value) of each row of the table that a data set is."""
    if dataset.origin.format not in ("table", "box table"):
        return None
    columns = {"path": PATH, "group": (column,)}
    rows = [row for _, row in read_rows(Path(dataset.origin.place), columns, frozenset({"group"}))]
    return [(row["path"], row["group"]) for row in rows] if rows and "group" in rows[0] else None


def _column_of_tables(dataset: Dataset, column: str) -> list[tuple[str, str]] | None:
    """The same of tables that lie among the pictures; paths are relative to each one's folder."""
    found = list[tuple[str, str]]()
    sheets = sheets_of(Place(Path(dataset.origin.place)))
    for file, sheet in sheets.items():
        paths, at = columns_of(sheet.header, PATH), columns_of(sheet.header, (column,))
        if not at:
            return None
        home = file.rpartition("/")[0]
        inside = (f"{home}/{path}" if home else path for path in sheet.texts(paths[0]))
        found += zip(inside, sheet.texts(at[0]), strict=True)
    return found


def _from_paths(dataset: Dataset, by: str) -> list[str]:
    try:
        expression = re.compile(by)
    except (re.error, RecursionError, OverflowError) as error:
        raise BadData(
            f'--group-by "{shown(by)}" is not a valid regular expression ({error}); {_ways_out(dataset)}.'
        ) from None
    matches = (expression.search(dataset.pictures.name(i)) for i in range(len(dataset)))
    return [(match[1 if expression.groups else 0] or "") if match else "" for match in matches]


def _ways_out(dataset: Dataset) -> str:
    also = ", or name one of the table's columns" if dataset.origin.format in ("table", "box table", "metadata") else ""
    return f"it is searched for in paths such as {listed([dataset.pictures.name(0)])}{also}"


def _joined(named: NDArray[np.int64], content: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the smallest group that each picture's group is tied to by equal pictures, step by step."""
    parent = np.arange(int(named.max()) + 1)
    pairs = np.unique(np.stack([content, named], axis=1), axis=0)
    tied = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])

    def root(group: int) -> int:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = int(parent[group])
        return group

    for i in tied.tolist():
        a, b = root(int(pairs[i, 1])), root(int(pairs[i + 1, 1]))
        parent[max(a, b)] = min(a, b)
    return np.array([root(group) for group in range(len(parent))], np.int64)[named]


def _placed(dataset: Dataset, order: Sequence[str], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) position of each group: of its name, or of the content of a picture that has none."""
    assert dataset.digests is not None
    hashes = dataset.digests.copy()
    of_names = [blake2b(b"group\0" + name.encode("utf-8", "surrogateescape"), digest_size=BYTES) for name in order]
    with_name = number < len(order)
    if order:
        table = np.frombuffer(b"".join(h.digest() for h in of_names), np.uint8).reshape(-1, BYTES)
        hashes[with_name] = table[number[with_name]]
    return position(hashes)


def _told(what: str, order: Sequence[str], names: Sequence[str], joined: int) -> str:
    without = sum(not name for name in names)
    lone = f", {without} pictures in none (each stays on its own)" if without else ""
    one = f"; {joined} joined to another that holds equal pictures" if joined else ""
    alone = " Every group has one picture: grouping changes nothing." if len(order) == len(names) and not joined else ""
    return f"{len(order)} groups by {what}{lone}{one}.{alone}"
