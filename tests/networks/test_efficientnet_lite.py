"""EfficientNet-Lite against its reference implementation, the tensors of the published files, and real pictures."""

import json
import math
import re
from importlib import metadata

import numpy as np
import pytest
import torch
from agree import assert_agrees
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.files.foreign import read_foreign
from foveal.networks import efficientnet_lite
from foveal.networks.blocks import SqueezeExcite
from foveal.networks.catalogue import NETWORKS
from foveal.networks.efficientnet import StochasticDepth
from foveal.networks.efficientnet_lite import InvertedResidual, SamePadding, plain_names
from foveal.networks.layers import layers
from foveal.networks.weights import find_published, load_published

COUNTS = {
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}
MILLIONS = dict(zip(COUNTS, (407, 631, 899, 1440, 2640), strict=True))  # multiply-adds [README], norms counted as well
SIDES = dict(zip(COUNTS, (224, 240, 260, 280, 300), strict=True))
WITH_WEIGHTS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@pytest.fixture(scope="module")
def reference():
    """`reference(name, image_size=…)` builds theirs; without a size it pads for whatever picture comes."""
    theirs = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch, an oracle of the development lock, is missing"
    )

    def build(name, **arguments):
        return theirs.EfficientNet.from_name(name.replace("_", "-"), **arguments).eval()

    return build


@pytest.fixture(scope="module")
def published():
    """`published(name)`: the tensors of the installed package's file, as it names them."""
    for name in WITH_WEIGHTS:
        package = NETWORKS[name].weights.package.name
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{package}, of the development lock, is not installed")
    kept = {}

    def tensors(name):
        if name not in kept:
            kept[name] = read_foreign(find_published(NETWORKS[name]).path)
        return kept[name]

    return tensors


def without_memory(name):
    with torch.device("meta"):
        return getattr(efficientnet_lite, name)().eval()


def both(name, reference, published, **arguments):
    """Theirs and ours with the published weights."""
    theirs, ours = reference(name, **arguments), getattr(efficientnet_lite, name)().eval()
    theirs.load_state_dict(published(name))
    assert load_published(ours, NETWORKS[name], published(name)) == ()
    return theirs, ours


