"""How long things tell that they are getting on: an argument, never a global.

Whatever takes time accepts a `Progress`, and is silent without one; the command, and the functions of `runs`, hand in
one that draws bars (`console.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SILENT", "Advance", "Progress"]


class Advance(Protocol):
    """Called as work gets done."""

    def __call__(self, n: int, note: str = "", /) -> None:
        """n more are done; `note` is how it goes just now, such as "loss 0.41"."""
        ...


class Progress(Protocol):
    """Where progress and notes go."""

    def task(self, name: str, total: int | None, unit: str = "pictures") -> AbstractContextManager[Advance]:
        """A bar while the block runs: `with progress.task("decoding", n) as advance: advance(1)`. Thread-safe.

        Args: total, how many there are to do; None where nobody knows.
        """
        ...

    def say(self, sentence: str) -> None:
        """One sentence that the user should read."""
        ...


def _unheard(n: int, note: str = "", /) -> None:
    pass


class _Silent:
    @contextmanager
    def task(self, name: str, total: int | None, unit: str = "pictures") -> Iterator[Advance]:
        yield _unheard

    def say(self, sentence: str) -> None:
        pass


SILENT: Progress = _Silent()
