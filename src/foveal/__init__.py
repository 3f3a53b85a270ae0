"""foveal trains, opens up and ships convolutional networks for pictures, on the machine one has.

    >>> import foveal
    >>> run = foveal.train("digits", network="mlp", epochs=2)
    >>> run.model.predict("five.png").label
    '5'

What stands in `__all__` may be relied upon. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "Answers": "foveal.tasks.answered",
    "Dataset": "foveal.data.dataset",
    "Evaluation": "foveal.runs",
    "FovealError": "foveal.errors",
    "LayerTable": "foveal.networks.layers",
    "Model": "foveal.model",
    "Prediction": "foveal.tasks.answers",
    "Preprocess": "foveal.preprocess",
    "Recipe": "foveal.recipe",
    "Run": "foveal.runs",
    "Table": "foveal.files.tables",
    "build": "foveal.networks.catalogue",
    "evaluate": "foveal.runs",
    "layers": "foveal.networks.layers",
    "load": "foveal.model",
    "open_dataset": "foveal.data.sources",
    "resume": "foveal.runs",
    "train": "foveal.runs",
}

__all__ = [
    "Answers", "Dataset", "Evaluation", "FovealError", "LayerTable", "Model", "Prediction", "Preprocess", "Recipe",
    "Run", "Table", "build", "evaluate", "layers", "load", "open_dataset", "resume", "train",
]  # fmt: skip

if TYPE_CHECKING:
    from foveal.data.dataset import Dataset
    from foveal.data.sources import open_dataset
    from foveal.errors import FovealError
    from foveal.files.tables import Table
    from foveal.model import Model, load
    from foveal.networks.catalogue import build
    from foveal.networks.layers import LayerTable, layers
    from foveal.preprocess import Preprocess
    from foveal.recipe import Recipe
    from foveal.runs import Run, resume, train
    from foveal.runs.evaluate import Evaluation, evaluate
    from foveal.tasks.answered import Answers
    from foveal.tasks.answers import Prediction


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'foveal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
