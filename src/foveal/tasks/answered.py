"""The answers for many pictures, read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

from foveal.errors import brief, shown
from foveal.files.tables import data_frame, html_table
from foveal.tasks.answers import Prediction

__all__ = ["Answers"]

FIRST = 10  # pictures that a notebook shows


class Answers(Sequence[Prediction]):
    """A `Prediction` a picture, in the order of the pictures.

    Pictures are read and answered when their turn comes, a batch at a time: a loop over a folder begins at once.
    Answers are kept, pictures are not (unless it was asked for): a second loop reads nothing. Counting them, a negative
    index and a data frame read what is left. Of more pictures than answers fit into memory, see `Model.stream`.

    Raises: what `Model.predict` raises, at the picture that it is about.

    >>> answers = model.predict([zero, one])
    >>> len(answers), answers[0].label, [answer.label for answer in answers]
    (2, '0', ['0', '1'])
    """

    def __init__(self, predictions: Iterator[Prediction]) -> None:
        self._left: Iterator[Prediction] | None = predictions
        self._read: list[Prediction] = []
        self._given = 0  # by `next`
        self._failed: BaseException | None = None

    def __iter__(self) -> Iterator[Prediction]:
        at = 0
        while self._reach(at):
            yield self._read[at]
            at += 1

    def __next__(self) -> Prediction:
        if not self._reach(self._given):
            raise StopIteration
        self._given += 1
        return self._read[self._given - 1]

    def __len__(self) -> int:
        self._reach(None)
        return len(self._read)

    def __bool__(self) -> bool:
        return self._reach(0)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            ends = (index.start or 0, index.stop if index.stop is not None else -1)
            self._reach(None if min(ends) < 0 else max(ends))
        else:
            self._reach(None if index < 0 else index)
        return self._read[index]

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all predictions, one behind the other; see `Prediction.rows`.

        >>> [row["label"] for row in model.predict([zero, one]).rows()]
        ['0', '1']
        """
        return [row for prediction in self for row in prediction.rows()]

    def to_pandas(self) -> Any:
        """A data frame of `rows`. Raises: Missing without pandas.

        >>> model.predict([zero, one]).to_pandas().label.tolist()
        ['0', '1']
        """
        return data_frame(self.rows())

    def __repr__(self) -> str:
        if self._left is None:
            return f"Answers({len(self._read)})"
        return f"Answers({len(self._read)} so far)"

    def _repr_html_(self) -> str:
        self._reach(FIRST)
        shown_first = [(one.name, _said(one)) for one in islice(self, FIRST)]
        more = "<div>more with answers[i], or in a loop</div>" if self._reach(FIRST) else ""
        return html_table(("picture", "answer"), shown_first) + more

    def _reach(self, index: int | None) -> bool:
        """Whether there is an answer of this number, which then is read; None: read all."""
        if self._failed is not None and (index is None or index >= len(self._read)):
            raise self._failed
        while self._left is not None and (index is None or index >= len(self._read)):
            try:
                self._read.append(next(self._left))
            except StopIteration:
                self._left = None
            except BaseException as error:
                self._failed = error  # a generator that failed would look like one that has ended
                raise
        return index is not None and index < len(self._read)


def _said(prediction: Prediction) -> str:
    if prediction.answer is None:
        return prediction.reason
    return brief(shown(repr(prediction.answer)), 200)
