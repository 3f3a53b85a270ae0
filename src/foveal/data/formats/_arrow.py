"""pyarrow, where the extra `parquet` brought it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from foveal.errors import BadData, Missing, shown

__all__ = ["arrow_file", "parquet_rows"]

ROWS_MAX_BYTES = 1 << 30  # of a table without pictures, unpacked


def arrow_file(path: Path) -> Any:
    """A pyarrow.parquet.ParquetFile, opened. Raises: BadData when it is none; Missing without pyarrow."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise Missing(f'{shown(path)} is Parquet, which needs pyarrow: pip install "foveal[parquet]".') from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise BadData(f"{shown(path)} is no whole Parquet file ({str(error).splitlines()[0][:120]}).") from None


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """All rows as plain values."""
    file = arrow_file(path)
    size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if size > ROWS_MAX_BYTES:
        raise BadData(f"{shown(path)} holds {size >> 20} MiB of rows; a table may hold {ROWS_MAX_BYTES >> 20}.")
    rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows
