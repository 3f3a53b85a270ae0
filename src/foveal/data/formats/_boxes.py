"""What every reader of boxes does with what it found: sizes from the pictures' headers, boxes mended, the rest told.

A reader fills a `Found`; `dataset_of` makes the data set of it. A box that reaches over its picture's edge is clipped
and counted; one without an area is a row. A picture that loses all its boxes that way is left out: it shows something,
so it is no example of nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Boxes, Dataset, FilePictures, Origin, Skipped
from foveal.data.fingerprints import CHUNK, THREADS
from foveal.data.formats import Asked, named_labels
from foveal.data.formats._clean_boxes import REASONS, clipped, turned, wrong
from foveal.data.formats._found import Found, many
from foveal.data.formats._units import SHARE_AMONG_PIXELS, settle
from foveal.errors import BadData, BadPicture, shown
from foveal.files.headers import Header, header_of
from foveal.files.pictures import read_image
from foveal.progress import Progress

__all__ = ["dataset_of"]


@dataclass
class _Table:
    """The boxes of all pictures as columns, M of them."""

    on: NDArray[np.int64]
    number: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    label: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> _Table:
        return _Table(*(column[chosen] for column in vars(self).values()))


def dataset_of(found: Found, asked: Asked, origin: Origin, classes: tuple[str, ...] | None = None) -> Dataset:
    """The data set of what was found.

    Args:    classes: names in their order, where the source has one; else those that occur, sorted.
    Raises:  BadData when no picture is left.
    """
    pictures = FilePictures(found.root, tuple(found.paths))
    headers = _headers(pictures, asked.progress)
    sizes, good = _sizes(found, headers)
    labels, classes = _labels(found.names, classes)
    table = _table(found, labels).take(good[np.array(found.on, np.int64)])
    had = np.bincount(table.on, minlength=len(found.paths)) > 0
    had[list(found.lost)] = True
    table = _mended(found, table, headers, sizes, asked)
    emptied = had & (np.bincount(table.on, minlength=len(found.paths)) == 0) & good
    for i in np.flatnonzero(emptied).tolist():
        found.skip("picture", found.paths[i], "none of its boxes can be used")
    kept = np.flatnonzero(good & ~emptied).astype(np.int64)
    if not len(kept) or (found.rows and not len(table.on) and (had.any() or "without picture" in found.rows)):
        rows = [row for several in found.rows.values() for row in several]
        why = f" ({shown(rows[0].name)}: {rows[0].reason})" if rows else ""
        raise BadData(f"{shown(origin.place)}: no picture with usable boxes to train on{why}.")
    boxes = _boxes(table, sizes).take(kept)
    notes, skipped = _told(found, int((boxes.counts == 0).sum()))
    splits = np.array(found.splits, np.int8)[kept]
    return Dataset(
        pictures.take(kept), boxes.of_largest, classes, splits, origin, notes=notes, skipped=skipped, boxes=boxes
    )


def _headers(pictures: FilePictures, progress: Progress) -> list[Header | str]:
    """The header of each picture, or why it has none."""
    found: list[Header | str] = [""] * len(pictures)
    with (
        progress.task("reading headers", len(pictures)) as advance,
        ThreadPoolExecutor(THREADS, thread_name_prefix="headers") as pool,
    ):

        def work(start: int) -> None:
            part = range(start, min(start + CHUNK, len(pictures)))
            for i in part:
                found[i] = _header(pictures.path(i), pictures.name(i))
            advance(len(part))

        for _ in pool.map(work, range(0, len(pictures), CHUNK)):
            pass
    return found


def _header(path: Path, name: str) -> Header | str:
    try:
        return header_of(path, name)
    except BadPicture as bad:
        try:
            read_image(path, name=name)  # knows better what is wrong
        except BadPicture as worse:
            return worse.reason
        return bad.reason


def _sizes(found: Found, headers: list[Header | str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N, 2) height and width as shown, and (N,) which pictures can be used; the others become rows."""
    sizes, good = np.ones((len(headers), 2), np.int64), np.ones(len(headers), bool)
    for i, header in enumerate(headers):
        reason = header if isinstance(header, str) else ""
        if isinstance(header, Header):
            sizes[i] = header.height, header.width
            shown_as, written = (header.width, header.height), found.written[i]
            if all(written) and written not in (shown_as, _stored(header)):
                reason = (f"is annotated as {written[0]} × {written[1]} pixels (width × height), "
                          f"but has {shown_as[0]} × {shown_as[1]}")  # fmt: skip
        if reason:
            good[i] = False
            found.skip("picture", found.paths[i], reason)
    return sizes, good


