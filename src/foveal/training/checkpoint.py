"""Checkpoints: whole files, written durably; the two newest and the best stay. The newest that verifies is taken up."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import torch

from foveal.errors import BadModel, FovealError, shown
from foveal.files.tensors import read_tensors, write_tensors
from foveal.training.train_state import TrainState

__all__ = ["best", "newest", "restore", "save", "save_best"]

KIND = "checkpoint"
_NAME = re.compile(r"epoch-(\d{5})-step-(\d{8})\.safetensors")
_BEST = "best.safetensors"
KEPT = 2


def save(folder: Path, state: TrainState, facts: dict[str, Any]) -> Path:
    """Write the state; older checkpoints go only when this one is safe on disk."""
    path = folder / f"epoch-{state.epoch:05d}-step-{state.step:08d}.safetensors"
    write_tensors(path, _contiguous(state), {"learner": state.facts(), "run": facts}, KIND)
    for old in _found(folder)[:-KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def save_best(folder: Path, state: TrainState, facts: dict[str, Any]) -> None:
    """Write the state as the best so far on validation."""
    write_tensors(folder / _BEST, _contiguous(state), {"learner": state.facts(), "run": facts}, KIND)


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not.

    Raises: BadModel when there are checkpoints and none is whole.
    """
    damaged: list[str] = []
    found = _found(folder)
    for path in reversed(found):
        try:
            read_tensors(path, KIND)
        except FovealError as error:
            damaged.append(str(error))
        else:
            return path, damaged
    if found:
        raise BadModel(
            f"{shown(folder)}: every checkpoint is damaged ({damaged[0]}); start a new run with another --out."
        )
    return None, []


def best(folder: Path) -> Path | None:
    """The checkpoint of the best epoch on validation, if one was kept."""
    path = folder / _BEST
    return path if path.exists() else None


def restore(path: Path, state: TrainState) -> dict[str, Any]:
    """Set the state to what the file holds; returns what the run had written beside it."""
    tensors, metadata = read_tensors(path, KIND)
    try:
        state.take_up(tensors, metadata["learner"])
        facts: dict[str, Any] = metadata["run"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadModel(
            f"{shown(path)} does not fit this run's network ({shown(str(error).splitlines()[0])})."
        ) from error
    return facts


def _contiguous(state: TrainState) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu").contiguous() for name, value in state.tensors().items()}


def _found(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob("epoch-*.safetensors") if _NAME.fullmatch(path.name))
