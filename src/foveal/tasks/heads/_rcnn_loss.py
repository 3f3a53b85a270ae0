"""What Faster R-CNN is taught: proposals first, then what they hold; from few examples of each picture.

Ren et al. 2015, arXiv:1506.01497, sections 3.1.2 and 3.1.3; Girshick 2015, arXiv:1504.08083, section 2.3. Almost every
box covers nothing, so a loss over all would teach to say nothing. Of each picture 256 anchors are drawn, up to half
of them on objects, and 512 proposals, up to a quarter.

Departures, as in the published weights: proposals on nothing are drawn from all that overlap objects by less than 0.5;
box losses count a little error by its square up to 1/9; losses are divided by what was drawn, both parts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from foveal.ops.boxes import box_iou
from foveal.tasks.heads._proposals import Proposed, box_to_deltas
from foveal.tasks.heads._regions import BOX_WEIGHTS, RegionOutputs

__all__ = ["ANCHORS", "NOTHING", "PROPOSALS", "UNUSED", "Parts", "Rule", "Sampled", "draw", "match"]
__all__ += ["proposal_loss", "region_loss"]

NOTHING, UNUSED = -1, -2  # instead of the index of an object
BETA = 1 / 9  # where the box loss turns from a square to a line


@dataclass(frozen=True)
class Rule:
    """Which boxes are examples of what, and how many of them are drawn of a picture."""

    object_from: float  # IoU
    nothing_below: float  # IoU
    drawn: int
    share: float  # of those drawn, at most on objects
    best_too: bool  # the boxes that fit an object best are on it, however badly they fit


ANCHORS = Rule(object_from=0.7, nothing_below=0.3, drawn=256, share=0.5, best_too=True)
PROPOSALS = Rule(object_from=0.5, nothing_below=0.5, drawn=512, share=0.25, best_too=False)


class Sampled(NamedTuple):
    """Which examples are learnt from: int64 indices for each picture."""

    anchors: Sequence[Tensor]  # into the A anchors
    proposals: Sequence[Tensor]  # into the picture's proposals followed by its objects


class Parts(NamedTuple):
    """The loss of a batch, a scalar each; `total` is what goes down."""

    total: Tensor
    objectness: Tensor
    proposals: Tensor
    classes: Tensor
    boxes: Tensor


def match(boxes: Tensor, objects: Tensor, rule: Rule) -> Tensor:
    """(n,) int64: for each of boxes (n, 4) the object of (m, 4) that it is an example of, or NOTHING, or UNUSED."""
    if not len(objects):
        return torch.full((len(boxes),), NOTHING, device=boxes.device)
    overlap = box_iou(boxes, objects)
    most, best = overlap.max(1)
    found = torch.where(most >= rule.object_from, best, torch.where(most < rule.nothing_below, NOTHING, UNUSED))
    if rule.best_too and len(boxes):
        fits = overlap.amax(0)
        found = torch.where(((overlap == fits) & (fits > 0)).any(1), best, found)
    return found


def draw(matched: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    """(≤ drawn,) ascending indices into (n,) of `match`, up to `share` of them on objects, the rest on nothing."""
    positive, negative = (matched >= 0).nonzero()[:, 0], (matched == NOTHING).nonzero()[:, 0]
    positive = _some(positive, int(rule.drawn * rule.share), generator)
    negative = _some(negative, rule.drawn - len(positive), generator)
    return torch.cat([positive, negative]).sort().values


def _some(indices: Tensor, most: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(indices), generator=generator, device=generator.device)
    return indices[order[:most].to(indices.device)]


def proposal_loss(
    proposed: Proposed, boxes: Sequence[Tensor], generator: torch.Generator, sampled: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Losses of objectness and of the anchors' deltas, scalars.

    Args: boxes, (n, 4) objects of each picture, with an area; sampled, indices of anchors instead of drawing them.
    """
    logits, deltas, wanted, targets = [], [], [], []
    for i, own in enumerate(boxes):
        matched = match(proposed.anchors, own, ANCHORS)
        drawn = draw(matched, ANCHORS, generator) if sampled is None else sampled[i]
        matched = matched[drawn]
        hit = drawn[matched >= 0]
        logits.append(proposed.objectness[i, drawn])
        wanted.append((matched >= 0).to(logits[-1].dtype))
        deltas.append(proposed.deltas[i, hit])
        targets.append(box_to_deltas(own[matched[matched >= 0]], proposed.anchors[hit]))
    said, right = torch.cat(logits), torch.cat(wanted)
    count = max(len(said), 1)
    objectness = functional.binary_cross_entropy_with_logits(said, right, reduction="sum") / count
    return objectness, _box_loss(torch.cat(deltas), torch.cat(targets), count)


class Examples(NamedTuple):
    """The regions of N pictures to learn from."""

    regions: list[Tensor]  # (Pᵢ, 4) xyxy of each picture
    classes: Tensor  # (P,) int64: 0 nothing, else 1 + class
    objects: Tensor  # (P, 4) the object that each is an example of; itself where there is none


def examples(
    proposals: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    generator: torch.Generator,
    sampled: Sequence[Tensor] | None = None,
    rule: Rule = PROPOSALS,
) -> Examples:
    """Regions drawn from proposals (Pᵢ, 4) and from the objects themselves, which are perfect proposals."""
    regions, classes, objects = [], [], []
    for i, (own, label) in enumerate(zip(boxes, labels, strict=True)):
        offered = torch.cat([proposals[i], own])
        matched = match(offered, own, rule)
        drawn = draw(matched, rule, generator) if sampled is None else sampled[i]
        matched = matched[drawn]
        on = matched >= 0
        regions.append(offered[drawn])
        classes.append(torch.zeros_like(matched).masked_scatter(on, 1 + label[matched[on]]))
        target = regions[-1].clone()
        target[on] = own[matched[on]]
        objects.append(target)
    return Examples(regions, torch.cat(classes), torch.cat(objects))


def region_loss(said: RegionOutputs, taught: Examples) -> tuple[Tensor, Tensor]:
    """Losses of classes and of the regions' deltas, scalars; `said` of the regions of `taught`."""
    count = max(len(taught.classes), 1)
    classes = functional.cross_entropy(said.logits, taught.classes, reduction="sum") / count
    on = taught.classes.nonzero()[:, 0]
    targets = box_to_deltas(taught.objects[on], torch.cat(taught.regions)[on], BOX_WEIGHTS)
    return classes, _box_loss(said.deltas[on, taught.classes[on]], targets, count)


def _box_loss(deltas: Tensor, targets: Tensor, count: int) -> Tensor:
    return functional.smooth_l1_loss(deltas, targets, beta=BETA, reduction="sum") / count
