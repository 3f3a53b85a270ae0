"""The labels of each row of a table: one, or several where a picture may show several things at once or none.

Several stand in one cell with a character between them ("cat; dog"), as a list (JSON lines, Parquet), or as columns of
0 and 1. A label that holds the character itself stands in quotes: `"black; white"; cat`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from foveal.data.formats import Asked, listed
from foveal.data.formats._sheets import Sheet, columns_of
from foveal.errors import BadData, shown

__all__ = [
    "LABEL",
    "LABELS",
    "SEPARATORS",
    "RowLabels",
    "label_columns",
    "labels_of_column",
    "refused_several",
]

LABEL = ("label", "class", "target", "category")
LABELS = ("labels", "classes", "tags", "categories", "attributes")  # read as several where a cell holds several
SEPARATORS = (";", "|", ",")
QUOTED = re.compile(r'"(?:[^"]|"")*"')
NONE = "none"  # of data.label_separator: a cell is one label


@dataclass(frozen=True)
class RowLabels:
    """The labels of each row of a table."""

    labels: Sequence[tuple[str, ...]]
    reasons: Sequence[str] = ()  # why a row cannot be used; "" where it can
    notes: tuple[str, ...] = ()
    several: bool = False  # a row may have several labels, and none is an answer


def label_columns(header: Sequence[str]) -> list[int]:
    """Where labels may stand: in columns called so, else in columns called by a plural."""
    return columns_of(header, LABEL) or columns_of(header, LABELS)


def labels_of_column(sheet: Sheet, column: int, asked: Asked) -> RowLabels:
    """The labels of each row, one or several, as the column is written or as was asked for.

    Raises: BadData where a cell is neither, or it is not clear what separates labels.
    """
    values = [row[column] for _, row in sheet.rows]
    if any(isinstance(value, list) for value in values):
        return _labels_of_lists(values, sheet, column, asked)
    if any(isinstance(value, dict) for value in values):
        raise BadData(f'{shown(sheet.path)}: column "{shown(sheet.header[column])}" holds objects, not labels.')
    cells = sheet.texts(column)
    several = asked.labels == "several"
    separator = _separator(sheet, column, cells, asked)
    if not separator and not several:
        found: list[tuple[str, ...]] = [(cell,) if cell else () for cell in cells]
        return RowLabels(found, [] if all(cells) else ["" if cell else "has no label" for cell in cells],
                         _may_be_several(sheet, column, cells, asked))  # fmt: skip
    found = [_parts(cell, separator) for cell in cells]
    between = f', with "{shown(separator)}" between them' if separator else ""
    return _several(sheet, column, found, between)


def _labels_of_lists(values: Sequence[Any], sheet: Sheet, column: int, asked: Asked) -> RowLabels:
    """The same of cells that are lists of texts or numbers; a cell that is nothing at all is a row without labels.

    Raises: BadData for a list of anything else, and where one label a picture is asked for.
    """
    where, name = shown(sheet.path), shown(sheet.header[column])
    if asked.labels == "one":
        raise BadData(
            f'{where}: column "{name}" holds several labels a picture, and one is asked for; leave --labels one out.'
        )
    found, reasons = list[tuple[str, ...]](), list[str]()
    for (line, _), value in zip(sheet.rows, values, strict=True):
        items = value if isinstance(value, list) else [] if value in (None, "") else [value]
        if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
            raise BadData(f'{where}, line {line}: column "{name}" holds a list of something else than labels.')
        texts = [str(item).strip() for item in items]
        found.append(tuple(dict.fromkeys(filter(None, texts))))
        reasons.append("has no list of labels" if value is None else "")
    return replace(_several(sheet, column, found, ""), reasons=reasons if any(reasons) else [])


def _several(sheet: Sheet, column: int, found: list[tuple[str, ...]], between: str) -> RowLabels:
    note = f'Column "{shown(sheet.header[column])}" holds several labels a picture{between}'
    if none := sum(not labels for labels in found):
        note += f"; {none} empty cell{'s' * (none > 1)}: picture{'s' * (none > 1)} with none of the labels"
    return RowLabels(found, [], (f"{note}.",), True)


def _separator(sheet: Sheet, column: int, cells: Sequence[str], asked: Asked) -> str:
    """What stands between labels; "" where a cell is one label. Raises: BadData where it may be one or the other."""
    if asked.labels == "one" or asked.label_separator == NONE:
        return ""
    if asked.label_separator != "auto":
        return asked.label_separator
    plural = sheet.header[column].strip().lower() in LABELS
    if not plural and asked.labels != "several":
        return ""
    plain = [QUOTED.sub("", cell) for cell in cells if not cell.startswith("[")]
    found = [mark for mark in SEPARATORS if any(mark in cell for cell in plain)]
    if len(found) > 1 and not _is_first(found[0], plain):
        raise BadData(
            f'{shown(sheet.path)}: column "{shown(sheet.header[column])}" holds {" and ".join(map(_quoted, found))}; '
            f"say which one separates labels: --label-separator '{found[0]}'."
        )
    if found:
        return found[0]
    if len(plain) < len(cells):
        return ","
    return " " if _are_words(cells) else ""


def _is_first(mark: str, cells: Sequence[str]) -> bool:
    """Whether it plainly separates: no other stands in a cell without it."""
    others = [other for other in SEPARATORS if other != mark]
    return not any(other in cell for cell in cells for other in others if mark not in cell)


def _are_words(cells: Sequence[str]) -> bool:
    """Whether cells are lists of words that occur again and again, as in "haze primary water"."""
    words = Counter(chain.from_iterable(set(cell.split()) for cell in set(cells)))
    return any(" " in cell for cell in cells) and len(words) < len(set(cells)) and min(words.values()) > 1


def _parts(cell: str, separator: str) -> tuple[str, ...]:
    """The labels of a cell, each once; `['a', 'b']` is what lists become in a CSV."""
    inside, quote = cell, '"'
    if cell.startswith("[") and cell.endswith("]"):
        inside, separator = cell[1:-1], ","
        quote = "'" if inside.lstrip().startswith("'") else '"'
    if not inside.strip():
        return ()
    if not separator:
        return (inside.strip(),)
    if separator == " ":
        return tuple(dict.fromkeys(inside.split()))
    if len(separator) > 1 or quote not in inside:
        parts = inside.split(separator)
    else:
        parts = next(csv.reader([inside], delimiter=separator, quotechar=quote, skipinitialspace=True))
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _may_be_several(sheet: Sheet, column: int, cells: Sequence[str], asked: Asked) -> tuple[str, ...]:
    """What is said of a column of single labels that may be lists of them."""
    if asked.labels == "one" or asked.label_separator != "auto":
        return ()
    for mark in (";", "|"):
        if several := sum(mark in cell for cell in cells):
            return (f'{several} cells of column "{shown(sheet.header[column])}" hold "{mark}" and are read as one '
                    "label each (--task multilabel reads several).",)  # fmt: skip
    return ()


def _quoted(text: str) -> str:
    return f'"{text}"'


def refused_several(sheet: Sheet, line: int, name: str, labels: Sequence[str]) -> BadData:
    """What is said where one label a picture is asked for, and a row has two."""
    return BadData(
        f"{shown(sheet.path)}, line {line}: {shown(name)} has several labels ({listed(labels)}), and one is asked for; "
        "leave --labels one out, or one 1 in each row."
    )
