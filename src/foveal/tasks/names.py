"""The names of the tasks, for whoever must not wait for NumPy: what each one is asked for by, and what it gives."""

from __future__ import annotations

__all__ = ["TASK_NAMES"]

TASK_NAMES = {"classify": "labels", "localise": "one object a picture", "detect": "objects"}  # as of registry.TASKS
