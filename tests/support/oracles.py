"""Other libraries that the tests compare with, made to import beside whatever build of PyTorch is here.

torchvision's registry wheel is a CUDA build; beside a CPU PyTorch its compiled half does not load, and its import stops
at operators that nobody declared. Declaring them is enough for everything that we compare with: networks, transforms,
box arithmetic. `nms` is given in plain Python, so that detectors run as well.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType

import pytest
import torch
from torch import Tensor


@functools.cache
def torchvision() -> ModuleType:
    """torchvision, or a skip that says that it is missing (a failure under FOVEAL_STRICT)."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision, an oracle of the development lock, is not installed")
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _declare_missing_operators()
    package = importlib.import_module("torchvision")
    # Both ask whether the compiled half is here before they call the operators that now exist without it.
    importlib.import_module("torchvision.extension")._has_ops = lambda: True
    importlib.import_module("torchvision.ops.boxes")._assert_has_ops = lambda: None
    return package


@functools.cache
def timm() -> ModuleType:
    """timm, which imports torchvision."""
    torchvision()
    return pytest.importorskip("timm", reason="timm, an oracle of the development lock, is not installed")


_library: torch.library.Library | None = None  # operators live as long as the library that declared them


def _declare_missing_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.impl("nms", nms, "CPU")


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy suppression, by the book: keep the best box, drop what overlaps it, go on. (D, 4), (D,) -> (kept,)."""
    order = scores.argsort(descending=True, stable=True)
    area = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    keep: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        keep.append(best)
        top_left = torch.maximum(dets[best, :2], dets[order, :2])
        bottom_right = torch.minimum(dets[best, 2:], dets[order, 2:])
        both = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        order = order[both <= iou_threshold * (area[best] + area[order] - both)]
    return torch.tensor(keep, dtype=torch.int64)
