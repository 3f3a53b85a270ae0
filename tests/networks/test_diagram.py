"""Blocks drawn in characters."""

import pytest
import torch
from torch import nn

from foveal.errors import BadRecipe
from foveal.networks.blocks import Add, Concat
from foveal.networks.catalogue import NETWORKS, table_of
from foveal.networks.diagram import diagram
from foveal.networks.layers import layers


class Branches(nn.Module):
    """One branch branches again."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(2, 3, 1)
        self.middle = nn.Conv2d(2, 3, 3, padding=1)
        self.high = nn.Conv2d(3, 1, (3, 1), padding=(1, 0))
        self.wide = nn.Conv2d(3, 1, (1, 3), padding=(0, 1))
        self.inner = Concat()
        self.outer = Concat()
        self.relu = nn.ReLU()

    def forward(self, x):
        middle = self.middle(x)
        return self.relu(self.outer(self.left(x), self.inner(self.high(middle), self.wide(middle))))


def test_branches_and_where_they_meet_are_drawn():
    network = nn.Sequential(nn.Identity(), Branches())
    assert diagram(layers(network, (4, 6)), "1").splitlines() == [
        "2×4×6",
        "├─ Conv2d 3×3, padding 1 → 3×4×6",
        "│  ├─ Conv2d 3×1, padding 1×0 → 1×4×6",
        "│  └─ Conv2d 1×3, padding 0×1 → 1×4×6",
        "│  Concat → 2×4×6",
        "└─ Conv2d 1×1 → 3×4×6",
        "Concat → 5×4×6 ─ ReLU",
    ]


def test_a_shortcut_without_a_layer_says_so():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.add = Add()

        def forward(self, x):
            return self.add(self.conv(x), x)

    drawn = diagram(layers(nn.Sequential(nn.Conv2d(3, 2, 1), Residual()), 8), "1")
    assert "(as it is)" in drawn
    assert drawn.splitlines()[-1] == "Add"


@pytest.mark.parametrize("entry", [e for e in NETWORKS.values() if e.block], ids=lambda e: e.name)
def test_every_block_of_the_zoo_is_drawn_with_all_its_layers(entry):
    table = table_of(entry.name)
    drawn = diagram(table, entry.block)
    inside = [row for row in table.layers if row.name == entry.block or row.name.startswith(f"{entry.block}.")]
    for kind in {row.kind for row in inside}:
        assert drawn.count(f"{kind}") >= sum(row.kind == kind for row in inside)


def test_a_block_that_is_not_there_gets_the_nearest_name():
    with torch.device("meta"):
        table = table_of("resnet18")
    with pytest.raises(BadRecipe, match=r'no block "layer2.3"; did you mean "layer2'):
        diagram(table, "layer2.3")


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if not entry.block])
def test_a_network_that_is_known_for_no_block_is_drawn_whole(name):
    table = table_of(name)
    if name.startswith("yolo_trunk"):  # rather than without some of its layers
        with pytest.raises(BadRecipe, match="cross too often"):
            diagram(table, "")
        return
    lines = diagram(table, "").splitlines()
    assert lines[0] == "the picture"
    assert all(len(line) <= 100 for line in lines if line[0] not in "├└│")
    words = " ".join(lines)
    for kind in {layer.kind for layer in table.layers}:
        assert words.count(kind) >= sum(layer.kind == kind for layer in table.layers), kind
