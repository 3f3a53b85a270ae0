"""What is white in pictures of more than 8 bits: one value for a whole data set, measured on its training pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import ArrayPictures, Dataset, FilePictures
from foveal.errors import BadData, BadPicture, shown
from foveal.files.deep import Depth, depth_of
from foveal.files.pictures import deep_samples
from foveal.ops.draws import evenly
from foveal.progress import SILENT, Progress

__all__ = ["White", "measured_white"]

MEASURED_MAX = 2000  # deep pictures that are decoded for it
INSIDE_MAX = 2000  # pictures that lie in shards and tables, whose headers cost as much as their bytes
FEW = 1e-4  # of all values; so few bright ones are told, since they may be a camera's faults
FLOAT_WHITES = (1.0, 255.0)  # what floats usually end at


@dataclass(frozen=True)
class White:
    """The value that is white, and how it was found."""

    value: float
    sentence: str


@dataclass
class _Seen:
    """What the samples of a set were."""

    pictures: int = 0
    largest: float = 0.0
    counts: NDArray[np.int64] | None = None  # of values 0 to 65535, where all are such

    def add(self, values: NDArray[np.generic]) -> None:
        self.pictures += 1
        largest = float(np.max(values, initial=0))
        if np.isfinite(largest):  # who decodes the picture tells
            self.largest = max(self.largest, largest)
        if values.dtype == np.uint16:
            here = np.bincount(np.ravel(values), minlength=65536)
            self.counts = here if self.counts is None else self.counts + here


def measured_white(
    dataset: Dataset, indices: NDArray[np.int64], max_megapixels: float = 100.0, progress: Progress = SILENT
) -> White | None:
    """What is white in the pictures of more than 8 bits among some of a data set's; None where there are none.

    Integers are taken to be of the fewest bits (8 to 31) that hold the largest of them: 12 bits end at 4095. Floats end
    at 1, at 255, or at their largest.

    Raises: BadData where some are integers and some floats, which no one value is white in.
    """
    deep, kind = _deep_ones(dataset, indices, progress)
    if not len(deep):
        return None
    seen = _Seen()
    chosen = deep[evenly(len(deep), MEASURED_MAX)]
    with progress.task("measuring what is white", len(chosen)) as advance:
        for index in chosen.tolist():
            try:
                content = dataset.pictures.content(index)
                if isinstance(content, Path | bytes):
                    seen.add(deep_samples(content, dataset.pictures.name(index), max_megapixels))
            except (BadPicture, OSError):  # a row, when it is decoded to be used
                pass
            advance(1)
    return _told(seen, len(deep), kind) if seen.largest > 0 else None


def _deep_ones(dataset: Dataset, indices: NDArray[np.int64], progress: Progress) -> tuple[NDArray[np.int64], Depth]:
    """Which pictures have more than 8 bits, and of what kind they are."""
    found: dict[int, Depth] = {}
    if isinstance(dataset.pictures, ArrayPictures):  # pixels in memory are of 8 bits
        return indices[:0], ""
    looked = indices if isinstance(dataset.pictures, FilePictures) else indices[evenly(len(indices), INSIDE_MAX)]
    with progress.task("looking for deep pictures", len(looked)) as advance:
        for index in looked.tolist():
            try:
                content = dataset.pictures.content(index)
            except OSError:
                continue
            if isinstance(content, Path | bytes) and (kind := depth_of(content)):
                found[index] = kind
            advance(1)
    kinds = Counter(found.values())
    if len(kinds) > 1:
        one = {kind: shown(dataset.pictures.name(next(i for i, k in found.items() if k == kind))) for kind in kinds}
        both = " and ".join(f"{kinds[kind]} of {kind} (first: {one[kind]})" for kind in sorted(kinds, reverse=True))
        raise BadData(
            f"{shown(dataset.origin.place)} holds pictures of more than 8 bits of two kinds, {both}, and no one value "
            "is white in both; convert the floats to 16 bits."
        )
    return np.array(sorted(found), np.int64), next(iter(kinds), "")


def _told(seen: _Seen, deep: int, kind: Depth) -> White:
    measured = "" if seen.pictures == deep else f" (measured on {seen.pictures})"
    pictures = f"{deep} picture{'s' * (deep != 1)} of more than 8 bits{measured}"
    how = "--white V sets another."
    if kind == "floats":
        value = next((white for white in FLOAT_WHITES if seen.largest <= white), seen.largest)
        return White(value, f"{pictures}: floats up to {seen.largest:.6g}, so {value:.6g} is white; {how}")
    bits = max(8, int(seen.largest).bit_length())
    white = float(2**bits - 1)
    said = f"{pictures}: values up to {seen.largest:.0f}, so {white:.0f} ({bits} bits) is white; {how}"
    return White(white, said + _few_above(seen, white))


def _few_above(seen: _Seen, white: float) -> str:
    """Where hardly any value needs the last bits: a sentence that tells it."""
    if seen.counts is None:
        return ""
    total = int(seen.counts.sum())
    above = total - np.cumsum(seen.counts)
    enough = int(np.argmax(above <= FEW * total))
    lower = 2 ** max(8, enough.bit_length()) - 1
    if lower >= white:
        return ""
    share = 100 * float(above[lower]) / total
    return f" Only {share:.2g} % of the values lie above {lower}: --white {lower}, if those are faults of the camera."
