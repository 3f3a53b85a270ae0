"""A list with an object a picture, for a program."""

from __future__ import annotations

from foveal.files.plain_json import JsonList
from foveal.tasks import formats
from foveal.tasks.answers import Prediction

__all__ = ["Writer"]


class Writer(formats.Writer):
    """Plain values of each answer; nulls and a reason where there is none."""

    def begin(self) -> None:
        """See `Writer` in `formats`."""
        self._list = JsonList(self.out)
        self._list.begin()

    def add(self, prediction: Prediction) -> int:
        """See `Writer` in `formats`."""
        self._list.add(prediction.as_dict(self.answer.NOTHING))
        return 1

    def end(self) -> None:
        """See `Writer` in `formats`."""
        self._list.end()
