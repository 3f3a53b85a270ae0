"""The name of `foveal.tasks.heads` before 0.2; it goes with 0.3."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module

warnings.warn("foveal.tasks.detectors is foveal.tasks.heads now", DeprecationWarning, stacklevel=2)
for _name in ("anchors", "darknet", "faster_rcnn", "one_object", "yolo", "yolov3", "yolov3_loss"):
    sys.modules[f"{__name__}.{_name}"] = import_module(f"foveal.tasks.heads.{_name}")
