"""Parquet tables with the pictures in them, as Hugging Face publishes data sets: one file, or a folder of them.

A column holds each picture's file, as `{bytes, path}` or as plain bytes; another its label, a text or the number of a
class whose names stand in the schema. The names of the files tell the splits (`train-00000-of-00002.parquet`). Pictures
are read a row group at a time, as they are asked for. Needs pyarrow, the extra `parquet`.
Source: Apache Parquet; Hugging Face Datasets, features `Image` and `ClassLabel`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data._pictures import stamp_of
from foveal.data.dataset import UNSPLIT, Dataset, Origin, Skipped, multi_hot_of, rarest
from foveal.data.formats import Asked, Format, Place, listed, named_labels, numbered_labels, several_labels, split_in
from foveal.data.formats._arrow import arrow_file
from foveal.data.formats._labels import LABEL, LABELS, label_columns, labels_of_column
from foveal.data.formats._rows import SPLIT, Part, dataset_of_rows
from foveal.data.formats._sheets import PATH, columns_of, read_sheet
from foveal.errors import BadData, shown

__all__ = ["FORMAT", "ParquetPictures"]

PLAIN = ("image", "img", "picture", "photo", "image_bytes", "bytes", "jpg", "png")  # columns of bytes that are pictures
GROUP_MAX_BYTES = 1 << 30  # of one row group's pictures, which are read together
KEPT_BYTES = 256 << 20  # of row groups read last


class _RowGroups:
    """The pictures of row groups, read when one of them is asked for; those used last are kept. Thread-safe."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._kept: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, path: Path, group: int, row: int) -> bytes:
        """The bytes of one picture; none where the table has none."""
        with self._lock:
            values = self._kept.pop((path, group), None)
            if values is None:
                values = self._read(path, group)
            self._kept[path, group] = values
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return values[row].as_py() or b""

    def _read(self, path: Path, group: int) -> Any:
        try:
            with arrow_file(path) as file:
                column = file.read_row_group(group, columns=[self.column]).column(0).combine_chunks()
        except BadData as error:
            raise OSError(None, f"row group {group} is damaged") from error
        return column.field("bytes") if "." in self.column else column


@dataclass(frozen=True)
class ParquetPictures:
    """Pictures inside Parquet files."""

    root: Path
    files: tuple[str, ...]  # relative to root
    names: tuple[str, ...]
    file: NDArray[np.int32]  # (N,) index into files
    group: NDArray[np.int32]  # (N,) row group of the file
    row: NDArray[np.int64]  # (N,) row of the group
    groups: _RowGroups = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """See `Pictures`."""
        return self.names[index]

    def content(self, index: int) -> bytes:
        """See `Pictures`."""
        path = self.root / self.files[self.file[index]]
        return self.groups.picture(path, int(self.group[index]), int(self.row[index]))

    def stamp(self, index: int) -> str:
        """See `Pictures`."""
        file = stamp_of(self.root / self.files[self.file[index]])
        return f"{file}|{self.group[index]}|{self.row[index]}"

    def take(self, indices: NDArray[np.int64]) -> ParquetPictures:
        """See `Pictures`."""
        names = tuple(self.names[i] for i in indices)
        return ParquetPictures(
            self.root, self.files, names, self.file[indices], self.group[indices], self.row[indices], self.groups
        )


