"""What is folded answers as before, and the network that was given stays as it was."""

from __future__ import annotations

import pytest
import torch
from agree import with_statistics
from torch import nn

from foveal.networks.catalogue import build
from foveal.networks.folding import folded
from foveal.tasks.heads import head_of
from foveal.tasks.heads.head import Architecture


@pytest.mark.parametrize("name", ["yolo_trunk_n", "vgg11_bn", "mobilenet_v2"])
def test_answers_stay_and_norms_go(name: str) -> None:
    torch.manual_seed(0)
    network = with_statistics(build(name, 10, 3, (64, 96)), torch.randn(4, 3, 64, 96)).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    answering = folded(network)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(answering(images), network(images), rtol=1e-4, atol=1e-4)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (network, answering)]
    assert norms[1] < 0.5 * norms[0]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_detector_says_the_same() -> None:
    torch.manual_seed(0)
    network = head_of("yolo").build(Architecture("yolo", "yolo_trunk_n", {}, 64), 3, 3, (64, 96))
    with_statistics(network, torch.randn(4, 3, 64, 96)).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for own, other in zip(folded(network)(images), network(images), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_a_norm_without_statistics_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU())
    assert isinstance(folded(network)[1], nn.BatchNorm2d)
