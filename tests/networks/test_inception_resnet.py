"""Inception-ResNet v2 against timm's; v1, which no library has, against its paper and a slow reading of its figures."""

import math

import pytest
import torch
from agree import assert_agrees
from torch.nn import functional as F

from foveal.networks import inception_resnet
from foveal.networks.inception_resnet import (
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    ReductionB,
    inception_resnet_v1,
    inception_resnet_v2,
)

BOTH = [inception_resnet_v1, inception_resnet_v2]


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def shapes():
    """Shapes of what every module gives, in the order of its calls; nothing is computed."""

    def follow(builder, height, width):
        with torch.device("meta"):
            network, seen = builder().eval(), {}
            for name, module in network.named_modules():
                module.register_forward_hook(lambda m, i, out, n=name: seen.setdefault(n, []).append(tuple(out.shape)))
            network(torch.empty(1, 3, height, width))
        assert set(seen) == {name for name, _ in network.named_modules()}
        return seen

    return follow


@pytest.fixture(scope="module")
def v1():
    torch.manual_seed(0)
    return inception_resnet_v1(num_classes=7)


def test_v2_answers_as_timms_with_its_weights(timm):
    theirs = timm.create_model("inception_resnet_v2", pretrained=False)
    assert_agrees(inception_resnet_v2(), theirs, (107, 139))


def test_v2_has_55_843_464_parameters_as_timms(timm):
    with torch.device("meta"):
        counts = [count(inception_resnet_v2()), count(timm.create_model("inception_resnet_v2", pretrained=False))]
    assert counts == [55_843_464, 55_843_464]


def test_v1_has_the_parameters_that_its_docstring_derives():
    with torch.device("meta"):
        network = inception_resnet_v1()
    names = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a", "conv2d_4b")
    stem = sum(count(getattr(network, name)) for name in names)
    parts = [network.repeat, network.mixed_6a, network.repeat_1, network.mixed_7a, network.repeat_2, network.classif]
    counts = [stem, *map(count, parts)]
    assert counts == [615_552, 387_200, 1_710_080, 6_900_480, 3_346_176, 8_003_840, 1_793_000]
    assert count(network) == sum(counts) == 22_756_328
    for number in (*counts, count(network)):
        assert f" {number:,}\n".replace(",", " ") in inception_resnet.__doc__


def test_maps_of_v1_have_the_sizes_of_the_papers_figures(shapes):
    seen = shapes(inception_resnet_v1, 299, 299)
    stem = {
        "conv2d_1a": (32, 149, 149),
        "conv2d_2a": (32, 147, 147),
        "conv2d_2b": (64, 147, 147),
        "maxpool_3a": (64, 73, 73),
        "conv2d_3b": (80, 73, 73),
        "conv2d_4a": (192, 71, 71),
        "conv2d_4b": (256, 35, 35),
    }
    modules = {
        **{f"repeat.{i}": (256, 35, 35) for i in range(5)},
        "mixed_6a": (896, 17, 17),
        **{f"repeat_1.{i}": (896, 17, 17) for i in range(10)},
        "mixed_7a": (1792, 8, 8),
        **{f"repeat_2.{i}": (1792, 8, 8) for i in range(5)},
    }
    for name, shape in {**stem, **modules}.items():
        assert seen[name] == [(1, *shape)], name
    assert seen["flatten"] == [(1, 1792)]


def test_maps_of_v2_have_the_papers_sizes_and_the_published_channels(shapes):
    seen = shapes(inception_resnet_v2, 299, 299)
    published = {
        "conv2d_4a": (192, 71, 71),
        "mixed_5b": (320, 35, 35),
        "repeat.9": (320, 35, 35),
        "mixed_6a": (1088, 17, 17),
        "repeat_1.19": (1088, 17, 17),
        "mixed_7a": (2080, 8, 8),
        "repeat_2.8": (2080, 8, 8),
        "block8": (2080, 8, 8),
        "conv2d_7b": (1536, 8, 8),
    }
    for name, shape in published.items():
        assert seen[name] == [(1, *shape)], name


def test_the_papers_own_v2_would_not_add_up():
    """Why the published one is built: its figures 17 and 19 print 1154 and 2048 channels."""
    reduced_a = 384 + 384 + 384  # the stem's, and n and m of table 1
    x = torch.randn(1, reduced_a, 7, 5)
    assert reduced_a == 1152
    assert ReductionB(reduced_a, b=288, c=288, d=320).eval()(x).shape == (1, 2144, 3, 2)


@pytest.mark.parametrize("builder", BOTH)
def test_every_module_runs_once_and_stages_are_where_the_record_says(builder, shapes):
    seen, stages = shapes(builder, 107, 299), builder.entry.stages
    assert all(len(calls) == 1 for calls in seen.values())
    assert [seen[stage.module][0][2:] for stage in stages] == [(51, 147), (23, 71), (11, 35), (5, 17), (2, 8)]
    assert [seen[stage.module][0][1] for stage in stages] == [stage.channels for stage in stages]


