"""Suppression against the greedy loop of the book."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.ops import suppression
from foveal.ops.boxes import box_iou
from foveal.ops.suppression import batched_nms, nms, soft_nms


def crowd(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes that overlap much, with many equal scores."""
    torch.manual_seed(seed)
    corners = torch.rand(n, 2) * torch.tensor([40.0, 25.0])
    scores = torch.randint(0, 12, (n,)) / 12
    return torch.cat([corners, corners + 4 + torch.rand(n, 2) * 12], 1), scores, torch.randint(0, 3, (n,))


def by_the_book(xyxy: torch.Tensor, scores: torch.Tensor, iou: float) -> list[int]:
    left = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if box_iou(xyxy[best][None], xyxy[i][None])[0, 0] <= iou]
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_what_stays_is_what_the_greedy_loop_leaves(n: int, seed: int, iou: float) -> None:
    xyxy, scores, _ = crowd(n, seed)
    assert nms(xyxy, scores, iou).tolist() == by_the_book(xyxy, scores, iou)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    xyxy, scores, _ = crowd(300, 5)
    whole = nms(xyxy, scores)
    monkeypatch.setattr(suppression, "BLOCK", 16)
    assert torch.equal(nms(xyxy, scores), whole)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10_000))
def test_classes_leave_each_other_alone(n: int, seed: int) -> None:
    xyxy, scores, labels = crowd(n, seed)
    slow = []
    for label in range(3):
        own = (labels == label).nonzero()[:, 0]
        slow += own[by_the_book(xyxy[own], scores[own], 0.4)].tolist()
    slow.sort(key=lambda i: (-float(scores[i]), i))
    assert batched_nms(xyxy, scores, labels, 0.4).tolist() == slow


@pytest.mark.parametrize("method", ["gaussian", "linear"])
def test_soft_suppression_lowers_what_overlaps_and_drops_nothing_else(method: str) -> None:
    xyxy = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 45]])
    kept, scores = soft_nms(xyxy, torch.tensor([0.9, 0.8, 0.5]), method=method, iou=0.3, sigma=0.5)
    lowered = 0.8 * (torch.exp(torch.tensor(-(0.8**2) / 0.5)) if method == "gaussian" else 0.2)
    wanted = sorted([(0.9, 0), (float(lowered), 1), (0.5, 2)], reverse=True)
    assert kept.tolist() == [index for _, index in wanted]
    assert scores.tolist() == pytest.approx([score for score, _ in wanted])


def test_soft_suppression_keeps_scores_in_order_and_names_its_methods() -> None:
    xyxy, scores, _ = crowd(50, 1)
    _, lowered = soft_nms(xyxy, scores)
    assert (lowered.diff() <= 1e-7).all()
    with pytest.raises(ValueError, match="gaussian"):
        soft_nms(xyxy, scores, method="cubic")
