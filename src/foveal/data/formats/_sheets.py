"""Rows of tables that somebody wrote: CSV and TSV, JSON lines, Parquet. What they mean is not known here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import BadData, did_you_mean, shown
from foveal.files.safely import read_bytes

__all__ = ["ELSE_PATH", "PATH", "Columns", "Sheet", "columns_of", "read_rows", "read_sheet", "read_values"]

TABLE_MAX_BYTES = 1 << 30
Columns = dict[str, tuple[str, ...]]  # a column's name and what else people call it

PATH = ("path", "file", "filename", "file_name", "filepath", "image")
ELSE_PATH = ("image_path", "image_name", "image_id", "img", "img_path", "isic_id", "id")  # where none of those is there


@dataclass(frozen=True)
class Sheet:
    """A table in memory."""

    path: Path
    header: tuple[str, ...]  # as written
    rows: tuple[tuple[int, tuple[Any, ...]], ...]  # line number and a value a column: a text, or what JSON can hold

    def texts(self, column: int) -> list[str]:
        """The cells of a column, one a row; empty where there is none."""
        return [_text(values[column]) for _, values in self.rows]


def read_rows(
    path: Path, columns: Columns, optional: frozenset[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and named values of each row of a CSV or TSV file; blank lines are passed over.

    Raises: BadData when it is not UTF-8, a quote is never closed, or a column is missing.
    """
    lines = read_values(path)
    header = _header(next(lines)[1], columns, optional, path)
    for line, values in lines:
        yield line, {name: values[i].strip() if i < len(values) else "" for name, i in header.items()}


def read_values(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of a CSV or TSV file, its header first. Raises: BadData as `read_rows`."""
    raw = read_bytes(path, limit=TABLE_MAX_BYTES, what="table", error=BadData)
    text = _decoded(raw, path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(",;\t", key=lambda c: (first.count(c), -",;\t".index(c)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun, some = 1, False
    try:
        for values in reader:
            line, begun = begun, reader.line_num + 1
            if any(value.strip() for value in values):
                some = True
                yield line, values
    except csv.Error as error:
        raise BadData(f"{shown(path)}, line {begun}: {_plainer(str(error))}.") from None
    if not some:
        raise BadData(f"{shown(path)} is empty; it needs a header such as path,label and a row a picture.")


def read_sheet(path: Path) -> Sheet:
    """All of a table: .csv, .tsv, .tab, .jsonl or .parquet. Raises: BadData; Missing without pyarrow for the last."""
    if path.suffix.lower() == ".jsonl":
        return _of_objects(path, _json_lines(path))
    if path.suffix.lower() == ".parquet":
        from foveal.data.formats._arrow import parquet_rows

        return _of_objects(path, enumerate(parquet_rows(path), 1))
    lines = read_values(path)
    header = tuple(value.strip() for value in next(lines)[1])
    width = len(header)
    rows = (
        (line, tuple(v.strip() for v in [*values, *[""] * (width - len(values))][:width])) for line, values in lines
    )
    return Sheet(path, header, tuple(rows))


def columns_of(header: Sequence[str], names: Collection[str]) -> list[int]:
    """Where the columns of these names stand; of paths also what people call them who have no better word."""
    named = [value.strip().lower() for value in header]
    found = [i for i, value in enumerate(named) if value in names]
    if not found and "filename" in names:
        found = [i for i, value in enumerate(named) if value in ELSE_PATH]
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else str(value)
    return str(value).strip()


def _of_objects(path: Path, objects: Iterator[tuple[int, dict[str, Any]]] | enumerate[dict[str, Any]]) -> Sheet:
    numbered = list(objects)
    header = tuple(dict.fromkeys(key for _, row in numbered for key in row))
    if not header:
        raise BadData(f'{shown(path)} is empty; it needs a line such as {{"file_name": "1.jpg", "label": "cat"}}.')
    return Sheet(path, header, tuple((line, tuple(row.get(key) for key in header)) for line, row in numbered))


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    raw = read_bytes(path, limit=TABLE_MAX_BYTES, what="table", error=BadData)
    for line, text in enumerate(_decoded(raw, path).splitlines(), 1):
        if text.strip():
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise BadData(f'{shown(path)}, line {line}: is no JSON object such as {{"file_name": "1.jpg"}}.')
            yield line, row


def _decoded(raw: bytes, path: Path) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(f"{shown(path)}, line {line}: not UTF-8; save the table as UTF-8 text.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadData(f"{shown(path)}, line {line}: holds a NUL byte; save the table as UTF-8 text.")
    return text


def _plainer(error: str) -> str:
    if "unexpected end" in error:
        return "a quote is opened and never closed"
    if "field larger" in error:
        return "a field is longer than 131072 characters (is a quote left open?)"
    return f"is not a valid table ({error}; is a quote left open?)"


def _header(values: list[str], columns: Columns, optional: frozenset[str], path: Path) -> dict[str, int]:
    """Where each column stands. Raises: BadData that names the columns that there are."""
    named = [value.strip().lower() for value in values]
    found: dict[str, int] = {}
    for name, others in columns.items():
        at = columns_of(values, others)
        if len(at) > 1:
            raise BadData(f'{shown(path)}: {len(at)} columns could be "{name}"; keep one.')
        if at:
            found[name] = at[0]
        elif name not in optional:
            near = did_you_mean(name, named) or ";"
            raise BadData(f'{shown(path)}: no column "{name}"{near} columns are '
                          f"{', '.join(shown(v)[:40] for v in values[:8])}.")  # fmt: skip
    return found
