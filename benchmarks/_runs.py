"""foveal's command line as a benchmark uses it: train, evaluate, and what came out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import say

__all__ = ["Trained", "evaluated", "trained"]


@dataclass(frozen=True)
class Trained:
    """A finished `foveal train`."""

    folder: Path
    metrics: dict[str, Any]

    @property
    def top1(self) -> float:
        return float(self.metrics["test"]["top1"])

    @property
    def seconds(self) -> float:
        """Of training, validation after each epoch included; not of opening, store, test and report."""
        return float(self.metrics["seconds"]["train"])

    @property
    def total(self) -> float:
        return float(self.metrics["seconds"]["total"])

    @property
    def epochs(self) -> int:
        return int(self.metrics["epochs"])


def trained(source: str, folder: Path, *options: str) -> Trained:
    """`foveal train SOURCE --out FOLDER OPTIONS…`"""
    _foveal("train", source, "--out", str(folder), *options)
    run = Trained(folder, json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    say(f"{folder.name}: {100 * run.top1:.2f} % in {run.seconds:.1f} s, {run.epochs} epochs ({run.total:.1f} s in all)")
    return run


def evaluated(folder: Path, source: str, views: str) -> float:
    """Top-1 on test, with views."""
    printed = _foveal("evaluate", str(folder), source, "--views", views, "--json")
    return float(json.loads(printed)["top1"])


def _foveal(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "foveal", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"foveal {words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
