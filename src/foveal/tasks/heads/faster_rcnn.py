"""Faster R-CNN on a feature pyramid: one network proposes regions, a second one looks into each.

Ren, He, Girshick, Sun 2015, "Faster R-CNN: towards real-time object detection with region proposal networks",
arXiv:1506.01497; Lin et al. 2017, "Feature pyramid networks for object detection", arXiv:1612.03144. Both share one
trunk, so that proposals cost next to nothing. Both are trained together ("approximate joint training", section 3.2):
no slope runs through the corners of the proposals.

Departures from the papers are those of torchvision's published weights, whose state dict `faster_rcnn_resnet50_fpn`
takes; they stand where they are made (`_pyramid`, `_proposals`, `_regions`, `_rcnn_loss`). Classes are counted as
everywhere in foveal, from 0 and without the background; torchvision's class k is the one of index k − 1 here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from foveal.errors import BadRecipe, shown
from foveal.networks.catalogue import build as build_trunk
from foveal.networks.catalogue import find
from foveal.networks.resnet import ResNet, resnet50
from foveal.networks.stages import Stages
from foveal.recipe import Recipe
from foveal.tasks.heads._proposals import ProposalNetwork, Proposed, Selection
from foveal.tasks.heads._pyramid import WIDTH, Backbone, ResNetTrunk, freeze_norms
from foveal.tasks.heads._rcnn_loss import (
    ANCHORS,
    PROPOSALS,
    Parts,
    Rule,
    Sampled,
    examples,
    match,
    proposal_loss,
    region_loss,
)
from foveal.tasks.heads._regions import RegionHeads, RegionOutputs
from foveal.tasks.heads._targets import objects_of
from foveal.tasks.heads.head import Architecture, Assigned, Floats, Labels, Surroundings

__all__ = ["HEAD", "FasterRCNN", "Parts", "RegionOutputs", "Sampled", "Seen", "TwoStage", "faster_rcnn_on"]
__all__ += ["faster_rcnn_resnet50_fpn"]

STRIDES = (4, 8, 16, 32)  # of the maps that the pyramid is built on, as far as a trunk has them
TESTING = Selection(before=1000, after=1000)
TRAINING = Selection(before=2000, after=2000)
ASKED = Selection(before=1000, after=300)  # proposals of a picture that are looked into (Faster R-CNN, section 4)
LEARNT = replace(PROPOSALS, drawn=64)  # of each picture in training (Girshick 2015, arXiv:1504.08083, section 2.3)
REGIONS_RATE = 0.1  # of a detector's learning rate: dense layers over regions take smaller steps
ANCHOR = 8  # strides that an anchor of a level is large: 32 to 512 pixels on strides 4 to 64 [FPN, section 4.1]


class Seen(NamedTuple):
    """What the first network says of N pictures, with the second one at hand to look into them."""

    levels: list[Tensor]  # (N, C, Hᵢ, Wᵢ) of the pyramid
    proposed: Proposed
    heads: RegionHeads
    size: tuple[int, int]  # (height, width) of the pictures

    def said(self, selection: Selection = TESTING) -> RegionOutputs:
        """What the second network says of the best proposals of each picture."""
        return self._looked_into(self.proposed.boxes(self.size, selection))

    def loss(
        self,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        generator: torch.Generator,
        rule: Rule = PROPOSALS,
        sampled: Sampled | None = None,
    ) -> Parts:
        """As `FasterRCNN.joint_loss`; rule: how many proposals of each picture are looked into."""
        boxes = [own.float() for own in boxes]
        anchors, regions = sampled or (None, None)
        objectness, moved = proposal_loss(self.proposed, boxes, generator, anchors)
        taught = examples(self.proposed.boxes(self.size, TRAINING), boxes, labels, generator, regions, rule)
        classes, placed = region_loss(self._looked_into(taught.regions), taught)
        return Parts(objectness + moved + classes + placed, objectness, moved, classes, placed)

    def _looked_into(self, regions: list[Tensor]) -> RegionOutputs:
        """In the arithmetic that the maps were computed in."""
        dtype, device = self.levels[0].dtype, self.levels[0].device.type
        with nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype):
            said: RegionOutputs = self.heads(self.levels, regions)
        return said


class FasterRCNN(nn.Module):
    """A trunk, its pyramid, proposals, and the detector of regions."""

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        anchors: Sequence[float] = (),
        width: int = WIDTH,
        hidden: int = 1024,
    ) -> None:
        """
        Args:   trunk: gives one map for each of `channels` and `strides`, the finest first; num_classes: without the
                background; anchors: size in pixels (root of the area) on each map and on the one more that the pyramid
                adds (eight strides unless given); width: channels of the pyramid; hidden: of the dense layers.
        Raises: BadRecipe when the anchors are not one more than the maps.
        """
        super().__init__()
        anchors = tuple(anchors) or tuple(ANCHOR * stride for stride in (*strides, 2 * strides[-1]))
        if len(anchors) != len(strides) + 1:
            raise BadRecipe(
                f"{len(strides)} maps and the coarser one that the pyramid adds need {len(strides) + 1} sizes of "
                f"anchors; got {len(anchors)}."
            )
        self.backbone = Backbone(trunk, channels, width)
        self.rpn = ProposalNetwork(width, strides, anchors)
        self.roi_heads = RegionHeads(width, strides, num_classes, hidden)
        self.register_load_state_dict_pre_hook(_take_older_names)  # type: ignore[no-untyped-call]

    def seen(self, images: Tensor) -> Seen:
        """(N, 3, H, W) -> what is proposed; the regions have not been looked into yet."""
        size = (images.shape[2], images.shape[3])
        levels = self.backbone(images)
        return Seen(levels, self.rpn(levels, size), self.roi_heads, size)

    def forward(self, images: Tensor) -> Any:  # TwoStage gives what it has seen instead
        """(N, 3, H, W) -> `RegionOutputs` of a thousand proposals at most of each picture."""
        return self.seen(images).said()

    def joint_loss(
        self,
        images: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        seed: int = 0,
        sampled: Sampled | None = None,
    ) -> Parts:
        """The loss of N pictures.

        Args: images (N, 3, H, W); boxes (n, 4) xyxy of each picture in pixels of the input, with an area, none where
              there is no object; labels (n,) int64 each; seed: of the draw of examples, another one each step;
              sampled: the examples themselves.
        """
        return self.seen(images).loss(boxes, labels, torch.Generator().manual_seed(seed), sampled=sampled)

    def loss(self, images: Any, boxes: Any, labels: Any, *more: Any) -> Any:
        """`joint_loss`, by its name before 0.2; it goes with 0.3."""
        warnings.warn("FasterRCNN.loss is FasterRCNN.joint_loss now", DeprecationWarning, stacklevel=2)
        return self.joint_loss(images, boxes, labels, *more)


class TwoStage(FasterRCNN):
    """On a network of the zoo, for a loop that asks first and teaches then: says what it has `Seen`."""

    ASSIGNED: ClassVar[str] = (
        "Dashed: the true boxes. In colour: the anchors assigned to each, because they overlap it well or best."
    )

    def forward(self, images: Tensor) -> Seen:
        """(N, C, H, W) -> what is proposed."""
        return self.seen(images)

    def loss(self, outputs: Any, targets: Any, size: Any, *more: Any) -> Any:
        """As of `DetectorNetwork`, of what `forward` gave. Which examples are drawn follows torch's random state."""
        if isinstance(outputs, Tensor):  # pictures: the name that `joint_loss` had
            return super().loss(outputs, targets, size, *more)
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        return outputs.loss(*objects_of(targets), generator, LEARNT).total

    def tensors(self, outputs: Seen, size: tuple[int, int]) -> dict[str, Tensor]:
        """boxes (N, 300, K, 4) and scores (N, 300, K)."""
        return outputs.said(ASKED).tensors(size, ASKED.after)

    def assigned(self, outputs: Seen, labels: Labels, boxes: Floats, size: tuple[int, int]) -> Assigned:
        """The anchors that learn to propose an object."""
        anchors = outputs.proposed.anchors
        matched = match(anchors, torch.from_numpy(boxes).to(anchors), ANCHORS)
        on = (matched >= 0).nonzero()[:, 0]
        return Assigned(
            ("anchor", "anchors"), matched[on].numpy(), np.zeros((0, 2)), anchors[on].double().numpy().reshape(-1, 4)
        )

    @property
    def trunk(self) -> Stages:
        """The stages of the network of the zoo."""
        assert isinstance(self.backbone.body, Stages)
        return self.backbone.body


