"""Faster R-CNN says and learns what torchvision's does with the same weights, and learns on other trunks as well."""

from __future__ import annotations

import importlib
import math
from types import ModuleType
from typing import Any

import pytest
import torch
from agree import with_statistics
from found import found_in
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.errors import BadRecipe
from foveal.networks.catalogue import build
from foveal.ops.boxes import box_area, box_iou
from foveal.tasks.heads._proposals import Proposed, Selection, anchors_of, box_to_deltas, deltas_to_box
from foveal.tasks.heads._pyramid import freeze_norms
from foveal.tasks.heads._rcnn_loss import ANCHORS, NOTHING, PROPOSALS, UNUSED, draw, examples, match
from foveal.tasks.heads._regions import level_of
from foveal.tasks.heads.faster_rcnn import TRAINING, FasterRCNN, Sampled, faster_rcnn_on, faster_rcnn_resnet50_fpn

SIZE = (96, 160)
NONE = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
BOXES = torch.tensor([[10.0, 12, 70, 80], [64, 5, 150, 60], [90.0, 50, 106, 66]])
LABELS = torch.tensor([3, 0, 89])

# --- torchvision's network --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detection(torchvision: ModuleType) -> ModuleType:
    return importlib.import_module("torchvision.models.detection")


@pytest.fixture(scope="module")
def theirs(detection: ModuleType) -> nn.Module:
    """torchvision's detector whose scores, proposals and boxes spread as those of a trained one."""
    torch.manual_seed(7)
    network = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    with_statistics(network.backbone.body, torch.randn(4, 3, *SIZE))
    network.eval()
    with torch.no_grad():
        levels = list(network.backbone(pictures()).values())
        for layer, spread in ((network.rpn.head.cls_logits, 1.5), (network.rpn.head.bbox_pred, 0.3)):
            said = layer(network.rpn.head.conv(levels[1]))
            layer.weight.mul_(spread / said.std())
        hidden = network.roi_heads.box_head(torch.nn.functional.adaptive_avg_pool2d(levels[0][:, :, :35, :], 7))
        for layer, spread in (
            (network.roi_heads.box_predictor.cls_score, 2.5),
            (network.roi_heads.box_predictor.bbox_pred, 1.0),
        ):
            layer.weight.mul_(spread / layer(hidden).std())
    return network


@pytest.fixture(scope="module")
def ours(theirs: nn.Module) -> FasterRCNN:
    network = faster_rcnn_resnet50_fpn()
    network.load_state_dict(theirs.state_dict(), strict=True)
    return network.eval()


def pictures() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(11))


@pytest.fixture
def their_regions(monkeypatch: pytest.MonkeyPatch, detection: ModuleType) -> None:
    """torchvision's own RoIAlign in Python, a few regions at a time; its compiled one is not here."""
    python = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__

    def align(maps: Tensor, regions: Tensor, output_size: Any, spatial_scale: float, sampling_ratio: int) -> Tensor:
        parts = [python(maps, part, spatial_scale, *output_size, sampling_ratio, False) for part in regions.split(64)]
        return torch.cat(parts)

    monkeypatch.setattr(importlib.import_module("torchvision.ops.poolers"), "roi_align", align)


def listed(detection: ModuleType, images: Tensor) -> Any:
    return importlib.import_module("torchvision.models.detection.image_list").ImageList(images, [SIZE] * len(images))


def test_names_and_shapes_of_the_state_dict_are_torchvisions(detection: ModuleType) -> None:
    with torch.device("meta"):
        wanted = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        network = faster_rcnn_resnet50_fpn()
    told = {name: tensor.shape for name, tensor in network.state_dict().items()}
    frozen = {name: t.shape for name, t in wanted.items() if not name.endswith("num_batches_tracked")}
    assert told == frozen
    assert sum(p.numel() for p in network.parameters()) == 41_755_286  # as torchvision states it


