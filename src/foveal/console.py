"""Where progress and notes are shown: bars for a person, one output of a notebook's cell, plain lines for a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TextIO

from foveal.errors import BadRecipe, brief, kind_of, shown
from foveal.pages.words import seconds_in_words
from foveal.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

__all__ = ["LINE_EVERY_SECONDS", "Heard", "Lines", "Notebook", "Terminal", "duration", "heard", "progress", "safe"]

LINE_EVERY_SECONDS = 5.0
DRAWN_EVERY_SECONDS = 0.2  # bars of a notebook: each drawing is a message to a browser
LINES_IN_A_CELL = 25
LONGEST_LINE = 2000  # letters

Heard = Progress | Literal["auto"] | None


def heard(asked: Heard) -> Progress:
    """Where a function of the library tells how it gets on: "auto", as `progress` has it; None, nowhere.

    Raises: BadRecipe for anything else that is no `Progress`.
    """
    if asked == "auto":
        return progress()
    if asked is not None and not hasattr(asked, "say"):
        raise BadRecipe(f'progress is "auto", None or a Progress; got {kind_of(asked)}.')
    return SILENT if asked is None else asked


def progress() -> Progress:
    """A notebook's cell; bars when stderr is a terminal that can draw them; else a plain line now and then."""
    if _in_notebook():
        return Notebook()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Terminal()
    return Lines(sys.stderr)


def _in_notebook() -> bool:
    """Whether this process computes for one: nothing is imported to find out."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


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
                print(safe(_told(_Bar(name, total, unit, started, done, note), now)), file=self._stream, flush=True)

        yield advance


def _so_far(done: int, total: int | None, unit: str, seconds: float) -> str:
    if total is None:
        return f"{done} {unit}"
    left = seconds * (total - done) / done if done else 0.0
    return f"{done} of {total} {unit} ({done / max(total, 1):.0%}), {duration(max(left, 0.0))} left"


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


@dataclass
class _Bar:
    """One thing under way."""

    name: str
    total: int | None
    unit: str
    began: float
    done: int = 0
    note: str = ""


class Notebook:
    """One output of a notebook's cell, drawn anew in its place: the last lines that were said, and a bar for each thing
    under way; what remains in the end is the lines. What is over at once shows nothing."""

    def __init__(self, display: Callable[..., Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._display = display or import_module("IPython.display").display
        self._clock = clock
        self._handle: Any = None
        self._said: deque[str] = deque(maxlen=LINES_IN_A_CELL)
        self._earlier = 0
        self._bars: list[_Bar] = []
        self._drawn = clock()
        self._lock = threading.Lock()

    def say(self, sentence: str) -> None:
        """A line above the bars."""
        with self._lock:
            for line in safe(sentence).split("\n"):
                self._earlier += len(self._said) == LINES_IN_A_CELL
                self._said.append(line)
            self._draw()

    @contextmanager
    def task(self, name: str, total: int | None, unit: str = "pictures") -> Iterator[Advance]:
        """A bar while it runs."""
        bar = _Bar(safe(name), total, unit, self._clock())
        with self._lock:
            self._bars.append(bar)

        def advance(n: int, note: str = "", /) -> None:
            with self._lock:
                bar.done, bar.note = bar.done + n, note
                if self._clock() - self._drawn >= DRAWN_EVERY_SECONDS:
                    self._draw()

        try:
            yield advance
        finally:
            with self._lock:
                self._bars.remove(bar)
                if self._handle is not None:
                    if not self._said and not self._bars:  # what was seen at work does not leave an empty place
                        self._said.append(f"{bar.name}: {bar.done} {bar.unit}, {duration(self._clock() - bar.began)}")
                    self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        lines = [f"({self._earlier} earlier lines)"] * bool(self._earlier) + list(self._said)
        told = [(bar, safe(_told(bar, self._drawn))) for bar in self._bars]
        marked = [
            f"<progress max='{bar.total or 1}' value='{bar.done}'></progress> {escape(text)}" for bar, text in told
        ]
        data = {
            "text/plain": "\n".join([*lines, *(text for _, text in told)]),
            "text/html": f"<pre>{chr(10).join([*map(escape, lines), *marked])}</pre>",
        }
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def _told(bar: _Bar, now: float) -> str:
    return f"{bar.name}: {_so_far(bar.done, bar.total, bar.unit, now - bar.began)}" + (
        f", {bar.note}" if bar.note else ""
    )
