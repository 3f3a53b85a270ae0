"""What one picture is answered with, as values for people, tables and programs. NumPy alone: no PyTorch is needed.

Every answer tells itself in the same three ways: `rows()` for a table (a row a label or object), `as_dict()` for JSON,
`to_pandas()` for a notebook. What files are made of them stands in `tasks/formats`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foveal.errors import Missing
from foveal.files.plain_table import percent

__all__ = ["Answer", "Detections", "Label", "Labels", "Prediction"]

Row = dict[str, Any]


@runtime_checkable
class Answer(Protocol):
    """What a task says of one picture."""

    NOTHING: ClassVar[Mapping[str, Any]]  # `as_dict` of a picture without an answer
    HEADINGS: ClassVar[tuple[str, ...]]  # of `lines`
    DIGITS: ClassVar[Mapping[str, int]]  # behind the point, of the columns of `rows` that are fractions

    @staticmethod
    def columns(top: int, /) -> list[str]:
        """The columns of a table; top, how many answers a picture were asked for."""
        ...

    def rows(self) -> list[Row]:
        """A row a label or object: column -> value."""
        ...

    def lines(self) -> list[list[str]]:
        """The same for a terminal: cells under `HEADINGS`, and a remark, empty where there is none."""
        ...

    @staticmethod
    def no_line(reason: str, /) -> list[str]:
        """The line of a picture without an answer."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ...

    def to_pandas(self) -> Any:
        """A data frame of `rows`. Raises: Missing without pandas."""
        ...


@dataclass(frozen=True)
class Label:
    """What one picture is taken for."""

    label: str
    probability: float  # calibrated, in [0, 1]
    runners_up: tuple[tuple[str, float], ...] = ()  # the next best, descending
    abstained: bool = False  # less sure than the wished accuracy asks for: better not to rely on it
    unlike: bool = False  # the picture is unlike those of the training: nothing is known about such answers

    NOTHING: ClassVar[Mapping[str, Any]] = {"label": None}
    HEADINGS: ClassVar[tuple[str, ...]] = ("answer", "probability", "runners-up")
    DIGITS: ClassVar[Mapping[str, int]] = {"probability": 6}

    @staticmethod
    def columns(top: int) -> list[str]:
        """label, probability, label_2, probability_2, …, abstained, unlike."""
        others = [f"{word}_{rank}" for rank in range(2, top + 1) for word in ("label", "probability")]
        return ["label", "probability", *others, "abstained", "unlike"]

    @property
    def passed(self) -> bool:
        """As `abstained`, which it was called before 0.2; it goes with 0.3."""
        _renamed("Label.passed", "Label.abstained")
        return self.abstained

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """All answers, the likeliest first."""
        return ((self.label, self.probability), *self.runners_up)

    def rows(self) -> list[Row]:
        """One row."""
        cells: Row = {}
        for rank, (label, probability) in enumerate(self.ranked, 1):
            behind = "" if rank == 1 else f"_{rank}"
            cells |= {f"label{behind}": label, f"probability{behind}": probability}
        return [cells | {"abstained": self.abstained, "unlike": self.unlike}]

    def lines(self) -> list[list[str]]:
        """One line."""
        others = ", ".join(f"{label} {percent(probability)}" for label, probability in self.runners_up)
        marks = (("abstained", self.abstained), ("unlike the training pictures", self.unlike))
        remark = ", ".join(words for words, holds in marks if holds)
        return [[f"({self.label}?)" if self.abstained else self.label, percent(self.probability), others, remark]]

    @staticmethod
    def no_line(reason: str) -> list[str]:
        """The reason where others have runners-up."""
        return ["–", "–", reason, ""]

    def as_dict(self) -> dict[str, Any]:
        """label, probability, runners_up, abstained, unlike."""
        top = [{"label": label, "probability": probability} for label, probability in self.ranked]
        return {**top[0], "runners_up": top[1:], "abstained": self.abstained, "unlike": self.unlike}

    def to_pandas(self) -> Any:
        """A data frame of one row. Raises: Missing without pandas."""
        return _frame(self.rows(), self.columns(len(self.ranked)))