def test_objects_are_torchvisions(detection: ModuleType, theirs: Any, ours: FasterRCNN, their_regions: None) -> None:
    """In any order: float32 gives two regions the same score now and then, and either library may name either first."""
    images = pictures()
    theirs.eval()
    with torch.no_grad():
        levels = theirs.backbone(images)
        proposals, _ = theirs.rpn(listed(detection, images), levels)
        wanted, _ = theirs.roi_heads(levels, proposals, [SIZE] * 2)
        said = ours(images)
    for own, other in zip(said.proposals, proposals, strict=True):
        assert len(own) == len(other) > 100
        same_rows(other, own, 1e-3)
    for found, want in zip(found_in(said.tensors(SIZE, 1000), SIZE, 0.05, 0.5, 100), wanted, strict=True):
        assert len(found) == len(want["labels"]) >= 20
        assert len(set(found.labels)) > 1
        own = torch.tensor(found.xyxy).float()
        labels, scores = torch.tensor(found.labels)[:, None] + 1, torch.tensor(found.scores)[:, None].float()
        order = same_rows(
            torch.cat([want["boxes"], 1000 * want["labels"][:, None]], 1), torch.cat([own, 1000 * labels], 1), 1e-3
        )
        torch.testing.assert_close(scores[order, 0], want["scores"], rtol=0, atol=1e-4)


def same_rows(wanted: Tensor, told: Tensor, within: float) -> Tensor:
    """Where each row of `wanted` stands in `told`, and none stands alone there."""
    distance = torch.cdist(wanted.double(), told.double(), p=math.inf)
    assert distance.min(0).values.max() <= within
    nearest, order = distance.min(1)
    assert nearest.max() <= within
    return order


class _Recorder:
    """A sampler of torchvision's that remembers what it drew."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.drawn: list[Tensor] = []

    def __call__(self, labels: list[Tensor]) -> Any:
        positive, negative = self.sampler(labels)
        self.drawn = [(p | n).nonzero()[:, 0] for p, n in zip(positive, negative, strict=True)]
        return positive, negative


def test_losses_and_slopes_are_torchvisions_with_its_examples(
    detection: ModuleType, theirs: Any, ours: FasterRCNN, their_regions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, part = pictures(), "backbone.fpn.inner_blocks.1.0.weight"
    recorders = [_Recorder(theirs.rpn.fg_bg_sampler), _Recorder(theirs.roi_heads.fg_bg_sampler)]
    monkeypatch.setattr(recorders[1].sampler, "batch_size_per_image", 48)
    monkeypatch.setattr(theirs.rpn, "fg_bg_sampler", recorders[0])
    monkeypatch.setattr(theirs.roi_heads, "fg_bg_sampler", recorders[1])
    theirs.rpn.train(), theirs.roi_heads.train()
    targets = [{"boxes": BOXES, "labels": LABELS + 1}, {"boxes": NONE[0], "labels": NONE[1]}]
    torch.manual_seed(2)
    levels = theirs.backbone(images)
    proposals, first = theirs.rpn(listed(detection, images), levels, targets)
    _, second = theirs.roi_heads(levels, proposals, [SIZE] * 2, targets)
    wanted = [first["loss_objectness"], first["loss_rpn_box_reg"], second["loss_classifier"], second["loss_box_reg"]]
    (want,) = torch.autograd.grad(sum(wanted), [theirs.get_parameter(part)])
    with torch.no_grad():
        mine = ours.rpn(ours.backbone(images), SIZE).boxes(SIZE, TRAINING)
    drawn = [
        torch.where(rows < len(other), same_rows(other, own, 1e-3)[rows.clamp(max=len(other) - 1)], rows)
        for rows, own, other in zip(recorders[1].drawn, mine, proposals, strict=True)
    ]
    sampled = Sampled(recorders[0].drawn, drawn)
    told = ours.joint_loss(images, [BOXES, NONE[0]], [LABELS, NONE[1]], sampled=sampled)
    for own, other in zip(told[1:], wanted, strict=True):
        assert other > 1e-3
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(told.total, torch.stack(wanted).sum(), rtol=1e-4, atol=1e-4)
    (got,) = torch.autograd.grad(told.total, [ours.get_parameter(part)])
    assert (got - want).norm() <= 1e-3 * want.norm()


# --- its pieces -------------------------------------------------------------------------------------------------------


class _Small(nn.Module):
    """Maps of stride 4 and 8 with 8 and 12 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 12, 2, 2), nn.ReLU())

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.first(x)
        return [x, self.second(x)]


def small(num_classes: int = 3) -> FasterRCNN:
    torch.manual_seed(0)
    return FasterRCNN(_Small(), (8, 12), (4, 8), num_classes, width=16, hidden=32)


