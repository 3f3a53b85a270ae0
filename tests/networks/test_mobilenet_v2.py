"""MobileNet v2 against torchvision's, and against the tables of its paper."""

import pytest
import torch
from agree import assert_agrees
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.networks.mobilenet_v2 import InvertedResidual, mobilenet_v2


@pytest.fixture(scope="module")
def shapes():
    """The network without memory."""
    with torch.device("meta"):
        return mobilenet_v2().eval()


def test_it_answers_as_torchvisions_with_its_weights(torchvision):
    assert_agrees(mobilenet_v2(), torchvision.models.mobilenet_v2(), size=(64, 96))


def test_its_dropout_and_norms_are_torchvisions(shapes, torchvision):
    with torch.device("meta"):
        theirs = torchvision.models.mobilenet_v2()
    norms = [
        {name: (m.eps, m.momentum) for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        for network in (shapes, theirs)
    ]
    assert norms[0] == norms[1]
    assert shapes.classifier[0].p == theirs.classifier[0].p == 0.2


def test_the_record_of_its_weights_is_torchvisions(torchvision):
    theirs = torchvision.models.get_model_weights("mobilenet_v2").IMAGENET1K_V1
    ours, shown = mobilenet_v2.entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


def test_it_has_3_504_872_parameters_and_300_million_multiply_adds(shapes):
    assert sum(p.numel() for p in shapes.parameters()) == 3_504_872  # 3.4M [table 4]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.empty(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() / 2e6 == pytest.approx(300, rel=0.01)  # [table 4]


def test_its_maps_are_those_of_table_2(shapes):
    x, maps = torch.empty(1, 3, 224, 160, device="meta"), []
    for block in shapes.features:
        x = block(x)
        maps.append((x.shape[1], x.shape[2], x.shape[3]))
    want = [(32, 112), (16, 112), *[(24, 56)] * 2, *[(32, 28)] * 3, *[(64, 14)] * 4, *[(96, 14)] * 3]
    want += [*[(160, 7)] * 3, (320, 7), (1280, 7)]
    assert maps == [(channels, side, side * 5 // 7) for channels, side in want]


def test_a_block_counts_as_by_hand():
    """16 channels in, 6 · 16 = 96 wide, 24 out."""
    block = InvertedResidual(16, 24, stride=2, expansion=6)
    by_hand = (16 * 96 + 2 * 96) + (9 * 96 + 2 * 96) + (96 * 24 + 2 * 24)
    assert sum(p.numel() for p in block.parameters()) == by_hand
    assert block(torch.randn(2, 16, 9, 14)).shape == (2, 24, 5, 7)


def test_bottlenecks_are_linear_at_their_thin_ends():
    """Twice what enters the last convolution is twice what leaves the block: no activation stands behind it."""
    block = InvertedResidual(8, 12, stride=1, expansion=6).eval()
    wide = torch.randn(2, 48, 4, 6)
    down, norm = block.conv[-2:]
    assert torch.allclose(norm(down(-2 * wide)), -2 * norm(down(wide)), atol=1e-5)
    assert (block(torch.randn(2, 8, 4, 6)) < 0).any()


def test_a_shortcut_joins_blocks_that_keep_their_shape_and_no_others(shapes):
    with_shortcut = [i for i, block in enumerate(shapes.features) if getattr(block, "shortcut", False)]
    assert with_shortcut == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    block = InvertedResidual(8, 8, stride=1, expansion=6).eval()
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(block(x), block.conv(x) + x)


def test_stages_are_the_last_of_their_stride(shapes):
    x, entry, last = torch.empty(1, 3, 128, 96, device="meta"), mobilenet_v2.entry, {}
    for i, part in enumerate(shapes.features):
        x = part(x)
        last[128 // x.shape[2]] = (f"features.{i}", tuple(x.shape))
    stages = {s.stride: (s.module, (1, s.channels, 128 // s.stride, 96 // s.stride)) for s in entry.stages}
    assert stages == last
    assert isinstance(shapes.get_submodule(entry.block), InvertedResidual)
    assert isinstance(shapes.get_submodule(entry.classifier), nn.Linear)


def test_each_module_runs_once_and_none_in_place(shapes):
    runs = {}
    leaves = {name: m for name, m in shapes.named_modules() if not list(m.children())}
    hooks = [
        m.register_forward_hook(lambda m, i, o, name=name: runs.update({name: runs.get(name, 0) + 1}))
        for name, m in leaves.items()
    ]
    shapes(torch.empty(1, 3, 64, 96, device="meta"))
    for hook in hooks:
        hook.remove()
    assert runs == dict.fromkeys(leaves, 1)
    assert not any(getattr(m, "inplace", False) for m in leaves.values())


def test_grey_pictures_of_any_shape_have_logits():
    network = mobilenet_v2(num_classes=7, in_channels=1, dropout=0.0)
    assert network(torch.randn(2, 1, 37, 90)).shape == (2, 7)


def test_one_pixel_is_enough_and_none_is_not():
    network = mobilenet_v2(num_classes=3).train()
    assert mobilenet_v2.entry.smallest == 1
    assert network(torch.randn(2, 3, 1, 2)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        network(torch.randn(2, 3, 0, 2))
