"""RoIAlign against a loop over regions, cells and samples, and against torchvision's own Python."""

from __future__ import annotations

import importlib
import math
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.ops.roi import roi_align


def bilinear(plane: torch.Tensor, y: float, x: float) -> float:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * float(plane[top, left]) + dx * float(plane[top, right])
    lower = (1 - dx) * float(plane[below, left]) + dx * float(plane[below, right])
    return (1 - dy) * upper + dy * lower


def by_the_book(maps, regions, pictures, size, scale, samples, aligned) -> torch.Tensor:
    out = torch.zeros(len(regions), maps.shape[1], *size, dtype=maps.dtype)
    for k, region in enumerate(regions.tolist()):
        x1, y1, x2, y2 = (v * scale - 0.5 * aligned for v in region)
        wide, high = x2 - x1, y2 - y1
        if not aligned:
            wide, high = max(wide, 1.0), max(high, 1.0)
        cell_x, cell_y = wide / size[1], high / size[0]
        across, down = samples or math.ceil(cell_x), samples or math.ceil(cell_y)
        for c in range(maps.shape[1]):
            for i in range(size[0]):
                for j in range(size[1]):
                    total = 0.0
                    for v in range(down):
                        for u in range(across):
                            y = y1 + (i + (v + 0.5) / down) * cell_y
                            x = x1 + (j + (u + 0.5) / across) * cell_x
                            total += bilinear(maps[pictures[k], c], y, x)
                    out[k, c, i, j] = total / max(across * down, 1)
    return out


def some(seed: int, n: int, outside: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps 7 × 11 of pictures of 28 × 44, and regions on them."""
    torch.manual_seed(seed)
    corners = torch.rand(n, 2, dtype=torch.float64) * torch.tensor([40.0, 24.0]) - outside
    sides = torch.rand(n, 2, dtype=torch.float64) * torch.tensor([36.0, 24.0])
    maps = torch.randn(2, 3, 7, 11, dtype=torch.float64)
    return maps, torch.cat([corners, corners + sides], 1), torch.randint(0, 2, (n,))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3), st.booleans(), st.sampled_from([(2, 3), (1, 1), (3, 2)]))
def test_regions_are_those_of_the_loop(seed: int, samples: int, aligned: bool, size: tuple[int, int]) -> None:
    maps, regions, pictures = some(seed, 4, outside=12)
    fast = roi_align(maps, regions, pictures, size, 0.25, samples, aligned)
    slow = by_the_book(maps, regions, pictures, size, 0.25, samples, aligned)
    assert torch.allclose(fast, slow, atol=1e-9)


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_regions_and_slopes_are_torchvisions(torchvision: ModuleType, samples: int, aligned: bool) -> None:
    theirs = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    maps, regions, pictures = some(3, 20, outside=0)
    regions[:, 2:] = torch.minimum(regions[:, 2:], torch.tensor([44.0, 28.0], dtype=torch.float64))
    slopes = []
    for found in (
        roi_align(maps.requires_grad_(), regions, pictures, (7, 5), 0.25, samples, aligned),
        theirs(maps, torch.cat([pictures[:, None], regions], 1), 0.25, 7, 5, samples, aligned),
    ):
        slopes += [found, *torch.autograd.grad(found.square().sum(), maps)]
    assert torch.allclose(slopes[0], slopes[2], atol=1e-9)
    assert torch.allclose(slopes[1], slopes[3], atol=1e-9)


def test_a_slope_stays_a_slope() -> None:
    ramp = torch.arange(12.0).expand(1, 1, 8, 12)
    found = roi_align(ramp, torch.tensor([[2.0, 1, 8, 7]]), torch.tensor([0]), (2, 3), aligned=True)
    assert found[0, 0].tolist() == [[2.5, 4.5, 6.5]] * 2


def test_no_regions_and_regions_without_area_are_no_trouble() -> None:
    maps = torch.ones(1, 2, 4, 6)
    assert roi_align(maps, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (7, 7)).shape == (0, 2, 7, 7)
    flat = torch.tensor([[1.0, 1, 1, 3], [3, 3, 2, 2]])
    first = torch.zeros(2, dtype=torch.int64)
    assert torch.isfinite(roi_align(maps, flat, first, (2, 2), aligned=True)).all()
    assert roi_align(maps, flat, first, (2, 2)).eq(1).all()
