"""Where commands speak: results on stdout, progress and notes on stderr; bars for a person, plain lines for a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from foveal.errors import brief, shown
from foveal.pages.words import seconds_in_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from foveal.progress import Advance, Progress

__all__ = ["LINE_EVERY_SECONDS", "Lines", "Terminal", "duration", "error", "progress", "safe"]

LINE_EVERY_SECONDS = 5.0
LONGEST_LINE = 2000  # letters


def progress() -> Progress:
    """Bars when stderr is a terminal that can draw them, else a plain line now and then."""
    import os

    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal()
    return Lines(sys.stderr)


def error(sentence: str) -> None:
    """Say why a command ends; the last thing on stderr."""
    print(safe(sentence), file=sys.stderr, flush=True)


def safe(text: str) -> str:
    """Lines stay lines, and nothing else in the text can move the cursor, change a color or turn the reading around.

    The middle of one that is far too long, such as by a name of a hundred thousand letters, is left out.
    """
    return "\n".join(brief(shown(line), LONGEST_LINE) for line in text.split("\n"))


def duration(seconds: float) -> str:
    """As in reports, in whole seconds and with plain spaces.

    >>> duration(4.2), duration(75), duration(7260)
    ('4 s', '1 min 15 s', '2 h 1 min')
    """
    return seconds_in_words(seconds, tenths_below=0, space=" ")


class Lines:
    """Progress for a log: every five seconds at most a line, and no escape codes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()

    def say(self, sentence: str) -> None:
        """A line on stderr."""
        with self._lock:
            print(safe(sentence), file=self._stream, flush=True)

    @contextmanager
    def task(self, name: str, total: int | None, unit: str = "pictures") -> Iterator[Advance]:
        """A line when it begins, and one when it has ended, if it took long."""
        started = told = self._clock()
        done = 0

        def advance(n: int, note: str = "", /) -> None:
            nonlocal done, told
            with self._lock:
                done += n
                now = self._clock()
                if now - told < LINE_EVERY_SECONDS or (total is not None and done >= total):
                    return
                told = now
                line = f"{name}: {_so_far(done, total, unit, now - started)}" + (f", {note}" if note else "")
                print(safe(line), file=self._stream, flush=True)

        yield advance


def _so_far(done: int, total: int | None, unit: str, seconds: float) -> str:
    if total is None:
        return f"{done} {unit}"
    left = seconds * (total - done) / done if done else 0.0
    return f"{done} of {total} {unit} ({done / total:.0%}), {duration(left)} left"


class Terminal:
    """Progress for a person: a bar for each thing under way, with the time left; notes scroll by above the bars."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        self._open = 0
        self._lock = threading.Lock()

    def say(self, sentence: str) -> None:
        """A line above the bar."""
        self._console.print(safe(sentence), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int | None, unit: str = "pictures") -> Iterator[Advance]:
        """A bar while it runs."""
        bars = self._enter()
        of, left = ("", "") if total is None else (f"/{total}", "left  ")
        bar = bars.add_task(safe(name).replace("[", r"\["), total=total, of=of, unit=unit, left=left, note="")

        def advance(n: int, note: str = "", /) -> None:
            bars.update(bar, advance=n, note=note)

        try:
            yield advance
        finally:
            bars.remove_task(bar)
            self._leave()

    def _enter(self) -> Bars:
        """The bars are drawn from the first task that begins until the last one ends, and then wiped away."""
        from rich import progress as rich

        with self._lock:
            if self._bars is None:
                self._bars = rich.Progress(
                    rich.TextColumn("{task.description}"),
                    rich.BarColumn(),
                    rich.TextColumn("{task.completed:.0f}{task.fields[of]} {task.fields[unit]}"),
                    rich.TimeRemainingColumn(compact=True),
                    rich.TextColumn("{task.fields[left]}{task.fields[note]}"),
                    console=self._console,
                    transient=True,
                )
                self._bars.start()
            self._open += 1
            return self._bars

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None
