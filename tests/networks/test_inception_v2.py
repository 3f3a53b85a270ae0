"""BN-Inception against the table of its paper."""

import pytest
import torch
import torch.nn.functional as F

from foveal.networks.inception_v2 import InceptionV2, inception_v2

SIZES = [  # [fig. 5]: channels and side of what comes out; a module of stride 2 gives the side of the row below it
    ("conv1", 64, 112),
    ("maxpool1", 64, 56),
    ("conv3", 192, 56),
    ("maxpool2", 192, 28),
    ("inception3a", 256, 28),
    ("inception3b", 320, 28),
    ("inception3c", 576, 14),
    ("inception4a", 576, 14),
    ("inception4b", 576, 14),
    ("inception4c", 576, 14),
    ("inception4d", 576, 14),
    ("inception4e", 1024, 7),
    ("inception5a", 1024, 7),
    ("inception5b", 1024, 7),
    ("avgpool", 1024, 1),
]
ROWS = {  # [fig. 5]: #1×1, #3×3 reduce, #3×3, double #3×3 reduce, double #3×3, pooling, its projection
    "inception3a": (64, 64, 64, 64, 96, "avg", 32),
    "inception3b": (64, 64, 96, 64, 96, "avg", 64),
    "inception4a": (224, 64, 96, 96, 128, "avg", 128),
    "inception4b": (192, 96, 128, 96, 128, "avg", 128),
    "inception4c": (160, 128, 160, 128, 160, "avg", 96),  # 128 in the figure, which the stated 576 channels exclude
    "inception4d": (96, 128, 192, 160, 192, "avg", 96),  # likewise
    "inception5a": (352, 192, 320, 160, 224, "avg", 128),
    "inception5b": (352, 192, 320, 192, 224, "max", 128),
}
REDUCTIONS = {"inception3c": (128, 160, 64, 96), "inception4e": (128, 192, 192, 256)}


@pytest.fixture(scope="module")
def on_meta() -> InceptionV2:
    with torch.device("meta"):
        return inception_v2()


def convolutions(module):
    return [(m.out_channels, m.kernel_size[0], m.stride[0]) for m in module.modules() if isinstance(m, torch.nn.Conv2d)]


