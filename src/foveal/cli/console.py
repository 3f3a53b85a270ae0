"""Where commands speak: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import sys

from foveal.console import duration, progress, safe

__all__ = ["duration", "error", "progress", "safe"]


def error(sentence: str) -> None:
    """Say why a command ends; the last thing on stderr."""
    print(safe(sentence), file=sys.stderr, flush=True)
