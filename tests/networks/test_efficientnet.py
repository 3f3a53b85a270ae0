"""EfficientNet against torchvision's, against the tables of its paper, and the chance in its stochastic depth."""

import math

import pytest
import torch
from agree import assert_agrees, with_statistics
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.networks import efficientnet
from foveal.networks.blocks import SqueezeExcite
from foveal.networks.efficientnet import EfficientNet, MBConv, StochasticDepth, compound_scaling

COUNTS = {
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
}
BILLIONS = {  # multiply-adds [table 2]; B6 and B7 are more of the same
    "efficientnet_b0": 0.39,
    "efficientnet_b1": 0.70,
    "efficientnet_b2": 1.0,
    "efficientnet_b3": 1.8,
    "efficientnet_b4": 4.2,
    "efficientnet_b5": 9.9,
}
SIDES = [224, 240, 260, 300, 380, 456, 528, 600]
PHIS = [0, 0.5, 1, 2, 3.5, 5, 6, 7]  # that the published widths and sides are nearest to


@pytest.fixture(scope="module")
def shapes():
    """Networks without memory, each built once."""
    with torch.device("meta"):
        return {name: getattr(efficientnet, name)().eval() for name in COUNTS}


def theirs_of(torchvision, name):
    with torch.device("meta"):
        return getattr(torchvision.models, name)()


def settings(network, kind, *keys):
    return {name: [getattr(m, k) for k in keys] for name, m in network.named_modules() if isinstance(m, kind)}


def test_b0_answers_as_torchvisions_with_its_weights(torchvision):
    assert_agrees(efficientnet.efficientnet_b0(), torchvision.models.efficientnet_b0(), size=(64, 96))


def test_b0_answers_as_torchvisions_while_it_trains_too(torchvision):
    """With the same seed the same branches are left out, and the same features dropped."""
    torch.manual_seed(0)
    theirs, images = torchvision.models.efficientnet_b0(), torch.randn(4, 3, 64, 96)
    with_statistics(theirs, images)
    ours = efficientnet.efficientnet_b0()
    ours.load_state_dict(theirs.state_dict())
    logits = []
    for network, seed in ((theirs, 3), (ours, 3), (ours, 4)):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits.append(network.train()(images))
    assert (logits[1] - logits[0]).norm() <= 1e-4 * logits[0].norm()
    assert (logits[2] - logits[0]).norm() > 1e-2 * logits[0].norm()


@pytest.mark.parametrize("name", COUNTS)
def test_its_state_dict_and_settings_are_torchvisions(name, shapes, torchvision):
    ours, theirs = shapes[name], theirs_of(torchvision, name)
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}
    for kind, *keys in (
        (nn.Conv2d, "kernel_size", "stride", "padding", "dilation", "groups"),
        (nn.BatchNorm2d, "eps", "momentum"),
        (nn.Dropout, "p"),
    ):
        assert settings(ours, kind, *keys) == settings(theirs, kind, *keys)
    rates = settings(theirs, torchvision.ops.StochasticDepth, "p")
    assert len(settings(ours, StochasticDepth, "p")) > 8
    assert all(rates[place] == p for place, p in settings(ours, StochasticDepth, "p").items())


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_it_has_as_many_parameters_as_its_line_says(name, count, shapes):
    assert sum(p.numel() for p in shapes[name].parameters()) == count


@pytest.mark.parametrize("name", COUNTS)
def test_the_record_of_its_weights_is_torchvisions(name, torchvision):
    theirs = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    ours, shown = getattr(efficientnet, name).entry.weights, theirs.transforms()
    assert (ours.url, ours.url[-12:-4]) == (theirs.url, ours.sha256)
    assert ours.top1 == theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    way = ours.preprocess
    assert [way.height, way.width] == 2 * shown.crop_size
    assert way.height / way.crop_fraction == shown.resize_size[0]  # to the bit: it is rounded up
    assert way.interpolation == shown.interpolation.value == "bicubic"
    assert (list(way.mean), list(way.std)) == (shown.mean, shown.std)


