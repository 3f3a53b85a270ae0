"""The default detector: its shapes, what its places say, which of them learn, and that it learns to find things."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from found import found_in

from foveal.errors import BadRecipe
from foveal.networks.catalogue import build
from foveal.ops.boxes import box_iou
from foveal.tasks.detect import Detect
from foveal.tasks.heads._assignment import FIT, PLACES, SURE, aligned_loss, assign
from foveal.tasks.heads.yolo import BINS, PlaceOutputs, Yolo, _places, pyramid_width, strides_for


def detector(size: tuple[int, int] = (64, 96), classes: int = 3, trunk: str = "yolo_trunk_n") -> Yolo:
    torch.manual_seed(0)
    return Yolo(build(trunk, 1, 3, size), trunk, classes, size, width=16)


@pytest.mark.parametrize(
    ("trunk", "size"), [("yolo_trunk_n", (64, 96)), ("squeezenet1_1", (224, 288)), ("resnet18", (224, 256))]
)
def test_every_place_says_something_whatever_the_trunk(trunk: str, size: tuple[int, int]) -> None:
    said = detector(size, 3, trunk).eval()(torch.zeros(2, 3, *size))
    places = said.points.shape[0]
    assert said.classes.shape == (2, places, 3)
    assert said.sides.shape == (2, places, 4, BINS)
    wanted = sum((size[0] / s) * (size[1] / s) for s in strides_for(size))
    assert places == pytest.approx(wanted, rel=0.12)  # trunks without padding lose an edge
    assert said.points[:, 0].max() < size[1]
    assert said.points[:, 1].max() < size[0]
    assert said.points[:, 0].max() > said.points[:, 1].max()  # wider than high


def test_places_are_the_middles_of_their_cells_row_by_row_also_where_cells_are_no_squares() -> None:
    points, strides = _places([(3, 4), (1, 2)], (30, 80), torch.device("cpu"))
    slow = [((x + 0.5) * 80 / w, (y + 0.5) * 30 / h) for h, w in ((3, 4), (1, 2)) for y in range(h) for x in range(w)]
    assert points.tolist() == [pytest.approx(place) for place in slow]
    assert strides.tolist() == pytest.approx([200**0.5] * 12 + [1200**0.5] * 2)


def test_sides_are_distances_from_the_place_in_steps_of_its_map() -> None:
    sides = torch.full((1, 1, 4, BINS), -30.0)
    for side, distance in enumerate((1, 2, 3, 4)):
        sides[0, 0, side, distance] = 30.0
    said = PlaceOutputs(torch.zeros(1, 1, 1), sides, torch.tensor([[40.0, 20.0]]), torch.tensor([8.0]))
    assert said.boxes()[0, 0].tolist() == pytest.approx([32, 4, 64, 52])


def test_a_distribution_between_two_steps_lies_between_them() -> None:
    sides = torch.full((1, 1, 4, BINS), -30.0)
    sides[..., 2], sides[..., 3] = 5.0, 5.0
    said = PlaceOutputs(torch.zeros(1, 1, 1), sides, torch.zeros(1, 2), torch.tensor([4.0]))
    assert said.boxes()[0, 0].tolist() == pytest.approx([-10, -10, 10, 10])


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    points = torch.rand(40, 2) * torch.tensor([96.0, 64.0])
    boxes = torch.cat([points - torch.rand(40, 2) * 20, points + torch.rand(40, 2) * 20], 1)[None].repeat(2, 1, 1)
    scores = torch.rand(2, 40, 3)
    corner = torch.rand(2, 4, 2) * torch.tensor([60.0, 40.0])
    truth = torch.cat([corner, corner + 8 + torch.rand(2, 4, 2) * 24], 2)
    labels = torch.randint(0, 3, (2, 4, 1)).float()
    labels[1, 2:] = -1  # filling
    return scores, boxes, points, torch.cat([labels, truth], 2)


@pytest.mark.parametrize("seed", range(6))
def test_assignment_is_that_of_a_slow_obvious_loop(seed: int) -> None:
    scores, boxes, points, targets = random_case(seed)
    found = assign(scores, boxes, points, targets)
    for n in range(2):
        claims: dict[int, list[tuple[float, int, float]]] = {}
        best: dict[int, tuple[float, float]] = {}
        for m, row in enumerate(targets[n]):
            if row[0] < 0:
                continue
            fits = []
            for a, (x, y) in enumerate(points.tolist()):
                if row[1] < x < row[3] and row[2] < y < row[4]:
                    overlap = float(box_iou(row[None, 1:], boxes[n, a][None]))
                    fits.append((float(scores[n, a, int(row[0])]) ** SURE * overlap**FIT, a, overlap))
            for fit, a, overlap in sorted(fits, key=lambda f: -f[0])[:PLACES]:
                if fit > 1e-9:
                    claims.setdefault(a, []).append((overlap, m, fit))
        owners = {a: max(rows) for a, rows in claims.items()}
        for overlap, m, fit in owners.values():
            most, widest = best.get(m, (0.0, 0.0))
            best[m] = (max(most, fit), max(widest, overlap))
        assert found.learns[n].nonzero()[:, 0].tolist() == sorted(owners)
        for a, (_, m, fit) in owners.items():
            assert int(found.object[n, a]) == m
            worth = fit / best[m][0] * best[m][1]
            assert float(found.scores[n, a, int(targets[n, m, 0])]) == pytest.approx(worth, rel=1e-4)
            assert float(found.scores[n, a].sum()) == pytest.approx(worth, rel=1e-4)
            assert torch.equal(found.boxes[n, a], targets[n, m, 1:])


def test_a_picture_of_nothing_teaches_silence() -> None:
    net = detector()
    said = net(torch.randn(2, 3, 64, 96))
    for nothing in (torch.zeros(2, 0, 5), torch.full((2, 3, 5), -1.0)):
        loss = aligned_loss(said, nothing)
        assert torch.isfinite(loss)
        assert loss > 0
    loss.backward()
    assert net.classes.out.weight.grad.abs().sum() > 0


def test_padding_costs_nothing() -> None:
    torch.manual_seed(1)
    net = detector().eval()
    said = net(torch.randn(1, 3, 64, 96))
    target = torch.tensor([[[1.0, 10, 12, 50, 40]]])
    longer = torch.cat([target, torch.full((1, 3, 5), -1.0)], 1)
    assert torch.allclose(aligned_loss(said, target), aligned_loss(said, longer))


def test_two_pictures_are_learnt_by_heart() -> None:
    """A red box on the left and a blue one on the right, which H and W swapped would miss."""
    net = detector(classes=2).train()
    images = torch.zeros(2, 3, 64, 96)
    images[0, 0, 10:40, 5:30] = 3.0
    images[1, 2, 20:60, 50:90] = 3.0
    targets = torch.tensor([[[0.0, 5, 10, 30, 40]], [[1.0, 50, 20, 90, 60]]])
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    first = None
    for _ in range(120):
        loss = aligned_loss(net(images), targets)
        first = first if first is not None else loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first
    with torch.inference_mode():
        said = net(images)
    for found, target in zip(found_in(net.tensors(said, (64, 96)), (64, 96), score=0.1), targets, strict=True):
        assert int(found.labels[0]) == int(target[0, 0])
        assert box_iou(torch.from_numpy(found.xyxy[:1]).float(), target[:, 1:])[0, 0] > 0.8


def test_said_in_bf16_is_decoded_in_float32() -> None:
    net = detector().eval()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        said = net(torch.randn(1, 3, 64, 96))
    assert said.boxes().dtype == torch.float32
    assert (
        Detect(("a", "b", "c"), "yolo", (64, 96), net).loss(said, torch.tensor([[[0.0, 5, 5, 20, 20]]])).dtype
        == torch.float32
    )


def test_objects_are_clipped_limited_and_without_doubles() -> None:
    places = 50
    points = torch.rand(places, 2) * 40
    sides = torch.randn(1, places, 4, BINS) * 3
    said = PlaceOutputs(torch.randn(1, places, 2) * 2, sides, points, torch.full((places,), 8.0))
    (found,) = found_in(detector(classes=2).tensors(said, (32, 48)), (32, 48), score=0.2, iou=0.5, most=7)
    assert len(found) <= 7
    assert (np.diff(found.scores) <= 0).all()
    assert found.xyxy.min() >= 0
    assert found.xyxy[:, [0, 2]].max() <= 48
    assert found.xyxy[:, [1, 3]].max() <= 32
    for label in (0, 1):
        own = torch.from_numpy(found.xyxy[found.labels == label])
        assert (box_iou(own, own).triu(1) <= 0.5).all()


def test_a_trunk_without_fine_stages_is_refused() -> None:
    with pytest.raises(BadRecipe, match="no feature maps"):
        detector((224, 224), 2, "mlp")


def test_a_copy_learns_for_itself() -> None:
    net = detector()
    twin = copy.deepcopy(net)
    aligned_loss(twin(torch.randn(1, 3, 64, 96)), torch.tensor([[[0.0, 5, 5, 40, 40]]])).backward()
    assert all(p.grad is None for p in net.parameters())


def test_the_small_size_multiplies_about_as_often_as_yolo11n() -> None:
    """6.5 billion operations at 640² with 80 classes, as its authors state: 3.25 billion multiply-adds."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        trunk = build("yolo_trunk_n", 1, 3, (640, 640))
        network = Yolo(trunk, "yolo_trunk_n", 80, (640, 640), pyramid_width("yolo_trunk_n", (640, 640))).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 640, 640))
    assert counter.get_total_flops() / 2 == pytest.approx(3.25e9, rel=0.1)