def with_seen_norms(module):
    """A norm of which every number matters: means, deviations, gains and offsets drawn."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for values in (norm.running_var, norm.weight.data):
                values.uniform_(0.5, 2.0)
            for values in (norm.running_mean, norm.bias.data):
                values.normal_()
    return module.eval()


def by_hand(x, step, stride=1):
    """Convolution, norm and rectifier of one step, from their definitions."""
    conv, norm = step.conv, step.bn
    x = F.conv2d(x, conv.weight, stride=stride, padding=conv.kernel_size[0] // 2)
    mean, scale = norm.running_mean, norm.weight / (norm.running_var + norm.eps).sqrt()
    return ((x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]).clamp(min=0)


def test_maps_have_the_sizes_of_the_papers_table(on_meta):
    seen = {}
    for name, _, _ in SIZES:
        on_meta.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.__setitem__(n, out.shape))
    on_meta(torch.empty(2, 3, 224, 224, device="meta"))
    assert list(seen.items()) == [(name, (2, channels, side, side)) for name, channels, side in SIZES]


def test_modules_have_the_rows_of_the_papers_table(on_meta):
    for name, (ones, reduce3, threes, reduce33, doubles, _, projected) in ROWS.items():
        assert convolutions(on_meta.get_submodule(name)) == [
            (ones, 1, 1),
            (reduce3, 1, 1), (threes, 3, 1),
            (reduce33, 1, 1), (doubles, 3, 1), (doubles, 3, 1),
            (projected, 1, 1),
        ]  # fmt: skip
    for name, (reduce3, threes, reduce33, doubles) in REDUCTIONS.items():
        assert convolutions(on_meta.get_submodule(name)) == [
            (reduce3, 1, 1), (threes, 3, 2),
            (reduce33, 1, 1), (doubles, 3, 1), (doubles, 3, 2),
        ]  # fmt: skip


def test_its_parameters_are_those_of_the_table(on_meta):
    def with_norm(in_channels, out_channels, kernel):
        return in_channels * out_channels * kernel**2 + 2 * out_channels

    total = 3 * 8 * 49 + with_norm(3 * 8, 64, 1) + with_norm(64, 64, 1) + with_norm(64, 192, 3)
    channels = {name: c for name, c, _ in SIZES}
    order = [name for name, _, _ in SIZES if name.startswith("inception")]
    for before, name in zip(["maxpool2", *order], order, strict=False):
        c = channels[before]
        if name in REDUCTIONS:
            ones, (reduce3, threes, reduce33, doubles), projected = 0, REDUCTIONS[name], 0
        else:
            ones, reduce3, threes, reduce33, doubles, _, projected = ROWS[name]
        total += sum(with_norm(c, wide, 1) for wide in (ones, reduce3, reduce33, projected))
        total += with_norm(reduce3, threes, 3) + with_norm(reduce33, doubles, 3) + with_norm(doubles, doubles, 3)
    assert total + 1000 * 1025 == sum(p.numel() for p in on_meta.parameters()) == 11_188_288


def test_the_first_convolution_looks_at_each_channel_by_itself():
    torch.manual_seed(0)
    depthwise = inception_v2(in_channels=2).conv1.depthwise
    x = torch.randn(1, 2, 30, 40)
    other = x.clone()
    other[:, 1] += 1
    changed = (depthwise(x) - depthwise(other)).abs().amax(dim=(0, 2, 3)) > 0
    assert changed.tolist() == [False] * 8 + [True] * 8


@pytest.mark.parametrize("name", ["inception3a", "inception5b"])
def test_a_module_is_its_four_branches_by_hand(name):
    torch.manual_seed(1)
    module = with_seen_norms(inception_v2(num_classes=2).get_submodule(name))
    x = torch.randn(2, module.branch1.conv.in_channels, 5, 8)
    if ROWS[name][5] == "max":
        pooled = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-float("inf")), 3, stride=1)
    else:  # the mean of the pixels that exist: 4 in a corner, 6 at an edge, 9 elsewhere
        nine = torch.ones(x.shape[1], 1, 3, 3)
        exist = F.conv2d(torch.ones_like(x), nine, padding=1, groups=x.shape[1])
        pooled = F.conv2d(x, nine, padding=1, groups=x.shape[1]) / exist
    three = by_hand(by_hand(x, module.branch2[0]), module.branch2[1])
    double = by_hand(by_hand(by_hand(x, module.branch3[0]), module.branch3[1]), module.branch3[2])
    want = torch.cat([by_hand(x, module.branch1), three, double, by_hand(pooled, module.branch4[1])], dim=1)
    assert (module(x) - want).norm() <= 1e-5 * want.norm()


def test_a_module_of_stride_two_is_its_three_branches_by_hand_on_odd_and_even_sides():
    torch.manual_seed(2)
    module = with_seen_norms(inception_v2(num_classes=2).inception3c)
    x = torch.randn(2, 320, 7, 10)
    three = by_hand(by_hand(x, module.branch1[0]), module.branch1[1], stride=2)
    double = by_hand(by_hand(by_hand(x, module.branch2[0]), module.branch2[1]), module.branch2[2], stride=2)
    passed = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-float("inf")), 3, stride=2)
    want = torch.cat([three, double, passed], dim=1)
    assert want.shape == (2, 160 + 96 + 320, 4, 5)
    assert (module(x) - want).norm() <= 1e-5 * want.norm()


def test_its_record_states_the_true_smallest_side():
    network, smallest = inception_v2(num_classes=3).train(), inception_v2.entry.smallest
    assert network(torch.randn(2, 3, smallest + 5, smallest)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.randn(2, 3, smallest + 5, smallest - 1))


def test_every_parameter_learns():
    torch.manual_seed(3)
    network = inception_v2(num_classes=4).train()
    network(torch.randn(2, 3, 64, 80)).square().sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