def test_b0_is_table_1(shapes):
    """Operator (expansion, kernel), resolution that comes out, channels and layers, stage by stage."""
    table = [(1, 3, 112, 16, 1), (6, 3, 56, 24, 2), (6, 5, 28, 40, 2), (6, 3, 14, 80, 3)]
    table += [(6, 5, 14, 112, 3), (6, 5, 7, 192, 4), (6, 3, 7, 320, 1)]
    features, maps = shapes["efficientnet_b0"].features, []
    x = torch.empty(1, 3, 224, 160, device="meta")
    for stage in features:
        x = stage(x)
        maps.append(x.shape)
    assert maps[0] == (1, 32, 112, 80)
    assert maps[-1] == (1, 1280, 7, 5)
    for (expansion, kernel, side, channels, layers), stage, shape in zip(
        table, features[1:-1], maps[1:-1], strict=True
    ):
        assert shape == (1, channels, side, side * 5 // 7)
        assert len(stage) == layers
        for block in stage:
            depthwise = block.block[-3][0]
            assert depthwise.kernel_size == (kernel, kernel)
            entering = block.block[0][0].in_channels
            assert depthwise.groups == expansion * entering == depthwise.in_channels


def test_a_block_counts_as_by_hand():
    """24 channels in, 144 wide, 5×5, a gate of 6 (a quarter of 24), 40 out."""
    up, depthwise, gate, down = 24 * 144 + 2 * 144, 25 * 144 + 2 * 144, 144 * 6 + 6 + 6 * 144 + 144, 144 * 40 + 2 * 40
    block = MBConv(24, 40, expansion=6, kernel=5, stride=2, drop=0.0, norm=nn.BatchNorm2d)
    assert [sum(p.numel() for p in part.parameters()) for part in block.block] == [up, depthwise, gate, down]
    assert block(torch.randn(2, 24, 9, 14)).shape == (2, 40, 5, 7)


def test_a_shortcut_carries_the_picture_past_the_block():
    block = MBConv(16, 16, expansion=6, kernel=3, stride=1, drop=0.0, norm=nn.BatchNorm2d).eval()
    x = torch.randn(2, 16, 6, 9)
    assert torch.equal(block(x), block.block(x) + x)
    nn.init.zeros_(block.block[-1][1].weight)
    assert torch.equal(block(x), x)
    assert not hasattr(MBConv(16, 24, 6, 3, 1, 0.0, nn.BatchNorm2d), "add")
    assert not hasattr(MBConv(16, 16, 6, 3, 2, 0.0, nn.BatchNorm2d), "add")


@pytest.mark.parametrize(("name", "billions"), BILLIONS.items())
def test_multiply_adds_are_those_of_table_2(name, billions, shapes):
    side = getattr(efficientnet, name).entry.natural
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes[name].eval()(torch.empty(1, 3, side, side, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.05)


def test_one_step_of_the_compound_rule_doubles_the_work():
    depth, width, side = compound_scaling(1)
    assert depth * width**2 * side**2 == pytest.approx(2, rel=0.05)
    assert compound_scaling(0) == (1, 1, 1)
    for one, three in zip(compound_scaling(1), compound_scaling(3), strict=True):
        assert three == pytest.approx(one**3)


def test_the_published_networks_lie_near_the_rule(shapes):
    for name, phi, natural in zip(COUNTS, PHIS, SIDES, strict=True):
        _, width, side = compound_scaling(phi)
        assert getattr(efficientnet, name).entry.natural == natural == pytest.approx(224 * side, rel=0.05)
        assert shapes[name].classifier[1].in_features == pytest.approx(1280 * width, rel=0.05)


def test_a_network_of_ones_own_scale_can_be_built():
    depth, width, _ = compound_scaling(-3)  # an eighth of B0's work
    small = EfficientNet(depth, width, num_classes=5, in_channels=1, dropout=0.1)
    assert small(torch.randn(2, 1, 40, 56)).shape == (2, 5)
    assert sum(p.numel() for p in small.parameters()) < 5_288_548 / 2


@pytest.mark.parametrize("name", COUNTS)
def test_stages_are_the_last_of_their_stride(name, shapes):
    network, entry, last = shapes[name], getattr(efficientnet, name).entry, {}
    x = torch.empty(1, 3, 128, 96, device="meta")
    for i, part in enumerate(network.features):
        x = part(x)
        last[128 // x.shape[2]] = (f"features.{i}", tuple(x.shape))
    stages = {s.stride: (s.module, (1, s.channels, 128 // s.stride, 96 // s.stride)) for s in entry.stages}
    assert stages == last
    assert isinstance(network.get_submodule(entry.block), MBConv)
    assert isinstance(network.get_submodule(entry.classifier), nn.Linear)


def test_each_module_runs_once_and_none_in_place(shapes):
    network, runs = shapes["efficientnet_b1"], {}
    leaves = {name: m for name, m in network.named_modules() if not list(m.children())}
    hooks = [
        m.register_forward_hook(lambda m, i, o, name=name: runs.update({name: runs.get(name, 0) + 1}))
        for name, m in leaves.items()
    ]
    network.eval()(torch.empty(1, 3, 64, 96, device="meta"))
    for hook in hooks:
        hook.remove()
    assert runs == dict.fromkeys(leaves, 1)
    assert not any(getattr(m, "inplace", False) for m in leaves.values())
    gates = [m for m in network.modules() if isinstance(m, SqueezeExcite)]
    assert {type(gate.activation) for gate in gates} == {nn.SiLU}


def test_one_pixel_is_enough_and_none_is_not():
    network = efficientnet.efficientnet_b0(num_classes=3).train()
    assert efficientnet.efficientnet_b0.entry.smallest == 1
    assert network(torch.randn(2, 3, 1, 2)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        network(torch.randn(2, 3, 0, 2))


def test_dropout_is_the_papers_and_can_be_another():
    with torch.device("meta"):
        rates = [getattr(efficientnet, name)().classifier[0].p for name in COUNTS]
        assert efficientnet.efficientnet_b0(dropout=0.35).classifier[0].p == 0.35
    assert (rates[0], rates[-1]) == (0.2, 0.5)  # [section 5.2]
    assert rates == sorted(rates)


def test_stochastic_depth_leaves_a_picture_whole_or_out():
    torch.manual_seed(0)
    x = torch.randn(4000, 3, 2, 1)
    y = StochasticDepth(0.3).train()(x)
    out = (y == 0).flatten(1).all(1)
    assert torch.allclose(y[~out], x[~out] / 0.7)
    assert out.float().mean() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))


def test_stochastic_depth_keeps_the_mean():
    torch.manual_seed(1)
    x = torch.ones(20_000, 1, 1, 1)
    assert StochasticDepth(0.4).train()(x).mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_stochastic_depth_is_the_identity_and_draws_nothing(p, training):
    x, before = torch.randn(5, 2, 3, 4), torch.get_rng_state()
    assert StochasticDepth(p).train(training)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_stochastic_depth_is_drawn_from_the_seed():
    x, depth = torch.ones(64, 1, 1, 1), StochasticDepth(0.5).train()
    draws = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        draws.append(depth(x))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_gradient_goes_only_where_the_branch_was_kept():
    torch.manual_seed(2)
    x = torch.ones(32, 2, 1, 1, requires_grad=True)
    y = StochasticDepth(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert set(x.grad.flatten().tolist()) == {0.0, 2.0}


def test_branches_are_left_out_more_often_the_deeper_they_lie(shapes):
    rates = [p for (p,) in settings(shapes["efficientnet_b0"], StochasticDepth, "p").values()]
    blocks = [2, 4, 6, 7, 9, 10, 12, 13, 14]  # of 16, counted from 0: those with a shortcut
    assert rates == pytest.approx([0.2 * block / 16 for block in blocks])
