"""The promise: the speed that measuring found, held against what the first epoch reaches.

Measuring looks at a few seconds. Another program that starts afterwards, memory that runs short or a processor that
grows hot can make all of it untrue: then it is said, with the likely reason, and measured once more. Where another way
of computing is the fastest now, the run begins anew with it, so that one recipe holds for the whole of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from foveal.progress import Progress
from foveal.training.measuring import Measured
from foveal.training.train_state import TrainState

__all__ = ["KEPT", "SECONDS", "BeginAnew", "Promise"]

KEPT = 0.6  # of the promised speed: less is worth a sentence and another look
SECONDS = 30.0  # of the first epoch after which it is looked at, where that is longer
SAME_WORK = 1.4  # times the processor seconds a picture: a step that needs no more has been kept waiting by others
MUCH = 0.3  # of a step in the optimiser: the batch is small for this network
FAULTS = 50  # pages a second that had to come back from the disk


class BeginAnew(Exception):
    """Another way of computing has become the fastest one."""

    def __init__(self, measured: Measured) -> None:
        super().__init__(measured.arithmetic)
        self.measured = measured


@dataclass(frozen=True)
class _Spent:
    """What the process has used so far."""

    pictures: int
    processor: float  # seconds, of all threads together
    faults: int  # pages that came back from the disk

    @staticmethod
    def now(pictures: int) -> _Spent:
        return _Spent(pictures, time.process_time(), _page_faults())


@dataclass
class Promise:
    """Looks at the speed once: after the first epoch, or after 30 seconds of it."""

    measured: Measured
    again: Callable[[], Measured]  # measures anew
    progress: Progress
    looked: bool = False
    seen: int = 0  # pictures of the first epoch, so far
    seconds: float = 0.0  # that they took
    start: _Spent | None = None  # after the first step, which warms up

    def after_step(self, state: TrainState) -> None:
        """Raises: BeginAnew."""
        if self.looked:
            return
        self.seen, self.seconds = state.tally.seen, state.tally.seconds
        self.start = self.start or _Spent.now(self.seen)
        if self.seconds >= SECONDS:
            began = time.perf_counter()
            self._look()
            state.tally.seconds -= time.perf_counter() - began  # what passes between two steps is counted

    def after_epoch(self) -> None:
        """Raises: BeginAnew."""
        if not self.looked:
            self._look()

    def _look(self) -> None:
        self.looked = True
        promised, reached = self.measured.promised, self.seen / max(self.seconds, 1e-9)
        if promised is None or reached >= KEPT * promised:
            return
        self.progress.say(
            f"Training reaches {reached:.3g} pictures/s, the measurement said {promised:.3g}: {self._likely_reason()}. "
            "Measuring again."
        )
        found = self.again()
        if (found.arithmetic, found.threads) != (self.measured.arithmetic, self.measured.threads):
            raise BeginAnew(found)
        self.progress.say(f"{found.arithmetic} is still the fastest (pictures/s: {found}): training continues.")

    def _likely_reason(self) -> str:
        start, now = self.start or _Spent.now(0), _Spent.now(self.seen)
        pictures = max(1, now.pictures - start.pictures)
        if now.faults - start.faults > FAULTS * self.seconds:
            return "memory is short and the machine swaps to disk; a smaller --batch or --size needs less"
        if self.measured.busy and (now.processor - start.processor) / pictures < SAME_WORK * self.measured.busy:
            return "other programs are probably using the processor"
        if self.measured.update_share > MUCH:
            return f"the optimiser takes {self.measured.update_share:.0%} of a step; a larger --batch needs fewer steps"
        return "each picture takes more processor time than before; the processor may have slowed down (heat, power)"


def _page_faults() -> int:
    with suppress(ImportError):  # Windows has none to tell
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    return 0