@dataclass(frozen=True)
class Labels:
    """All that one picture shows, where it may be several things at once or none."""

    labels: tuple[str, ...]  # whose probability reached their bound, the likeliest first
    probabilities: Mapping[str, float]  # of every class, calibrated
    unlike: bool = False  # as of `Label`

    NOTHING: ClassVar[Mapping[str, Any]] = {"labels": None}
    HEADINGS: ClassVar[tuple[str, ...]] = ("labels",)
    DIGITS: ClassVar[Mapping[str, int]] = {"probability": 6}

    @staticmethod
    def columns(_top: int) -> list[str]:
        """label, probability, unlike."""
        return ["label", "probability", "unlike"]

    def rows(self) -> list[Row]:
        """A row a label."""
        return [{"label": name, "probability": self.probabilities[name], "unlike": self.unlike} for name in self.labels]

    def lines(self) -> list[list[str]]:
        """One line."""
        named = ", ".join(f"{name} {percent(self.probabilities[name])}" for name in self.labels)
        return [[named or "–", "unlike the training pictures" if self.unlike else ""]]

    @staticmethod
    def no_line(reason: str) -> list[str]:
        """The reason as a remark."""
        return ["–", reason]

    def as_dict(self) -> dict[str, Any]:
        """labels, probabilities, unlike."""
        return {"labels": list(self.labels), "probabilities": dict(self.probabilities), "unlike": self.unlike}

    def to_pandas(self) -> Any:
        """A data frame, a row a label. Raises: Missing without pandas."""
        return _frame(self.rows(), self.columns(1))


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found on a picture, the surest first."""

    xyxy: NDArray[np.float64]  # (n, 4) pixels of the picture as it is shown
    labels: NDArray[np.int64]  # (n,) index into the classes
    scores: NDArray[np.float64]  # (n,) in [0, 1], descending
    classes: tuple[str, ...] = ()  # their names; without them a label is its number

    NOTHING: ClassVar[Mapping[str, Any]] = {"objects": None}
    HEADINGS: ClassVar[tuple[str, ...]] = ("object", "score", "box")
    DIGITS: ClassVar[Mapping[str, int]] = {"score": 4, "x1": 1, "y1": 1, "x2": 1, "y2": 1}

    @staticmethod
    def columns(_top: int) -> list[str]:
        """label, score, x1, y1, x2, y2."""
        return ["label", "score", "x1", "y1", "x2", "y2"]

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[str, float, tuple[float, float, float, float]]]:
        """Name, score and box of each object."""
        for xyxy, label, score in zip(self.xyxy.tolist(), self.labels.tolist(), self.scores.tolist(), strict=True):
            yield self.name(label), score, tuple(xyxy)

    def name(self, label: int) -> str:
        """What an index into the classes is called."""
        return self.classes[label] if self.classes else str(label)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Detections:
        """Some of them."""
        return replace(self, xyxy=self.xyxy[chosen], labels=self.labels[chosen], scores=self.scores[chosen])

    def rows(self) -> list[Row]:
        """A row an object; none where there is none."""
        return [
            {"label": name, "score": score, **dict(zip(("x1", "y1", "x2", "y2"), xyxy, strict=True))}
            for name, score, xyxy in self
        ]

    def lines(self) -> list[list[str]]:
        """A line an object."""
        if not len(self):
            return [self.no_line("no object")]
        return [[name, f"{score:.4f}", " ".join(f"{v:.1f}" for v in xyxy), ""] for name, score, xyxy in self]

    @staticmethod
    def no_line(reason: str) -> list[str]:
        """The reason as a remark."""
        return ["–", "", "", reason]

    def as_dict(self) -> dict[str, Any]:
        """objects: label, score and box of each, in hundredths of a pixel."""
        return {
            "objects": [
                {"label": name, "score": score, "box": [round(v, 2) for v in xyxy]} for name, score, xyxy in self
            ]
        }

    def to_pandas(self) -> Any:
        """A data frame, a row an object. Raises: Missing without pandas."""
        return _frame(self.rows(), self.columns(1))


@dataclass(frozen=True)
class Prediction:
    """What became of one picture: an answer, or the reason why there is none."""

    name: str
    answer: Any | None  # an `Answer`: a Label, Labels, Detections
    reason: str = ""
    size: tuple[int, int] = (0, 0)  # height and width of the upright picture, where it could be read
    picture: bytes | NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)  # where it is kept

    def as_dict(self, nothing: Mapping[str, Any] = {"answer": None}) -> dict[str, Any]:
        """Plain values for JSON. Args: nothing, what stands for the answer where there is none."""
        if self.answer is None:
            return {"picture": self.name, **nothing, "reason": self.reason}
        sides = {"height": self.size[0], "width": self.size[1]} if isinstance(self.answer, Detections) else {}
        return {"picture": self.name, **sides, **self.answer.as_dict()}

    def rows(self) -> list[Row]:
        """The answer's rows with the picture's name before and a reason behind; one row where it has none."""
        rows = self.answer.rows() if self.answer is not None else []
        reason = self.reason or ("" if rows else "no object")
        return [{"picture": self.name, **row, "reason": reason} for row in rows or [{}]]

    def to_pandas(self) -> Any:
        """A data frame of `rows`. Raises: Missing without pandas."""
        return _frame(self.rows(), None)

    @property
    def objects(self) -> Any | None:
        """The answer, as detectors called it before 0.2; it goes with 0.3."""
        _renamed("Prediction.objects", "Prediction.answer")
        return self.answer

    @property
    def passed(self) -> bool:
        """As of the answer, where classifiers had it before 0.2; it goes with 0.3."""
        _renamed("Prediction.passed", "Prediction.answer.abstained")
        return bool(getattr(self.answer, "abstained", False))

    @property
    def unlike(self) -> bool:
        """As of the answer, where classifiers had it before 0.2; it goes with 0.3."""
        _renamed("Prediction.unlike", "Prediction.answer.unlike")
        return bool(getattr(self.answer, "unlike", False))


def _renamed(was: str, now: str) -> None:
    warnings.warn(f"{was} is {now} now", DeprecationWarning, stacklevel=3)


def _frame(rows: Sequence[Row], columns: Sequence[str] | None) -> Any:
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError:
        raise Missing("data frames need pandas: pip install pandas.") from None
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))
