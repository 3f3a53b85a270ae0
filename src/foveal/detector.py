"""What detectors were before 0.2: `Detector` and `Found` are `foveal.Model` and `Prediction` now. It goes with 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from foveal.model import Model, Prediction

_NAMES = {"Detector": Model, "Found": Prediction}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'foveal.detector' has no attribute {name!r}")
    warnings.warn(
        f"foveal.detector.{name} is foveal.model.{_NAMES[name].__name__} now", DeprecationWarning, stacklevel=2
    )
    return _NAMES[name]
