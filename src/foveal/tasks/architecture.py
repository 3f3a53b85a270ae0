"""What a detector is built from, as plain values that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from foveal.errors import BadRecipe
from foveal.files.darknet import parse_cfg
from foveal.networks.catalogue import build
from foveal.tasks.anchored_detection import AnchoredDetection
from foveal.tasks.detection import Detection
from foveal.tasks.heads.darknet import DarknetNetwork
from foveal.tasks.heads.faster_rcnn import TwoStage, faster_rcnn_on
from foveal.tasks.heads.one_object import OneObject
from foveal.tasks.heads.yolo import Yolo
from foveal.tasks.heads.yolov3 import YOLOv3, yolov3_on
from foveal.tasks.localisation import Localisation
from foveal.tasks.region_detection import RegionDetection

__all__ = ["Architecture", "BoxTask", "DetectorNetwork", "Kind", "OnTrunk", "task_of"]

Kind = Literal["yolo", "yolov3", "faster-rcnn", "one-object", "darknet"]
OnTrunk: TypeAlias = Yolo | YOLOv3 | TwoStage | OneObject  # `trunk` holds the stages of a network of the catalogue
DetectorNetwork: TypeAlias = OnTrunk | DarknetNetwork
BoxTask: TypeAlias = Detection | AnchoredDetection | RegionDetection | Localisation

NARROWEST = 8


@dataclass(frozen=True)
class Architecture:
    """Names and numbers; which of them count depends on the kind."""

    kind: Kind
    trunk: str = ""  # name in the catalogue; Darknet's files are a whole network
    options: Mapping[str, Any] = field(default_factory=dict)  # of the trunk's builder
    width: int = 0  # channels of the pyramid: "yolo", "one-object"
    anchors: tuple[
        tuple[float, float], ...
    ] = ()  # (width, height) in pixels of the input, the smallest first: "yolov3"
    frozen_norms: bool = False  # batch norms of the trunk stay as they were: "faster-rcnn"
    cfg: str = ""  # text of "darknet"

    def build(self, classes: int, channels: int, size: tuple[int, int]) -> DetectorNetwork:
        """A detector with random weights for (H, W) = size pictures of some channels.

        Raises: BadRecipe or BadModel for what cannot be built, takes no such pictures, or has nothing to detect on.
        """
        return self._darknet(classes, channels) if self.kind == "darknet" else self.on_trunk(classes, channels, size)

    def on_trunk(self, classes: int, channels: int, size: tuple[int, int]) -> OnTrunk:
        """As `build`, of the kinds that stand on a trunk of the catalogue."""
        network = build(self.trunk, 1, channels, size, self.options)
        if self.kind == "yolov3":
            return yolov3_on(network, self.trunk, classes, self.anchors)
        if self.kind == "faster-rcnn":
            return faster_rcnn_on(network, self.trunk, classes, freeze=self.frozen_norms)
        if self.width < NARROWEST:
            raise BadRecipe(f"the pyramid of a detector needs at least {NARROWEST} channels; got {self.width}.")
        if self.kind == "one-object":
            return OneObject(network, self.trunk, classes, self.width)
        return Yolo(network, self.trunk, classes, size, self.width)

    def _darknet(self, classes: int, channels: int) -> DarknetNetwork:
        network = DarknetNetwork(parse_cfg(self.cfg))
        if not network.priors:
            raise BadRecipe("the cfg has no [yolo] section, so it tells no boxes; a detector needs one.")
        told = {priors.classes for priors in network.priors}
        if told != {classes} or network.channels != channels:
            raise BadRecipe(
                f"the cfg is for {', '.join(map(str, sorted(told)))} classes and {network.channels} channels, and "
                f"{classes} and {channels} were expected."
            )
        return network


def task_of(network: DetectorNetwork, classes: Sequence[str], size: tuple[int, int]) -> BoxTask:
    """What the answers of such a network are, for pictures of (H, W) = size pixels."""
    if isinstance(network, OneObject):
        return Localisation(tuple(classes), size)
    if isinstance(network, Yolo):
        return Detection(tuple(classes))
    if isinstance(network, TwoStage):
        return RegionDetection(tuple(classes))
    return AnchoredDetection(tuple(classes), network.priors, size)
