"""What every head fulfils, and all that training, answering and the report know of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Architecture", "Assigned", "DetectorNetwork", "Head", "Surroundings"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Architecture:
    """What a network is built from, as plain values that a file can hold; which of them count depends on the head."""

    kind: str  # of `HEADS`; "": the classifier of a network of the catalogue
    trunk: str = ""  # name in the catalogue; Darknet's files are a whole network
    options: Mapping[str, Any] = field(default_factory=dict)  # of the trunk's builder
    width: int = 0  # channels of the pyramid: "yolo", "one-object"
    anchors: tuple[tuple[float, float], ...] = ()  # (width, height) in pixels, the smallest first: "yolov3"
    frozen_norms: bool = False  # batch norms of the trunk stay as they were: "faster-rcnn"
    cfg: str = ""  # text of "darknet"
    own: Mapping[str, float] = field(default_factory=dict)  # whatever numbers another head needs, by their names


@dataclass(frozen=True)
class Surroundings:
    """What a head may look at when it is laid out for a training."""

    size: tuple[int, int]  # (H, W) pixels of the network's input
    sides: Callable[[], Floats]  # (n, 2) width and height of the training pictures' boxes in these pixels
    say: Callable[[str], None]  # a sentence that the user should read


@dataclass(frozen=True, eq=False)
class Assigned:
    """Which of a head's places, or boxes, answer for which object of one picture; in pixels of the input."""

    words: tuple[str, str]  # what they are: ("place", "places")
    objects: Labels  # (n,) the object that each answers for
    points: Floats  # (n, 2), or (0, 2) where they have none
    boxes: Floats  # (n, 4) xyxy, or (0, 4)


class DetectorNetwork(Protocol):
    """A trunk with its head: an `nn.Module` that maps (N, C, H, W) to outputs of its own, and knows what they mean."""

    ASSIGNED: ClassVar[str]  # one sentence about what `assigned` shows

    def loss(self, outputs: Any, targets: Tensor, size: tuple[int, int]) -> Tensor:
        """A scalar in float32. Args: targets (N, M, 5): class (−1: filling) and xyxy in pixels of the (H, W) input."""
        ...

    def tensors(self, outputs: Any, size: tuple[int, int]) -> dict[str, Tensor]:
        """Shapes that depend on the (H, W) input alone: boxes (N, P, 4), or (N, P, K, 4) where each class has its own,
        xyxy in pixels of the input, and scores (N, P, K) in [0, 1]; of one object a picture see `heads/one_object.py`.
        """
        ...

    def assigned(self, outputs: Any, labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """What answers for the objects of one picture: labels (m,), boxes (m, 4) in pixels of the input."""
        ...


class Head(Protocol):
    """How a detector is laid out and built."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of [training] whose usual values are others with this head than with its task."""
        ...

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        """From a settled recipe, and what it asks of the trunk's builder.

        Raises: BadData for what was asked for and the data cannot give; BadRecipe for a trunk that it cannot stand on.
        """
        ...

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> nn.Module:
        """A `DetectorNetwork` with random weights for (H, W) = size pictures of some channels.

        Raises: BadRecipe or BadModel for what cannot be built, takes no such pictures, or has nothing to detect on.
        """
        ...
