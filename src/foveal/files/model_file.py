"""Where a model's file lies, and what it is, told from paths and the file's header before anything computes.

What lies in it is checked where it is read: `foveal.model.load`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import Missing, shown
from foveal.files.tensors import read_metadata

__all__ = ["DARKNET", "DETECTION", "KIND", "MODEL_FILE", "ModelFile", "darknet_files", "model_file"]

KIND = "model"  # what the header of a model's file says it is
DETECTION = "detection"  # its task, where it is a detector
MODEL_FILE = "model.safetensors"  # in a run's folder
DARKNET = (".cfg", ".weights")


@dataclass(frozen=True)
class ModelFile:
    """A file with the header of a model, or one of Darknet's pair of files."""

    path: Path
    metadata: Mapping[str, Any] | None  # as the header has it, unchecked; None: Darknet's have none

    @property
    def detects(self) -> bool:
        """Whether its answers are boxes."""
        return self.metadata is None or self.metadata.get("task") == DETECTION


def model_file(path: str | Path) -> ModelFile:
    """The file of a model that is called by its path, or by its run's folder.

    Raises: Missing, or BadModel when its header is no model's.
    """
    place = Path(path)
    if os.path.isdir(place):  # unlike pathlib's, it takes names of any length
        place = place / MODEL_FILE
        if not place.exists():
            raise Missing(
                f"{shown(path)} holds no {MODEL_FILE}: the run has not finished (foveal train --resume {shown(path)})."
            )
    elif place.suffix.lower() in DARKNET:
        darknet_files(place)
        return ModelFile(place, None)
    return ModelFile(place, read_metadata(place, KIND))


def darknet_files(path: Path) -> tuple[Path, Path]:
    """Darknet's cfg and its weights, of which one is named. Raises: Missing where one of them is not there."""
    cfg, weights = path.with_suffix(".cfg"), path.with_suffix(".weights")
    for file, other in ((cfg, weights), (weights, cfg)):
        if not os.path.isfile(file):
            raise Missing(f"{shown(file)} is not there; {shown(other.name)} needs it beside it, under the same name.")
    return cfg, weights
