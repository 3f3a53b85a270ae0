"""GoogLeNet against torchvision's, and its first form against the paper's table."""

import math

import pytest
import torch
import torch.nn.functional as F
from agree import assert_agrees, with_statistics

from foveal.networks.entry import WithAuxiliary, imagenet
from foveal.networks.googlenet import GoogLeNet, googlenet, googlenet_2014

ORIGINAL_ROWS = {  # [table 1]: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
ORIGINAL_SIZES = [  # [table 1 and fig. 3], in the order in which a picture passes: channels and side of what comes out
    ("conv1", 64, 112),
    ("maxpool1", 64, 56),
    ("norm1", 64, 56),
    ("conv2", 64, 56),
    ("conv3", 192, 56),
    ("norm2", 192, 56),
    ("maxpool2", 192, 28),
    ("inception3a", 256, 28),
    ("inception3b", 480, 28),
    ("maxpool3", 480, 14),
    ("inception4a", 512, 14),
    ("inception4b", 512, 14),
    ("inception4c", 512, 14),
    ("inception4d", 528, 14),
    ("inception4e", 832, 14),
    ("maxpool4", 832, 7),
    ("inception5a", 832, 7),
    ("inception5b", 1024, 7),
    ("avgpool", 1024, 1),
]


def on_meta(build, **arguments) -> GoogLeNet:
    with torch.device("meta"):
        return build(**arguments)


def count(network) -> int:
    return sum(p.numel() for p in network.parameters())


def shapes_of(network, images, names):
    """What each named module gave, in the order in which they were called."""
    seen = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.__setitem__(n, out.shape))
    network(images)
    return seen


def test_it_answers_as_torchvisions(torchvision):
    theirs = torchvision.models.googlenet(aux_logits=False, init_weights=False)
    assert_agrees(googlenet(aux=False), theirs, (96, 128))


def test_in_training_its_three_answers_are_torchvisions(torchvision):
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(
        num_classes=10, aux_logits=True, init_weights=False, dropout=0.0, dropout_aux=0.0
    )
    ours = googlenet(num_classes=10, dropout=0.0)
    ours.aux1.dropout.p = ours.aux2.dropout.p = 0.0
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 96, 144)
    with torch.no_grad():
        want, got = theirs.train()(images), ours.train()(images)
    assert isinstance(got, WithAuxiliary)
    assert got.weight == 0.3
    for ours_, theirs_ in zip(
        (got.logits, *got.auxiliary), (want.logits, want.aux_logits1, want.aux_logits2), strict=True
    ):
        assert theirs_.abs().max() > 0.1
        assert (ours_ - theirs_).norm() <= 1e-5 * theirs_.norm()


@pytest.mark.parametrize("build", [googlenet, googlenet_2014])
def test_auxiliary_answers_come_in_training_alone_and_on_request(build):
    network, images = on_meta(build, num_classes=5), torch.empty(2, 3, 80, 96, device="meta")
    in_training = network.train()(images)
    assert [logits.shape for logits in (in_training.logits, *in_training.auxiliary)] == [(2, 5)] * 3
    assert network.eval()(images).shape == (2, 5)
    bare = on_meta(build, num_classes=5, aux=False)
    assert bare.train()(images).shape == (2, 5)
    assert not [name for name in bare.state_dict() if name.startswith("aux")]


def test_parameters_with_and_without_the_auxiliary_classifiers():
    assert count(on_meta(googlenet)) == 13_004_888
    assert count(on_meta(googlenet, aux=False)) == 6_624_904
    assert count(on_meta(googlenet_2014)) == 13_378_280
    assert count(on_meta(googlenet_2014, aux=False)) == 6_998_552


def test_published_weights_are_torchvisions(torchvision):
    weights, ours = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1, googlenet.entry.weights
    assert ours.url == weights.url
    assert ours.url.endswith(f"-{ours.sha256}.pth")
    assert ours.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    preset, mine = weights.transforms(), ours.preprocess
    assert [mine.height, mine.width] == preset.crop_size * 2
    assert math.ceil(mine.height / mine.crop_fraction) == preset.resize_size[0]
    assert mine.interpolation == preset.interpolation.value


