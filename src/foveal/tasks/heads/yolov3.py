"""YOLOv3 and YOLOv3-tiny: boxes from three (two) maps of one network, each place of a map answering for what it holds.

Redmon, Farhadi 2018, "YOLOv3: an incremental improvement", arXiv:1804.02767. The paper leaves the head's layers out;
they are those of the authors' cfg files. On Darknet-53 and on the tiny trunk the networks are the authors' to the last
value, so `cfg` writes them as Darknet reads them and `load` takes Darknet's weights. Any other trunk of the zoo carries
the same head on its coarsest stages, as wide as half their channels (which it is on Darknet-53).

Departures: where a finer map is not twice as large, the coarser is stretched to it; objectness begins at 0.01 instead
of 0.5, so that the first steps are not spent on ten thousand places without an object (Lin et al. 2017,
arXiv:1708.02002, section 3.3). The loss stands in `yolov3_loss`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import build as build_trunk
from foveal.networks.catalogue import find
from foveal.networks.darknet import Convolution, Darknet53, Residual
from foveal.networks.stages import Stages
from foveal.recipe import Recipe
from foveal.tasks.heads._darknet_cfg import CfgWriter
from foveal.tasks.heads._darknet_layers import Pool
from foveal.tasks.heads._targets import objects_of
from foveal.tasks.heads._yolo_boxes import Priors, tensors
from foveal.tasks.heads.anchors import anchors_from, coverage
from foveal.tasks.heads.darknet import EPSILON, MaxPool, Pair, pour
from foveal.tasks.heads.head import Architecture, Assigned, Floats, Labels, Surroundings
from foveal.tasks.heads.yolov3_loss import ASSIGNED, assigned_priors, yolov3_loss

__all__ = ["HEAD", "TINY_ANCHORS", "YOLOV3_ANCHORS", "Darknet53Trunk", "TinyTrunk", "YOLOv3", "scaled", "yolov3"]
__all__ += ["strides_on", "yolov3_on", "yolov3_tiny"]

Anchors = Sequence[tuple[float, float]]  # (width, height) in pixels of the input, the smallest first

# Of COCO's boxes on pictures of 416 × 416 [section 2.3]; the tiny ones are those of yolov3-tiny.cfg.
YOLOV3_ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
NATURAL = 416  # pixels a side that these anchors are for
FIRST_OBJECTNESS = 0.01
ANCHORS_A_MAP, ENOUGH_SIZES = 3, 3  # prior boxes; as many times so many different boxes are enough to find them


def scaled(anchors: Anchors, height: int, width: int, natural: int = NATURAL) -> tuple[tuple[float, float], ...]:
    """Anchors of pictures of natural × natural for pictures of height × width."""
    return tuple((w * width / natural, h * height / natural) for w, h in anchors)


class Level(nn.Module):
    """One scale of the head: narrow and wide convolutions in turn, then the boxes; the last narrow one leads on."""

    def __init__(self, in_channels: int, width: int, outputs: int, convolutions: int) -> None:
        super().__init__()
        sides = [width, 2 * width] * convolutions
        channels = [in_channels, *sides[:convolutions]]
        self.narrow = nn.Sequential(
            *(Convolution(channels[i], channels[i + 1], 3 if i % 2 else 1) for i in range(convolutions))
        )
        self.wide = Convolution(channels[-1], 2 * width, 3)
        self.boxes = nn.Conv2d(2 * width, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (N, C, H, W) -> what leads on, raw boxes
        onward: Tensor = self.narrow(x)
        raw: Tensor = self.boxes(self.wide(onward))
        return onward, raw


class YOLOv3(nn.Module):
    """A trunk and the head of YOLOv3 on its maps.

    `trunk(x)` gives one map for each level, the finest first. Outputs are raw, (N, A·(5 + K), H, W) for each level, the
    coarsest first as in Darknet; `priors` says how each is read.
    """

    ASSIGNED: ClassVar[str] = ASSIGNED

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        anchors: Anchors,
        widths: Sequence[int] = (),
        convolutions: Sequence[int] = (),
    ) -> None:
        """
        Args:   channels: of the trunk's maps, the finest first; anchors: the smallest first, as many for each level;
                widths: of each level, the finest first (half its map's channels, 32 to 512, unless given);
                convolutions: before each level's last two (5 unless given).
        Raises: BadRecipe when the anchors cannot be shared out among the levels.
        """
        super().__init__()
        levels = len(channels)
        if not anchors or len(anchors) % levels:
            raise BadRecipe(
                f"{len(anchors)} anchors cannot be shared out among {levels} maps; give a multiple of {levels}."
            )
        each = len(anchors) // levels
        self.num_classes, self.anchors = num_classes, tuple((float(w), float(h)) for w, h in anchors)
        parts = [self.anchors[i : i + each] for i in range(0, len(anchors), each)]
        self.priors = tuple(Priors(part, num_classes) for part in reversed(parts))
        widths = list(widths or (min(max(c // 2, 32), 512) for c in channels))[::-1]
        convolutions = list(convolutions or [5] * levels)[::-1]
        self.trunk = trunk
        self.levels, self.lateral = nn.ModuleList(), nn.ModuleList()
        onward = 0
        for into, width, count in zip(reversed(channels), widths, convolutions, strict=True):
            if self.levels:
                self.lateral.append(Convolution(onward, width, 1))
                into += width
            self.levels.append(Level(into, width, each * (5 + num_classes), count))
            onward = (width if count % 2 else 2 * width) if count else into
        self._initialise()

    def _initialise(self) -> None:
        """As Darknet-53 for the head; norms of Darknet's layers divide as Darknet's do."""
        for module in [*self.levels.modules(), *self.lateral.modules()]:
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, Convolution):
                module.norm.eps = EPSILON
            elif isinstance(module, Level):
                self._quieten(module.boxes)

    def _quieten(self, boxes: nn.Conv2d) -> None:
        if boxes.weight.is_meta:
            return
        assert boxes.bias is not None
        with torch.no_grad():
            boxes.weight.mul_(0.1)  # so that first boxes are the priors, and not e^5 times as large
            boxes.bias.zero_()
            objectness = boxes.bias.view(-1, 5 + self.num_classes)[:, 4]
            objectness.fill_(math.log(FIRST_OBJECTNESS / (1 - FIRST_OBJECTNESS)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # (N, 3, H, W)
        maps = list(self.trunk(x))
        outputs: list[Tensor] = []
        feature = maps.pop()
        for i, level in enumerate(self.levels):
            if i:
                finer = maps.pop()
                up = functional.interpolate(self.lateral[i - 1](feature), size=finer.shape[2:], mode="nearest")
                feature = torch.cat([up, finer], dim=1)
            feature, raw = level(feature)
            outputs.append(raw)
        return tuple(outputs)

    def loss(self, outputs: Sequence[Tensor], targets: Tensor, size: tuple[int, int]) -> Tensor:
        """As of `DetectorNetwork`: box, objectness and classes of all maps."""
        return yolov3_loss(outputs, *objects_of(targets), self.priors, size).total

    def tensors(self, outputs: Sequence[Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """boxes (N, P, 4), not cut to the input, and scores (N, P, K) of the prior boxes."""
        return tensors(outputs, self.priors, size)

    def assigned(self, outputs: Sequence[Tensor], labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """For each object the prior box whose shape fits it best, and its place."""
        return assigned_priors(outputs, self.priors, labels, boxes, size)

    def load(self, values: NDArray[np.float32]) -> int:
        """Take the values of a Darknet weights file (`files.darknet.read_weights`); returns how many were consumed.

        Raises: BadModel when they are not as many as the layers need; BadRecipe when the trunk is none of Darknet's.
        """
        self._darknets_trunk()
        return pour(self._pairs(), values)

    @property
    def values(self) -> int:
        """How many a Darknet weights file of this network holds, batch-norm statistics counted."""
        held = [*self.named_parameters(), *self.named_buffers()]
        return sum(tensor.numel() for name, tensor in held if not name.endswith("num_batches_tracked"))

    def cfg(self, height: int = NATURAL, width: int = NATURAL) -> str:
        """The text of a Darknet cfg that is this network.

        Raises: BadRecipe when the trunk is none of Darknet's.
        """
        writer = CfgWriter(height, width)
        maps = self._darknets_trunk().write(writer)
        onward = maps[-1]
        for i, level in enumerate(self.levels):
            assert isinstance(level, Level)
            if i:
                writer.route(onward)
                writer.convolution(self.lateral[i - 1])
                onward = writer.route(writer.upsample(), maps[-1 - i])
            for module in level.narrow:
                onward = writer.convolution(module)
            writer.convolution(level.wide)
            writer.convolution(level.boxes)
            each = len(self.priors[i].anchors)
            first = len(self.anchors) - (i + 1) * each
            writer.yolo(self.anchors, range(first, first + each), self.num_classes)
        return writer.text

    def _darknets_trunk(self) -> Darknet53Trunk | TinyTrunk:
        if not isinstance(self.trunk, Darknet53Trunk | TinyTrunk):
            raise BadRecipe(
                "only YOLOv3 on Darknet-53 or on the tiny trunk is a network of Darknet's; this trunk is not."
            )
        return self.trunk

    def _pairs(self) -> Iterator[Pair]:
        """Convolutions with their norms, in the order of the cfg."""
        yield from _pairs(self.trunk)
        for i, level in enumerate(self.levels):
            if i:
                yield from _pairs(self.lateral[i - 1])
            yield from _pairs(level)


def _pairs(part: nn.Module) -> Iterator[Pair]:
    for module in part.modules():  # Darknet's pieces name their modules in the order in which they compute
        if isinstance(module, Convolution):
            yield module.conv, module.norm
        elif isinstance(module, Level):
            yield from _pairs(module.narrow)
            yield from _pairs(module.wide)
            yield module.boxes, None
            return


class Darknet53Trunk(nn.Module):
    """Darknet-53 without its classifier: maps of stride 8, 16, 32 with 256, 512, 1024 channels."""

    channels = (256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        whole = Darknet53(num_classes=1, in_channels=3)
        self.stem = whole.stem
        self.stages = nn.ModuleList([whole.stage1, whole.stage2, whole.stage3, whole.stage4, whole.stage5])

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[2:]

    def write(self, writer: CfgWriter) -> list[int]:
        """Write the layers; the numbers of those that give the maps."""
        writer.convolution(self.stem)
        ends = []
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            for block in stage:
                writer.residual(block) if isinstance(block, Residual) else writer.convolution(block)
            ends.append(writer.last)
        return ends[2:]


class TinyTrunk(nn.Module):
    """Seven convolutions with max pooling between: maps of stride 16 and 32 with 256 and 1024 channels."""

    channels = (256, 1024)
    WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
    FINER = 4  # the convolution that gives the finer map

    def __init__(self) -> None:
        super().__init__()
        into = (3, *self.WIDTHS)
        self.convolutions = nn.ModuleList(Convolution(into[i], width, 3) for i, width in enumerate(self.WIDTHS))
        halving = [MaxPool(Pool(2, (2, 2), 1)) for _ in range(5)]
        self.pools = nn.ModuleList([*halving, MaxPool(Pool(2, (1, 1), 1))])  # the last keeps the side

    def forward(self, x: Tensor) -> list[Tensor]:
        finer = x
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if i == self.FINER:
                finer = x
            if i < len(self.pools):
                x = self.pools[i](x)
        return [finer, x]

    def write(self, writer: CfgWriter) -> list[int]:
        """Write the layers; the numbers of those that give the maps."""
        ends = []
        for i, convolution in enumerate(self.convolutions):
            ends.append(writer.convolution(convolution))
            if i < len(self.pools):
                writer.max_pool(2, 2 if i < len(self.pools) - 1 else 1)
        return [ends[self.FINER], ends[-1]]


def yolov3(num_classes: int = 80, anchors: Anchors = YOLOV3_ANCHORS) -> YOLOv3:  # 62 001 757 values
    """On Darknet-53: three maps, three anchors each."""
    trunk = Darknet53Trunk()
    return YOLOv3(trunk, trunk.channels, num_classes, anchors)


def yolov3_tiny(num_classes: int = 80, anchors: Anchors = TINY_ANCHORS) -> YOLOv3:  # 8 858 734 values
    """On seven convolutions: two maps, three anchors each."""
    trunk = TinyTrunk()
    return YOLOv3(trunk, trunk.channels, num_classes, anchors, widths=(128, 256), convolutions=(0, 1))


def yolov3_on(network: nn.Module, name: str, num_classes: int, anchors: Anchors = ()) -> YOLOv3:
    """On the coarsest stages of a network of the zoo (three where their strides go by twos), weights as they are.

    Args:   name: of the network in the catalogue; anchors: as many for each stage (unless given, those of the paper,
            which are for COCO on pictures of 416 × 416; see `anchors_from`).
    Raises: BadRecipe when the anchors cannot be shared out among the stages, or the network has no maps.
    """
    strides = strides_on(name)
    trunk = Stages(network, name, strides)
    default = TINY_ANCHORS if len(strides) == 2 else YOLOV3_ANCHORS
    return YOLOv3(trunk, trunk.channels, num_classes, anchors or default)


def strides_on(name: str) -> tuple[int, ...]:
    """Of up to three stages, ascending, each twice the one before; the last is the coarsest."""
    known = {stage.stride for stage in find(name).stages}
    chosen = [max(known)]
    if chosen[0] < 4:
        raise BadRecipe(f"{shown(name)} gives no maps to detect on; take a convolutional network.")
    while len(chosen) < 3 and chosen[0] // 2 in known:
        chosen.insert(0, chosen[0] // 2)
    return tuple(chosen)


class _Head:
    """See `heads/head.py`."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        return Architecture("yolov3", recipe.network.name, options, anchors=_priors(recipe, around))

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> YOLOv3:
        trunk = build_trunk(built.trunk, 1, channels, size, built.options)
        return yolov3_on(trunk, built.trunk, classes, built.anchors)


def _priors(recipe: Recipe, around: Surroundings) -> tuple[tuple[float, float], ...]:
    """Three prior boxes for each map, the smallest first: of the training boxes, or the paper's in proportion."""
    maps = len(strides_on(recipe.network.name))
    k, sides = ANCHORS_A_MAP * maps, around.sides()
    few = len(np.unique(sides, axis=0)) < ENOUGH_SIZES * k
    if recipe.network.anchors == "own" or (recipe.network.anchors == "auto" and not few):
        found = anchors_from(sides, k, recipe.training.seed)
        around.say(
            f"{k} prior boxes from the {len(sides)} boxes of the training pictures, which they overlap by "
            f"{coverage(sides, found):.2f} on average (IoU)."
        )
        return tuple((float(width), float(height)) for width, height in found)
    paper = TINY_ANCHORS if maps == 2 else YOLOV3_ANCHORS
    return scaled(paper[len(paper) - k :], *around.size)


HEAD = _Head()
