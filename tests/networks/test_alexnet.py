"""AlexNet of 2014 against torchvision's; AlexNet of 2012 against what its paper says of it."""

import pytest
import torch
from agree import assert_agrees
from torch import nn

from foveal.networks import alexnet
from foveal.networks.alexnet import alexnet_2012

MAPS = {"alexnet": (64, 192, 384, 256, 256), "alexnet_2012": (96, 256, 384, 384, 256)}


def without_memory(build, **arguments):
    with torch.device("meta"):
        return build(**arguments).eval()


def awake(network):
    """Random weights through which a signal keeps its size: with PyTorch's own, eight layers leave but the biases."""
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.normal_(module.bias, std=0.1)
    return network


def shapes_of(network, size):
    """The shape of what each module gives, without its first axis."""
    shapes = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, i, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    network(torch.empty(2, 3, *size, device="meta"))
    return shapes


def test_it_answers_as_torchvisions_with_its_weights(torchvision):
    torch.manual_seed(0)
    theirs = awake(without_memory(torchvision.models.alexnet))
    ours = without_memory(alexnet.alexnet).to_empty(device="cpu")
    assert_agrees(ours, theirs, size=(96, 128))


def test_its_dropouts_are_torchvisions(torchvision):
    ours, theirs = without_memory(alexnet.alexnet), without_memory(torchvision.models.alexnet)
    found = [{n: m.p for n, m in net.named_modules() if isinstance(m, nn.Dropout)} for net in (ours, theirs)]
    assert found[0] == found[1] == {"classifier.0": 0.5, "classifier.3": 0.5}


def test_the_record_of_its_weights_is_torchvisions(torchvision):
    theirs = torchvision.models.get_model_weights("alexnet").IMAGENET1K_V1
    ours, shown = alexnet.alexnet.entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert theirs.meta["min_size"] == (alexnet.alexnet.entry.smallest,) * 2
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


@pytest.mark.parametrize(("name", "count"), [("alexnet", 61_100_840), ("alexnet_2012", 60_965_224)])
def test_it_has_as_many_parameters_as_its_line_says(name, count):
    network = without_memory(getattr(alexnet, name))
    assert sum(p.numel() for p in network.parameters()) == count
    convolutions = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert tuple(convolutions) == MAPS[name]


def test_the_layers_of_2012_count_as_derived():
    by_hand = {
        "conv1": (11 * 11 * 3 + 1) * 96,
        "conv2": (5 * 5 * 48 + 1) * 256,
        "conv3": (3 * 3 * 256 + 1) * 384,
        "conv4": (3 * 3 * 192 + 1) * 384,
        "conv5": (3 * 3 * 192 + 1) * 256,
        "fc6": (6 * 6 * 256 + 1) * 4096,
        "fc7": (4096 + 1) * 4096,
        "fc8": (4096 + 1) * 1000,
    }
    layers = without_memory(alexnet_2012).named_children()
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in layers}
    assert {name: count for name, count in counts.items() if count} == by_hand


def test_the_layers_of_2012_have_the_papers_numbers_of_neurons():
    """[end of section 3.5]; for the first layer it prints 253,440, which no 55 · 55 · C is."""
    shapes = shapes_of(without_memory(alexnet_2012), (224, 224))
    neurons = [torch.Size(shapes[name]).numel() for name in ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")]
    assert neurons == [186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert shapes["conv1"] == (96, 55, 55)


@pytest.mark.parametrize("side", [224, 227])
def test_both_sizes_of_the_literature_reach_the_dense_layers_as_6_by_6(side):
    assert shapes_of(without_memory(alexnet_2012), (side, side))["pool5"] == (256, 6, 6)


def test_the_columns_of_2012_meet_in_the_third_convolution_only():
    network = without_memory(alexnet_2012)
    for name, maps, meets in (("conv2", 96, False), ("conv3", 256, True), ("conv4", 384, False), ("conv5", 384, False)):
        layer = network.get_submodule(name).to_empty(device="cpu")
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
        x = torch.zeros(1, maps, 5, 7)
        x[:, maps // 2 :] = 1  # the second column alone sees something
        first, second = layer(x).chunk(2, dim=1)
        assert (first.abs().sum() > 0) == meets
        assert second.min() > 0


@pytest.mark.parametrize("name", ["norm1", "norm2"])
def test_response_normalisation_is_the_papers_formula(name):
    norm = without_memory(alexnet_2012).get_submodule(name)
    torch.manual_seed(0)
    maps = 100 * torch.randn(2, 9, 3, 4).relu()  # so large that 10⁻⁴ Σ a² weighs as much as the 2
    want = torch.empty_like(maps)
    for i in range(9):
        near = maps[:, max(0, i - 2) : min(9 - 1, i + 2) + 1]
        want[:, i] = maps[:, i] / (2 + 1e-4 * near.square().sum(dim=1)) ** 0.75
    assert torch.allclose(norm(maps), want, rtol=1e-5)


def test_every_pooling_overlaps():
    for build in (alexnet.alexnet, alexnet_2012):
        pools = [m for m in without_memory(build).modules() if isinstance(m, nn.MaxPool2d)]
        assert [(pool.kernel_size, pool.stride) for pool in pools] == 3 * [(3, 2)]


def test_the_weights_of_2012_begin_as_in_the_paper():
    torch.manual_seed(0)
    network = alexnet_2012(num_classes=10)
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
        layer = network.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)
        one = name in ("conv2", "conv4", "conv5", "fc6", "fc7")
        assert torch.equal(layer.bias, torch.full_like(layer.bias, float(one)))


def test_the_signal_of_new_weights_of_2014_lives():
    torch.manual_seed(0)
    network = alexnet.alexnet(num_classes=50).eval()
    with torch.no_grad():
        logits = network(torch.randn(3, 3, 80, 96))
    assert 0.3 < logits.std(dim=0).mean() < 10  # between pictures


def test_dropout_of_2012_stands_behind_both_hidden_dense_layers():
    network = without_memory(alexnet_2012, dropout=0.25)
    order = list(shapes_of(network, (64, 80)))  # as the modules answered
    assert order[-8:-1] == ["fc6", "relu6", "dropout6", "fc7", "relu7", "dropout7", "fc8"]
    assert (network.dropout6.p, network.dropout7.p) == (0.25, 0.25)


@pytest.mark.parametrize("name", MAPS)
def test_the_smallest_side_passes_and_the_next_smaller_is_refused(name):
    build = getattr(alexnet, name)
    network = without_memory(build, num_classes=3, in_channels=1).train()
    smallest = build.entry.smallest
    assert network(torch.empty(2, 1, smallest, smallest + 30, device="meta")).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.empty(2, 1, smallest - 1, smallest + 30, device="meta"))


@pytest.mark.parametrize("name", MAPS)
def test_stages_are_the_ends_before_each_stride(name):
    entry = getattr(alexnet, name).entry
    shapes = shapes_of(without_memory(entry.build), (224, 288))
    assert [stage.stride for stage in entry.stages] == [4, 8, 16, 32]
    have = [shapes[stage.module] for stage in entry.stages]
    assert [shape[0] for shape in have] == [stage.channels for stage in entry.stages]
    assert [shape[1:] for shape in have] == [(55, 71), (27, 35), (13, 17), (6, 8)]