def _stored(header: Header) -> tuple[int, int]:
    """Width and height as the file has them, before EXIF turns the picture."""
    lying = header.orientation >= 5
    return (header.height, header.width) if lying else (header.width, header.height)


def _labels(names: list[str], classes: tuple[str, ...] | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if classes is None:
        return named_labels(names)
    index = {name: i for i, name in enumerate(classes)}
    return np.fromiter((index[name] for name in names), np.int64, len(names)), classes


def _table(found: Found, labels: NDArray[np.int64]) -> _Table:
    return _Table(
        np.array(found.on, np.int64),
        np.array(found.numbers, np.int64),
        np.array(found.corners, np.float64).reshape(-1, 4),
        labels,
        np.array(found.crowd, bool),
        np.array(found.difficult, bool),
    )


def _mended(found: Found, table: _Table, headers: list[Header | str], sizes: NDArray[np.int64], asked: Asked) -> _Table:
    """Boxes in continuous pixels of the upright picture, inside it; the rest becomes rows."""

    def place(box: int) -> str:
        return found.where(found.paths[table.on[box]], int(table.number[box]))

    odd = settle(found, table.xyxy, sizes[table.on], asked, place)
    table = _without(found, table, odd, SHARE_AMONG_PIXELS)
    table = _without(found, table, wrong(table.xyxy, 0.0 if found.sided else found.first))
    table.xyxy[:, : 4 if found.sided else 2] -= found.first
    if found.shares:
        table.xyxy *= sizes[table.on][:, [1, 0, 1, 0]]
    else:
        _turn(found, table, headers)
    table.xyxy, bad, over = clipped(table.xyxy, sizes[table.on])
    if over.any():
        first = place(int(np.flatnonzero(over)[0]))
        found.notes.append(f"{many(int(over.sum()), 'box')} clipped to the picture (first: {shown(first)}).")
    return _without(found, table, bad)


def _without(found: Found, table: _Table, bad: NDArray[np.int8] | NDArray[np.bool_], reason: str = "") -> _Table:
    """Those that nothing is wrong with; the others are rows. Args: bad (M,) an index into REASONS, or whether."""
    for i in np.flatnonzero(bad).tolist():
        place = found.where(found.paths[table.on[i]], int(table.number[i]))
        found.skip("box", place, reason or REASONS[int(bad[i])])
    return table.take(bad == 0)


def _turn(found: Found, table: _Table, headers: list[Header | str]) -> None:
    """Boxes written for a picture as it is stored, on the picture as it is shown.

    Which of the two the source means is told by the size that it writes; where that is no help, boxes are taken as
    drawn on what a viewer shows.
    """
    orientation, stored = np.ones(len(headers), np.int64), np.ones((len(headers), 2), np.int64)
    unsure = 0
    for i, header in enumerate(headers):
        if isinstance(header, str) or not header.turned or not all(found.written[i]):
            continue
        if found.written[i] != (header.width, header.height):
            orientation[i], stored[i] = header.orientation, (header.width, header.height)
        else:
            unsure += _stored(header) == (header.width, header.height)
    if turns := int((orientation > 1).sum()):
        found.notes.append(f"The boxes of {many(turns, 'picture')} turned with {'them' if turns > 1 else 'it'} (EXIF).")
    if unsure:
        found.notes.append(
            f"{many(unsure, 'picture')} turned by EXIF and of one size either way: boxes taken as shown."
        )
    turning = orientation[table.on] > 1
    on = table.on[turning]
    table.xyxy[turning] = turned(table.xyxy[turning], stored[on], orientation[on])


def _boxes(table: _Table, sizes: NDArray[np.int64]) -> Boxes:
    table = table.take(np.argsort(table.on, kind="stable"))
    starts = np.concatenate([[0], np.cumsum(np.bincount(table.on, minlength=len(sizes)))]).astype(np.int64)
    return Boxes(table.xyxy, table.label, starts, sizes, table.crowd, table.difficult)


def _told(found: Found, empty: int) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """The notes, and all rows."""
    notes, rows = found.told()
    if empty:
        notes.append(f"{many(empty, 'picture')} without any object.")
    return tuple(notes), tuple(rows)
