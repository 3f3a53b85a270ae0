"""Keeping what libraries print about a bad picture off the terminal: the reason of its row is all that is said."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_stderr", "quiet_warnings"]

_quiet = threading.Lock()
_quiet_users = 0
_saved_stderr = -1


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Pillow's warnings about a picture end in its reason or in nothing, never on the terminal; nor does what it logs.

    A filter that stays, since `warnings.catch_warnings` isn't safe among threads. Who has set logging up hears it all.
    """
    import logging
    import warnings

    log = logging.getLogger("PIL")
    if not log.handlers:  # else Python itself would print errors that nobody has asked for
        log.addHandler(logging.NullHandler())

    first = warnings.filters[0] if warnings.filters else None
    if not first or first[0] != "ignore" or getattr(first[3], "pattern", "") != r"PIL\.":
        warnings.filterwarnings("ignore", module=r"PIL\.")
    yield


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Descriptor 2 leads nowhere while any thread is inside."""
    global _quiet_users, _saved_stderr
    with _quiet:
        _quiet_users += 1
        if _quiet_users == 1:
            _saved_stderr = _hide_stderr()
    try:
        yield
    finally:
        with _quiet:
            _quiet_users -= 1
            if _quiet_users == 0 and _saved_stderr >= 0:
                os.dup2(_saved_stderr, 2)
                os.close(_saved_stderr)
                _saved_stderr = -1


def _hide_stderr() -> int:
    try:
        saved = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except OSError:  # no stderr at all: nothing to hide
        return -1
    return saved
