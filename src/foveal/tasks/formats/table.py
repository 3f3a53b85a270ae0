"""Lines for a person in front of a terminal, in columns as wide as their widest cell."""

from __future__ import annotations

from foveal.files.plain_table import aligned, widths
from foveal.tasks import formats
from foveal.tasks.answers import Prediction

__all__ = ["HELD", "Writer"]

HELD = 1000  # lines after which the columns' widths are settled: nobody waits longer to see the first


class Writer(formats.Writer):
    """A line a label or object; a last column, where there is something to remark."""

    def begin(self) -> None:
        """See `Writer` in `formats`."""
        self._held: list[list[str]] = []  # until the widths are settled
        self._columns: list[int] | None = None

    def add(self, prediction: Prediction) -> int:
        """See `Writer` in `formats`."""
        answer = prediction.answer
        lines = [self.answer.no_line(prediction.reason)] if answer is None else answer.lines()
        for line in lines:
            self._line([prediction.name, *line])
        return len(lines)

    def end(self) -> None:
        """See `Writer` in `formats`."""
        if self._columns is None:
            self._settle()

    def _line(self, line: list[str]) -> None:
        if self._columns is not None:
            self._write(line)
            return
        self._held.append(line)
        if len(self._held) == HELD:
            self._settle()

    def _settle(self) -> None:
        remarks = any(line[-1] for line in self._held)
        lines = [["picture", *self.answer.HEADINGS, "remark" if remarks else ""], *self._held]
        self._columns, self._held = widths(lines), []
        for line in lines:
            self._write(line)

    def _write(self, line: list[str]) -> None:
        assert self._columns is not None
        self.out.write(aligned(line, self._columns) + "\n")
