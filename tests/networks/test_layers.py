"""The layer table against gradients, PyTorch's own counter and numbers that a person can check."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from foveal.errors import BadRecipe
from foveal.networks.catalogue import NETWORKS, build, table_of
from foveal.networks.layers import layers, layers_csv

# One of each family. The strip's short side: what the network needs at least to have a map left.
FAMILIES = [name for name in (
    "lenet5", "lenet5_1998", "alexnet", "alexnet_2012", "vgg11", "nin", "googlenet", "googlenet_2014", "inception_v2",
    "inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2", "resnet18", "resnet50", "resnet20",
    "resnet20_b", "plain20", "densenet121", "efficientnet_b0", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2",
    "mobilenet_v3_small", "darknet53", "speednet",
) if name in NETWORKS]  # fmt: skip
UNEVEN = ("inception_v3", "inception_resnet_v1")  # 1×7 and 7×1 kernels


class Same(nn.Module):
    """What squeeze-and-excite becomes when only places are of interest."""

    def forward(self, x, *_):
        return x


def smoothed(network):
    """The same windows with a slope everywhere: positive weights, average for maximum, no norms, no gates."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(parent, name, average)
            elif isinstance(child, nn.ReLU6):  # flat above 6
                setattr(parent, name, nn.ReLU())
            elif isinstance(child, nn.modules.batchnorm._BatchNorm | nn.LocalResponseNorm):
                setattr(parent, name, nn.Identity())
            elif "Excite" in type(child).__name__ or "Response" in type(child).__name__:
                setattr(parent, name, Same())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network.double().eval()


def seen_by_gradient(network, module, images, axis):
    """(first, last, unit): the pixels along a side that the middle unit of a layer's map has a slope by."""
    maps = {}
    handle = network.get_submodule(module).register_forward_hook(lambda m, i, out: maps.setdefault("out", out))
    images = images.clone().requires_grad_()
    network(images)
    handle.remove()
    out = maps["out"]
    unit = out.shape[axis] // 2
    out.select(axis, unit).sum().backward()
    along = images.grad.abs().sum(dim=tuple(d for d in range(4) if d != axis))
    places = along.nonzero().flatten()
    return int(places[0]), int(places[-1]), unit


def last_finite(table):
    """The last map before it is pooled to a fixed size."""
    maps = [row for row in table.layers if len(row.shape) == 3 and "Adaptive" not in row.kind]
    return [row for row in maps if not row.reach[0].everything][-1]


@pytest.mark.parametrize(
    ("name", "axis"), [(name, axis) for i, name in enumerate(FAMILIES) for axis in (2, 3)
                       if name in UNEVEN or axis == 2 + i % 2]
)  # fmt: skip
def test_the_field_is_what_the_gradient_of_one_unit_covers(name, axis):
    entry = NETWORKS[name]
    short = max(entry.smallest, 32)
    network = smoothed(build(name, 5, entry_channels(entry), (short, short)))
    table = layers(network, short)
    row = last_finite(table)
    reach = row.reach[axis - 2]
    long = int(1.15 * reach.size + 4 * reach.stride)
    size = [short, short]
    size[axis - 2] = max(short, long)
    if entry.takes_size:  # its dense layers fit one size only
        network = smoothed(build(name, 5, entry_channels(entry), tuple(size)))
    images = torch.ones(1, entry_channels(entry), *size, dtype=torch.float64)
    first, last, unit = seen_by_gradient(network, row.name, images, axis)
    assert first > 0
    assert last < size[axis - 2] - 1
    assert (first, last) == (reach.low + unit * reach.stride, reach.high + unit * reach.stride)


def entry_channels(entry):
    return {"lenet5_1998": 1}.get(entry.name, 3)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_parameters_and_multiply_adds_are_pytorchs_own(name):
    entry = NETWORKS[name]
    size = (max(entry.smallest, 64),) * 2
    with torch.device("meta"):
        network = build(name, 7, entry_channels(entry), size).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.empty(1, entry_channels(entry), *size))
    table = table_of(name, size, entry_channels(entry), 7)
    assert table.multiply_adds == counter.get_total_flops() // 2
    assert sum(row.multiply_adds for row in table.layers) == table.multiply_adds
    assert sum(row.parameters for row in table.layers) == table.parameters
    assert table.parameters == sum(p.numel() for p in network.parameters())


def test_what_only_trains_has_its_row_but_no_output():
    rows = {row.name: row for row in table_of("googlenet", (224, 224)).layers}
    assert rows["aux1.fc1"].parameters == 2048 * 1024 + 1024
    assert rows["aux1.fc1"].activations == 0
    assert rows["aux1.fc1"].as_dict()["receptive_field"] is None