def _take_older_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The published file is older than torchvision's present names, and counts the batches of its norms."""
    known = {prefix + name for name in module.state_dict()}
    for name in [name for name in state if name.startswith((f"{prefix}backbone.", f"{prefix}rpn."))]:
        if name not in known:
            value = state.pop(name)
            if not name.endswith(".num_batches_tracked"):  # frozen norms have none
                state[prefix + _present_name(name[len(prefix) :])] = value


def _present_name(name: str) -> str:
    parts = name.split(".")
    if parts[1:3] in (["fpn", "inner_blocks"], ["fpn", "layer_blocks"]) and len(parts) == 5:
        parts.insert(4, "0")
    if parts[:3] == ["rpn", "head", "conv"] and len(parts) == 4:
        parts[3:3] = ["0", "0"]
    return ".".join(parts)


def faster_rcnn_resnet50_fpn(  # 41 755 286 parameters; its frozen norms hold none
    num_classes: int = 91, trunk: ResNet | None = None, epsilon: float = 1e-5
) -> FasterRCNN:
    """On ResNet-50 with frozen batch norms; names of the state dict are torchvision's.

    Args: num_classes: *with* the background, as torchvision counts; trunk: a ResNet-50 whose weights are taken, random
          ones unless given (its norms are frozen as they are, so load weights before training it); epsilon: beside
          the variances; the weights published for COCO (torchvision, COCO_V1) were trained with 0.
    """
    body = ResNetTrunk(trunk or resnet50(num_classes=1), tuple(stage.channels for stage in find("resnet50").stages))
    freeze_norms(body, epsilon)
    return FasterRCNN(body, body.channels, body.strides, num_classes - 1)


