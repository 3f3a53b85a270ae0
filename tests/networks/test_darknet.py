"""Darknet-53 against timm's, and against the paper's tables."""

import pytest
import torch
from agree import assert_agrees
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.networks.darknet import Darknet53, Residual, darknet53


def on_meta():
    with torch.device("meta"):
        return darknet53()


def test_it_answers_as_timms_with_its_weights(timm):
    torch.manual_seed(0)
    theirs = timm.create_model("darknet53")
    for module in theirs.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.1  # timm's is 0.01, Darknet's 0.1
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # timm lets blocks begin as their shortcuts
    ours = darknet53()
    # Names are our own, but both list the layers in the paper's order.
    assert_agrees(
        ours, theirs, (64, 96), rename=lambda state: dict(zip(ours.state_dict(), state.values(), strict=True))
    )


def test_it_has_as_many_parameters_as_its_line_says():
    assert sum(p.numel() for p in on_meta().parameters()) == 41_609_928


def test_it_has_the_53_layers_of_its_name():
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in on_meta().modules()) == 53


def test_its_stages_are_those_of_table_1_on_any_shape():
    sizes = {}
    network = on_meta()
    for stage in darknet53.entry.stages:
        module = network.get_submodule(stage.module)
        module.register_forward_hook(lambda m, i, out, s=stage: sizes.__setitem__(s, tuple(out.shape[1:])))
    network(torch.empty(2, 3, 256, 320, device="meta"))
    assert list(sizes.values()) == [(64, 128, 160), (128, 64, 80), (256, 32, 40), (512, 16, 20), (1024, 8, 10)]
    assert all(size == (s.channels, 256 // s.stride, 320 // s.stride) for s, size in sizes.items())


def test_it_costs_the_18_7_billion_operations_of_table_2():
    counter = FlopCounterMode(display=False)
    with counter:
        on_meta().eval()(torch.empty(1, 3, 256, 256, device="meta"))
    assert counter.get_total_flops() == pytest.approx(18.7e9, rel=0.01)


def test_nothing_follows_the_sum_of_a_block():
    block = Residual(8).eval()
    nn.init.zeros_(block.wide.norm.weight)
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(block(x), x)  # negative numbers too


@pytest.mark.parametrize("size", [(1, 1), (33, 20)])
def test_any_size_trains(size):
    torch.manual_seed(0)
    network = Darknet53(num_classes=3, in_channels=1).train()
    logits = network(torch.randn(2, 1, *size))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()
