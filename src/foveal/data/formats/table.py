"""A table of paths and labels: CSV or TSV with a header, `path,label` and, where it has one, `split`.

Paths are relative to the table's folder, with or without their ending. Instead of labels there may be a column a class
that holds 0 or 1, of which each row has one 1. A row that cannot be used is listed with its line; the rest goes on.
"""

from __future__ import annotations

from foveal.data.dataset import Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._one_hot import one_hot
from foveal.data.formats._rows import SPLIT, Part, dataset_of_rows, picture_file
from foveal.data.formats._sheets import PATH, Columns, columns_of, read_rows, read_sheet

__all__ = ["FORMAT", "LABEL", "PATH", "Columns", "picture_file", "read_rows"]

LABEL = ("label", "class", "target")
COLUMNS: Columns = {"path": PATH, "label": LABEL, "split": SPLIT}


def _read(place: Place, asked: Asked) -> Dataset:
    """The data set of one CSV or TSV file."""
    sheet = read_sheet(place.path)
    classes = None if columns_of(sheet.header, LABEL) else one_hot(sheet)
    if classes is None:
        next(read_rows(place.path, COLUMNS, frozenset({"split"})), None)  # says what is wrong with the header
        part = Part(sheet, sheet.texts(columns_of(sheet.header, LABEL)[0]))
    else:
        part = Part(sheet, classes.labels, classes.reasons)
    decided = bool(columns_of(sheet.header, SPLIT)) and any(sheet.texts(columns_of(sheet.header, SPLIT)[0]))
    how = 'its column "split"' if decided else ""
    origin = Origin(asked.source, str(place.path), "table", how)
    return dataset_of_rows([part], place.path.parent, origin, [classes.note] if classes else [])


FORMAT = Format("table", lambda place: place.is_file and place.path.suffix.lower() in (".csv", ".tsv", ".tab"), _read)