def faster_rcnn_on(
    network: nn.Module, name: str, num_classes: int, anchors: Sequence[float] = (), *, freeze: bool = True
) -> TwoStage:
    """On a network of the zoo, its weights as they are, from its stages of stride 4 to 32.

    Args:   name: of the network in the catalogue; num_classes: without the background; anchors: sizes in pixels, one
            more than stages (eight strides unless given); freeze: keep its batch norms as they are, which is right
            unless its weights are random (it changes the network given).
    Raises: BadRecipe for a network without such stages, or when the anchors are too few or many.
    """
    known = {stage.stride for stage in find(name).stages}
    strides = tuple(stride for stride in STRIDES if stride in known)
    if not strides:
        raise BadRecipe(f"{shown(name)} gives no feature maps of stride 4 to 32; take a convolutional network.")
    trunk = Stages(freeze_norms(network) if freeze else network, name, strides)
    return TwoStage(trunk, trunk.channels, strides, num_classes, anchors)


class _Head:
    """See `heads/head.py`."""

    def usual(self, recipe: Recipe, usual: Mapping[str, Any]) -> dict[str, Any]:
        return {"learning_rate": float(usual["learning_rate"]) * REGIONS_RATE}

    def laid_out(self, recipe: Recipe, options: Mapping[str, Any], around: Surroundings) -> Architecture:
        return Architecture("faster-rcnn", recipe.network.name, options, frozen_norms=recipe.from_weights)

    def build(self, built: Architecture, classes: int, channels: int, size: tuple[int, int]) -> TwoStage:
        trunk = build_trunk(built.trunk, 1, channels, size, built.options)
        return faster_rcnn_on(trunk, built.trunk, classes, freeze=built.frozen_norms)


HEAD = _Head()
