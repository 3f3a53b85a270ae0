"""The ResNets of section 4.2: counted, followed by hand, and compared with a plain list of operations."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foveal.networks import resnet_cifar
from foveal.networks.resnet_cifar import ResidualBlock, ZeroPadded, option_a, option_b

COUNTS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}  # without parameters in shortcuts
PROJECTIONS = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)  # two 1×1 convolutions, each with a norm
NAMES = [
    f"{family}{layers}{end}" for layers in COUNTS for family, end in (("resnet", ""), ("resnet", "_b"), ("plain", ""))
]


def layers_of(name):
    return int(re.search(r"\d+", name)[0])


def build(name, **arguments):
    return getattr(resnet_cifar, name)(**arguments)


def seen_some(network):
    """Norms that are not what they began as, so that each of their numbers matters."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.3)
    return network.eval()


def by_the_paper(name, state, x):
    """The forward pass as section 4.2 tells it, operation by operation."""

    def conv_norm(x, conv, norm, stride=1):
        weight = state[conv + ".weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance = state[norm + ".running_mean"], state[norm + ".running_var"]
        return F.batch_norm(x, mean, variance, state[norm + ".weight"], state[norm + ".bias"])

    x = conv_norm(x, "conv1", "bn1").relu()
    for stage in (1, 2, 3):
        for block in range((layers_of(name) - 2) // 6):
            here, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = conv_norm(x, f"{here}.conv1", f"{here}.bn1", stride).relu()
            out = conv_norm(out, f"{here}.conv2", f"{here}.bn2")
            if stride == 2 and name.endswith("_b"):
                out = out + conv_norm(x, f"{here}.shortcut.0", f"{here}.shortcut.1", stride)
            elif stride == 2 and name.startswith("resnet"):
                copied = x[:, :, ::2, ::2]
                out = out + torch.cat([copied, torch.zeros_like(copied)], dim=1)
            elif name.startswith("resnet"):
                out = out + x
            x = out.relu()
    return F.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize("name", NAMES)
def test_it_has_as_many_parameters_as_its_line_says(name):
    with torch.device("meta"):
        network = build(name)
    layers = layers_of(name)
    want = COUNTS[layers] + (PROJECTIONS if name.endswith("_b") else 0)
    assert sum(p.numel() for p in network.parameters()) == want


@pytest.mark.parametrize("name", NAMES)
def test_its_name_counts_the_layers_on_the_long_way(name):
    with torch.device("meta"):
        modules = build(name).named_modules()
    layers = [n for n, m in modules if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(layers) == layers_of(name)


@pytest.mark.parametrize("name", ["resnet20", "resnet32_b", "plain44"])
def test_it_computes_what_the_paper_tells(name):
    torch.manual_seed(0)
    network = seen_some(build(name))
    x = torch.randn(2, 3, 17, 26)
    with torch.no_grad():
        got, want = network(x), by_the_paper(name, network.state_dict(), x)
    assert want.abs().max() > 0.1
    assert (got - want).norm() <= 1e-5 * want.norm()


@pytest.mark.parametrize("name", ["resnet56", "resnet56_b", "plain56"])
def test_stages_have_the_sizes_of_the_papers_table(name):
    sizes = {}
    with torch.device("meta"):
        network = build(name)
        for stage in getattr(resnet_cifar, name).entry.stages:
            module = network.get_submodule(stage.module)
            module.register_forward_hook(lambda m, i, out, s=stage: sizes.__setitem__(s.module, tuple(out.shape[1:])))
        network(torch.empty(2, 3, 32, 48))
    assert sizes == {"layer1": (16, 32, 48), "layer2": (32, 16, 24), "layer3": (64, 8, 12)}


def test_a_network_without_parameters_in_its_shortcuts_has_the_plain_ones_weights():
    with torch.device("meta"):
        plain, residual = build("plain32").state_dict(), build("resnet32").state_dict()
    assert {n: v.shape for n, v in plain.items()} == {n: v.shape for n, v in residual.items()}


def test_option_a_takes_every_second_pixel_and_adds_maps_of_zeros():
    x = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    want = torch.zeros(2, 5, 3, 2)
    for picture in range(2):
        for channel in range(3):
            for row in range(3):
                for column in range(2):
                    want[picture, channel, row, column] = x[picture, channel, 2 * row, 2 * column]
    assert torch.equal(ZeroPadded(new_channels=2, stride=2)(x), want)


@pytest.mark.parametrize("shortcut", [option_a, option_b])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 5)])
def test_a_shortcut_fits_the_convolutions_on_every_size(shortcut, size):
    block = ResidualBlock(4, 8, 2, shortcut)
    assert block(torch.randn(2, 4, *size)).shape == (2, 8, -(-size[0] // 2), -(-size[1] // 2))


def test_a_block_whose_convolutions_are_silent_passes_on_what_its_shortcut_brings():
    block = ResidualBlock(4, 8, 2, option_a).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 9)
    assert torch.equal(block(x), ZeroPadded(4, 2)(x).relu())


def test_weights_begin_with_the_deviation_of_he_et_al():
    torch.manual_seed(0)
    weight = build("resnet20").layer3[2].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
