"""foveal trains, opens up and ships convolutional networks for pictures, on the machine one has.

    >>> import foveal
    >>> run = foveal.train("digits", settings={"training.epochs": 2})      # doctest: +SKIP
    >>> run.model.predict(["five.png"])[0].answer.label                           # doctest: +SKIP
    '5'

What stands in `__all__` may be relied upon. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "Dataset": "foveal.data.dataset",
    "FovealError": "foveal.errors",
    "LayerTable": "foveal.networks.layers",
    "Model": "foveal.model",
    "Preprocess": "foveal.preprocess",
    "Recipe": "foveal.recipe",
    "Run": "foveal.runs",
    "build": "foveal.networks.catalogue",
    "layers": "foveal.networks.layers",
    "load": "foveal.model",
    "open_dataset": "foveal.data.sources",
    "resume": "foveal.runs",
    "train": "foveal.runs",
}

__all__ = [
    "Dataset", "FovealError", "LayerTable", "Model", "Preprocess", "Recipe", "Run", "build", "layers", "load",
    "open_dataset", "resume", "train",
]  # fmt: skip

if TYPE_CHECKING:
    from foveal.data.dataset import Dataset
    from foveal.data.sources import open_dataset
    from foveal.errors import FovealError
    from foveal.model import Model, load
    from foveal.networks.catalogue import build
    from foveal.networks.layers import LayerTable, layers
    from foveal.preprocess import Preprocess
    from foveal.recipe import Recipe
    from foveal.runs import Run, resume, train


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'foveal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
