"""Detectors out of files: foveal's own, whose metadata is checked, and Darknet's cfg with its weights and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from foveal.detector import Detector
from foveal.errors import BadModel, FovealError, shown
from foveal.files.darknet import LARGEST_CFG
from foveal.files.model_file import KIND, darknet_files
from foveal.files.safely import read_bytes
from foveal.files.tensors import read_tensors
from foveal.preprocess import Preprocess
from foveal.tasks.architecture import Architecture, Kind
from foveal.tasks.detection_trust import DetectionTrustFacts
from foveal.tasks.heads.darknet import load_darknet

__all__ = ["DetectorFacts", "load_detector", "read_darknet"]

LARGEST_NAMES = 1 << 20  # bytes

Side = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Anchor = Annotated[list[Side], Field(min_length=2, max_length=2)]


class _NetworkFacts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: Annotated[str, Field(max_length=10_000)]  # of the trunk
    options: dict[str, float | bool]
    detector: Kind
    width: Annotated[int, Field(ge=0, le=2048)]
    anchors: Annotated[list[Anchor], Field(max_length=1000)] = []  # older files have none
    frozen_norms: bool = False
    cfg: Annotated[str, Field(max_length=LARGEST_CFG)] = ""

    def architecture(self) -> Architecture:
        anchors = tuple((width, height) for width, height in self.anchors)
        return Architecture(self.detector, self.name, self.options, self.width, anchors, self.frozen_norms, self.cfg)


class DetectorFacts(BaseModel):
    """What a detector's file says of itself."""

    model_config = ConfigDict(extra="forbid", strict=True)
    task: Literal["detection"]
    network: _NetworkFacts
    classes: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=100_000)
    ]
    preprocess: dict[str, Any]
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    trained: dict[str, Any]
    trust: DetectionTrustFacts | None = None  # older files have none


def load_detector(place: Path, facts: DetectorFacts, preprocess: Preprocess) -> Detector:
    """The detector that a file holds, whose metadata was checked. Raises: BadModel."""
    architecture = facts.network.architecture()
    if facts.trust and not facts.trust.fits(len(facts.classes)):
        raise BadModel(f"{shown(place)}: its scores are calibrated for another number of classes; it is damaged.")
    try:
        with torch.device("meta"):
            size = (preprocess.height, preprocess.width)
            network = architecture.build(len(facts.classes), preprocess.channels, size)
    except FovealError as error:
        raise BadModel(f"{shown(place)}: {error}") from None
    expected = {name: (tuple(value.shape), value.dtype) for name, value in network.state_dict().items()}
    tensors, _ = read_tensors(place, KIND, expected=lambda _: expected)
    network.load_state_dict(tensors, strict=True, assign=True)
    return Detector(
        network.eval(), preprocess, tuple(facts.classes), architecture, facts.threshold, facts.trained,
        facts.trust.trust() if facts.trust else None,
    )  # fmt: skip


def read_darknet(path: Path) -> Detector:
    """The detector of a Darknet cfg, its weights and its names, which lie beside it.

    NAME.cfg and NAME.weights belong together; the classes are those of NAME.names, or of the one .names file there that
    has as many lines as the cfg has classes, or numbers. Pictures are letterboxed.

    Args:   path, of the cfg or of the weights.
    Raises: Missing or BadModel with the file that is not there or does not fit.
    """
    cfg, weights = darknet_files(path)
    network = load_darknet(cfg, weights)
    if not network.priors:
        raise BadModel(f"{shown(cfg)} has no [yolo] section, so it tells no boxes; only detectors are read so.")
    text = read_bytes(cfg, limit=LARGEST_CFG, what="Darknet cfg", error=BadModel).decode("utf-8-sig", errors="replace")
    mean, std = (0.0,) * network.channels, (1.0,) * network.channels
    preprocess = Preprocess(
        network.height, network.width, network.channels, mean, std, interpolation="bilinear", whole=True
    )
    classes = _names(cfg, network.priors[0].classes)
    return Detector(
        network, preprocess, classes, Architecture("darknet", cfg=text), trained={"source": path.name, "recipe": ""}
    )


def _names(cfg: Path, count: int) -> tuple[str, ...]:
    """Raises: BadModel when the file of the same name has another number of lines."""
    own = cfg.with_suffix(".names")
    if own.exists():
        names = _lines(own)
        if len(names) != count:
            raise BadModel(f"{shown(own)} has {len(names)} names, and {shown(cfg.name)} tells {count} classes.")
        return names
    others = [names for file in sorted(cfg.parent.glob("*.names")) if len(names := _lines(file)) == count]
    return others[0] if len(others) == 1 else tuple(f"class {number}" for number in range(count))


def _lines(path: Path) -> tuple[str, ...]:
    """Names of a file, a line each; those written twice get their number."""
    text = read_bytes(path, limit=LARGEST_NAMES, what="list of names", error=BadModel).decode("utf-8-sig", "replace")
    return _each_once([line.strip() for line in text.splitlines() if line.strip()])


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if name not in names[:i] else f"{name} ({i})" for i, name in enumerate(names))