def test_resnet50_is_what_every_course_prints():
    table = table_of("resnet50", (224, 224))
    totals = table.as_dict()["totals"]
    assert totals["parameters"] == 25_557_032
    assert totals["multiply_adds"] == 4_089_184_256
    assert totals["receptive_field"] == [427, 427]
    first = table.layers[0].as_dict()
    assert (first["name"], first["shape"], first["formula"]) == ("conv1", [64, 112, 112], "7·7·3·64 = 9408")
    assert (first["receptive_field"], first["stride"], first["offset"]) == ([7, 7], [2, 2], [0, 0])
    assert table.layers[-1].as_dict()["receptive_field"] == "global"


def test_height_and_width_have_fields_of_their_own():
    network = nn.Sequential(nn.Conv2d(1, 2, (1, 7), stride=(1, 2), padding=(0, 3)), nn.AvgPool2d((3, 1), (2, 1)))
    rows = [row.as_dict() for row in layers(network, (20, 40)).layers]
    assert rows[0]["receptive_field"] == [1, 7]
    assert rows[0]["stride"] == [1, 2]
    assert rows[1]["shape"] == [2, 9, 20]
    assert rows[1]["receptive_field"] == [3, 7]
    assert rows[1]["stride"] == [2, 2]
    assert rows[1]["offset"] == [1, 0]


class Functional(nn.Module):
    """Much of it happens in functions, not in modules."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.wide = nn.Conv2d(4, 4, 5, padding=2)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = torch.cat([F.max_pool2d(self.wide(x), 2), x[:, :, ::2, 1::2]], dim=1)
        return self.head(x.mean((2, 3)))


def test_fields_are_followed_through_functions():
    rows = {row.name: row.as_dict() for row in layers(Functional(), (16, 24)).layers}
    assert rows["wide"]["receptive_field"] == [7, 7]
    assert rows["head"]["receptive_field"] == "global"
    both = nn.Sequential(Functional())
    both[0].head = nn.Identity()
    both[0].forward = lambda x, own=both[0]: own.wide(F.pad(own.conv(x)[:, :, ::2], (2, 0, 0, 0)))
    row = [row.as_dict() for row in layers(both, (16, 24)).layers][-1]
    assert row["stride"] == [2, 1]
    assert row["receptive_field"] == [3 + 4 * 2, 3 + 4]
    assert row["offset"] == [0, -2]


class LastAxis(nn.Module):
    """Dense layers and norms over the channels laid last, as in ConvNeXt."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 7, padding=3)
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 24)
        self.down = nn.Linear(24, 6)
        self.after = nn.Conv2d(6, 2, 3)

    def forward(self, x):
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return self.after(self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2))


def test_dense_layers_over_channels_keep_the_field():
    rows = {row.name: row.as_dict() for row in layers(LastAxis(), (20, 28)).layers}
    assert rows["down"]["receptive_field"] == [7, 7]
    assert rows["after"]["receptive_field"] == [9, 9]
    assert rows["up"]["multiply_adds"] == 20 * 28 * 6 * 24


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.gate = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.last(x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid())


def test_a_gate_that_saw_the_whole_map_makes_the_field_global():
    rows = {row.name: row.as_dict() for row in layers(Gated(), (12, 20)).layers}
    assert rows["conv"]["receptive_field"] == [3, 3]
    assert rows["last"]["receptive_field"] == "global"


class NeedsValues(nn.Module):
    """Its forward pass looks at numbers, which a tensor without memory does not have."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x) * (1 if float(x.sum()) >= 0 else -1)


def test_a_network_that_looks_at_values_gets_real_ones():
    (row,) = layers(NeedsValues(), (8, 10)).layers
    assert row.shape == (2, 6, 8)
    assert row.as_dict()["receptive_field"] == [3, 3]


def test_the_network_is_left_as_it_was_found():
    network = build("resnet18", 4, 3, (32, 32))
    network.train()
    network.layer1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers(network, 64)
    assert network.training
    assert not network.layer1.training
    assert network.layer2.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_layer_used_twice_is_counted_once_and_computed_twice():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    table = layers(nn.Sequential(conv, conv), 8)
    assert [row.parameters for row in table.layers] == [84, 0]
    assert table.parameters == 84
    assert table.multiply_adds == 2 * 8 * 8 * 3 * 27


def test_a_picture_that_does_not_fit_is_refused_in_one_sentence():
    with pytest.raises(BadRecipe, match="cannot take a picture of 4x4 with 3 channels"):
        layers(nn.Conv2d(3, 4, 7), 4)


def test_csv_has_a_line_a_layer_and_sides_apart():
    network = nn.Sequential(nn.Conv2d(1, 2, (3, 5)), nn.AdaptiveAvgPool2d(1))
    head, first, second = layers_csv(layers(network, (8, 9))).splitlines()
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert (row["receptive_field_height"], row["receptive_field_width"]) == ("3", "5")
    assert "global" in second


def test_memory_to_answer_holds_the_weights_and_what_lives_at_once():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    table = layers(network, (10, 10))
    assert table.inference_bytes == 4 * (table.parameters + 800)
    assert table.training_bytes == 4 * (900 + 3 * table.parameters)
    assert math.isclose(table.activations, 900)
