"""A table as a value: aligned text for people, HTML for notebooks, rows and data frames for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any

from foveal.errors import Missing, brief, shown
from foveal.files.plain_table import table

__all__ = ["MOST_ROWS", "Table", "data_frame", "html_table"]

MOST_ROWS = 40  # that are shown; `rows` and data frames have them all
LONGEST_NAME = 60  # letters of a cell in a notebook


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of plain values.

    >>> Table(("class", "recall"), (("cat", 0.5), ("dog", float("nan"))))
    class  recall
    cat    0.500
    dog    –
    """

    columns: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]  # a row each, as long as `columns`

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a dictionary, column -> value.

        >>> Table(("class", "recall"), (("cat", 0.5),)).rows
        [{'class': 'cat', 'recall': 0.5}]
        """
        return [dict(zip(self.columns, row, strict=True)) for row in self.values]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def to_pandas(self) -> Any:
        """A data frame. Raises: Missing without pandas.

        >>> Table(("class", "recall"), (("cat", 0.5),)).to_pandas().columns.tolist()
        ['class', 'recall']
        """
        return data_frame(self.rows, self.columns)

    def __repr__(self) -> str:
        more = len(self) - MOST_ROWS
        text = table(self.columns, [[_cell(value) for value in row] for row in self.values[:MOST_ROWS]])
        return f"{text}\n({more} more rows)" if more > 0 else text

    def _repr_html_(self) -> str:
        return html_table(self.columns, self.values, len(self) - MOST_ROWS)


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]], more: int = 0) -> str:
    """For a notebook; texts are escaped, and only the first rows shown. Args: more, how many are left out."""
    lines = ["".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in head)]
    lines += [
        "".join(f"<td style='text-align:left'>{escape(brief(_cell(value), LONGEST_NAME))}</td>" for value in row)
        for row in rows[:MOST_ROWS]
    ]
    lines += [f"<td colspan='{len(head)}'>({more} more rows)</td>"] * (more > 0)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """Of pandas. Raises: Missing where it is not here."""
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError:
        raise Missing("data frames need pandas: pip install pandas.") from None
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))


def _cell(value: Any) -> str:
    """
    >>> _cell(0.12345), _cell(float("nan")), _cell(None), _cell(3)
    ('0.123', '–', '–', '3')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else shown(str(value))
