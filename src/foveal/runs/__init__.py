"""A run's folder: train into it, go on with it, score what it holds, compare several."""

from __future__ import annotations

from foveal.runs.evaluate import Evaluation, evaluate
from foveal.runs.run import Run, loop_script, resume, train

__all__ = ["Evaluation", "Run", "evaluate", "loop_script", "resume", "train"]
