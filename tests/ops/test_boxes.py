"""Boxes against slow obvious arithmetic on a grid of pixels, and against torchvision."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.ops.boxes import (
    box_area,
    box_iou,
    complete_iou,
    cxcywh_to_xyxy,
    elementwise_iou,
    generalized_iou,
    map_boxes,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from foveal.ops.geometry import flip_matrix, linear_about, scale_matrix, translation

corner = st.integers(0, 20)
box = st.tuples(corner, corner, st.integers(1, 12), st.integers(1, 9)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
boxes = st.lists(box, min_size=1, max_size=6)


def on_grid(xyxy: tuple[int, int, int, int]) -> np.ndarray:
    grid = np.zeros((30, 34), bool)
    grid[xyxy[1] : xyxy[3], xyxy[0] : xyxy[2]] = True
    return grid


@given(boxes, boxes)
def test_overlaps_are_those_of_painted_pixels(a: list, b: list) -> None:
    found = box_iou(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    for i, one in enumerate(a):
        assert box_area(torch.tensor(one)) == on_grid(one).sum()
        for j, other in enumerate(b):
            both, either = on_grid(one) & on_grid(other), on_grid(one) | on_grid(other)
            assert found[i, j] == pytest.approx(both.sum() / either.sum())


def test_many_boxes_overlap_as_few_do() -> None:
    torch.manual_seed(0)
    corners = torch.rand(700, 2) * 90
    many = torch.cat([corners, corners + torch.rand(700, 2) * 30], 1)
    at_once = elementwise_iou(many[:, None].expand(-1, 700, -1), many[None].expand(700, -1, -1))
    assert torch.allclose(box_iou(many, many), at_once, atol=1e-6)


def test_boxes_without_area_overlap_nothing() -> None:
    flat = torch.tensor([[3.0, 3, 3, 9], [5, 5, 5, 5], [9, 9, 2, 2]])
    assert box_iou(flat, flat).max() == 0
    assert box_iou(flat, torch.zeros(0, 4)).shape == (3, 0)
    assert torch.isfinite(generalized_iou(flat, flat)).all()


def test_overlaps_are_torchvisions(torchvision: ModuleType) -> None:
    from torchvision.ops import complete_box_iou, generalized_box_iou

    torch.manual_seed(1)
    corners = torch.rand(40, 2, dtype=torch.float64) * 50
    a = torch.cat([corners, corners + 1 + torch.rand(40, 2, dtype=torch.float64) * 30], 1)
    b = a.roll(7, 0) + 3
    assert torch.allclose(generalized_iou(a, b), generalized_box_iou(a, b).diagonal(), atol=1e-6)
    assert torch.allclose(complete_iou(a, b), complete_box_iou(a, b).diagonal(), atol=1e-6)


@pytest.mark.parametrize("measure", [elementwise_iou, generalized_iou, complete_iou])
def test_slopes_are_finite_wherever_a_box_lies(measure) -> None:
    a = torch.tensor([[0.0, 0, 4, 6], [5, 5, 5, 5], [0, 0, 2, 2], [3, 3, 1, 1], [0, 0, 1e4, 1e-3]], requires_grad=True)
    b = torch.tensor([[0.0, 0, 4, 6], [5, 5, 5, 5], [30, 30, 40, 41], [0, 0, 9, 9], [0, 0, 1, 1]])
    measure(a, b).sum().backward()
    assert torch.isfinite(a.grad).all()


def test_what_is_apart_is_pulled_together() -> None:
    away = torch.tensor([[40.0, 40, 50, 50]], requires_grad=True)
    generalized_iou(away, torch.tensor([[0.0, 0, 10, 10]])).sum().backward()
    assert (away.grad[0, :2] < 0).all()


@given(boxes)
def test_every_way_to_write_a_box_leads_back(a: list) -> None:
    xyxy = torch.tensor(a, dtype=torch.float64)
    assert torch.equal(xywh_to_xyxy(xyxy_to_xywh(xyxy)), xyxy)
    assert torch.allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(xyxy)), xyxy)
    assert xyxy_to_xywh(xyxy)[0].tolist() == [a[0][0], a[0][1], a[0][2] - a[0][0], a[0][3] - a[0][1]]
    assert xyxy_to_cxcywh(xyxy)[0].tolist()[:2] == [(a[0][0] + a[0][2]) / 2, (a[0][1] + a[0][3]) / 2]


@settings(max_examples=40, deadline=None)
@given(box, st.booleans(), st.booleans(), st.integers(-9, 9), st.integers(-9, 9))
def test_boxes_go_where_their_pixels_go(xyxy: tuple, across: bool, down: bool, dx: int, dy: int) -> None:
    matrix = translation(dx, dy) @ flip_matrix(across, down, 34, 30)
    painted = on_grid(xyxy)
    if across:
        painted = painted[:, ::-1]
    if down:
        painted = painted[::-1]
    wide = np.pad(painted, 10)[10 - dy : 40 - dy, 10 - dx : 44 - dx]
    moved, kept = map_boxes(matrix, np.array([xyxy], np.float64), 34, 30, visible=0.5, least=1.0)
    share = wide.sum() / painted.sum()
    assert kept[0] == (share >= 0.5)
    if share > 0:
        assert np.array_equal(on_grid(tuple(int(v) for v in moved[0])), wide)


def test_a_turned_box_is_the_smallest_upright_one_around_it() -> None:
    quarter = linear_about(0, 0, np.array([90.0]), np.array([0.0]), np.array([1.0]))[0]
    moved, kept = map_boxes(translation(20, 0) @ quarter, np.array([[2.0, 3, 10, 5]]), 40, 40)
    assert moved[0] == pytest.approx([15, 2, 17, 10])
    assert kept[0]
    shrunk, small = map_boxes(scale_matrix(0.1, 1.0), np.array([[0.0, 0, 10, 10]]), 40, 40, least=2.0)
    assert shrunk[0] == pytest.approx([0, 0, 1, 10])
    assert not small[0]
    none, nothing = map_boxes(np.eye(3), np.zeros((0, 4)), 40, 40)
    assert none.shape == (0, 4)
    assert nothing.shape == (0,)
