"""What one picture is answered with, as values for people, tables and programs. NumPy alone: no PyTorch is needed.

Every answer tells itself in the same three ways: `rows()` for a table (a row a label or object), `as_dict()` for JSON,
`to_pandas()` for a notebook. What files are made of them stands in `tasks/formats`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture, brief, shown
from foveal.files.plain_table import counted, percent
from foveal.files.tables import data_frame
from foveal.tasks.in_notebooks import bars, picture_with_boxes

__all__ = ["Answer", "Detections", "Label", "Labels", "Prediction"]

Row = dict[str, Any]

TOLD, LONGEST = 3, 40  # of many labels and objects, and letters of a name, in what a prompt shows
BARS = 5  # in what a notebook shows


@runtime_checkable
class Answer(Protocol):
    """What a task says of one picture."""

    NOTHING: ClassVar[Mapping[str, Any]]  # `as_dict` of a picture without an answer
    EMPTY: ClassVar[str]  # what is said of an answer without rows
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


@dataclass(frozen=True, repr=False)
class Label:
    """What one picture is taken for."""

    label: str
    probability: float  # calibrated, in [0, 1]
    runners_up: tuple[tuple[str, float], ...] = ()  # the next best, descending
    abstained: bool = False  # less sure than the wished accuracy asks for: better not to rely on it
    unlike: bool = False  # the picture is unlike those of the training: nothing is known about such answers

    NOTHING: ClassVar[Mapping[str, Any]] = {"label": None}
    EMPTY: ClassVar[str] = ""
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

    def __repr__(self) -> str:
        ranked = ", ".join(f"{_name(label)} {percent(share)}" for label, share in self.ranked[:TOLD])
        marks = ", abstained" * self.abstained + ", unlike the training" * self.unlike
        return f"Label({ranked}{', …' * (len(self.ranked) > TOLD)}{marks})"

    def _repr_html_(self) -> str:
        return bars(self.ranked[:BARS], self.lines()[0][-1])

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
        return data_frame(self.rows(), self.columns(len(self.ranked)))


@dataclass(frozen=True, repr=False)
class Labels:
    """All that one picture shows, where it may be several things at once or none."""

    labels: tuple[str, ...]  # whose probability reached their bound, the likeliest first
    probabilities: Mapping[str, float]  # of every class, calibrated
    unlike: bool = False  # as of `Label`

    NOTHING: ClassVar[Mapping[str, Any]] = {"labels": None}
    EMPTY: ClassVar[str] = "no label"
    HEADINGS: ClassVar[tuple[str, ...]] = ("labels",)
    DIGITS: ClassVar[Mapping[str, int]] = {"probability": 6}

    @staticmethod
    def columns(_top: int) -> list[str]:
        """label, probability, unlike."""
        return ["label", "probability", "unlike"]

    def __repr__(self) -> str:
        named = ", ".join(f"{_name(label)} {percent(self.probabilities[label])}" for label in self.labels[:TOLD])
        more = f" and {len(self.labels) - TOLD} more" * (len(self.labels) > TOLD)
        return f"Labels({named or 'none'}{more}{', unlike the training' * self.unlike})"

    def _repr_html_(self) -> str:
        ranked = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return bars(ranked[: max(BARS, len(self.labels))][: 4 * BARS], self.lines()[0][-1])

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
        return data_frame(self.rows(), self.columns(1))


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects found on a picture, the surest first."""

    xyxy: NDArray[np.float64]  # (n, 4) pixels of the picture as it is shown
    labels: NDArray[np.int64]  # (n,) index into the classes
    scores: NDArray[np.float64]  # (n,) in [0, 1], descending
    classes: tuple[str, ...] = ()  # their names; without them a label is its number

    NOTHING: ClassVar[Mapping[str, Any]] = {"objects": None}
    EMPTY: ClassVar[str] = "no object"
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

    def __repr__(self) -> str:
        told = ", ".join(f"{_name(name)} {score:.2f}" for name, score, _ in self.take(slice(TOLD)))
        count = counted(len(self), "object")
        return f"Detections({count}{': ' * bool(told)}{told}{', …' * (len(self) > TOLD)})"

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
        return data_frame(self.rows(), self.columns(1))