# ------------------------------------------------------------------------------------------------ the architecture


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_the_parameters_tensors_and_settings_of_the_reference(name, count, reference):
    with torch.device("meta"):
        theirs = reference(name)
    ours = without_memory(name)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == count
    shapes = {key: value.shape for key, value in plain_names(theirs.state_dict()).items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
    for kind, *keys in (
        (nn.Conv2d, "kernel_size", "groups", "dilation"),
        (nn.BatchNorm2d, "eps", "momentum"),
        (nn.Linear, "out_features"),
        (nn.Dropout, "p"),
    ):
        assert settings(ours, kind, *keys) == pytest.approx(settings(theirs, kind, *keys))
    assert [m.stride for m in ours.modules() if isinstance(m, nn.Conv2d)] == [
        tuple(m.stride) for m in theirs.modules() if isinstance(m, nn.Conv2d)
    ]
    assert not any(isinstance(m, SqueezeExcite | nn.SiLU) for m in ours.modules())
    assert sum(isinstance(m, nn.ReLU6) for m in ours.modules()) == 2 * len(ours.blocks) + 1  # one fewer in the first


def settings(network, kind, *keys):
    return [value for m in network.modules() if isinstance(m, kind) for key in keys for value in flat(getattr(m, key))]


def flat(value):
    return list(value) if isinstance(value, tuple | list) else [value]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_the_published_tensors_are_its_own(name, published):
    tensors, ours = published(name), without_memory(name)
    assert {key: v.shape for key, v in plain_names(tensors).items()} == {
        key: v.shape for key, v in ours.state_dict().items()
    }
    statistics = re.compile(r"running_(mean|var)|num_batches_tracked")
    assert sum(v.numel() for key, v in tensors.items() if not statistics.search(key)) == COUNTS[name]


def test_names_of_our_own_stay_and_theirs_become_plain():
    theirs = ["_conv_stem.weight", "_bn0.bias", "_blocks.12._bn0.weight", "_blocks.3._bn1.bias", "_bn1.weight",
              "_blocks.3._project_conv.weight", "_conv_head.weight", "_fc.bias"]  # fmt: skip
    plain = ["stem.conv.weight", "stem.norm.bias", "blocks.12.expand.norm.weight", "blocks.3.depthwise.norm.bias",
             "head.norm.weight", "blocks.3.project.conv.weight", "head.conv.weight", "classifier.bias"]  # fmt: skip
    assert list(plain_names(dict.fromkeys(theirs))) == plain
    assert list(plain_names(dict.fromkeys(plain))) == plain
    assert list(plain_names({"_blocks.x._bn0.weight": 0, "_bn2.bias": 0, "": 0})) == [
        "_blocks.x._bn0.weight",
        "_bn2.bias",
        "",
    ]


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_multiply_adds_are_those_of_the_publication(name, millions):
    """Theirs count norms as well, which ours does not: a twentieth of the whole."""
    side = SIDES[name]
    assert NETWORKS[name].natural == side
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        without_memory(name)(torch.empty(1, 3, side, side, device="meta"))
    assert 0.94 < counter.get_total_flops() / 2e6 / millions < 0.98


@pytest.mark.parametrize("name", COUNTS)
def test_stages_are_the_last_of_their_stride(name):
    network, entry, last = without_memory(name), NETWORKS[name], {}
    x = network.stem(torch.empty(1, 3, 128, 96, device="meta"))
    for path, part in [*((f"blocks.{i}", block) for i, block in enumerate(network.blocks)), ("head", network.head)]:
        x = part(x)
        last[128 // x.shape[2]] = (path, tuple(x.shape))
    stages = {s.stride: (s.module, (1, s.channels, 128 // s.stride, 96 // s.stride)) for s in entry.stages}
    assert stages == last
    assert isinstance(network.get_submodule(entry.block), InvertedResidual)
    assert network.get_submodule(entry.block).shortcut


def test_stem_head_and_both_end_stages_stay_as_they_are_in_lite0():
    small, large = (without_memory(name) for name in ("efficientnet_lite0", "efficientnet_lite4"))
    assert small.stem.conv.out_channels == large.stem.conv.out_channels == 32
    assert small.head.conv.out_channels == large.head.conv.out_channels == 1280
    depths = [[b.project.conv.out_channels for b in network.blocks] for network in (small, large)]
    runs = [[row.count(c) for c in dict.fromkeys(row)] for row in depths]
    assert runs[0] == [1, 2, 2, 3, 3, 4, 1]
    assert runs[1] == [1, 4, 4, 6, 6, 8, 1]  # ⌈1.8 · 2⌉ = 4


def test_a_block_counts_as_by_hand():
    """24 channels in, 144 wide, 5×5, 40 out; no gate."""
    up, depthwise, down = 24 * 144 + 2 * 144, 25 * 144 + 2 * 144, 144 * 40 + 2 * 40
    block = InvertedResidual(24, 40, expansion=6, kernel=5, stride=2, drop=0.0)
    parts = (block.expand, block.depthwise, block.project)
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == [up, depthwise, down]
    assert block(torch.randn(2, 24, 9, 14)).shape == (2, 40, 5, 7)


def test_branches_are_left_out_more_often_the_deeper_they_lie():
    rates = [m.p for m in without_memory("efficientnet_lite0").modules() if isinstance(m, StochasticDepth)]
    blocks = [2, 4, 6, 7, 9, 10, 12, 13, 14]  # of 16, counted from 0: those with a shortcut
    assert rates == pytest.approx([0.2 * block / 16 for block in blocks])


def test_one_pixel_is_enough():
    assert NETWORKS["efficientnet_lite0"].smallest == 1
    assert efficientnet_lite.efficientnet_lite0(num_classes=3).train()(torch.randn(2, 3, 1, 2)).shape == (2, 3)


# ----------------------------------------------------------------------------------------------------- its padding


@given(n=st.integers(1, 60), kernel=st.sampled_from((1, 3, 5, 7)), stride=st.integers(1, 4))
def test_padding_gives_a_position_every_stride_and_its_odd_zero_behind(n, kernel, stride):
    before, behind = SamePadding(kernel, stride).along(n)
    positions = math.ceil(n / stride)
    assert 0 <= behind - before <= 1
    assert (n + before + behind - kernel) // stride + 1 == positions
    if before + behind:  # no zero too many: the last window ends with the last of them
        assert (positions - 1) * stride + kernel == n + before + behind


def test_padding_tells_height_from_width():
    x = torch.arange(1.0, 13).view(1, 1, 4, 3)
    out = SamePadding(kernel_size=3, stride=2)(x)
    assert out.shape == (1, 1, 5, 5)  # a row below the four, a column on either side of the three
    assert torch.equal(out[0, 0, :4, 1:4], x[0, 0])
    assert out.sum() == x.sum()
    assert SamePadding(kernel_size=5, stride=2)(x).shape == (1, 1, 7, 7)  # 1 + 4 + 2 by 2 + 3 + 2


def test_padding_is_what_a_slow_loop_does():
    """Windows every other row and column, as TensorFlow lays them: beginning at 0 of four rows, at −1 of five."""
    x, weight = torch.randn(4, 5), torch.randn(3, 3)
    out = nn.functional.conv2d(SamePadding(3, 2)(x[None, None]), weight[None, None], stride=2)[0, 0]
    for row in range(2):
        for column in range(3):
            total = 0.0
            for i in range(3):
                for j in range(3):
                    y, z = 2 * row + i, 2 * column - 1 + j
                    if y < 4 and 0 <= z < 5:
                        total += (x[y, z] * weight[i, j]).item()
            assert out[row, column].item() == pytest.approx(total, abs=1e-5)


def test_the_layer_table_knows_where_windows_begin():
    """A 3×3 window's centre lies at pixel 1 of an even side, at 0 of an odd one."""
    table = layers(without_memory("efficientnet_lite0"), size=(64, 65), in_channels=3)
    stem = next(layer for layer in table.layers if layer.name == "stem.conv")
    assert stem.as_dict()["offset"] == [1, 0]
    assert (stem.shape, stem.as_dict()["receptive_field"]) == ((32, 32, 33), [3, 3])


# ------------------------------------------------------------------------------------------- against the reference


def test_it_answers_as_the_reference_with_random_weights_and_its_slopes(reference):
    torch.manual_seed(0)
    theirs = reference("efficientnet_lite3", image_size=None)
    assert_agrees(efficientnet_lite.efficientnet_lite3(), theirs, size=(66, 97), rename=plain_names)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_logits_of_the_published_weights_are_the_references_at_the_natural_size(name, reference, published):
    theirs, ours = both(name, reference, published)  # padded for this size once and for all, as they publish it
    torch.manual_seed(1)
    images = torch.randn(2, 3, SIDES[name], SIDES[name])
    with torch.no_grad():
        want, got = theirs(images), ours(images)
    assert want.abs().max() > 1
    assert (got - want).norm() <= 1e-5 * want.norm()


@pytest.mark.parametrize("size", [(97, 131), (98, 130), (131, 98), (33, 70), (1, 2)])
def test_logits_of_the_published_weights_are_the_references_at_odd_sizes(size, reference, published):
    theirs, ours = both("efficientnet_lite0", reference, published, image_size=None)
    torch.manual_seed(1)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        want, got, turned = theirs(images), ours(images), ours(images.transpose(2, 3))
    assert (got - want).norm() <= 1e-5 * want.norm()
    assert (turned - want).norm() > 1e-3 * want.norm()


# --------------------------------------------------------------------------------------- the record of the weights


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_package_says_its_licence_in_a_file_and_not_in_its_metadata(name, published):
    record = NETWORKS[name].weights
    package = metadata.distribution(record.package.name)
    assert package.metadata["License"] in (None, "UNKNOWN")
    text = next(file for file in package.files if file.name == "LICENSE").read_text()
    assert "Apache License, Version 2.0" in text
    assert record.licence.startswith("Apache-2.0 (its LICENSE file says so")
    assert package.version in record.package.versions
    assert find_published(NETWORKS[name]).package == f"{record.package.name} {package.version}"


@pytest.mark.parametrize(("name", "top1"), list(zip(WITH_WEIGHTS, (75.1, 76.7, 77.6), strict=True)))
def test_pictures_are_prepared_as_published(name, top1):
    """(x − 127) / 128 of a centre crop, 32 pixels less than what the shorter side was resized to."""
    record, side = NETWORKS[name].weights, SIDES[name]
    way = record.preprocess
    assert record.top1 == top1
    assert (way.height, way.width, way.interpolation) == (side, side, "bicubic")
    assert way.height / way.crop_fraction == pytest.approx(side + 32)
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = torch.tensor([-127 / 128, 0, 1])
    assert torch.allclose(way.tensor(pixels).flatten(), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "first", "five"), [("efficientnet_lite0", 44, 49), ("efficientnet_lite2", 43, 50)])
def test_with_its_published_weights_it_names_real_pictures(name, first, five, reference, published, real_data):
    """As many of 50 as the reference gets right, which is asked about ten of them to be sure."""
    theirs, ours = both(name, reference, published)
    way = NETWORKS[name].weights.preprocess
    classes = [row["wnid"] for row in json.loads(real_data("imagenet_classes.json").read_text())]
    paths = sorted(real_data("imagenet-samples").glob("*.JPEG"))
    images = way.tensor(torch.from_numpy(np.stack([way.pixels(path) for path in paths])))
    with torch.inference_mode():
        logits = torch.cat([ours(part) for part in images.split(10)])
        want = theirs(images[::5].contiguous())
    assert (logits[::5] - want).norm() <= 1e-5 * want.norm()
    truths = torch.tensor([classes.index(path.name[:9]) for path in paths])
    right = logits.topk(5).indices == truths[:, None]
    assert len(paths) == 50
    assert (int(right[:, 0].sum()), int(right.any(1).sum())) == (first, five)