@dataclass
class _Index:
    """What the files hold: a row a picture with a label."""

    names: list[str] = field(default_factory=list)
    place: list[tuple[int, int, int]] = field(default_factory=list)  # file, row group, row of it
    labels: list[str | int | list[str | int]] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class _Columns:
    """What a file's columns are."""

    picture: str  # "image.bytes", or "image"
    label: str
    names: tuple[str, ...] | None  # of the classes, where labels are numbers
    several: bool = False  # labels are lists


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    files = [place.path.name] if place.is_file else _files(place)
    if place.is_file and not _holds_pictures(place.path):
        return _read_paths(place, asked)
    index, kinds = _Index(), dict[_Columns, str]()
    with asked.progress.task("reading tables", len(files), "files") as advance:
        for number, file in enumerate(files):
            kinds.setdefault(_read_file(root, file, number, index), file)
            advance(1)
    if len(kinds) > 1:
        raise BadData(f"{shown(place.path)}: {listed(list(kinds.values()))} have other columns or classes than each "
                      f"other; give one of them, or a folder of one kind.")  # fmt: skip
    if not index.names:
        raise BadData(f"{shown(place.path)} holds no picture with a label.")
    (columns,) = kinds
    multi_hot = None
    if columns.several:
        multi_hot, classes = _multi_hot(index, columns, asked, shown(place.path))
        labels = rarest(multi_hot)
    else:
        labels, classes = _labels(index, columns, asked, shown(place.path))
    decided = sorted({split for split in index.splits if split != UNSPLIT})
    where = np.array(index.place, np.int64)
    notes = (f"{len(index.skipped)} rows skipped (first: {index.skipped[0].name} {index.skipped[0].reason}).",
             ) if index.skipped else ()  # fmt: skip
    return Dataset(
        ParquetPictures(
            root, tuple(files), tuple(index.names), where[:, 0].astype(np.int32), where[:, 1].astype(np.int32),
            where[:, 2], _RowGroups(columns.picture),
        ),
        labels,
        classes,
        np.array(index.splits, np.int8),
        Origin(asked.source, str(place.path), "parquet", "the files' names" if decided else ""),
        notes=notes,
        skipped=tuple(index.skipped),
        multi_hot=multi_hot,
    )  # fmt: skip


def _holds_pictures(path: Path) -> bool:
    with arrow_file(path) as file:
        return _picture_column(file.schema_arrow) is not None


def _read_file(root: Path, name: str, number: int, index: _Index) -> _Columns:
    """Add one file's pictures to the index; the pictures themselves are not read."""
    split = split_in(name)
    with arrow_file(root / name) as file:
        columns = _columns(file.schema_arrow, root / name)
        parent, _, inside = columns.picture.partition(".")
        wanted = [columns.label, *([f"{parent}.path"] if inside and _has_path(file.schema_arrow, parent) else [])]
        begun, seen = 0, set[str]()
        for group in range(file.metadata.num_row_groups):
            _check_size(file.metadata.row_group(group), columns.picture, root / name)
            table = file.read_row_group(group, columns=wanted)
            paths = table.column(parent).to_pylist() if len(wanted) > 1 else [None] * table.num_rows
            for row, (label, path) in enumerate(zip(table.column(columns.label).to_pylist(), paths, strict=True)):
                called = PurePosixPath(str((path or {}).get("path") or "").replace("\\", "/")).name
                called = called if called and called not in seen else f"{begun + row:06d}"
                seen.add(called)
                if label is None or label == -1 or (isinstance(label, str) and not label.strip()):
                    index.skipped.append(Skipped(f"{name}/{called}", "has no label"))
                    continue
                index.names.append(f"{name}/{called}")
                index.place.append((number, group, row))
                index.labels.append([_plain(one) for one in label] if columns.several else _plain(label))
                index.splits.append(split)
            begun += table.num_rows
    return columns


def _plain(label: Any) -> str | int:
    return label.strip() if isinstance(label, str) else int(label)


def _check_size(group: Any, column: str, path: Path) -> None:
    sizes = [group.column(i).total_uncompressed_size for i in range(group.num_columns)
             if group.column(i).path_in_schema == column]  # fmt: skip
    if sum(sizes) > GROUP_MAX_BYTES:
        raise BadData(f"{shown(path)} holds {sum(sizes) >> 20} MiB of pictures in one row group, which are read "
                      f"together; write it anew with row groups of at most {GROUP_MAX_BYTES >> 20}.")  # fmt: skip


def _columns(schema: Any, path: Path) -> _Columns:
    """Which column is what. Raises: BadData where that is not certain."""
    picture = _picture_column(schema)
    if picture is None:
        raise BadData(f"{shown(path)} has no column of pictures; columns are {listed(schema.names, 8)}.")
    features = _features(schema)
    kinds = {name: str(schema.field(name).type) for name in schema.names if name != picture.partition(".")[0]}
    plain = [name for name, kind in kinds.items() if kind.startswith(("int", "uint", "string", "large_string"))]
    lists = [name for name, kind in kinds.items() if name.lower() in (*LABEL, *LABELS) and _lists_labels(kind)]
    if len(lists) == 1 and not any(name.lower() in LABEL for name in plain):
        return _Columns(picture, lists[0], features.get(lists[0]), several=True)
    called = [name for name in plain if name.lower() in LABEL] or [name for name in plain if name.lower() in LABELS]
    known = called or [name for name in plain if name in features] or plain
    if len(known) != 1:
        if "objects" in kinds:
            raise BadData(f"{shown(path)} has boxes, which are not read out of Parquet; save the pictures as files "
                          f'beside a metadata.jsonl with "objects".')  # fmt: skip
        raise BadData(f'{shown(path)} needs one column "label"; {listed(known or list(kinds), 8)} could be it.')
    return _Columns(picture, known[0], features.get(known[0]))


