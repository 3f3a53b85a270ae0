"""Stages: the maps that the record promises, and nothing computed behind the last of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from foveal.errors import BadRecipe
from foveal.networks.catalogue import build, find
from foveal.networks.stages import Stages


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small", "vgg11", "densenet121"])
def test_maps_have_the_channels_and_strides_of_the_record(name: str) -> None:
    strides = [stage.stride for stage in find(name).stages if stage.stride >= 4]
    maps = Stages(build(name, 3, 3, (128, 192)).eval(), name, strides)
    with torch.inference_mode():
        found = maps(torch.zeros(1, 3, 128, 192))
    for tensor, stride, channels in zip(found, strides, maps.channels, strict=True):
        assert tensor.shape[1] == channels
        assert tensor.shape[2] == pytest.approx(128 / stride, abs=1)
        assert tensor.shape[3] == pytest.approx(192 / stride, abs=1)


def test_what_lies_behind_is_not_computed_and_gradients_flow() -> None:
    network = build("resnet18", 3, 3, (64, 96))
    behind = []
    network.layer4.register_forward_hook(lambda *_: behind.append(1))
    maps = Stages(network, "resnet18", (8, 16))
    found = maps(torch.randn(2, 3, 64, 96))
    assert not behind
    sum(tensor.sum() for tensor in found).backward()
    assert network.conv1.weight.grad is not None
    assert network.fc.weight.grad is None


def test_maps_are_those_of_the_whole_network() -> None:
    network = build("resnet18", 3, 3, (64, 96)).eval()
    images, kept = torch.randn(1, 3, 64, 96), []
    handle = network.layer3.register_forward_hook(lambda _m, _i, out: kept.append(out))
    network(images)
    handle.remove()
    assert torch.equal(Stages(network, "resnet18", (16,))(images)[0], kept[0])


def test_a_copy_has_maps_of_its_own() -> None:
    original = Stages(build("resnet18", 3, 3, (64, 96)).eval(), "resnet18", (8, 16))
    images = torch.randn(1, 3, 64, 96)
    twin = copy.deepcopy(original)
    assert torch.equal(twin(images)[1], original(images)[1])
    with torch.no_grad():
        twin.network.conv1.weight.zero_()
    assert not torch.equal(twin(images)[1], original(images)[1])


def test_a_stride_that_no_stage_has_is_named() -> None:
    with pytest.raises(BadRecipe, match="no stage of stride 32"):
        Stages(nn.Identity(), "squeezenet1_1", (8, 32))
