"""ResNet against torchvision's, and against what the paper says of it."""

import pytest
import torch
from agree import assert_agrees
from torch import nn

from foveal.networks import resnet

COUNTS = {  # of all parameters, 1000 classes
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


def shapes_only(name):
    with torch.device("meta"):
        return getattr(resnet, name)()


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_it_answers_as_torchvisions_with_its_weights(name, torchvision):
    theirs = getattr(torchvision.models, name)()
    assert_agrees(getattr(resnet, name)(), theirs, size=(64, 96))


@pytest.mark.parametrize("name", ["resnet101", "resnet152"])
def test_its_state_dict_is_torchvisions(name, torchvision):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    ours = shapes_only(name)
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_as_many_parameters_as_its_line_says(name, count):
    assert sum(p.numel() for p in shapes_only(name).parameters()) == count


@pytest.mark.parametrize("name", COUNTS)
def test_its_name_counts_the_layers_on_the_long_way(name):
    modules = shapes_only(name).named_modules()
    layers = [n for n, m in modules if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
    assert len(layers) == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(resnet, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_blocks_of_a_new_network_begin_as_their_shortcuts(name):
    torch.manual_seed(0)
    network = getattr(resnet, name)(num_classes=3).eval()
    for path in ("layer1.1", "layer2.0"):  # the identity, and a projection that halves the side
        block = network.get_submodule(path)
        x = torch.randn(2, block.conv1.in_channels, 9, 6)
        assert torch.equal(block(x), block.downsample(x).relu())


def test_dropout_stands_before_the_classifier():
    network = resnet.resnet18(num_classes=4, dropout=1.0).train()
    logits = network(torch.randn(2, 3, 32, 40))
    assert torch.equal(logits, network.fc.bias.expand(2, 4))