def _lists_labels(kind: str) -> bool:
    """Whether a column holds lists of texts or numbers."""
    return bool(re.fullmatch(r"(large_|fixed_size_)?list<\w+: (u?int\d+|(large_)?string)( not null)?>(\[\d+\])?", kind))


def _picture_column(schema: Any) -> str | None:
    """`image.bytes` of a structure, or the name of a column of bytes; None where there is none, or several."""
    inside = [name for name in schema.names if str(schema.field(name).type).startswith("struct<")
              and "binary" in str(_child(schema, name, "bytes"))]  # fmt: skip
    plain = [name for name in schema.names
             if str(schema.field(name).type) in ("binary", "large_binary") and name.lower() in PLAIN]  # fmt: skip
    found = [*(f"{name}.bytes" for name in inside), *plain]
    return found[0] if len(found) == 1 else "image.bytes" if "image.bytes" in found else None


def _child(schema: Any, name: str, child: str) -> Any:
    kind = schema.field(name).type
    at = kind.get_field_index(child)
    return kind.field(at).type if at >= 0 else None


def _has_path(schema: Any, name: str) -> bool:
    return "string" in str(_child(schema, name, "path"))


def _features(schema: Any) -> dict[str, tuple[str, ...]]:
    """The class names of each column that has some, by what Hugging Face writes beside the schema."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: tuple(str(n) for n in feature["names"])
            for name, written in features.items()
            for feature in [_of_list(written)]
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature["names"], list)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _of_list(feature: Any) -> Any:
    """What a list's elements are, as the three ways of writing lists have it; anything else is itself."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        return feature.get("feature")
    return feature


def _multi_hot(index: _Index, columns: _Columns, asked: Asked, where: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(N, K) which classes each picture shows. Raises: BadData where one a picture is asked for."""
    if asked.labels == "one":
        raise BadData(f"{where} has several labels a picture, and one is asked for; leave --labels one out.")
    rows = [label if isinstance(label, list) else [label] for label in index.labels]
    flat = [label for row in rows for label in row]
    numbers = [label for label in flat if isinstance(label, int)]
    if len(numbers) < len(flat) or not flat:
        return several_labels([[str(label) for label in row] for row in rows])
    labels, classes = numbered_labels(np.array(numbers, np.int64), asked.classes or columns.names, where)
    of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return multi_hot_of(of, labels, (len(rows), len(classes))), classes


def _labels(index: _Index, columns: _Columns, asked: Asked, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    numbers = [label for label in index.labels if isinstance(label, int)]
    if len(numbers) == len(index.labels):
        return numbered_labels(np.array(numbers, np.int64), asked.classes or columns.names, where)
    return named_labels([str(label) for label in index.labels])


def _read_paths(place: Place, asked: Asked) -> Dataset:
    """A table that names files, as a .csv does."""
    sheet = read_sheet(place.path)
    paths, labels = columns_of(sheet.header, PATH), label_columns(sheet.header)
    if len(paths) != 1 or len(labels) != 1:
        raise BadData(f'{shown(place.path)} has neither one column of pictures nor "file_name" and "label"; columns '
                      f"are {listed(sheet.header, 8)}.")  # fmt: skip
    decided = bool(columns_of(sheet.header, SPLIT))
    origin = Origin(asked.source, str(place.path), "parquet", 'its column "split"' if decided else "")
    return dataset_of_rows([Part(sheet, labels_of_column(sheet, labels[0], asked))], place.path.parent, origin)


def _files(place: Place) -> list[str]:
    return [file for file in place.files if file.lower().endswith(".parquet")]


def _detect(place: Place) -> bool:
    """A .parquet file, or a folder with some and no loose pictures beside them."""
    if place.is_file:
        return place.path.suffix.lower() == ".parquet"
    return not place.has_pictures and bool(_files(place))


FORMAT = Format("parquet", _detect, _read)
