"""Inception v4 against timm's, and against the figures of its paper."""

import math

import pytest
import torch
from agree import assert_agrees

from foveal.networks.inception_v4 import Branches, ConvNormReLU, InceptionA, InceptionB, InceptionC, inception_v4

ENTRY = inception_v4.entry


@pytest.fixture(scope="module")
def ours():
    torch.manual_seed(0)
    return inception_v4()


@pytest.fixture
def shapes():
    """Shapes of what every module gives, in the order of its calls; nothing is computed."""

    def follow(height, width):
        with torch.device("meta"):
            network, seen = inception_v4().eval(), {}
            for name, module in network.named_modules():
                module.register_forward_hook(lambda m, i, out, n=name: seen.setdefault(n, []).append(tuple(out.shape)))
            network(torch.empty(1, 3, height, width))
        return seen

    return follow


def test_it_answers_as_timms_with_its_weights(ours, timm):
    assert_agrees(ours, timm.create_model("inception_v4", pretrained=False), (107, 139))


def test_it_has_42_679_816_parameters_as_timms(timm):
    with torch.device("meta"):
        theirs = timm.create_model("inception_v4", pretrained=False)
        counts = [sum(p.numel() for p in network.parameters()) for network in (inception_v4(), theirs)]
    assert counts == [42_679_816, 42_679_816]


def test_maps_have_the_sizes_of_the_papers_figures(shapes):
    seen = shapes(299, 299)
    stem = [(32, 149, 149), (32, 147, 147), (64, 147, 147), (160, 73, 73), (192, 71, 71), (384, 35, 35)]
    modules = [(384, 35, 35)] * 4 + [(1024, 17, 17)] * 8 + [(1536, 8, 8)] * 4
    for i, shape in enumerate(stem + modules):
        assert seen[f"features.{i}"] == [(1, *shape)], f"features.{i}"
    assert seen["flatten"] == [(1, 1536)]


def test_four_seven_and_three_modules_follow_the_stem(ours):
    kinds = [type(module) for module in ours.features]
    assert [kinds.count(kind) for kind in (InceptionA, InceptionB, InceptionC)] == [4, 7, 3]


def test_every_module_runs_once_and_nothing_is_in_place(shapes, ours):
    seen = shapes(107, 139)
    assert set(seen) == {name for name, _ in ours.named_modules()}
    assert all(len(calls) == 1 for calls in seen.values())
    assert not any(getattr(module, "inplace", False) for module in ours.modules())


def test_height_and_width_go_their_own_ways(shapes):
    seen = shapes(107, 299)
    assert [seen[stage.module][0][2:] for stage in ENTRY.stages] == [(51, 147), (23, 71), (11, 35), (5, 17), (2, 8)]
    assert [seen[stage.module][0][1] for stage in ENTRY.stages] == [stage.channels for stage in ENTRY.stages]


@pytest.mark.parametrize(
    ("kernel", "valid", "size"), [(1, False, (9, 12)), (3, True, (7, 10)), ((1, 7), False, (9, 12))]
)
def test_a_convolution_keeps_the_size_unless_it_is_marked_valid(kernel, valid, size):
    assert ConvNormReLU(2, 4, kernel, valid=valid)(torch.randn(2, 2, 9, 12)).shape == (2, 4, *size)


def test_branches_stand_behind_one_another_in_their_order():
    first, second = torch.nn.ReLU(), torch.nn.Tanh()
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(Branches(first, second)(x), torch.cat([first(x), second(x)], dim=1))


def test_it_trains_at_its_smallest_side_and_says_no_below(ours):
    images = torch.randn(2, 3, 75, 83)
    with torch.no_grad():
        assert ours.train()(images).isfinite().all()
        with pytest.raises(RuntimeError, match=r"size|Output"):
            ours(images[:, :, :74])
        with pytest.raises(RuntimeError, match=r"size|Output"):
            ours(images[:, :, :, :74])


def test_it_drops_a_fifth_before_its_classifier_as_the_paper_does():
    with torch.device("meta"):
        assert inception_v4().dropout.p == 0.2
        network = inception_v4(num_classes=7, in_channels=1, dropout=0.0)
    assert network.dropout.p == 0.0
    assert network.get_submodule(ENTRY.classifier).weight.shape == (7, 1536)
    assert network.features[0].conv.weight.shape == (32, 1, 3, 3)


def test_published_weights_are_described_as_timm_does(timm):
    theirs, record = timm.models.get_pretrained_cfg("inception_v4.tf_in1k"), ENTRY.weights
    assert record.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
    assert record.licence.lower() == theirs.license
    prepare, (_, height, width) = record.preprocess, theirs.input_size
    assert (prepare.height, prepare.width) == (height, width)
    assert math.ceil(height / prepare.crop_fraction) == math.floor(height / theirs.crop_pct)
    assert prepare.interpolation == theirs.interpolation
    assert (prepare.mean, prepare.std) == (theirs.mean, theirs.std)
    assert record.top1 == 80.156  # timm's results/results-imagenet.csv
