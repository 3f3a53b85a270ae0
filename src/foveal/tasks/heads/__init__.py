"""What stands on a trunk to detect: a file a head, and here a line each.

A head's file is imported when it is asked for. It holds `HEAD`, see `heads/head.py`.
Its networks need PyTorch, this list does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.tasks.heads.head import Head

__all__ = ["HEADS", "HeadEntry", "head_of", "heads_for"]


@dataclass(frozen=True)
class HeadEntry:
    """Where a head is found, and what is known of it without importing it."""

    module: str
    task: str  # the task that may train it; "": it only comes out of files
    candidates: int = 1000  # (box, class) pairs of a picture that reach suppression, the surest first
    keys: frozenset[str] = frozenset()  # of the recipe, beyond those of its task


HEADS: dict[str, HeadEntry] = {  # by the name that recipes and models' files have
    "yolo": HeadEntry("foveal.tasks.heads.yolo", "detect"),
    "yolov3": HeadEntry("foveal.tasks.heads.yolov3", "detect", 30_000, frozenset({"network.anchors"})),
    "faster-rcnn": HeadEntry("foveal.tasks.heads.faster_rcnn", "detect", 30_000),
    "one-object": HeadEntry("foveal.tasks.heads.one_object", "localise"),
    "darknet": HeadEntry("foveal.tasks.heads.darknet", "", 30_000),
}


def head_of(name: str) -> Head:
    """The head of a name in `HEADS`."""
    found: Any = import_module(HEADS[name].module)
    head: Head = found.HEAD
    return head


def heads_for(task: str) -> list[str]:
    """The names of the heads that a task may train, the usual one first."""
    return [name for name, entry in HEADS.items() if entry.task == task]
