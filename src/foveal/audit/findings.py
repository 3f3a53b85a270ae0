"""What a look at a data set found: one frozen value, from which the page, the CSV and the JSON are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.audit.labels import Judgement
from foveal.data.dataset import NOTHING, SPLITS, Dataset
from foveal.files.spreadsheet import csv_text

__all__ = [
    "COLUMNS", "PROBABLY_WRONG", "WORTH_A_LOOK", "Duplicate", "Findings", "Odd", "Outlier", "Suspect",
]  # fmt: skip

PROBABLY_WRONG, WORTH_A_LOOK = "probably wrong", "worth a look"
COLUMNS = ("path", "finding", "detail", "label", "likely", "score", "exclude")


@dataclass(frozen=True)
class Odd:
    """A file that cannot be used, or is not like the others."""

    name: str
    reason: str  # completes "a.jpg …"
    label: str = ""
    index: int | None = None  # in the data set; None for a file that did not get into it


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that are one."""

    first: int
    second: int
    exact: bool
    agreement: float  # of fine detail, 1 for exact copies
    across: bool  # the two are in different splits: what is tested was learnt
    contradict: bool  # they carry different labels

    @property
    def kind(self) -> str:
        """As the page and the CSV call it: "near duplicate across splits"."""
        return f"{'exact' if self.exact else 'near'} duplicate{' across splits' if self.across else ''}"


@dataclass(frozen=True)
class Suspect:
    """A label for which the judges would have named another class."""

    index: int
    label: int  # with several labels a picture NOTHING where one is missing
    likely: int  # and here where it is one too many
    doubt: float  # the probability that it is wrong, in (0, 1)
    probably: bool  # wrong, as the judges can tell; the others are worth a look

    @property
    def kind(self) -> str:
        """As the page, the command and the CSV call it."""
        return f"label {PROBABLY_WRONG if self.probably else WORTH_A_LOOK}"


@dataclass(frozen=True)
class Outlier:
    """A picture unlike all others."""

    index: int
    deviations: float  # robust ones, of its distance to its neighbours


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that was found; indices are the data set's."""

    dataset: Dataset
    broken: tuple[Odd, ...]
    odd: tuple[Odd, ...]
    duplicates: tuple[Duplicate, ...]  # across splits first, then contradicting ones, then the most alike
    wrong_labels: tuple[Suspect, ...]  # the most doubtful first
    outliers: tuple[Outlier, ...]  # the farthest first
    tiny: tuple[str, ...]  # classes of few pictures
    imbalance: float  # pictures of the largest class for each of the smallest
    sizes: tuple[tuple[str, int], ...]  # "480 × 640" -> pictures, the most frequent first
    modes: tuple[tuple[str, int], ...]  # "JPEG RGB" -> pictures
    turned: int  # pictures shown upright only by their EXIF orientation
    by: str  # who looked: a phrase
    knows_things: bool  # whether a network did
    seconds: float
    places: NDArray[np.float32] = field(repr=False)  # (n, 2) in [0, 1]: where pictures lie on the map
    placed: NDArray[np.int64] = field(repr=False)  # (n,) which they are
    odd_boxes: tuple[Odd, ...] = ()  # doubled, tiny, thin, as large as the picture
    white: float | None = None  # in pictures of more than 8 bits
    judgement: Judgement | None = None  # how good those are who judged the labels; None where nobody could

    @property
    def across(self) -> tuple[Duplicate, ...]:
        """Copies that stand in two splits."""
        return tuple(pair for pair in self.duplicates if pair.across)

    def name(self, index: int) -> str:
        """What people call a picture."""
        return self.dataset.pictures.name(index)

    def label(self, index: int) -> str:
        """The class that a picture is said to be of, its labels, or its largest object; "" where there is none."""
        return ", ".join(self.dataset.names(index))

    def words(self, suspect: Suspect) -> tuple[str, str]:
        """The label that is doubted, and what is likely; with several labels a picture one of them is ""."""
        of = ("" if k == NOTHING else self.dataset.classes[k] for k in (suspect.label, suspect.likely))
        label, likely = of
        return label, likely

    @property
    def of_classes(self) -> NDArray[np.int64]:
        """(K,) pictures of each class; with boxes, boxes."""
        return self.counted("train") + self.counted("val") + self.counted("test")

    def counted(self, split: str) -> NDArray[np.int64]:
        """(K,) the same in one split."""
        boxes = self.dataset.boxes
        if boxes is None:
            return self.dataset.counts(split)
        here = self.dataset.splits[boxes.pictures] == SPLITS.index(split)
        return np.bincount(boxes.labels[here], minlength=len(self.dataset.classes)).astype(np.int64)

    def split(self, index: int) -> str:
        """ "train", "val" or "test"."""
        return SPLITS[int(self.dataset.splits[index])]

    def rows(self) -> list[tuple[str | float, ...]]:
        """Of the CSV, one a finding, in COLUMNS; `exclude` is left to the user."""
        rows: list[tuple[str | float, ...]] = [(o.name, "broken", o.reason, o.label, "", "", "") for o in self.broken]
        for pair in self.duplicates:
            detail = f"of {self.name(pair.first)} ({self.split(pair.first)}); this one is in {self.split(pair.second)}"
            other = self.label(pair.first) if pair.contradict else ""
            score = round(pair.agreement, 4)
            rows.append((self.name(pair.second), pair.kind, detail, self.label(pair.second), other, score, ""))
        for s in self.wrong_labels:
            label, likely = self.words(s)
            rows.append((self.name(s.index), s.kind, "", label, likely, round(s.doubt, 4), ""))
        for far in self.outliers:
            row = (self.name(far.index), "outlier", "", self.label(far.index), "", round(far.deviations, 2), "")
            rows.append(row)
        rows += [(o.name, "odd box", o.reason, o.label, "", "", "") for o in self.odd_boxes]
        return rows + [(o.name, "odd", o.reason, o.label, "", "", "") for o in self.odd]

    def csv(self) -> str:
        """The list to review: `foveal train --exclude` leaves out the rows with something in `exclude`."""
        return csv_text(COLUMNS, self.rows())

    def counts(self) -> dict[str, int]:
        """How many of each finding."""
        return {
            "pictures": len(self.dataset),
            "broken": len(self.broken),
            "odd": len(self.odd),
            "duplicates": len(self.duplicates),
            "duplicates_across_splits": len(self.across),
            "duplicates_with_two_labels": sum(pair.contradict for pair in self.duplicates),
            "labels_probably_wrong": sum(s.probably for s in self.wrong_labels),
            "labels_worth_a_look": sum(not s.probably for s in self.wrong_labels),
            "outliers": len(self.outliers),
            "tiny_classes": len(self.tiny),
            **({} if self.dataset.boxes is None else self._of_boxes()),
        }

    def _of_boxes(self) -> dict[str, int]:
        boxes = self.dataset.boxes
        assert boxes is not None
        return {"boxes": len(boxes), "without_object": int((boxes.counts == 0).sum()), "odd_boxes": len(self.odd_boxes)}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.dataset.origin.source,
            "counts": self.counts(),
            "classes": dict(zip(self.dataset.classes, self.of_classes.tolist(), strict=True)),
            "imbalance": self.imbalance,
            "sizes": dict(self.sizes),
            "modes": dict(self.modes),
            "turned": self.turned,
            "looked_with": self.by,
            "judges": None if self.judgement is None else self.judgement.as_dict(),
            "notes": list(self.dataset.notes),
            "seconds": round(self.seconds, 2),
            "findings": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
        }
