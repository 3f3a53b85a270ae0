"""LeNet-5 as its paper draws it: sub-sampling that learns, a table of connections, outputs that compare with drawings.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", Proc. IEEE 86(11),
section II.B, figure 2, table I and appendix A. (`lenet.py` has the form that courses teach.) Differs from the paper:
the outputs are minus the distances of equation 7, so that they are logits whose cross entropy is equation 9 without its
rubbish class e^−j; a softmax of them gives probabilities; for another number of classes than ten the codes are random
±1 patterns, which section II.B names as a choice; maps of C5 larger than 1×1, which pictures beyond 32×32 give, are
averaged; the digits' bitmaps are drawn anew, for the paper shows its own [fig. 3] without printing them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from foveal.networks.blocks import Concat
from foveal.networks.entry import Stage, network
from foveal.ops.draws import uniforms

__all__ = ["LeNet1998", "RadialBasis", "ScaledTanh", "Select", "SubSampling", "SomeOfSix", "class_codes", "lenet5_1998"]

CODE = 84  # units of F6: a bitmap 7 wide and 12 high

DIGITS = """
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
..###..  ...#...  .#####.  .#####.  .....#.  #######  ..####.  #######  .#####.  .####..
.#...#.  ..##...  #.....#  #.....#  ....##.  #......  .#.....  ......#  #.....#  #....#.
#.....#  .#.#...  ......#  ......#  ...#.#.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...#...  ......#  ......#  ..#..#.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...#...  .....#.  ..####.  .#...#.  ######.  #.####.  ....#..  .#####.  #....##
#.....#  ...#...  ....#..  ......#  #....#.  ......#  ##....#  ....#..  #.....#  .####.#
#.....#  ...#...  ..##...  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  .#.....  ......#  .....#.  ......#  #.....#  ...#...  #.....#  ......#
.#...#.  ...#...  #......  #.....#  .....#.  #.....#  .#....#  ..#....  #.....#  .....#.
..###..  .#####.  #######  .#####.  .....#.  .#####.  ..####.  ..#....  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""

# The maps of S2 that each map of C3 sees [table I, by columns]: no two see the same, so they must learn to differ.
TABLE_I: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),  # three neighbours
    ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),  # four neighbours
    ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),  # four with a gap
    ((0, 1, 2, 3, 4, 5),),
)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): 1 at 1 and −1 at −1, where it bends most [equation 6, appendix A]."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


class SubSampling(nn.Module):
    """The sum of each 2×2 square, times a coefficient, plus a bias: one of each a map [section II.B, S2]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sum = nn.AvgPool2d(2, divisor_override=1)
        self.coefficient = nn.Parameter(torch.full((channels,), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, ⌊H/2⌋, ⌊W/2⌋)
        out: Tensor = self.coefficient[:, None, None] * self.sum(x) + self.bias[:, None, None]
        return out


class Select(nn.Module):
    """Some maps, in this order; one may come several times."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = list(channels)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, chosen, H, W)
        return x[:, self.channels]


class SomeOfSix(nn.Module):
    """Sixteen 5×5 convolutions, each over its own choice of six maps: C3 [table I]."""

    def __init__(self) -> None:
        super().__init__()
        seen = [sum(group, ()) for group in TABLE_I]
        self.selects = nn.ModuleList(Select(channels) for channels in seen)
        # One convolution for all maps that see equally many: `groups` keeps what each sees apart.
        self.convs = nn.ModuleList(
            nn.Conv2d(len(channels), len(group), kernel_size=5, groups=len(group))
            for channels, group in zip(seen, TABLE_I, strict=True)
        )
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, 6, 14, 14)
        parts = [conv(select(x)) for select, conv in zip(self.selects, self.convs, strict=True)]
        out: Tensor = self.concat(*parts)  # (N, 16, 10, 10)
        return out


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's code [equation 7]: 0 for the code itself, below 0 for all else."""

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", class_codes(num_classes))  # set by hand and kept fixed [section II.B]

    def forward(self, x: Tensor) -> Tensor:  # (N, 84)
        return -(x[:, None, :] - self.codes).square().sum(dim=2)  # (N, K)


def class_codes(num_classes: int) -> Tensor:
    """(K, 84) float32 of ±1: the drawings of the digits for ten classes, else drawn at random.

    A random code depends on its class's index alone, so that it is the same wherever and however often it is drawn.
    """
    if num_classes == 10:
        rows = [line.split() for line in DIGITS.strip().splitlines()]  # 12 rows with a piece for each digit
        bright = [[pixel == "#" for row in rows for pixel in row[digit]] for digit in range(10)]
    else:
        bright = (uniforms(1998, 0, np.arange(num_classes), CODE) < 0.5).tolist()
    return torch.tensor([[1.0 if pixel else -1.0 for pixel in code] for code in bright])


class LeNet1998(nn.Module):
    """[fig. 2]; the layers bear the paper's names."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, kernel_size=5)
        self.tanh1 = ScaledTanh()
        self.s2 = SubSampling(6)
        self.tanh2 = ScaledTanh()
        self.c3 = SomeOfSix()
        self.tanh3 = ScaledTanh()
        self.s4 = SubSampling(16)
        self.tanh4 = ScaledTanh()
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.tanh5 = ScaledTanh()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, CODE)
        self.tanh6 = ScaledTanh()
        self.output = RadialBasis(num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Uniform within ±2.4 / (inputs of a unit) [appendix A]."""
        if self.c1.weight.is_meta:
            return  # only shapes are wanted
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                inputs = module.weight[0].numel()
            elif isinstance(module, SubSampling):
                inputs = 4
            else:
                continue
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -2.4 / inputs, 2.4 / inputs)

    def forward(self, x: Tensor) -> Tensor:  # (N, 1, 32, 32)
        x = self.tanh2(self.s2(self.tanh1(self.c1(x))))  # (N, 6, 14, 14)
        x = self.tanh4(self.s4(self.tanh3(self.c3(x))))  # (N, 16, 5, 5)
        x = self.average(self.tanh5(self.c5(x)))  # (N, 120, 1, 1)
        x = self.tanh6(self.f6(self.flatten(x)))  # (N, 84)
        logits: Tensor = self.output(x)
        return logits  # (N, K)


@network(
    paper="LeCun, Bottou, Bengio, Haffner 1998, section II.B",
    year=1998,
    smallest=32,
    natural=32,
    stages=(Stage("tanh2", 2, 6), Stage("tanh4", 4, 16)),
    classifier="output",
    block="c3",
    recipe={
        "training.optimizer": "adamw",
        "training.learning_rate": 5e-3,
        "training.weight_decay": 0.01,
        "training.batch_size": 128,
        "training.epochs": 12,
    },
)
def lenet5_1998(num_classes: int = 10, in_channels: int = 1) -> LeNet1998:  # 60 000 parameters
    """LeNet-5 of 1998, for pictures of 32×32."""
    return LeNet1998(num_classes, in_channels)
