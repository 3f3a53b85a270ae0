"""Network in Network against a slow perceptron, and against the definition its authors published."""

import pytest
import torch
from torch import nn

from foveal.networks.nin import MlpConv, nin

LAYERS = {  # cuda-convnet's definition of the authors: filters, side, channels in
    "mlpconv1.conv": (192, 5, 3),
    "mlpconv1.cccp1": (160, 1, 192),
    "mlpconv1.cccp2": (96, 1, 160),
    "mlpconv2.conv": (192, 5, 96),
    "mlpconv2.cccp1": (192, 1, 192),
    "mlpconv2.cccp2": (192, 1, 192),
    "mlpconv3.conv": (192, 3, 192),
    "mlpconv3.cccp1": (192, 1, 192),
    "mlpconv3.cccp2": (10, 1, 192),
}


@pytest.fixture
def shapes():
    with torch.device("meta"):
        return nin().eval()


def maps_of(network, size):
    maps = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, i, out, name=name: maps.update({name: tuple(out.shape[1:])}))
    network(torch.empty(2, 3, *size, device="meta"))
    return maps


def test_its_convolutions_are_those_of_the_published_definition(shapes):
    have = {
        name: (m.out_channels, *set(m.kernel_size), m.in_channels)
        for name, m in shapes.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert have == LAYERS


def test_it_has_966_986_parameters(shapes):
    by_hand = sum((side * side * before + 1) * filters for filters, side, before in LAYERS.values())
    assert sum(p.numel() for p in shapes.parameters()) == by_hand == 966_986


def test_an_mlpconv_layer_is_a_perceptron_at_every_place():
    torch.manual_seed(0)
    layer = MlpConv(3, (7, 6, 4), kernel_size=5)
    x = torch.randn(2, 3, 4, 6)
    wide = torch.zeros(2, 3, 8, 10)
    wide[:, :, 2:6, 2:8] = x
    want = torch.empty(2, 4, 4, 6)
    for row in range(4):
        for column in range(6):
            seen = wide[:, :, row : row + 5, column : column + 5].flatten(1)
            for dense in (layer.conv, layer.cccp1, layer.cccp2):
                seen = (seen @ dense.weight.flatten(1).T + dense.bias).relu()
            want[:, :, row, column] = seen
    assert torch.allclose(layer(x), want, atol=1e-5)


def test_its_poolings_halve_even_sides_and_reach_over_the_edge(shapes):
    maps = maps_of(shapes, (32, 50))
    assert (maps["pool1"], maps["pool2"], maps["mlpconv3"]) == ((96, 16, 25), (192, 8, 12), (10, 8, 12))
    x = torch.zeros(1, 1, 4, 6)
    x[..., 2, 4] = 1  # seen by the last window of each axis and by the one before: they overlap
    for pool in (shapes.pool1, shapes.pool2):
        assert pool(x).flatten(1).tolist() == [[0, 1, 1, 0, 1, 1]]


def test_a_logit_is_the_mean_of_its_class_map():
    torch.manual_seed(0)
    network, x = nin(num_classes=5).eval(), torch.randn(2, 3, 20, 28)
    maps = []
    network.mlpconv3.register_forward_hook(lambda m, i, out: maps.append(out))
    with torch.no_grad():
        logits = network(x)
    assert torch.allclose(logits, maps[0].mean(dim=(2, 3)), atol=1e-6)
    assert logits.std() > 1e-3


def test_dropout_stands_behind_each_pooling():
    with torch.device("meta"):
        network = nin(dropout=0.25)
    order = list(maps_of(network, (16, 20)))  # as the modules answered
    behind = {name: order[order.index(name) - 1] for name in ("dropout1", "dropout2")}
    assert behind == {"dropout1": "pool1", "dropout2": "pool2"}
    assert (network.dropout1.p, network.dropout2.p) == (0.25, 0.25)


def test_new_weights_have_the_published_deviation():
    torch.manual_seed(0)
    for module in nin().modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.05, rel=0.1)
            assert not module.bias.any()


def test_stages_and_classifier_are_where_the_record_says(shapes):
    entry, maps = nin.entry, maps_of(shapes, (32, 48))
    assert [stage.stride for stage in entry.stages] == [1, 2, 4]
    for stage in entry.stages:
        assert maps[stage.module] == (stage.channels, 32 // stage.stride, 48 // stage.stride)
    assert shapes.get_submodule(entry.classifier).out_channels == 10
    assert isinstance(shapes.get_submodule(entry.block), MlpConv)


def test_the_smallest_side_passes_and_the_next_smaller_is_refused():
    network, smallest = nin(num_classes=3, in_channels=1).train(), nin.entry.smallest
    assert network(torch.randn(2, 1, smallest, 9)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 1, smallest - 1, 9))
