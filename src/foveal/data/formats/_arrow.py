"""pyarrow, where the extra `parquet` brought it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from foveal.errors import BadData, Missing, shown
from foveal.files.safely import check_readable

__all__ = ["arrow_file", "parquet_rows"]

DAMAGED = (OSError, ValueError, NotImplementedError, KeyError, TypeError, MemoryError)  # ArrowInvalid is a ValueError
ROWS_MAX_BYTES = 1 << 30  # of a table without pictures, unpacked


@contextmanager
def arrow_file(path: Path) -> Iterator[Any]:
    """A pyarrow.parquet.ParquetFile. Raises: BadData when it is none, or not whole; Missing without pyarrow."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise Missing(f'{shown(path)} is Parquet, which needs pyarrow: pip install "foveal[parquet]".') from None
    check_readable(path, what="table", error=BadData)
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except DAMAGED as error:
        words = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise BadData(f"{shown(path)} is not a complete Parquet file ({shown(words)}).") from None


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """All rows as plain values."""
    with arrow_file(path) as file:
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > ROWS_MAX_BYTES:
            raise BadData(f"{shown(path)} holds {size >> 20} MiB of rows; a table may hold {ROWS_MAX_BYTES >> 20}.")
        rows: list[dict[str, Any]] = file.read().to_pylist()
        return rows
