"""MobileNet v3 against torchvision's, and against the tables of its paper."""

import pytest
import torch
from agree import assert_agrees
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.networks import mobilenet_v3
from foveal.networks.blocks import SqueezeExcite
from foveal.networks.mobilenet_v3 import HS, RE, InvertedResidual, Row

COUNTS = {"mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032}
PLACES = {  # channels, side at 224, and for how many modules of `features` in turn [tables 1 and 2]
    "mobilenet_v3_small": [(16, 112, 1), (16, 56, 1), (24, 28, 2), (40, 14, 3), (48, 14, 2), (96, 7, 3), (576, 7, 1)],
    "mobilenet_v3_large": [(16, 112, 2), (24, 56, 2), (40, 28, 3), (80, 14, 4), (112, 14, 2), (160, 7, 3), (960, 7, 1)],
}


@pytest.fixture(scope="module")
def shapes():
    """Networks without memory."""
    with torch.device("meta"):
        return {name: getattr(mobilenet_v3, name)().eval() for name in COUNTS}


@pytest.mark.parametrize("name", COUNTS)
def test_it_answers_as_torchvisions_with_its_weights(name, torchvision):
    theirs = getattr(torchvision.models, name)()
    for dense in (theirs.classifier[0], theirs.classifier[3]):
        dense.weight.data.mul_(5)  # both begin so near zero that their logits would say nothing
    assert_agrees(getattr(mobilenet_v3, name)(), theirs, size=(64, 96))


@pytest.mark.parametrize("name", COUNTS)
def test_its_dropout_and_norms_are_torchvisions(name, shapes, torchvision):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    norms = [
        {place: (m.eps, m.momentum) for place, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        for network in (shapes[name], theirs)
    ]
    assert norms[0] == norms[1]
    assert shapes[name].classifier[2].p == theirs.classifier[2].p == 0.2


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(mobilenet_v3, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]
    assert way.interpolation == shown.interpolation.value
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_as_many_parameters_as_its_line_says(name, count, shapes):
    assert sum(p.numel() for p in shapes[name].parameters()) == count


@pytest.mark.parametrize(("name", "millions"), [("mobilenet_v3_small", 56), ("mobilenet_v3_large", 219)])
def test_multiply_adds_are_those_of_table_3(name, millions, shapes):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes[name](torch.empty(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() / 2e6 == pytest.approx(millions, rel=0.02)


def test_the_gate_that_table_2_ticks_last_is_not_among_table_3s_parameters(shapes):
    with torch.device("meta"):
        gate = sum(p.numel() for p in SqueezeExcite(576, 144).parameters())
    assert gate == 576 * 144 + 144 + 144 * 576 + 576
    assert round(COUNTS["mobilenet_v3_small"] / 1e6, 1) == 2.5  # [table 3]
    assert round((COUNTS["mobilenet_v3_small"] + gate) / 1e6, 1) == 2.7


@pytest.mark.parametrize("name", COUNTS)
def test_its_maps_are_those_of_the_table(name, shapes):
    x, maps = torch.empty(1, 3, 224, 160, device="meta"), []
    for block in shapes[name].features:
        x = block(x)
        maps.append((x.shape[1], x.shape[2], x.shape[3]))
    assert maps == [(channels, side, side * 5 // 7) for channels, side, n in PLACES[name] for _ in range(n)]


@pytest.mark.parametrize(("name", "gated"), [("mobilenet_v3_small", 9), ("mobilenet_v3_large", 8)])
def test_gates_squeeze_to_about_a_quarter_and_have_the_papers_activations(name, gated, shapes):
    gates = [m for m in shapes[name].modules() if isinstance(m, SqueezeExcite)]
    assert len(gates) == gated
    for gate in gates:
        wide, squeezed = gate.fc1.in_channels, gate.fc1.out_channels
        assert squeezed % 8 == 0
        assert 0.9 * wide // 4 <= squeezed < wide / 4 + 8
        assert (type(gate.activation), type(gate.gate)) == (nn.ReLU, nn.Hardsigmoid)


def test_a_block_counts_as_by_hand():
    """24 channels in, 72 wide, 5×5, a gate of 24 (72/4 = 18, whose nearest multiple of 8 is too small), 40 out."""
    up, depthwise, gate, down = 24 * 72 + 144, 25 * 72 + 144, 72 * 24 + 24 + 24 * 72 + 72, 72 * 40 + 80
    block = InvertedResidual(24, Row(5, 72, 40, True, RE, 2))
    assert [sum(p.numel() for p in part.parameters()) for part in block.block] == [up, depthwise, gate, down]
    assert block(torch.randn(2, 24, 9, 14)).shape == (2, 40, 5, 7)


def test_a_shortcut_joins_blocks_that_keep_their_shape_and_no_others(shapes):
    places = {n: [i for i, b in enumerate(net.features) if getattr(b, "shortcut", False)] for n, net in shapes.items()}
    assert places["mobilenet_v3_small"] == [3, 5, 6, 8, 10, 11]
    assert places["mobilenet_v3_large"] == [1, 3, 5, 6, 8, 9, 10, 12, 14, 15]
    block = InvertedResidual(16, Row(3, 64, 16, True, HS, 1)).eval()
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(block(x), block.block(x) + x)


@pytest.mark.parametrize("name", COUNTS)
def test_h_swish_is_in_the_second_half_and_the_first_layer_alone(name, shapes):
    kinds = [{type(m) for m in part.modules()} & {HS, RE} for part in shapes[name].features]
    turn = {"mobilenet_v3_small": 4, "mobilenet_v3_large": 7}[name]
    assert all(HS not in kind for kind in kinds[1:turn])
    assert all(HS in kind for kind in [kinds[0], *kinds[turn:]])


@pytest.mark.parametrize("name", COUNTS)
def test_stages_are_the_last_of_their_stride(name, shapes):
    network, entry, last = shapes[name], getattr(mobilenet_v3, name).entry, {}
    x = torch.empty(1, 3, 128, 96, device="meta")
    for i, part in enumerate(network.features):
        x = part(x)
        last[128 // x.shape[2]] = (f"features.{i}", tuple(x.shape))
    stages = {s.stride: (s.module, (1, s.channels, 128 // s.stride, 96 // s.stride)) for s in entry.stages}
    assert stages == last
    assert isinstance(network.get_submodule(entry.classifier), nn.Linear)
    block = network.get_submodule(entry.block)
    assert block.shortcut
    assert any(isinstance(m, SqueezeExcite) for m in block.modules())


@pytest.mark.parametrize("name", COUNTS)
def test_each_module_runs_once_and_none_in_place(name, shapes):
    runs, network = {}, shapes[name]
    leaves = {place: m for place, m in network.named_modules() if not list(m.children())}
    hooks = [
        m.register_forward_hook(lambda m, i, o, place=place: runs.update({place: runs.get(place, 0) + 1}))
        for place, m in leaves.items()
    ]
    network(torch.empty(1, 3, 64, 96, device="meta"))
    for hook in hooks:
        hook.remove()
    assert runs == dict.fromkeys(leaves, 1)
    assert not any(getattr(m, "inplace", False) for m in leaves.values())


def test_grey_pictures_of_any_shape_have_logits():
    network = mobilenet_v3.mobilenet_v3_small(num_classes=7, in_channels=1, dropout=0.0)
    assert network(torch.randn(2, 1, 37, 90)).shape == (2, 7)


def test_one_pixel_is_enough_and_none_is_not():
    network = mobilenet_v3.mobilenet_v3_small(num_classes=3).train()
    assert mobilenet_v3.mobilenet_v3_small.entry.smallest == 1
    assert network(torch.randn(2, 3, 1, 2)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        network(torch.randn(2, 3, 0, 2))
