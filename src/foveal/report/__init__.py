"""Pages about a run: one module a task, each with a function `page(run) -> Page`, found by the task's name."""

from __future__ import annotations

__all__ = ["PAGES"]

PAGES = {  # imported when asked for: plotting is needed by finished runs alone
    "classify": "foveal.report.classification_page",
    "detect": "foveal.report.detection_page",
    "localise": "foveal.report.localisation_page",
    "multilabel": "foveal.report.multilabel_page",
}
