"""What `foveal.tasks.answers.Detections` was called before 0.2. It goes with 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from foveal.tasks.answers import Detections


def __getattr__(name: str) -> Any:
    if name != "Objects":
        raise AttributeError(f"module 'foveal.tasks.objects' has no attribute {name!r}")
    warnings.warn("Objects is foveal.tasks.answers.Detections now", DeprecationWarning, stacklevel=2)
    return Detections
