"""The tasks: what each one is asked for by, what it gives, and where it stands. A new task is a file and a line here.

Whoever must not wait for NumPy reads the names alone; `registry.py` imports what stands behind them.
"""

from __future__ import annotations

__all__ = ["HOMES", "TASK_NAMES"]

HOMES = {  # name -> (what it gives, module, class); asked in this order which of them takes a data set
    "classify": ("one label a picture", "foveal.tasks.classify", "Classify"),
    "localise": ("one object a picture", "foveal.tasks.localise", "Localise"),
    "detect": ("objects", "foveal.tasks.detect", "Detect"),
}
TASK_NAMES = {name: gives for name, (gives, _, _) in HOMES.items()}
