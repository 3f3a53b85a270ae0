"""A table of paths and labels: CSV or TSV with a header, `path,label` and, where it has one, `split`.

Paths are relative to the table's folder, with or without their ending. A column `labels` or `tags` may hold several a
picture (`cat; dog`). Instead of labels there may be a column a class that holds 0 or 1. A row that cannot be used is
listed with its line; the rest goes on.
"""

from __future__ import annotations

from foveal.data.dataset import Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._labels import LABEL, LABELS, label_columns, labels_of_column
from foveal.data.formats._one_hot import one_hot
from foveal.data.formats._rows import SPLIT, Part, dataset_of_rows, picture_file
from foveal.data.formats._sheets import PATH, Columns, columns_of, read_rows, read_sheet

__all__ = ["FORMAT", "LABEL", "PATH", "Columns", "picture_file", "read_rows"]

COLUMNS: Columns = {"path": PATH, "label": (*LABEL, *LABELS), "split": SPLIT}


def _read(place: Place, asked: Asked) -> Dataset:
    """The data set of one CSV or TSV file."""
    sheet = read_sheet(place.path)
    at = label_columns(sheet.header)
    labels = None if at else one_hot(sheet, asked)
    if labels is None:
        next(read_rows(place.path, COLUMNS, frozenset({"split"})), None)
        labels = labels_of_column(sheet, at[0], asked)  # the line above says what is wrong with the header
    decided = bool(columns_of(sheet.header, SPLIT)) and any(sheet.texts(columns_of(sheet.header, SPLIT)[0]))
    how = 'its column "split"' if decided else ""
    origin = Origin(asked.source, str(place.path), "table", how)
    return dataset_of_rows([Part(sheet, labels)], place.path.parent, origin)


FORMAT = Format("table", lambda place: place.is_file and place.path.suffix.lower() in (".csv", ".tsv", ".tab"), _read)
