"""The folder of a run: where it may be, what it is called, its log, and what a refused run leaves (nothing)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import FovealError, Missing, NotWritable, Stopped, shown
from foveal.files.durable import write_text
from foveal.files.free_names import as_word, first_free
from foveal.files.model_file import MODEL_FILE
from foveal.files.spreadsheet import csv_text
from foveal.progress import Advance, Progress

__all__ = [
    "begun_run", "check_place", "check_run", "free_folder", "leave_no_folder", "logged", "tell_left_out", "way_on",
    "write_skipped",
]  # fmt: skip

RUNS = Path("runs")
NAME_MAX_BYTES = 255  # of one part of a path, on every file system in use
RECIPE = "recipe.toml"
TOLD_AT_MOST = 20  # pictures left out; skipped.csv has them all


def check_place(place: Path, source: str) -> None:
    """--out must be new or empty, below folders, and not inside the data."""
    nearest = next(folder for folder in (place, *place.parents) if os.path.lexists(folder) or folder == folder.parent)
    for part in place.parts:
        if "\0" in part or len(os.fsencode(part)) > NAME_MAX_BYTES:
            raise NotWritable(f"{shown(place)} is not a possible folder: a name has {NAME_MAX_BYTES} bytes at most.")
    if nearest == place and not place.is_dir():
        raise NotWritable(f"{shown(place)} exists and is not a folder; choose another.")
    if not nearest.is_dir():
        raise NotWritable(f"cannot write to {shown(place)} (not a directory); choose another folder.")
    if nearest == place and any(place.iterdir()):
        raise NotWritable(f"{shown(place)} exists and is not empty; choose another --out, or --resume it.")
    if source and Path(source).is_dir() and place.resolve().is_relative_to(Path(source).resolve()):
        raise NotWritable(f"{shown(place)} lies inside the pictures' folder {shown(source)}; choose another --out.")


def check_run(folder: Path) -> None:
    """Raises: Missing for a folder in which no run was started."""
    if not os.path.exists(folder / RECIPE):
        raise Missing(f"{shown(folder)} is not a run folder: it holds no {RECIPE}.")


def free_folder(source: str, network: str) -> Path:
    """runs/<source>-<network>-<n>, the next free number."""
    word = f"{as_word(Path(source).name) or 'data'}-{as_word(network, 40)}"  # a network may be a whole notation
    name, _ = first_free(lambda number: f"{word}-{number}", lambda name: (RUNS / name).exists())
    return RUNS / name


@contextmanager
def begun_run(folder: Path) -> Iterator[None]:
    """A run in a new folder: one that is refused, or stopped before anything was trained, leaves none behind."""
    try:
        yield
    except FovealError as error:
        if error.exit_code == 2:
            leave_no_folder(folder)
        raise
    except (KeyboardInterrupt, Stopped):
        leave_no_folder(folder)
        raise


def way_on(folder: Path) -> str:
    """What a stopped run leaves, as the end of a sentence; "" where that is nothing."""
    return f"resume with: foveal train --resume {shown(folder)}" if (folder / RECIPE).exists() else ""


def leave_no_folder(folder: Path) -> None:
    """What a run has just written goes. A folder in which something was trained stays."""
    checkpoints = folder / "checkpoint"
    trained = (folder / "history.csv").exists() or (folder / MODEL_FILE).exists()
    if trained or (checkpoints.is_dir() and any(checkpoints.iterdir())):
        return
    for name in (RECIPE, "skipped.csv", "log.txt", ".lock"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if checkpoints.is_dir():
            checkpoints.rmdir()
        folder.rmdir()
        if folder.parent == RUNS:
            RUNS.rmdir()  # where it has other runs, it stays


def write_skipped(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    """skipped.csv: what was left out, and why."""
    write_text(folder / "skipped.csv", csv_text(["name", "reason"], rows))


def tell_left_out(rows: Sequence[tuple[str, str]], progress: Progress) -> None:
    """The first of what was left out, and why."""
    for name, reason in rows[:TOLD_AT_MOST]:
        progress.say(f"skipped: {shown(name)} {reason}.")
    if len(rows) > TOLD_AT_MOST:
        progress.say(f"and {len(rows) - TOLD_AT_MOST} more, see skipped.csv.")


@contextmanager
def logged(folder: Path, progress: Progress) -> Iterator[Progress]:
    """What is said goes to log.txt as well."""
    try:
        file = open(folder / "log.txt", "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        raise NotWritable(f"{shown(folder)} cannot be written to ({error.strerror}).") from error
    with file:
        yield _Tee(progress, file.write)


@dataclass(frozen=True)
class _Tee:
    progress: Progress
    write: Callable[[str], Any]

    def task(self, name: str, total: int | None, unit: str = "pictures") -> AbstractContextManager[Advance]:
        return self.progress.task(name, total, unit)

    def say(self, sentence: str) -> None:
        self.write(sentence + "\n")
        self.progress.say(sentence)
