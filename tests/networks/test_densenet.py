"""DenseNet against torchvision's, and against what the paper says of it."""

import re

import pytest
import torch
from agree import assert_agrees, with_statistics
from torch import nn

from foveal.networks import densenet
from foveal.networks.densenet import DenseLayer, without_dots

COUNTS = {"densenet121": 7_978_856, "densenet169": 14_149_480, "densenet201": 20_013_928}


def shapes_only(name):
    with torch.device("meta"):
        return getattr(densenet, name)()


def with_dots(state):
    """Names as the published files have them, which also lack the norms' counters."""
    old = {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])", r"\1.\2", name): v for name, v in state.items()}
    return {name: v for name, v in old.items() if not name.endswith("num_batches_tracked")}


def test_it_answers_as_torchvisions_with_its_weights(torchvision):
    assert_agrees(densenet.densenet121(), torchvision.models.densenet121(), size=(64, 96))


@pytest.mark.parametrize("name", ["densenet169", "densenet201"])
def test_its_state_dict_is_torchvisions(name, torchvision):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    ours = shapes_only(name)
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_as_many_parameters_as_its_line_says(name, count):
    assert sum(p.numel() for p in shapes_only(name).parameters()) == count


@pytest.mark.parametrize("name", COUNTS)
def test_its_name_counts_the_layers(name):
    layers = [m for m in shapes_only(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("densenet"))


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(densenet, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


def test_a_file_with_the_older_names_loads(torchvision):
    torch.manual_seed(0)
    theirs = torchvision.models.densenet121(num_classes=7)
    with_statistics(theirs, torch.randn(3, 3, 40, 33))
    published = with_dots(theirs.state_dict())
    assert "features.denseblock2.denselayer12.norm.1.running_var" in published
    ours = densenet.densenet121(num_classes=7)
    rename = densenet.densenet121.entry.weights.rename
    ours.load_state_dict(rename(published), strict=True)
    x = torch.randn(2, 3, 33, 40)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


def test_newer_names_stay_as_they_are():
    names = shapes_only("densenet121").state_dict()
    assert list(without_dots(names)) == list(names)


def test_a_layer_passes_on_all_that_it_was_given_and_adds_its_growth():
    torch.manual_seed(0)
    layer = DenseLayer(24, 8, dropout=0.0)
    x = torch.randn(2, 24, 5, 9)
    out = layer(x)
    assert out.shape == (2, 32, 5, 9)
    assert torch.equal(out[:, :24], x)
    hidden = layer.conv1(layer.norm1(x).relu())
    assert hidden.shape[1] == 4 * 8  # the bottleneck
    assert torch.allclose(out[:, 24:], layer.conv2(layer.norm2(hidden).relu()), atol=1e-6)


def test_stages_are_the_ends_of_the_blocks():
    sizes = {}
    with torch.device("meta"):
        network = densenet.densenet201()
        for stage in densenet.densenet201.entry.stages:
            module = network.get_submodule(stage.module)
            module.register_forward_hook(lambda m, i, out, s=stage: sizes.__setitem__(s, tuple(out.shape[1:])))
        network(torch.empty(2, 3, 224, 160))
    assert [stage.stride for stage in sizes] == [2, 4, 8, 16, 32]
    assert all(size == (s.channels, 224 // s.stride, 160 // s.stride) for s, size in sizes.items())
    assert [s.channels for s in sizes] == [64, 256, 512, 1792, 1920]


def test_its_smallest_side_is_the_smallest_that_trains():
    network = densenet.densenet121(num_classes=3).train()
    assert densenet.densenet121.entry.smallest == 29
    assert network(torch.randn(2, 3, 29, 35)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 3, 28, 35))


def test_dropout_follows_every_convolution_but_the_first():
    with torch.device("meta"):
        network = densenet.densenet121(dropout=0.2)
    rates = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert rates == [0.2] * (len(convolutions) - 1)
