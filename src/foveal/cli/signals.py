"""SIGINT and SIGTERM end a command with a sentence, within seconds, whatever it is doing just then.

The first one is raised as `Stopped` where the command is, so that what is half written goes; only the loop of a
training, which holds the signals itself, saves first. A second one ends at once. Compiled code is not interrupted, and
others' code may swallow what is raised: whoever has not ended after some seconds is ended from beside.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from types import FrameType

from foveal.errors import Stopped

__all__ = ["Signals"]

GRACE_SECONDS = 8.0
NAMES = {int(signal.SIGINT): "SIGINT", int(signal.SIGTERM): "SIGTERM"}
SHOW_CURSOR = "\x1b[?25h"  # which the bars hide


class Signals:
    """Those that ask a process to stop. For a command's process alone: a library leaves signals to its user."""

    def __init__(self) -> None:
        self._raised = False

    def heed(self) -> None:
        """From now on. In the main thread, before anything heavy is imported."""
        told, self._tell = socket.socketpair()  # see set_wakeup_fd: told whatever holds Python up
        self._tell.setblocking(False)
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=self._watch, args=(told,), name="signals", daemon=True).start()
        sys.unraisablehook = self._swallowed
        for number in NAMES:
            if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` and a shell's background jobs have it
                signal.signal(number, self._raise)

    def done(self) -> None:
        """The command has ended: what comes now is too late to stop it."""
        for number in NAMES:
            signal.signal(number, signal.SIG_IGN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise Stopped(NAMES[number], 128 + number)

    def _watch(self, told: socket.socket) -> None:
        """Beside the command: sees every signal as it comes, and time pass after the first."""
        first = self._next(told)
        told.settimeout(GRACE_SECONDS)
        while True:
            try:
                self._leave(self._next(told), "at once")
            except TimeoutError:
                if all(signal.getsignal(number) in (self._raise, signal.SIG_IGN) for number in NAMES):
                    self._leave(first, "in the middle of its work")
                told.settimeout(None)  # the loop of a training has them: it ends its step and saves
                _say(f"{NAMES[first]} received: training saves after this step; a second one stops it at once.")

    def _next(self, told: socket.socket) -> int:
        """The next signal that asks to stop. Raises: TimeoutError."""
        while (number := told.recv(1)[0]) not in NAMES:
            pass
        return number

    def _leave(self, number: int, how: str) -> None:
        _say(f"Stopped by {NAMES[number]}, {how}; everything saved before that is kept.")
        os._exit(128 + number)

    def _swallowed(self, lost: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised in a destructor."""
        if not isinstance(lost.exc_value, Stopped):
            sys.__unraisablehook__(lost)
            return
        self._leave(lost.exc_value.exit_code - 128, "in the middle of its work")


def _say(sentence: str) -> None:
    """Without a lock that the interrupted command may hold."""
    end = SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{end}{sentence}\n".encode())
