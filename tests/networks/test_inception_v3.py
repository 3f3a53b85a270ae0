"""Inception v3 against torchvision's."""

import math

import pytest
import torch
from agree import assert_agrees, with_statistics

from foveal.networks.entry import WithAuxiliary, imagenet
from foveal.networks.inception_v3 import inception_v3


def on_meta(**arguments):
    with torch.device("meta"):
        return inception_v3(**arguments)


def test_it_answers_as_torchvisions(torchvision):
    theirs = torchvision.models.inception_v3(aux_logits=False, init_weights=False)
    assert_agrees(inception_v3(aux=False), theirs, (96, 128))


def test_in_training_both_answers_are_torchvisions_and_below_299_pixels_there_is_none(torchvision):
    torch.manual_seed(0)
    theirs = torchvision.models.inception_v3(num_classes=10, aux_logits=True, init_weights=False, dropout=0.0)
    ours = inception_v3(num_classes=10, dropout=0.0)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    side = inception_v3.entry.auxiliary
    images = torch.randn(2, 3, side, side + 4)
    with torch.no_grad():
        want, got = theirs.train()(images), ours.train()(images)
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            ours(images[:, :, :-1])
    assert isinstance(got, WithAuxiliary)
    assert got.weight == 0.4
    for ours_, theirs_ in zip((got.logits, *got.auxiliary), (want.logits, want.aux_logits), strict=True):
        assert theirs_.abs().max() > 0.1
        assert (ours_ - theirs_).norm() <= 1e-5 * theirs_.norm()


def test_auxiliary_answers_come_in_training_alone_and_on_request():
    network, images = on_meta(num_classes=5), torch.empty(2, 3, 299, 310, device="meta")
    in_training = network.train()(images)
    assert [logits.shape for logits in (in_training.logits, *in_training.auxiliary)] == [(2, 5)] * 2
    assert network.eval()(images).shape == (2, 5)
    bare = on_meta(num_classes=5, aux=False)
    assert bare.train()(images).shape == (2, 5)
    assert not [name for name in bare.state_dict() if name.startswith("Aux")]


def test_parameters_with_and_without_the_auxiliary_classifier():
    assert sum(p.numel() for p in on_meta().parameters()) == 27_161_264
    assert sum(p.numel() for p in on_meta(aux=False).parameters()) == 23_834_568


def test_maps_have_the_sizes_of_the_paper():
    sizes = [("Conv2d_2a_3x3", 32, 147), ("Conv2d_2b_3x3", 64, 147), ("maxpool1", 64, 73), ("maxpool2", 192, 35)]
    sizes += [("Mixed_5d", 288, 35), ("Mixed_6e", 768, 17), ("Mixed_7a", 1280, 8), ("Mixed_7c", 2048, 8)]
    network, seen = on_meta(), {}
    for name, _, _ in sizes:
        network.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.__setitem__(n, out.shape))
    network.eval()(torch.empty(1, 3, 299, 299, device="meta"))
    assert list(seen.items()) == [(name, (1, channels, side, side)) for name, channels, side in sizes]


def test_published_weights_are_torchvisions(torchvision):
    weights, ours = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1, inception_v3.entry.weights
    assert ours.url == weights.url
    assert ours.url.endswith(f"-{ours.sha256}.pth")
    assert ours.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    preset, mine = weights.transforms(), ours.preprocess
    assert [mine.height, mine.width] == preset.crop_size * 2
    assert math.ceil(mine.height / mine.crop_fraction) == preset.resize_size[0]
    assert mine.interpolation == preset.interpolation.value


def test_pixels_in_minus_one_to_one_stand_for_torchvisions_input_transform(torchvision):
    torch.manual_seed(2)
    preset = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.transforms()
    pixels = torch.randint(0, 256, (2, 96, 112, 3), dtype=torch.uint8)
    normalised = torchvision.transforms.functional.normalize(pixels.permute(0, 3, 1, 2) / 255, preset.mean, preset.std)
    theirs = torchvision.models.inception_v3(aux_logits=False, transform_input=True, init_weights=False)
    with_statistics(theirs, normalised)
    ours = inception_v3(aux=False).eval()
    ours.load_state_dict(theirs.state_dict())
    mine, wanted = inception_v3.entry.weights.preprocess.tensor(pixels), theirs._transform_input(normalised)
    assert (mine - wanted).norm() <= 1e-6 * wanted.norm()
    with torch.no_grad():
        want, got, otherwise = theirs(normalised), ours(mine), ours(imagenet().tensor(pixels))
    # The inputs agree to the last bit of a float32; random layers make a few thousand of that.
    assert (got - want).norm() <= 1e-3 * want.norm()
    assert (otherwise - want).norm() > 0.1 * want.norm()


def test_its_record_states_the_true_smallest_side():
    network, smallest = inception_v3(num_classes=3, aux=False).train(), inception_v3.entry.smallest
    assert network(torch.randn(2, 3, smallest + 9, smallest)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        network(torch.randn(2, 3, smallest + 9, smallest - 1))
