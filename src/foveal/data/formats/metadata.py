"""Tables that lie among the pictures: `metadata.csv`, `.jsonl` or `.parquet` as Hugging Face's image folders have them,
Roboflow's `_classes.csv` and `_annotations.csv`, or a single table beside loose pictures.

Paths are relative to the table's own folder. Splits are those of the folders (`train/metadata.csv`), of the tables'
names (`train.csv`, `test.csv`) or of a column. Where pictures lie in class folders as well, labels of `metadata.*` win.
`objects` with `bbox` (left, top, width, height in pixels) and `categories` are boxes.
Source: Hugging Face Datasets, "Create an image dataset" (ImageFolder).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, box_table, folders, listed, split_in
from foveal.data.formats._labels import RowLabels, label_columns, labels_of_column
from foveal.data.formats._objects import read_objects
from foveal.data.formats._one_hot import one_hot
from foveal.data.formats._pairs import split_by_folders
from foveal.data.formats._rows import SPLIT, Part, dataset_of_rows
from foveal.data.formats._sheets import PATH, Sheet, columns_of, read_sheet, read_values
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name

__all__ = ["FORMAT", "sheets_of"]

NAMED = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv")
TEXTS = ("text", "caption", "captions", "description", "prompt", "sentence")
NO_LABEL = frozenset({"", "index", "id", "unnamed: 0", "width", "height", "split", "subset"})


def _read(place: Place, asked: Asked) -> Dataset:
    root = Place(place.path.parent) if place.is_file else place
    files = _files(place)
    boxed = [file for file in files if box_table.FORMAT.detect(Place(root.path / file))]
    if len(files) == 1 and boxed:
        return box_table.FORMAT.read(Place(root.path / files[0]), asked)
    if boxed == files:
        return box_table.read_box_tables(root, {file: _split_of(file) for file in files}, asked)
    sheets = sheets_of(place)
    for sheet in sheets.values():
        if len(columns_of(sheet.header, PATH)) != 1:
            raise BadData(f'{shown(sheet.path)} needs one column "file_name"; it has {listed(sheet.header, 8)}.')
    if any("objects" in sheet.header for sheet in sheets.values()):
        return read_objects(sheets, root, asked, _split_of)
    parts, notes = list[Part](), list[str]()
    for file, sheet in sheets.items():
        labels = _labels(sheet, asked)
        parts.append(Part(sheet, labels, os.path.dirname(file), _split_of(file), by_folders=True))
    if folders.has_classes(place.files):
        notes.append(f"Labels are those of {listed(files)}, not the names of the folders.")
    pictures = [path for path in place.files if is_picture_name(path)]
    dataset = dataset_of_rows(
        parts, root.path, Origin(asked.source, str(place.path), "metadata"), notes, among=pictures
    )
    return replace(dataset, origin=replace(dataset.origin, split_by=_how(parts, dataset)))


def sheets_of(place: Place) -> dict[str, Sheet]:
    """The tables of a place, by their paths relative to it."""
    root = place.path.parent if place.is_file else place.path
    return {file: read_sheet(root / file) for file in _files(place)}


def _files(place: Place) -> list[str]:
    return [place.path.name] if place.is_file else _tables(place)


def _how(parts: Sequence[Part], dataset: Dataset) -> str:
    if (dataset.splits == UNSPLIT).all():
        return ""
    if any(columns_of(part.sheet.header, SPLIT) for part in parts):
        return 'the tables\' column "split"'
    if parts[0].split != UNSPLIT:
        return f"tables of {listed([part.home or part.sheet.path.name for part in parts])}"
    return "the folders of the pictures"


def _labels(sheet: Sheet, asked: Asked) -> RowLabels:
    """The labels of each row. Raises: BadData where there are none."""
    where = shown(sheet.path)
    if at := label_columns(sheet.header):
        if len(at) > 1:
            raise BadData(f'{where}: {len(at)} columns could be "label"; keep one.')
        return labels_of_column(sheet, at[0], asked)
    if classes := one_hot(sheet, asked):
        return classes
    paths = columns_of(sheet.header, PATH)
    others = [i for i, name in enumerate(sheet.header) if i not in paths and name.lower() not in NO_LABEL]
    texts = [sheet.header[i] for i in others if sheet.header[i].lower() in TEXTS]
    if texts and len(others) == len(texts):
        raise BadData(f'{where} has texts ("{shown(texts[0])}") and no column "label"; pictures with texts are not a '
                      f"task yet.")  # fmt: skip
    if len(others) != 1:
        raise BadData(f'{where} has no column "label"; columns are {listed(sheet.header, 8)}.')
    cells, name = sheet.texts(others[0]), sheet.header[others[0]]
    if len(set(cells)) == len(cells):
        raise BadData(f'{where} has no column "label", and "{shown(name)}" has another value in each row.')
    found = labels_of_column(sheet, others[0], asked)
    return replace(found, notes=(f'Labels are those of column "{shown(name)}".', *found.notes))


def _split_of(file: str) -> int:
    """What the table's folders tell, else its name."""
    split = split_by_folders(file)
    return split_in(PurePosixPath(file).stem) if split == UNSPLIT else split


def _tables(place: Place) -> list[str]:
    """The tables to read; where several lie at the top, those named as splits that have labels, or the only one."""
    named = [f for f in place.files if f.rpartition("/")[2].lower() in NAMED and f.count("/") <= 2]
    if named:
        kind = {f.rpartition("/")[2].lower(): None for f in named}
        if len(kind) > 1:
            raise BadData(f"{shown(place.path)} holds tables of several kinds ({listed(named)}); keep one kind.")
        return named
    files = _loose_tables(place)
    if len(files) > 1:
        labelled = [f for f in files if _has_labels(place, f)]
        if len(labelled) == 1 or (labelled and len({_split_of(f) for f in labelled} - {UNSPLIT}) == len(labelled)):
            return labelled
        raise BadData(f"{shown(place.path)} holds {len(files)} tables ({listed(files)}); give the one you mean.")
    return files


def _has_labels(place: Place, file: str) -> bool:
    try:
        sheet = read_sheet(place.path / file)
        return len(columns_of(sheet.header, PATH)) == 1 and bool(_labels(sheet, Asked("")).labels)
    except BadData:
        return False


def _loose_tables(place: Place) -> list[str]:
    """Tables at the top that name files; a list of something else is none."""
    tables = [f for f in place.files if "/" not in f and f.lower().endswith((".csv", ".tsv"))]
    return [f for f in tables if _names_files(place, f)]


def _names_files(place: Place, file: str) -> bool:
    try:
        return bool(columns_of(next(read_values(place.path / file))[1], PATH))
    except BadData:
        return True  # reading it tells what is wrong


def _detect(place: Place) -> bool:
    """A .jsonl; named tables, but for those without labels beside class folders; any table beside loose pictures."""
    if place.is_file:
        return place.path.suffix.lower() == ".jsonl"
    if not place.has_pictures:
        return False
    in_classes = folders.has_classes(place.files)
    named = [f for f in place.files if f.rpartition("/")[2].lower() in NAMED and f.count("/") <= 2]
    if not in_classes:
        return bool(named or _loose_tables(place))
    return bool(named) and all(_says_labels(place, file) for file in named)


def _says_labels(place: Place, file: str) -> bool:
    try:
        header = read_sheet(place.path / file).header
    except BadData:
        return False
    return bool("file_name" in header and (label_columns(header) or "objects" in header))


FORMAT = Format("metadata", _detect, _read)
