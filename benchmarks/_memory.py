"""The memory of a process and all of its children: proportional set size (PSS), sampled.

PSS counts a page that several processes share once, in parts; a sum of resident sizes would count what forked workers
share with their parent as often as there are workers.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

__all__ = ["Sampler", "tree_pss"]

EVERY_SECONDS = 0.25
PROC = Path("/proc")


class Sampler:
    """Samples while the block runs. `samples` are (monotonic seconds, bytes); empty where there is no /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        if (PROC / "self" / "smaps_rollup").exists():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def peak(self, until: float) -> int:
        """The most that was seen up to a time, in bytes."""
        return max((size for at, size in self.samples if at <= until), default=0)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.samples.append((time.monotonic(), tree_pss(self.pid)))


def tree_pss(pid: int) -> int:
    """Bytes of a process and everything below it."""
    children: dict[int, list[int]] = {}
    for place in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(place.parent.name))
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        total += _pss(one)
    return total


def _pss(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
