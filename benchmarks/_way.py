"""What the processes of `epoch_time.py` share: arguments, and the lines that they print when an epoch ends.

Also loaded by Pythons that have no foveal: nothing but the standard library at the top.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["arguments", "tell", "torchvision"]


def arguments() -> argparse.Namespace:
    """What to train on, and how."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)  # a folder a class; `<it>.csv` names them all
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="fastai: no augmentation of batches")
    return parser.parse_args()


def tell(event: str, **facts: Any) -> None:
    """One line of JSON with the time; the clock is one and the same for all processes of a machine."""
    print(json.dumps({"event": event, "at": time.monotonic(), **facts}), flush=True)


def torchvision() -> ModuleType:
    """torchvision, also where its compiled half does not fit the PyTorch that is here.

    Its import then stops at operators that nobody declared; networks and transforms need none of them.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    package = importlib.import_module("torchvision")
    package.declared_operators = library  # type: ignore[attr-defined]  # they live as long as it does
    return package
