"""What YOLOv3 is taught: one prior answers for each object, the others keep still or are left alone.

Redmon, Farhadi 2018, arXiv:1804.02767, sections 2.1 and 2.2:

* Each object goes to the prior whose shape overlaps it best, of those of all maps, at the cell that holds its centre.
* There the objectness ought to be 1, and boxes and classes are learnt. Everywhere else it ought to be 0, except where a
  predicted box overlaps an object by more than 0.5 without being the best: nothing is learnt there.
* Objectness and each class by itself are binary cross entropies, summed; a box may have several classes.

The paper calls the loss of a box a sum of squared errors, whose gradient is "the ground truth value minus our
prediction". The authors' code has that gradient on t_x and t_y *before* their sigmoid, which is a cross entropy's, and
so it is here; t_w and t_h have half the squared error. As in that code, and not in the paper, a box weighs 2 − (its
share of the picture), so that small ones count. Departure: the sum is divided by the number of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foveal.ops.boxes import box_iou
from foveal.tasks.heads import head
from foveal.tasks.heads._yolo_boxes import Priors, boxes_of, split
from foveal.tasks.heads.head import Floats, Labels

__all__ = ["ASSIGNED", "Assigned", "Parts", "assign", "assigned_priors", "yolov3_loss"]

IGNORED_FROM = 0.5  # IoU with an object [section 2.1]
ASSIGNED = (
    "Dashed: the true boxes. In colour: for each object the prior box whose shape fits it best, at the position of the "
    "feature map assigned to it (the dot)."
)


class Parts(NamedTuple):
    """The loss of a batch, a scalar each; `total` is what goes down."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Assigned:
    """Which place of one map answers for which object, place by place."""

    picture: Tensor  # (m,) int64
    prior: Tensor  # (m,) int64
    row: Tensor  # (m,) int64
    column: Tensor  # (m,) int64
    offset: Tensor  # (m, 4): what σ(t_x), σ(t_y), t_w, t_h ought to be
    weight: Tensor  # (m,): 2 − share of the picture
    classes: Tensor  # (m, K): 1 for each class that is there


def assign(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    priors: Sequence[Priors],
    grids: Sequence[tuple[int, int]],
    size: tuple[int, int],
) -> list[Assigned]:
    """Share out the objects of N pictures among the places of each map.

    Args:    boxes: (n, 4) xyxy of each picture in pixels of the input, with an area; labels: (n,) int64 each;
             grids: (rows, columns) of each map; size: the input's height and width.
    Returns: one for each map. Detections that meet in one place share it: the smallest gives the box, all give classes.
    """
    xyxy, label = torch.cat(list(boxes)).float(), torch.cat(list(labels))
    picture = torch.repeat_interleave(torch.tensor([len(b) for b in boxes])).to(xyxy.device)
    sides = xyxy[:, 2:] - xyxy[:, :2]
    largest_first = sides.prod(1).argsort(descending=True, stable=True)  # so that the smallest is written last
    xyxy, label, picture, sides = (part[largest_first] for part in (xyxy, label, picture, sides))
    anchors = [xyxy.new_tensor(prior.anchors) for prior in priors]
    best = _shape_overlap(sides, torch.cat(anchors)).argmax(1)  # among the priors of all maps
    assigned, first = [], 0
    for own, prior, grid in zip(anchors, priors, grids, strict=True):
        mine = (best >= first) & (best < first + len(own))
        chosen = best[mine] - first
        assigned.append(_on_map(xyxy[mine], label[mine], picture[mine], chosen, own, prior.classes, grid, size))
        first += len(own)
    return assigned


def _shape_overlap(sides: Tensor, anchors: Tensor) -> Tensor:
    """(n, 2), (A, 2) -> (n, A) IoU of boxes around one centre."""
    shared = torch.minimum(sides[:, None], anchors).prod(2)
    return shared / (sides.prod(1)[:, None] + anchors.prod(1) - shared)


