"""A finished run, as its page reads it, and the way from there to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.pages.page import Page
from foveal.pages.render import write_page
from foveal.report import PAGES

if TYPE_CHECKING:
    from foveal.training.baseline import Baseline
    from foveal.training.fit import Fitted

__all__ = ["FinishedRun", "page_of", "write_report"]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a page reads of a run."""

    name: str  # of its folder
    setup: Any  # what the training stood on: data, splits, store, batches, recipe, arithmetic
    fitted: Fitted
    model: Any  # `foveal.Model`
    on: str  # the split that was scored
    answers: Any  # of the pictures of that split, in its order: logits for labels, a list of Detections for boxes
    scores: Any  # of the task
    metrics: Mapping[str, Any]  # the content of metrics.json
    warnings: Sequence[str]  # sentences that take something away from the score
    file_bytes: int  # of the model's file
    baseline: Baseline | None = None
    tried: Any = None  # how the model's own bounds did on that split

    @property
    def history(self) -> list[dict[str, Any]]:
        """An epoch a row, keys as in history.csv."""
        return [vars(row) for row in self.fitted.history]


def page_of(run: FinishedRun, task: str) -> Page:
    """The page of a run by the name of its task, one of PAGES."""
    page: Page = import_module(PAGES[task]).page(run)
    return page


def write_report(run: FinishedRun, task: str, path: Path) -> None:
    """Write the page of a run.

    Raises: NotWritable or NoSpace when the place refuses it.
    """
    write_page(page_of(run, task), path)
