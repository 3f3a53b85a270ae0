"""YOLOv3 is Darknet's network to the last value, learns what the paper says, and learns on any trunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from found import found_in
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from record_darknet import weights_file
from torch import Tensor, nn

from foveal.errors import BadData, BadModel, BadRecipe
from foveal.files.darknet import parse_cfg, read_weights
from foveal.networks.catalogue import NETWORKS
from foveal.tasks.heads._yolo_boxes import Priors
from foveal.tasks.heads.anchors import anchors_from, coverage
from foveal.tasks.heads.darknet import DarknetNetwork, load_darknet
from foveal.tasks.heads.yolov3 import TINY_ANCHORS, YOLOV3_ANCHORS, YOLOv3, scaled, yolov3, yolov3_on, yolov3_tiny
from foveal.tasks.heads.yolov3_loss import assign, yolov3_loss

# --- Darknet's networks -----------------------------------------------------------------------------------------------


def _sound_values(network: DarknetNetwork) -> NDArray[np.float32]:
    """As many values as its weights file holds, of a size that keeps the maps finite; all different but by chance."""
    generator = np.random.default_rng(3)
    parts = []
    for layer in network.layers:
        if hasattr(layer, "pair"):
            conv, norm = layer.pair  # type: ignore[operator,misc]
            n, fan_in = conv.out_channels, conv.weight[0].numel()  # type: ignore[has-type]
            bias, mean = generator.normal(0, 0.1, (2, n))
            scale, var = generator.uniform(0.5, 1.5, (2, n))
            parts += [bias, scale, mean, var] if norm is not None else [bias]  # type: ignore[has-type]
            parts.append(generator.standard_normal(n * fan_in, dtype=np.float32) / math.sqrt(fan_in))
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize(("build", "count"), [(yolov3, 62_001_757), (yolov3_tiny, 8_858_734)])
def test_a_published_files_length_is_consumed_and_both_networks_compute_the_same(
    build: Callable[[], YOLOv3], count: int, tmp_path: Path
) -> None:
    network = build().eval()
    text = network.cfg(64, 96)
    (tmp_path / "net.cfg").write_text(text)
    flat = _sound_values(DarknetNetwork(parse_cfg(text)))
    assert len(flat) == count == network.values
    path = tmp_path / "net.weights"
    path.write_bytes(weights_file(flat))
    darknets = load_darknet(tmp_path / "net.cfg", path)
    assert network.load(read_weights(path, count)) == count
    assert network.priors == darknets.priors
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for told, wanted in zip(network(x), darknets(x), strict=True):
            assert torch.isfinite(told).all()
            torch.testing.assert_close(told, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    for size, words in (
        (path.stat().st_size - 4, "too short .* by 1 value "),
        (path.stat().st_size + 4, "too long .* 1 "),
    ):
        with path.open("r+b") as file:
            file.truncate(size)
        with pytest.raises(BadModel, match=words):
            load_darknet(tmp_path / "net.cfg", path)


def _numbers(text: str, kind: str) -> list[int]:
    return [i - 1 for i, section in enumerate(parse_cfg(text)) if section.kind == kind]


def test_layers_have_the_numbers_of_the_authors_cfg_files() -> None:
    with torch.device("meta"):
        whole, tiny = yolov3(), yolov3_tiny()
    assert _numbers(whole.cfg(), "yolo") == [82, 94, 106]
    assert [s.text("layers") for s in parse_cfg(whole.cfg()) if s.kind == "route"] == ["79", "85,61", "91", "97,36"]
    assert _numbers(tiny.cfg(), "yolo") == [16, 23]
    assert [s.text("layers") for s in parse_cfg(tiny.cfg()) if s.kind == "route"] == ["13", "19,8"]
    masks = [s.integers("mask", 0, 8) for s in parse_cfg(whole.cfg()) if s.kind == "yolo"]
    assert masks == [(6, 7, 8), (3, 4, 5), (0, 1, 2)]


def test_values_land_where_darknets_order_puts_them() -> None:
    network = yolov3_tiny(num_classes=2)
    flat = np.arange(1, network.values + 1, dtype=np.float32)
    network.load(flat)
    first = network.trunk.convolutions[0]  # type: ignore[index,union-attr]
    assert first.norm.bias[3] == 4
    assert first.norm.weight[3] == 16 + 4
    assert first.norm.running_mean[3] == 32 + 4
    assert first.norm.running_var[3] == 48 + 4
    assert first.conv.weight[1, 2, 0].tolist() == [64 + 27 + 18 + k for k in (1, 2, 3)]
    assert network.levels[1].boxes.weight.flatten()[-1] == len(flat)  # type: ignore[union-attr,index]
    with pytest.raises(BadModel, match="the layers need"):
        network.load(flat[:-1])


def test_the_cfg_tells_ones_own_anchors_even_when_two_are_equal() -> None:
    network = yolov3_tiny(num_classes=1, anchors=((5, 6.25), (7, 7), (7, 7), (30, 20)))
    assert DarknetNetwork(parse_cfg(network.cfg(64, 96))).priors == network.priors
    assert network.priors[0].anchors == ((7, 7), (30, 20))


# --- maps -------------------------------------------------------------------------------------------------------------


class _Small(nn.Module):
    """Maps of stride 8 and 16 with 24 and 48 channels."""

    def __init__(self) -> None:
        super().__init__()
        sides = [(3, 12), (12, 16), (16, 24), (24, 48)]
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o in sides
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps[2:]


def test_each_level_answers_at_its_stride_and_odd_sides_fit() -> None:
    network = YOLOv3(_Small(), (24, 48), 4, TINY_ANCHORS, convolutions=(1, 3)).eval()
    with torch.no_grad():
        coarse, fine = network(torch.zeros(2, 3, 72, 120))
    assert coarse.shape == (2, 27, 5, 8)
    assert fine.shape == (2, 27, 9, 15)
    assert network.priors[0].anchors == TINY_ANCHORS[3:]


@pytest.mark.parametrize(("name", "strides"), [("resnet18", (8, 16, 32)), ("squeezenet1_1", (4, 8, 16))])
def test_any_network_of_the_zoo_carries_the_head(name: str, strides: tuple[int, ...]) -> None:
    network = yolov3_on(NETWORKS[name].build(num_classes=5), name, 3)
    outputs = network(torch.rand(2, 3, 97, 130))
    assert [priors.anchors for priors in network.priors] == [YOLOV3_ANCHORS[i : i + 3] for i in (6, 3, 0)]
    for output, stride in zip(outputs, reversed(strides), strict=True):
        assert output.shape[:2] == (2, 24)
        assert abs(output.shape[2] - 97 / stride) <= 1
        assert abs(output.shape[3] - 130 / stride) <= 1
    parts = yolov3_loss(outputs, BOXES[:2], LABELS[:1] + LABELS[1:2], network.priors, (97, 130))
    parts.total.backward()
    head = [*network.levels.parameters(), *network.lateral.parameters()]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head)
    with pytest.raises(BadRecipe, match="3 maps; give a multiple of 3"):
        yolov3_on(NETWORKS[name].build(num_classes=5), name, 2, YOLOV3_ANCHORS[:4])
    with pytest.raises(BadRecipe, match="mlp gives no maps to detect on"):
        yolov3_on(network, "mlp", 2)


def test_first_answers_are_the_priors_without_an_object() -> None:
    torch.manual_seed(0)
    network = YOLOv3(_Small(), (24, 48), 4, TINY_ANCHORS)
    outputs = network(torch.rand(2, 3, 64, 96))
    for output in outputs:
        raw = output.detach().view(2, 3, 9, *output.shape[2:])
        assert 0.003 < raw[:, :, 4].sigmoid().mean() < 0.03
        assert raw[:, :, 2:4].abs().mean() < 0.5
    assert all(len(objects) == 0 for objects in found_in(network.tensors(outputs, (64, 96)), (64, 96)))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadRecipe, match="5 anchors cannot be shared out among 2 maps"):
        YOLOv3(_Small(), (24, 48), 4, TINY_ANCHORS[:5])
    other = YOLOv3(_Small(), (24, 48), 4, TINY_ANCHORS)
    for call in (other.cfg, lambda: other.load(np.zeros(3, np.float32))):
        with pytest.raises(BadRecipe, match="only YOLOv3 on Darknet-53 or on the tiny trunk"):
            call()


# --- prior boxes ------------------------------------------------------------------------------------------------------


def test_anchors_of_clusters_are_their_middles_smallest_first() -> None:
    generator = np.random.default_rng(1)
    middles = np.array([[10.0, 14], [60, 20], [25, 70], [200, 180]])
    boxes = np.repeat(middles, 50, axis=0) * generator.uniform(0.95, 1.05, (200, 2))
    found = anchors_from(generator.permutation(boxes), 4, seed=7)
    np.testing.assert_allclose(found, middles[np.argsort(middles.prod(1))], rtol=0.02)
    assert coverage(boxes, found) > 0.93


def test_the_same_seed_gives_the_same_anchors_and_more_of_them_cover_better() -> None:
    boxes = np.exp(np.random.default_rng(2).normal(3, 1, (400, 2)))
    assert np.array_equal(anchors_from(boxes, 5, seed=1), anchors_from(boxes, 5, seed=1))
    covered = [coverage(boxes, anchors_from(boxes, k)) for k in (1, 2, 4, 6, 9)]
    assert covered == sorted(covered)
    assert covered[-1] > 0.5
    assert coverage(boxes, anchors_from(boxes, 9)) > coverage(boxes, np.array(YOLOV3_ANCHORS))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=12, unique=True), st.data())
def test_as_many_anchors_as_sizes_are_the_sizes(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    doubled = sizes + data.draw(st.lists(st.sampled_from(sizes), max_size=5))
    found = anchors_from(np.array(doubled), len(sizes))
    assert sorted(map(tuple, found.tolist())) == sorted(sizes)


def test_boxes_that_cannot_give_anchors_are_refused() -> None:
    with pytest.raises(BadData, match="9 prior boxes need boxes of at least 9 different sizes; there are 2"):
        anchors_from(np.array([[3, 4], [3, 4], [5, 6]]))
    for odd in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(BadData, match="finite and above 0"):
            anchors_from(np.array([[3.0, odd]]), 1)


def test_anchors_follow_the_pictures_size() -> None:
    assert scaled(((10, 20),), 208, 832) == ((20, 10),)


# --- what is learnt ---------------------------------------------------------------------------------------------------

PRIORS = (Priors(((40.0, 30.0), (20.0, 60.0)), 3), Priors(((6.0, 8.0), (16.0, 10.0)), 3))
GRIDS, SIZE = ((4, 6), (8, 12)), (64, 96)
BOXES = [
    torch.tensor([[2.0, 3, 9, 10], [30, 20, 75, 52], [50, 1, 68, 62], [31, 21, 74, 51]]),
    torch.zeros(0, 4),
    torch.tensor([[90.0, 60, 96, 64], [0, 0, 96, 64]]),
]
LABELS = [torch.tensor([0, 2, 1, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([1, 1])]


def _iou(a: list[float], b: list[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def _deltas(outputs: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """What a Darknet program writes into the gradient of each raw value, place by place and object by object."""
    deltas = [np.zeros_like(output) for output in outputs]
    for n, (boxes, labels) in enumerate(zip(BOXES, LABELS, strict=True)):
        objects = sorted(zip(boxes.tolist(), labels.tolist(), strict=True), key=lambda o: -_area(o[0]))
        for output, delta, prior, (rows, columns) in zip(outputs, deltas, PRIORS, GRIDS, strict=True):
            for a, (wide, high) in enumerate(prior.anchors):
                for r in range(rows):
                    for c in range(columns):
                        x, y, w, h, objectness = output[n, a * 8 : a * 8 + 5, r, c]
                        cx, cy = (_sigmoid(x) + c) * 96 / columns, (_sigmoid(y) + r) * 64 / rows
                        w, h = wide * math.exp(w), high * math.exp(h)
                        said = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                        best = max([_iou(said, box) for box, _ in objects], default=0.0)
                        delta[n, a * 8 + 4, r, c] = 0 if best > 0.5 else _sigmoid(objectness)
        taken: dict[tuple[int, ...], set[int]] = {}
        for (x0, y0, x1, y1), label in objects:
            w, h = x1 - x0, y1 - y0
            every = [(m, a) for m in range(2) for a in range(2)]
            m, a = max(every, key=lambda place: _iou([0, 0, w, h], [0, 0, *PRIORS[place[0]].anchors[place[1]]]))
            rows, columns = GRIDS[m]
            gx, gy = (x0 + x1) / 2 / 96 * columns, (y0 + y1) / 2 / 64 * rows
            c, r, anchor = int(gx), int(gy), PRIORS[m].anchors[a]
            raw, delta = outputs[m][n, a * 8 : a * 8 + 8, r, c], deltas[m][n, a * 8 : a * 8 + 8, r, c]
            weight = 2 - w * h / (96 * 64)
            delta[0], delta[1] = weight * (_sigmoid(raw[0]) - (gx - c)), weight * (_sigmoid(raw[1]) - (gy - r))
            delta[2], delta[3] = (
                weight * (raw[2] - math.log(w / anchor[0])),
                weight * (raw[3] - math.log(h / anchor[1])),
            )
            delta[4] = _sigmoid(raw[4]) - 1
            taken.setdefault((m, a, r, c), set()).add(label)
            for k in range(3):
                delta[5 + k] = _sigmoid(raw[5 + k]) - (k in taken[m, a, r, c])
    return deltas


def test_the_gradient_is_darknets_place_by_place() -> None:
    generator = torch.Generator().manual_seed(8)
    outputs = [torch.randn(3, 16, *grid, generator=generator).mul_(0.7) for grid in GRIDS]
    outputs[0][0, :4, 2, 2] = torch.tensor([3.0, -1, 0.1, 0.05])  # beside the best places, and overlapping as well
    outputs[0][2, :4, 2, 2] = torch.tensor([4.0, -4, 0.9, 0.7])
    outputs = [output.requires_grad_() for output in outputs]
    parts = yolov3_loss(outputs, BOXES, LABELS, PRIORS, SIZE)
    (parts.total * 3).backward()  # a mean over three pictures
    wanted = _deltas([output.detach().double().numpy() for output in outputs])
    counted = [np.count_nonzero(delta[:, [4, 12]] == 0) for delta in wanted]
    assert sum(counted) >= 2  # left alone
    for output, delta in zip(outputs, wanted, strict=True):
        assert output.grad is not None
        np.testing.assert_allclose(output.grad.numpy(), delta, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.total, parts.box + parts.objectness + parts.classes)


def test_an_object_goes_to_one_place_and_objects_in_one_place_share_it() -> None:
    coarse, fine = assign(BOXES, LABELS, PRIORS, GRIDS, SIZE)
    assert (len(coarse.picture), len(fine.picture)) == (3, 2)  # two of the six meet
    meeting = (coarse.picture == 0) & (coarse.prior == 0)
    assert coarse.classes[meeting].tolist() == [[1, 0, 1]]
    np.testing.assert_allclose(coarse.offset[meeting][0, 2:], np.log([43 / 40, 30 / 30]), rtol=1e-5)  # the smaller's
    corner = fine.picture == 2
    assert (int(fine.row[corner]), int(fine.column[corner])) == (7, 11)


def test_a_batch_without_objects_teaches_stillness() -> None:
    outputs = [torch.zeros(2, 16, *grid, requires_grad=True) for grid in GRIDS]
    empty = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    parts = yolov3_loss(outputs, *empty, PRIORS, SIZE)
    parts.total.backward()
    assert parts.box == parts.classes == 0
    assert math.isclose(parts.objectness.item(), math.log(2) * 2 * (24 + 96), rel_tol=1e-5)


def test_it_learns_where_and_what_on_any_trunk() -> None:
    torch.manual_seed(1)
    generator = np.random.default_rng(1)
    images, boxes, labels = torch.full((8, 3, 64, 96), 0.5), [], []
    for i in range(8):
        w, h = generator.integers(12, 40), generator.integers(12, 40)
        x, y, label = generator.integers(0, 96 - w), generator.integers(0, 64 - h), i % 2
        images[i, label * 2, y : y + h, x : x + w] = 1.0  # red or blue
        boxes.append(torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32))
        labels.append(torch.tensor([label]))
    own = anchors_from(np.array([[b[0, 2] - b[0, 0], b[0, 3] - b[0, 1]] for b in boxes]), 4)
    network = YOLOv3(_Small(), (24, 48), 2, [(w, h) for w, h in own], convolutions=(1, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for _ in range(120):
        parts = yolov3_loss(network(images), boxes, labels, network.priors, SIZE)
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
    with torch.no_grad():
        told = found_in(network.tensors(network(images), SIZE), SIZE, score=0.5)
    for objects, box, label in zip(told, boxes, labels, strict=True):
        assert objects.labels.tolist() == label.tolist()
        assert _iou(objects.xyxy[0].tolist(), box[0].tolist()) > 0.8
