"""A row a label or object, for a spreadsheet."""

from __future__ import annotations

from typing import Any

from foveal.files.spreadsheet import csv_writer
from foveal.tasks import formats
from foveal.tasks.answers import Prediction

__all__ = ["Writer"]


class Writer(formats.Writer):
    """Columns are the answer's, between the picture's name and the reason why it has none."""

    def begin(self) -> None:
        """See `Writer` in `formats`."""
        self._columns = ["picture", *self.answer.columns(self.top), "reason"]
        self._write = csv_writer(self.out)
        self._write(self._columns)

    def add(self, prediction: Prediction) -> int:
        """See `Writer` in `formats`."""
        rows = prediction.rows()
        for row in rows:
            self._write([self._cell(column, row.get(column)) for column in self._columns])
        return len(rows)

    def _cell(self, column: str, value: Any) -> Any:
        """A fraction with the digits of its column, which also number 2, `probability_2`, has."""
        value = value.tolist() if hasattr(value, "tolist") else value  # NumPy's
        if value is None or isinstance(value, bool):
            return "yes" if value else ""
        kind, _, number = column.rpartition("_")
        digits = self.answer.DIGITS.get(kind if number.isdecimal() else column)
        return value if digits is None else f"{value:.{digits}f}"
