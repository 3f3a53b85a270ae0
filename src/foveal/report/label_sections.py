"""Sections that the pages of all label tasks share: how a network learnt, what it was shown, its first filters."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.augment import in_words
from foveal.ops.draws import evenly
from foveal.pages.charts import inline_chart
from foveal.pages.page import Chart, Columns, Heading, Section, Sheet, Table, marked
from foveal.pages.pictures import FILTER_COLUMNS, contact_sheet, data_uri, filter_sheet, sheet
from foveal.pages.words import count
from foveal.report import plots
from foveal.report.every_page import curve_chart, time_card
from foveal.report.finished import FinishedRun
from foveal.training.features import view_of
from foveal.training.setup import Setup

__all__ = ["filters_section", "first_filters", "learning_curve_chart", "learning_section", "shown_section"]

SHEET_ROWS, SHEET_VERSIONS = 6, 7
FILTER_WIDTH = 62  # pixels of the page for each filter of a row
CURVE_NOTE = (
    "Accuracy on held-out pictures of heads fitted on frozen features; the shaded band is a 95 % interval, the dashed "
    "line a fitted power law."
)
SHOWN = "Training pictures"


def learning_curve_chart(run: FinishedRun) -> Chart | None:
    """What more pictures would bring; None where no heads were fitted."""
    transfer = run.setup.transfer
    if transfer is None or transfer.curve is None:
        return None
    return inline_chart(
        plots.plot_learning_curve(transfer.curve, run.model.task.measured_as), "learning_curve", CURVE_NOTE
    )


def learning_section(run: FinishedRun) -> Section:
    """Accuracy over the epochs, how fast it computed, and what took how long."""
    measured = sorted(run.setup.measured.images_per_second.items(), key=lambda row: -row[1])
    chosen = run.setup.arithmetic.name
    rows = [
        (marked("<b>{}</b> (chosen)", way) if way == chosen else way, f"{count(speed)} pictures/s")
        for way, speed in measured
    ]
    timings = [Heading("Arithmetic, measured on this machine"), Table(rows)] if rows else []
    columns = [curve_chart(run, "top1"), time_card(run, *timings)]
    return Section("Training", [Columns([column for column in columns if column])])


def shown_section(run: FinishedRun) -> Section | None:
    """Some training pictures, and how the network saw each of them in its first epochs."""
    setup = run.setup
    train = setup.splits["train"]
    if not len(train):
        return None
    chosen = train[evenly(len(train), SHEET_ROWS)]
    originals = setup.store.rows(chosen)
    if setup.head_alone:
        return _views_section(setup, chosen, originals)
    versions = [setup.batches.shown(epoch, chosen) for epoch in range(SHEET_VERSIONS)]
    drawn = np.stack(versions, axis=1).reshape(-1, *originals.shape[1:])
    alt = f"Rows of pictures: each original and {SHEET_VERSIONS} augmented versions of it"
    return Section(
        SHOWN,
        [Sheet(data_uri(contact_sheet(originals, drawn)), alt)],
        marked(
            "Left, the stored picture; to its right, {} augmented versions of it. <br>Augmentation: {}.",
            SHEET_VERSIONS, in_words(setup.recipe.augment),
        ),
    )  # fmt: skip


def _views_section(setup: Setup, chosen: NDArray[np.int64], originals: NDArray[np.uint8]) -> Section:
    """The views of some pictures on which a head was fitted: nothing else was drawn."""
    assert setup.transfer is not None
    number = setup.transfer.views
    views = [view_of(setup.store, chosen, view, setup.recipe.augment, setup.preprocess) for view in range(1, number)]
    mirrored = number == 2 and setup.recipe.augment.flip in ("horizontal", "both")
    other = "its mirror image" if mirrored else "its other views"
    told = f"Above, the stored pictures; below each, {other}." if views else "The stored pictures."
    return Section(
        SHOWN,
        [Sheet(data_uri(sheet([list(rows) for rows in (originals, *views)])), told)],
        f"{told} The head was fitted on the features that the frozen trunk computed from these, without any other "
        "augmentation.",
    )


def filters_section(run: FinishedRun) -> Section | None:
    """The weights of the first convolution; None where it does not look at the picture itself."""
    filters = first_filters(run.model.network)
    if filters is None or not filters.size:
        return None
    count_, _, height, width = filters.shape
    small = Sheet(
        data_uri(filter_sheet(filters)),
        "The filters of the first convolution as small pictures",
        sharp=True,
        width=FILTER_WIDTH * min(count_, FILTER_COLUMNS),
    )
    return Section(
        "Filters of the first layer",
        [small],
        f"{height} × {width} weights each, scaled to the largest weight; mid-grey is 0.",
    )


def first_filters(network: nn.Module) -> NDArray[np.float32] | None:
    """(O, C, h, w) of the first convolution, where it looks at the picture itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.detach().to(torch.float32).cpu().numpy()
            return weights if weights.shape[1] in (1, 3) and weights.shape[2] > 1 else None
    return None
