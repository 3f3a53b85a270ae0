"""LeNet-5, as courses teach it and as its paper draws it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.networks.lenet import lenet5
from foveal.networks.lenet_1998 import (
    CODE,
    TABLE_I,
    RadialBasis,
    ScaledTanh,
    SomeOfSix,
    SubSampling,
    class_codes,
    lenet5_1998,
)

PARAMETERS = {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}  # [section II.B]
CONNECTIONS = {"c1": 122_304, "c3": 151_600, "c5": 48_120}  # [section II.B]


def test_the_taught_form_computes_what_its_lines_say():
    torch.manual_seed(0)
    network = lenet5(num_classes=4, in_channels=2, size=(20, 31)).eval()
    weights = dict(network.named_parameters())
    x = torch.randn(3, 2, 20, 31)
    with torch.no_grad():
        out = F.max_pool2d(F.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], padding=2).relu(), 2)
        out = F.max_pool2d(F.conv2d(out, weights["conv2.weight"], weights["conv2.bias"]).relu(), 2).flatten(1)
        for layer in ("fc1", "fc2"):
            out = F.linear(out, weights[f"{layer}.weight"], weights[f"{layer}.bias"]).relu()
        want = F.linear(out, weights["fc3.weight"], weights["fc3.bias"])
        assert torch.allclose(network(x), want, atol=1e-6)


def test_the_taught_forms_smallest_side_leaves_one_pixel():
    side = lenet5.entry.smallest
    network = lenet5(size=(side, side + 1))
    assert network.fc1.in_features == 16
    assert network(torch.zeros(1, 1, side, side + 1)).shape == (1, 10)


def test_each_layer_of_1998_has_the_papers_parameters():
    network = lenet5_1998()
    counts = {name: sum(p.numel() for p in network.get_submodule(name).parameters()) for name in PARAMETERS}
    assert counts == PARAMETERS
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 60_000


def test_each_convolution_of_1998_has_the_papers_connections():
    network, positions = lenet5_1998(), {}
    for name in CONNECTIONS:
        hook = lambda m, i, out, n=name: positions.__setitem__(n, out.shape[2] * out.shape[3])  # noqa: E731
        network.get_submodule(name).register_forward_hook(hook)
    network(torch.zeros(1, 1, 32, 32))
    assert {name: PARAMETERS[name] * positions[name] for name in CONNECTIONS} == CONNECTIONS


def test_table_i_joins_sixteen_maps_by_sixty_connections_and_no_two_alike():
    seen = [channels for group in TABLE_I for channels in group]
    assert len({frozenset(channels) for channels in seen}) == len(seen) == 16
    assert sum(len(channels) for channels in seen) == 60
    assert [sum(c in channels for channels in seen) for c in range(6)] == [10] * 6  # rows of the table


def test_c3_is_sixteen_convolutions_over_the_maps_of_table_i():
    torch.manual_seed(0)
    layer, x = SomeOfSix(), torch.randn(2, 6, 9, 12)
    maps = []
    for conv, group in zip(layer.convs, TABLE_I, strict=True):
        for number, channels in enumerate(group):
            total = conv.bias[number]
            for place, channel in enumerate(channels):
                total = total + F.conv2d(x[:, channel : channel + 1], conv.weight[number, place][None, None])
            maps.append(total)
    assert torch.allclose(layer(x), torch.cat(maps, dim=1), atol=1e-5)


def test_sub_sampling_adds_four_pixels_scales_and_shifts():
    layer = SubSampling(2)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([0.5, -1.0]))
        layer.bias.copy_(torch.tensor([10.0, 0.0]))
    x = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]], [[1, 1, 1], [1, 1, 1]]]])  # a third column has no partner
    assert torch.equal(layer(x), torch.tensor([[[[16.0]], [[-4.0]]]]))


def test_the_tanh_keeps_one_and_minus_one():
    x = torch.tensor([-1.0, 0.0, 1.0, 1e6])
    assert torch.allclose(ScaledTanh()(x), torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4)


def test_ten_codes_are_drawings_of_the_digits():
    pictures = class_codes(10).view(10, 12, 7)
    assert set(pictures.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(pictures[0], pictures[0].flip(1))  # a zero is its own mirror image
    assert torch.equal(pictures[8], pictures[8].flip(1))
    six, nine = pictures[6], pictures[9]
    assert torch.equal(six[1:11].flip(0).flip(1), nine[1:11])  # and a nine is a six on its head
    differing = [int((pictures[a] != pictures[b]).sum()) for a in range(10) for b in range(a)]
    assert min(differing) >= 4


def test_codes_of_other_classes_are_random_apart_and_always_the_same():
    many = class_codes(200)
    assert many.shape == (200, CODE)
    assert set(many.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(class_codes(7), many[:7])
    agreement = many @ many.T / CODE
    assert (agreement - torch.eye(200)).abs().max() < 0.6
    assert abs(many.mean()) < 0.05


@pytest.mark.parametrize("classes", [10, 3])
def test_a_code_is_nearest_to_its_own_class(classes):
    output = RadialBasis(classes)
    logits = output(output.codes)
    assert torch.equal(logits.argmax(dim=1), torch.arange(classes))
    assert torch.equal(logits.diagonal(), torch.zeros(classes))
    x = torch.randn(2, CODE)
    slow = [
        [-sum((float(a) - float(b)) ** 2 for a, b in zip(row, code, strict=True)) for code in output.codes] for row in x
    ]
    assert torch.allclose(output(x), torch.tensor(slow), rtol=1e-5)


def test_cross_entropy_of_the_logits_is_equation_9_without_its_rubbish_class():
    distances, label = torch.tensor([[3.0, 1.0, 7.0]]), torch.tensor([2])
    by_the_paper = distances[0, 2] + torch.log(torch.exp(-distances).sum())
    assert torch.allclose(F.cross_entropy(-distances, label), by_the_paper)


def test_weights_begin_within_the_papers_bounds_and_reach_them():
    torch.manual_seed(0)
    network = lenet5_1998()
    inputs = {"c1": 25, "s2": 4, "s4": 4, "c3.convs.0": 75, "c3.convs.1": 100, "c3.convs.3": 150, "c5": 400, "f6": 120}
    for name, count in inputs.items():
        numbers = torch.cat([p.flatten() for p in network.get_submodule(name).parameters()])
        assert 0.7 * 2.4 / count < numbers.abs().max() <= 2.4 / count


def test_1998_works_from_32_pixels_on_and_averages_what_is_beyond():
    torch.manual_seed(0)
    network = lenet5_1998(num_classes=5, in_channels=3).eval()
    with torch.no_grad():
        x = torch.randn(2, 3, 32, 36)
        both = network(x)
        assert both.shape == (2, 5)
        shown = []
        network.c5.register_forward_hook(lambda m, i, out: shown.append(out))
        network(x)
        network(x[..., :32])
        network(x[..., 4:])
    assert shown[0].shape == (2, 120, 1, 2)
    assert torch.allclose(shown[0], torch.cat(shown[1:], dim=3), atol=1e-6)
    for size in ((31, 40), (40, 31)):
        with pytest.raises(RuntimeError, match="Kernel size"):
            network(torch.zeros(2, 3, *size))


@pytest.mark.parametrize("classes", [10, 4])
def test_built_without_memory_it_takes_a_state_dict_whole(classes):
    torch.manual_seed(0)
    network, x = lenet5_1998(classes), torch.randn(2, 1, 32, 33)
    with torch.device("meta"):
        other = lenet5_1998(classes)
    other.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(other(x), network(x))


def test_the_record_names_what_is_there():
    network = lenet5_1998()
    entry = lenet5_1998.entry
    assert isinstance(network.get_submodule(entry.classifier), RadialBasis)
    assert isinstance(network.get_submodule(entry.block), SomeOfSix)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.Dropout) for m in network.modules())