def test_nothing_is_in_place(v1):
    assert not any(getattr(module, "inplace", False) for module in v1.modules())


def slowly(layer, x, padding=(0, 0)):
    """A convolution, batch norm of testing and ReLU, from their formulas."""
    mean, variance, gain, shift = (
        values[None, :, None, None]
        for values in (layer.bn.running_mean, layer.bn.running_var, layer.bn.weight, layer.bn.bias)
    )
    y = F.conv2d(x, layer.conv.weight, padding=padding)
    return ((y - mean) / (variance + 0.001).sqrt() * gain + shift).clamp(min=0)


def module_a(block, x):
    ways = [
        slowly(block.branch0, x),
        slowly(block.branch1[1], slowly(block.branch1[0], x), (1, 1)),
        slowly(block.branch2[2], slowly(block.branch2[1], slowly(block.branch2[0], x), (1, 1)), (1, 1)),
    ]
    return ways, 0.17


def module_b(block, x):
    long = slowly(block.branch1[2], slowly(block.branch1[1], slowly(block.branch1[0], x), (0, 3)), (3, 0))
    return [slowly(block.branch0, x), long], 0.10


def module_c(block, x):
    long = slowly(block.branch1[2], slowly(block.branch1[1], slowly(block.branch1[0], x), (0, 1)), (1, 0))
    return [slowly(block.branch0, x), long], 0.20


@pytest.mark.parametrize(
    ("block", "ways_of"),
    [
        (lambda: InceptionResNetA(20, b=32, c=32), module_a),
        (lambda: InceptionResNetB(24, wide=12, a=12, b=12), module_b),
        (lambda: InceptionResNetC(28, b=192, c=192), module_c),
    ],
    ids=["fig. 10", "fig. 11", "fig. 13"],
)
def test_a_module_adds_a_scaled_linear_mixture_of_its_ways(block, ways_of):
    torch.manual_seed(0)
    block = block().double().eval()
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, block.conv2d.out_channels, 6, 9, dtype=torch.float64)
    with torch.no_grad():
        ways, scale = ways_of(block, x)
        mixture = torch.einsum("oc,nchw->nohw", block.conv2d.weight[:, :, 0, 0], torch.cat(ways, dim=1))
        expected = (x + scale * (mixture + block.conv2d.bias[:, None, None])).clamp(min=0)
        torch.testing.assert_close(block(x), expected)


def test_without_a_correction_a_module_passes_on_what_it_received():
    block = InceptionResNetB(24, wide=12, a=12, b=12).eval()
    torch.nn.init.zeros_(block.conv2d.weight)
    torch.nn.init.zeros_(block.conv2d.bias)
    x = torch.rand(2, 24, 6, 9)
    assert torch.equal(block(x), x)


def test_only_the_last_module_of_v2_is_unscaled_and_may_answer_below_zero():
    with torch.device("meta"):
        network = inception_resnet_v2()
    blocks = [*network.repeat, *network.repeat_1, *network.repeat_2, network.block8]
    assert [type(block.relu) for block in blocks] == [torch.nn.ReLU] * 39 + [torch.nn.Identity]
    assert [block.scale.factor for block in blocks] == [0.17] * 10 + [0.10] * 20 + [0.20] * 9 + [1.0]


def test_v1_trains_at_its_smallest_side_and_says_no_below(v1):
    images = torch.randn(3, 3, 75, 83)
    logits = v1.train()(images)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in v1.parameters())
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"size|Output"):
        v1(images[:, :, :74])
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"size|Output"):
        v1(images[:, :, :, :74])


@pytest.mark.parametrize("builder", BOTH)
def test_it_drops_a_fifth_before_its_classifier_as_the_paper_does(builder):
    with torch.device("meta"):
        assert builder().dropout.p == 0.2
        network = builder(num_classes=7, in_channels=1, dropout=0.0)
    assert network.dropout.p == 0.0
    assert network.get_submodule(builder.entry.classifier).weight.shape == (7, builder.entry.stages[-1].channels)
    assert network.conv2d_1a.conv.weight.shape == (32, 1, 3, 3)


def test_published_weights_are_described_as_timm_does(timm):
    theirs, record = timm.models.get_pretrained_cfg("inception_resnet_v2.tf_in1k"), inception_resnet_v2.entry.weights
    assert record.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
    assert record.licence.lower() == theirs.license
    prepare, (_, height, width) = record.preprocess, theirs.input_size
    assert (prepare.height, prepare.width) == (height, width)
    assert math.ceil(height / prepare.crop_fraction) == math.floor(height / theirs.crop_pct)
    assert prepare.interpolation == theirs.interpolation
    assert (prepare.mean, prepare.std) == (theirs.mean, theirs.std)
    assert record.top1 == 80.462  # timm's results/results-imagenet.csv