def _on_map(
    xyxy: Tensor,
    label: Tensor,
    picture: Tensor,
    prior: Tensor,
    anchors: Tensor,
    num_classes: int,
    grid: tuple[int, int],
    size: tuple[int, int],
) -> Assigned:
    (rows, columns), (height, width) = grid, size
    sides = xyxy[:, 2:] - xyxy[:, :2]
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 * xyxy.new_tensor([columns / width, rows / height])
    cell = centre.long().clamp(min=torch.zeros_like(centre).long())
    column, row = cell[:, 0].clamp(max=columns - 1), cell[:, 1].clamp(max=rows - 1)
    place = ((picture * len(anchors) + prior) * rows + row) * columns + column
    unique, where = place.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    last = torch.zeros_like(unique).scatter_reduce_(0, where, torch.arange(len(where), device=where.device), "amax")
    classes = xyxy.new_zeros(len(unique), num_classes)
    classes[where, label] = 1
    inside = (centre - torch.stack([column, row], 1)).clamp(0, 1)
    offset = torch.cat([inside, (sides / anchors[prior]).log()], dim=1)
    weight = 2 - sides.prod(1) / (height * width)
    return Assigned(picture[last], prior[last], row[last], column[last], offset[last], weight[last], classes)


def yolov3_loss(
    outputs: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    priors: Sequence[Priors],
    size: tuple[int, int],
) -> Parts:
    """The loss of N pictures, a mean over them.

    Args:   outputs: raw maps (N, A·(5 + K), H, W); boxes: (n, 4) xyxy of each picture in pixels of the input, with an
            area; labels: (n,) int64 each; size: the input's height and width.
    """
    raws = [split(output.float(), prior) for output, prior in zip(outputs, priors, strict=True)]
    grids = [(raw.shape[2], raw.shape[3]) for raw in raws]
    shared_out = assign(boxes, labels, priors, grids, size)
    maps = [_map_loss(*row, boxes, size) for row in zip(raws, priors, shared_out, strict=True)]
    box, objectness, classes = (torch.stack(part).sum() / len(boxes) for part in zip(*maps, strict=True))
    return Parts(box + objectness + classes, box, objectness, classes)


def _map_loss(
    raw: Tensor, prior: Priors, assigned: Assigned, boxes: Sequence[Tensor], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Box, objectness, classes of one map, sums over the pictures; raw (N, A, H, W, 5 + K)."""
    at = (assigned.picture, assigned.prior, assigned.row, assigned.column)
    said = raw[at]  # (m, 5 + K)
    centre = functional.binary_cross_entropy_with_logits(said[:, :2], assigned.offset[:, :2], reduction="none").sum(1)
    sides = (said[:, 2:4] - assigned.offset[:, 2:]).square().sum(1) / 2
    box = ((centre + sides) * assigned.weight).sum()
    wanted, counted = torch.zeros_like(raw[..., 4]), ~_ignored(raw.detach(), prior, boxes, size)
    wanted[at], counted[at] = 1, True
    objectness = functional.binary_cross_entropy_with_logits(raw[..., 4], wanted, reduction="none")
    classes = functional.binary_cross_entropy_with_logits(said[:, 5:], assigned.classes, reduction="sum")
    return box, (objectness * counted).sum(), classes


def _ignored(raw: Tensor, prior: Priors, boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """(N, A, H, W): predicted boxes that overlap an object of their picture."""
    predicted = boxes_of(raw, prior, size)
    found = torch.zeros(raw.shape[:4], dtype=torch.bool, device=raw.device)
    for i, objects in enumerate(boxes):
        if len(objects):
            overlap = box_iou(predicted[i].flatten(0, 2), objects.float())
            found[i] = (overlap.amax(1) > IGNORED_FROM).view(found.shape[1:])
    return found


def assigned_priors(
    outputs: Sequence[Tensor], priors: Sequence[Priors], labels: Labels, boxes: Floats, size: tuple[int, int]
) -> head.Assigned:
    """Of one picture: the prior box that answers for each object, and the centre of the place at which it stands."""
    theirs, kinds = torch.from_numpy(boxes), torch.from_numpy(labels)
    sound = (theirs[:, 2:] > theirs[:, :2]).all(1)
    grids = [(output.shape[2], output.shape[3]) for output in outputs]
    points, found = [], []
    for assigned, prior, (rows, columns) in zip(
        assign([theirs[sound]], [kinds[sound]], priors, grids, size), priors, grids, strict=True
    ):
        for number, row, column in zip(assigned.prior, assigned.row, assigned.column, strict=True):
            centre = np.array([(int(column) + 0.5) * size[1] / columns, (int(row) + 0.5) * size[0] / rows])
            half = np.array(prior.anchors[int(number)]) / 2
            points.append(centre)
            found.append(np.concatenate([centre - half, centre + half]))
    return head.Assigned(
        ("prior box", "prior boxes"), np.arange(len(found)), np.reshape(points, (-1, 2)), np.reshape(found, (-1, 4))
    )
