"""What a run's epochs were like: the rows of its history.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from foveal.errors import Missing, shown
from foveal.files.plain_table import counted
from foveal.files.tables import Table, data_frame

__all__ = ["History", "history_of"]


class History(Sequence[dict[str, Any]]):
    """A row an epoch: epoch (from 1), train_loss, train_top1, val_loss, val_top1, learning_rate, images_per_second and
    seconds. Losses are nats, top1 are shares in [0, 1]; NaN where a task has no such figure.

    >>> len(run.history), run.history[-1]["epoch"]
    (2, 2)
    """

    def __init__(self, rows: Sequence[dict[str, Any]], reason: str = "") -> None:
        self._rows = list(rows)
        self.reason = reason  # why there is none; "" where there are some

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def to_pandas(self) -> Any:
        """A data frame. Raises: Missing without pandas.

        >>> run.history.to_pandas().epoch.tolist()
        [1, 2]
        """
        return data_frame(self._rows)

    def __repr__(self) -> str:
        if not self._rows:
            return f"History(no epoch: {self.reason})"
        last = {key: self._rows[-1][key] for key in ("train_loss", "val_loss", "val_top1")}
        known = ", ".join(f"{key} {value:.4g}" for key, value in last.items() if not math.isnan(value))
        return f"History({counted(len(self), 'epoch')}{', the last with ' * bool(known)}{known})"

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<p>{self.reason}</p>"
        return Table(tuple(self._rows[0]), tuple(tuple(row.values()) for row in self._rows))._repr_html_()


def history_of(folder: Path, epochs: int) -> History:
    """Of a run's folder. Args: epochs, that the model in it went through. Raises: Missing where the file is gone."""
    if not epochs:
        return History([], "a head was fitted on features of the pictures at once, without epochs")
    file = folder / "history.csv"
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    except FileNotFoundError:
        raise Missing(f"{shown(file)} is not there any more; a run's history is kept in its folder.") from None
    return History([{**row, "epoch": int(row["epoch"])} for row in rows])