def test_the_published_files_older_names_are_taken() -> None:
    network = small()
    network.backbone.body.first = freeze_norms(network.backbone.body.first)  # type: ignore[union-attr,arg-type]
    state = network.state_dict()
    older = {name.replace(".0.weight", ".weight").replace(".0.bias", ".bias") if ".fpn." in name else name: tensor
             for name, tensor in state.items()}  # fmt: skip
    older = {name.replace("head.conv.0.0.", "head.conv."): tensor + 1 for name, tensor in older.items()}
    older["backbone.body.first.1.num_batches_tracked"] = torch.tensor(5)
    assert {"rpn.head.conv.weight", "backbone.fpn.inner_blocks.1.bias"} <= set(older)
    names = list(older)
    network.load_state_dict(older, strict=True)
    assert list(older) == names  # what was given stays as it was
    for name, tensor in network.state_dict().items():
        assert name in state
        assert tensor.dtype == state[name].dtype
    assert torch.equal(network.get_parameter("rpn.head.conv.0.0.weight"), older["rpn.head.conv.weight"])


def test_norms_that_learn_are_saved_and_loaded_as_they_are() -> None:
    network, other = small(), small()
    network.backbone.body(torch.randn(2, 3, 32, 48))
    other.load_state_dict(network.state_dict(), strict=True)
    assert int(other.get_buffer("backbone.body.first.1.num_batches_tracked")) == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]))
def test_deltas_lead_from_each_origin_to_its_box(seed: int, weights: tuple[float, ...]) -> None:
    boxes, origins = some_boxes(seed, 20).double(), some_boxes(seed + 1, 20).double()
    deltas = box_to_deltas(boxes, origins, weights)
    torch.testing.assert_close(deltas_to_box(deltas, origins, weights), boxes)
    assert box_to_deltas(origins, origins, weights).abs().max() < 1e-12


def some_boxes(seed: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(n, 2, generator=generator) * torch.tensor([120.0, 60.0])
    return torch.cat([corners, corners + 4 + torch.rand(n, 2, generator=generator) * 40], 1)


def test_anchors_are_rows_of_columns_of_ratios() -> None:
    anchors = anchors_of((2, 3), (4, 8), 32, torch.zeros(1)).view(2, 3, 3, 4)
    assert anchors[0, 0].tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    assert (anchors[1, 2, 1] - anchors[0, 0, 1]).tolist() == [16, 4, 16, 4]


def test_proposals_lie_on_the_picture_and_are_told_once() -> None:
    anchors = some_boxes(3, 400) - 10
    objectness = torch.randn(1, 400, generator=torch.Generator().manual_seed(4))
    deltas = torch.randn(1, 400, 4, generator=torch.Generator().manual_seed(5))
    deltas[0, :5], objectness[0, 5], deltas[0, 6, 2] = math.nan, math.inf, 1e9
    found = Proposed(objectness, deltas, anchors, (300, 100)).boxes((70, 130), Selection(60, 40, iou=0.5))[0]
    assert 10 < len(found) <= 40
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= torch.tensor([130.0, 70, 130, 70])).all()
    assert (box_area(found) > 0).all()
    alone = Proposed(objectness, deltas, anchors, (400,)).boxes((70, 130), Selection(400, 400, iou=0.5))[0]
    assert (box_iou(alone, alone) - torch.eye(len(alone))).max() <= 0.5