@dataclass(frozen=True, repr=False)
class Prediction:
    """What became of one picture: an answer, or the reason why there is none.

    What the answer knows can be asked of the prediction: `prediction.label` is `prediction.answer.label`.

    Raises: BadPicture for what an answer would know, where there is none.

    >>> Prediction("a.png", Label("cat", 0.75)).label
    'cat'
    """

    name: str
    answer: Any | None  # an `Answer`: a Label, Labels, Detections
    reason: str = ""
    size: tuple[int, int] = (0, 0)  # height and width of the upright picture, where it could be read
    picture: bytes | NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)  # where it is kept

    def __getattr__(self, name: str) -> Any:
        answer = self.__dict__.get("answer")
        if name.startswith("_") or "answer" not in self.__dict__:  # no part of an answer: copies and notebooks ask
            raise AttributeError(name)
        if answer is not None and hasattr(answer, name):
            return getattr(answer, name)
        if answer is None and any(name in vars(kind) or name in kind.__annotations__ for kind in KINDS):
            raise BadPicture(self.name, self.reason)
        kind = "a picture without an answer" if answer is None else type(answer).__name__
        raise AttributeError(f"a prediction with {kind} has no {name!r}")

    def __repr__(self) -> str:
        said = f"no answer, {brief(shown(self.reason), 4 * LONGEST)}" if self.answer is None else repr(self.answer)
        return f"Prediction({_name(self.name)}: {said})"

    def _repr_html_(self) -> str:
        name = f"<div><b>{escape(_name(self.name))}</b> {escape(shown(self.reason))}</div>"
        found = self.answer if isinstance(self.answer, Detections) else None
        rows = zip(found or (), found.labels.tolist() if found is not None else (), strict=True)
        boxes = [(xyxy, f"{label} {score:.2f}", number) for (label, score, xyxy), number in rows]
        shown_picture = picture_with_boxes(self.picture, boxes) if self.picture is not None else ""
        told = self.answer._repr_html_() if isinstance(self.answer, Label | Labels) else escape(repr(found or ""))
        return f"<div>{name}{shown_picture}<div>{told if self.answer is not None else ''}</div></div>"

    def __getitem__(self, index: int) -> Prediction:
        """As where `predict` gave a list for one picture, before 0.2; it goes with 0.3."""
        _renamed("Model.predict(picture)[0]", "Model.predict(picture)")
        return [self][index]

    def __iter__(self) -> Iterator[Prediction]:
        """As where `predict` gave a list for one picture, before 0.2; it goes with 0.3."""
        _renamed("the list of one answer that Model.predict(picture) gave", "the answer")
        return iter((self,))

    def as_dict(self, nothing: Mapping[str, Any] = {"answer": None}) -> dict[str, Any]:
        """Plain values for JSON. Args: nothing, what stands for the answer where there is none.

        >>> Prediction("a.png", None, "is empty").as_dict()
        {'picture': 'a.png', 'answer': None, 'reason': 'is empty'}
        """
        if self.answer is None:
            return {"picture": self.name, **nothing, "reason": self.reason}
        sides = {"height": self.size[0], "width": self.size[1]} if isinstance(self.answer, Detections) else {}
        return {"picture": self.name, **sides, **self.answer.as_dict()}

    def rows(self) -> list[Row]:
        """The answer's rows with the picture's name before and a reason behind; one row where it has none.

        >>> [row["label"] for row in model.predict(zero).rows()]
        ['0']
        """
        rows = self.answer.rows() if self.answer is not None else []
        reason = self.reason or ("" if rows or self.answer is None else self.answer.EMPTY)
        return [{"picture": self.name, **row, "reason": reason} for row in rows or [{}]]

    def to_pandas(self) -> Any:
        """A data frame of `rows`. Raises: Missing without pandas.

        >>> model.predict(zero).to_pandas().label.tolist()
        ['0']
        """
        return data_frame(self.rows())

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


KINDS = (Label, Labels, Detections)


def _renamed(was: str, now: str) -> None:
    warnings.warn(f"{was} is {now} now", DeprecationWarning, stacklevel=3)


def _name(text: str) -> str:
    """As far as a prompt shows it."""
    return repr(brief(shown(text), LONGEST))