def test_pixels_in_minus_one_to_one_stand_for_torchvisions_input_transform(torchvision):
    torch.manual_seed(2)
    preset = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    pixels = torch.randint(0, 256, (2, 80, 96, 3), dtype=torch.uint8)
    normalised = torchvision.transforms.functional.normalize(pixels.permute(0, 3, 1, 2) / 255, preset.mean, preset.std)
    theirs = torchvision.models.googlenet(aux_logits=False, transform_input=True, init_weights=False)
    with_statistics(theirs, normalised)
    ours = googlenet(aux=False).eval()
    ours.load_state_dict(theirs.state_dict())
    mine, wanted = googlenet.entry.weights.preprocess.tensor(pixels), theirs._transform_input(normalised)
    assert (mine - wanted).norm() <= 1e-6 * wanted.norm()
    with torch.no_grad():
        want, got, otherwise = theirs(normalised), ours(mine), ours(imagenet().tensor(pixels))
    # The inputs agree to the last bit of a float32; random layers make a few thousand of that.
    assert (got - want).norm() <= 1e-3 * want.norm()
    assert (otherwise - want).norm() > 0.1 * want.norm()


@pytest.mark.parametrize("build", [googlenet, googlenet_2014])
def test_its_record_states_the_true_smallest_sides(build):
    network, smallest = build(num_classes=3, aux=False).train(), build.entry.smallest
    network(torch.randn(2, 3, smallest + 5, smallest))
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 3, smallest + 5, smallest - 1))
    network, smallest = build(num_classes=3).train(), build.entry.auxiliary
    assert network(torch.randn(2, 3, smallest + 5, smallest)).auxiliary[1].shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 3, smallest + 5, smallest - 1))


def test_the_original_gives_the_papers_maps_in_the_papers_order():
    images = torch.empty(1, 3, 224, 224, device="meta")
    seen = shapes_of(on_meta(googlenet_2014), images, [name for name, _, _ in ORIGINAL_SIZES])
    assert list(seen.items()) == [(name, (1, channels, side, side)) for name, channels, side in ORIGINAL_SIZES]


def test_the_original_modules_have_the_rows_of_the_papers_table():
    network = on_meta(googlenet_2014)
    for name, (ones, reduce3, threes, reduce5, fives, projected) in ORIGINAL_ROWS.items():
        convolutions = [m for m in network.get_submodule(name).modules() if isinstance(m, torch.nn.Conv2d)]
        assert [(c.out_channels, c.kernel_size[0]) for c in convolutions] == [
            (ones, 1), (reduce3, 1), (threes, 3), (reduce5, 1), (fives, 5), (projected, 1)
        ]  # fmt: skip


def test_the_original_has_biases_and_response_norms_and_no_batch_norm():
    modules = list(on_meta(googlenet_2014).modules())
    assert not [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.bias is not None for m in modules if isinstance(m, torch.nn.Conv2d))
    assert len([m for m in modules if isinstance(m, torch.nn.LocalResponseNorm)]) == 2
    assert sorted(m.p for m in modules if isinstance(m, torch.nn.Dropout)) == [0.4, 0.7, 0.7]


def test_the_original_auxiliary_classifiers_see_the_papers_maps():
    network, images = on_meta(googlenet_2014).train(), torch.empty(2, 3, 224, 224, device="meta")
    seen = shapes_of(network, images, ["aux1.pool", "aux1.fc1", "aux2.pool", "aux2.fc1"])
    assert seen["aux1.pool"] == (2, 512, 4, 4)
    assert seen["aux2.pool"] == (2, 528, 4, 4)
    assert seen["aux1.fc1"] == seen["aux2.fc1"] == (2, 1024)


def test_an_original_module_is_its_four_branches_by_hand():
    torch.manual_seed(3)
    module = googlenet_2014(aux=False).inception3a
    x = torch.randn(2, 192, 6, 9)

    def step(x, name):
        conv = module.get_submodule(name)
        return F.conv2d(x, conv.weight, conv.bias, padding="same").clamp(min=0)

    want = [
        step(x, "branch1.conv"),
        step(step(x, "branch2.0.conv"), "branch2.1.conv"),
        step(step(x, "branch3.0.conv"), "branch3.1.conv"),
        step(F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-math.inf), 3, 1), "branch4.1.conv"),
    ]
    torch.testing.assert_close(module(x), torch.cat(want, dim=1))


def test_every_parameter_of_the_original_learns_and_logits_begin_at_a_sensible_size():
    torch.manual_seed(4)
    network = googlenet_2014(num_classes=4).train()
    out = network(torch.randn(2, 3, 80, 96))
    assert 0.01 < out.logits.abs().max() < 30
    (out.logits.square().sum() + out.weight * sum(a.square().sum() for a in out.auxiliary)).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