def test_regions_are_cut_where_they_are_as_large_as_224_pixels_on_stride_16() -> None:
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 5000])
    boxes = torch.stack([sides * 0, sides * 0, sides * 2, sides / 2], 1)
    assert level_of(boxes, (4, 8, 16, 32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert level_of(boxes, (8, 16)).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert level_of(torch.zeros(1, 4), (4, 8)).tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.integers(0, 4))
def test_examples_are_those_of_the_papers_rules(seed: int, first: bool, count: int) -> None:
    rule, boxes, objects = (ANCHORS if first else PROPOSALS), some_boxes(seed, 60), some_boxes(seed + 1, count)
    found = match(boxes, objects, rule).tolist()
    overlap = box_iou(boxes, objects).tolist()
    most = [max((row[j] for row in overlap), default=0.0) for j in range(count)]
    for row, told in zip(overlap, found, strict=True):
        best = max(range(count), key=row.__getitem__, default=NOTHING)
        fits = rule.best_too and any(row[j] == most[j] > 0 for j in range(count))
        if count and (row[best] >= rule.object_from or fits):
            assert told == best
        else:
            assert told == (NOTHING if not count or row[best] < rule.nothing_below else UNUSED)


def test_the_draw_is_seeded_and_balanced() -> None:
    matched = torch.full((3000,), NOTHING)
    matched[::5] = 2
    matched[1::5] = UNUSED
    for rule, objects in ((ANCHORS, 128), (PROPOSALS, 128)):
        drawn, again, other = (draw(matched, rule, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
        assert torch.equal(drawn, again)
        assert not torch.equal(drawn, other)
        assert len(drawn) == rule.drawn == len(drawn.unique())
        assert (matched[drawn] >= 0).sum() == objects
        assert (matched[drawn] != UNUSED).all()
    few = torch.full((40,), NOTHING)
    few[7] = 0
    assert len(draw(few, ANCHORS, torch.Generator().manual_seed(1))) == 40


def test_each_object_is_a_region_to_learn_from() -> None:
    taught = examples([some_boxes(1, 30), NONE[0]], [BOXES, NONE[0]], [LABELS, NONE[1]], torch.Generator())
    at = [(taught.regions[0] == box).all(1).nonzero().item() for box in BOXES]
    assert taught.classes[at].tolist() == (LABELS + 1).tolist()
    assert torch.equal(taught.objects[at], BOXES)
    assert len(taught.regions[1]) == 0


def test_frozen_norms_are_norms_in_eval_mode_for_ever() -> None:
    torch.manual_seed(1)
    network = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.1)), torch.randn(5, 3, 9, 7))
    x = torch.randn(2, 3, 8, 6)
    wanted = network(x)
    frozen = freeze_norms(network)
    assert torch.equal(frozen.train()(x), wanted)
    assert len(list(frozen.parameters())) == 2
    assert not torch.allclose(
        freeze_norms(nn.Sequential(nn.BatchNorm2d(4)), 3.0)(torch.ones(1, 4, 2, 2)), torch.ones(1)
    )


# --- on other trunks --------------------------------------------------------------------------------------------------


def one_square() -> tuple[Tensor, Tensor]:
    """A picture of 64 × 96 with a bright rectangle, and its box."""
    box = torch.tensor([[24.0, 16, 64, 48]])
    image = torch.zeros(1, 3, 64, 96)
    image[:, :, 16:48, 24:64] = torch.tensor([1.5, -1.0, 0.5])[:, None, None]
    return image, box


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_it_learns_one_picture_on_any_trunk(name: str) -> None:
    torch.manual_seed(3)
    network = faster_rcnn_on(build(name, 10, 3, (64, 96)), name, num_classes=2, freeze=False).train()
    image, box = one_square()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-4)
    losses = []
    for step in range(12):
        parts = network.joint_loss(image, [box], [torch.tensor([1])], seed=step)
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        losses.append(float(parts.total.detach()))
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    with torch.no_grad():
        (found,) = found_in(network.eval()(image).said().tensors((64, 96), 1000), (64, 96), 0.0, 0.5, 100)
    assert len(found)
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [96, 64, 96, 64]).all()
    assert (found.scores[:-1] >= found.scores[1:]).all()


@pytest.mark.parametrize("part", ["objectness", "proposals", "classes", "boxes"])
def test_each_loss_reaches_the_trunk(part: str) -> None:
    image, box = one_square()
    network = small()
    parts = network.joint_loss(image, [box], [torch.tensor([1])], seed=1)
    getattr(parts, part).backward()
    for parameter in network.backbone.body.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    again = network.joint_loss(image, [box], [torch.tensor([1])], seed=1)
    assert again.total == parts.total


def test_a_batch_without_objects_is_taught_that_there_is_nothing() -> None:
    parts = small().joint_loss(torch.randn(2, 3, 32, 48), [NONE[0]] * 2, [NONE[1]] * 2)
    assert parts.proposals == 0
    assert parts.boxes == 0
    assert parts.objectness > 0
    assert torch.isfinite(parts.total)


def test_weights_that_are_no_numbers_find_nothing() -> None:
    network = small().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(math.nan)
        (found,) = found_in(network(torch.randn(1, 3, 32, 48)).tensors((32, 48), 1000), (32, 48), 0.05, 0.5)
    assert len(found) == 0


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(BadRecipe, match=r"2 maps .* need 3 sizes"):
        FasterRCNN(_Small(), (8, 12), (4, 8), 1, anchors=(32, 64))
    with pytest.raises(BadRecipe, match="mlp gives no feature maps"):
        faster_rcnn_on(build("mlp", 10, 3, (32, 32)), "mlp", 1)
