"""A notation's layers as modules: first a plan (names, shapes and sums, where nothing is allocated), then the modules.

So what cannot be built, or would not fit into any memory, is told before it costs any.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from torch import Tensor, nn

from foveal.errors import BadRecipe
from foveal.networks._notation_layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Global,
    Layer,
    Logits,
    Pad,
    Pair,
    Parallel,
    Pool,
    Residual,
    unrolled,
)
from foveal.networks.blocks import Add, Concat
from foveal.ops.arithmetic import convolution_parameters, dense_parameters, output_size, reach

__all__ = ["Flow", "ParallelGroup", "ResidualGroup", "Step", "TooSmall", "assembled", "plan"]

MOST_PARAMETERS = 1 << 28  # 1 GiB in float32, twice VGG-16's
MOST_VALUES = 1 << 26  # of one layer for one picture: what VGG's first layers give at 1024×1024
_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU}
)  # linear: nothing follows
_AS_RELU = {"gelu": "relu", "silu": "relu"}  # their gain, near enough


class TooSmall(BadRecipe):
    """The picture has no pixels left before the network ends."""


class ResidualGroup(nn.Module):
    """What the branch makes of its input, added to the input (He et al. 2015, arXiv:1512.03385, section 3.2)."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W), or (N, F)
        out: Tensor = self.add(self.branch(x), self.shortcut(x))
        return out


class ParallelGroup(nn.Module):
    """What every branch makes of one input, side by side (Szegedy et al. 2014, arXiv:1409.4842, figure 2)."""

    def __init__(self, branches: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.names = [f"branch{number}" for number in range(1, len(branches) + 1)]
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)
        self.concat = Concat()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W), or (N, F)
        out: Tensor = self.concat(*(self.get_submodule(name)(x) for name in self.names))
        return out


@dataclass(frozen=True)
class Flow:
    """What runs from one layer to the next, for one picture."""

    channels: int  # of a map; the values in a row, once it is flat
    size: Pair | None  # of a map; None: flat
    stride: Pair = (1, 1)  # pixels of the picture for one step on the map

    def __str__(self) -> str:
        return f"{self.channels} values in a row" if self.size is None else f"{self.channels}x{_times(self.size)}"

    @property
    def values(self) -> int:
        return self.channels * (1 if self.size is None else self.size[0] * self.size[1])


@dataclass(frozen=True)
class Step:
    """A module to be."""

    name: str
    make: Callable[[], nn.Module]
    flow: Flow  # behind it


class _Names(Counter[str]):
    """conv1, conv2, …: every kind counted by itself."""

    def next(self, kind: str) -> str:
        self[kind] += 1
        return f"{kind}{self[kind]}"


def plan(layers: Sequence[Layer], num_classes: int, in_channels: int, size: Pair) -> list[Step]:
    """The modules of a network for pictures (in_channels, H, W); one that ends before its last dense layer gets it.

    Raises: TooSmall when a layer has nothing left to look at; BadRecipe for what does not fit, naming the layer.
    """
    planner, names, flow = _Planner(num_classes), _Names(), Flow(in_channels, size)
    steps = planner.sequence(layers, flow, names)
    if isinstance(layers[-1], Logits):
        return steps
    flow = steps[-1].flow
    rest: tuple[Layer, ...] = (Logits(None),) if flow.size is None else (Flatten(), Logits(None))
    return steps + planner.sequence(rest, flow, names)


def assembled(steps: Iterable[Step]) -> nn.Sequential:
    """The modules of a plan, one behind the other, with their first weights."""
    return nn.Sequential(OrderedDict((step.name, step.make()) for step in steps))


class _Planner:
    """Walks through the layers with the shape that reaches them, and adds up what they learn."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.number = 0  # layers so far, groups not counted, repetitions written out
        self.parameters = 0

    def sequence(self, layers: Iterable[Layer], flow: Flow, names: _Names) -> list[Step]:
        steps: list[Step] = []
        for layer in unrolled(layers):
            steps += self.one(layer, flow, names)
            flow = steps[-1].flow
        return steps

    def one(self, layer: Layer, flow: Flow, names: _Names) -> list[Step]:
        """The modules of a layer, or of a group. What goes wrong inside names the layer."""
        number = self.number + 1
        try:
            steps = self.group(layer, flow, names)
            if steps is None:
                self.number = number
                steps = self.layer(layer, flow, names)
            self.limit(steps)
        except _Misfit as misfit:
            raise misfit.kind(f'layer {number}, "{_short(layer)}": {misfit}.') from None
        return steps

    def limit(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.flow.values > MOST_VALUES:
                raise _Misfit(f"{step.flow.values:,} values for one picture are more than any memory is meant for")
        if self.parameters > MOST_PARAMETERS:
            raise _Misfit(f"with it the network has {self.parameters:,} parameters; {MOST_PARAMETERS:,} are the most")

    def group(self, layer: Layer, flow: Flow, names: _Names) -> list[Step] | None:
        if isinstance(layer, Residual):
            return self.residual(layer, flow, names)
        if isinstance(layer, Parallel):
            return self.parallel(layer, flow, names)
        return None

    def layer(self, layer: Layer, flow: Flow, names: _Names) -> list[Step]:
        match layer:
            case Conv():
                return self.conv(layer, flow, names)
            case Pool():
                return [_pool(layer, flow, names)]
            case Global():
                return _global(layer, flow, names)
            case Dense():
                return self.dense(layer, flow, names)
            case Logits():
                return [self.logits(layer, flow, names)]
            case Dropout():
                return [Step(names.next("dropout"), partial(nn.Dropout, layer.share), flow)]
            case Flatten():
                return [Step(names.next("flatten"), nn.Flatten, Flow(flow.values, None))]
        return [Step(names.next("identity"), nn.Identity, flow)]

    def conv(self, layer: Conv, flow: Flow, names: _Names) -> list[Step]:
        if flow.channels % layer.groups:
            raise _Misfit(f"its input has {flow.channels} channels, not to be shared out among {layer.groups} groups")
        ends = _ends(layer.pad, layer.kernel, layer.dilation)
        after = replace(_behind(flow, layer.kernel, layer.stride, ends, layer.dilation), channels=layer.channels)
        self.parameters += convolution_parameters(
            flow.channels, layer.channels, layer.kernel, not layer.bn, layer.groups
        )
        before: list[Step] = []
        if any(first != last for first, last in ends):  # an even kernel: nn.Conv2d pads both ends alike
            before = [_padding(flow, ends, names)]
            ends = ((0, 0), (0, 0))
        make = partial(
            nn.Conv2d,
            flow.channels,
            layer.channels,
            layer.kernel,
            stride=layer.stride,
            padding=(ends[0][0], ends[1][0]),
            dilation=layer.dilation,
            groups=layer.groups,
            bias=not layer.bn,
        )
        step = Step(names.next("conv"), partial(_weighted, make, layer.activation), after)
        return [*before, step, *self.finish(layer, after, names)]

    def dense(self, layer: Dense, flow: Flow, names: _Names) -> list[Step]:
        step = self.linear(layer.units, not layer.bn, layer.activation, flow, names)
        return [step, *self.finish(layer, step.flow, names)]

    def logits(self, layer: Logits, flow: Flow, names: _Names) -> Step:
        if layer.units not in (None, self.num_classes):
            raise _Misfit(
                f'{self.num_classes} classes need as many values at the end; write "dense classes", '
                "which is always as many as there are"
            )
        return self.linear(self.num_classes, True, "linear", flow, names)

    def linear(self, units: int, bias: bool, activation: str, flow: Flow, names: _Names) -> Step:
        if flow.size is not None:
            raise _Misfit(f'its input is a map of {flow}; write "flatten" or "global avg" before it')
        self.parameters += dense_parameters(flow.channels, units, bias)
        make = partial(_weighted, partial(nn.Linear, flow.channels, units, bias=bias), activation)
        return Step(names.next("dense"), make, Flow(units, None))

    def finish(self, layer: Conv | Dense, flow: Flow, names: _Names) -> list[Step]:
        """The norm and the activation behind a convolution or a dense layer."""
        norm = [self.norm(flow, names.next("bn"))] if layer.bn else []
        return norm + _activation(layer.activation, flow, names)

    def norm(self, flow: Flow, name: str) -> Step:
        self.parameters += 2 * flow.channels
        kind = nn.BatchNorm1d if flow.size is None else nn.BatchNorm2d
        return Step(name, partial(kind, flow.channels), flow)

    def residual(self, layer: Residual, flow: Flow, names: _Names) -> list[Step]:
        branch = self.sequence(layer.layers, flow, _Names())
        after = branch[-1].flow
        shortcut = self.shortcut(flow, after, norm=any(step.name.startswith("bn") for step in branch))
        step = Step(names.next("residual"), partial(_residual, branch, shortcut), after)
        return [step, *_activation(layer.activation, after, names)]

    def shortcut(self, flow: Flow, after: Flow, norm: bool) -> list[Step]:
        """Nothing where the shapes agree, else a 1×1 projection [He et al. 2015, section 3.3, option B]."""
        if (flow.channels, flow.size) == (after.channels, after.size):
            return []
        if flow.size is None and after.size is None:
            names = _Names()
            steps = [self.linear(after.channels, not norm, "linear", flow, names)]
        else:
            steps = [self.projection(flow, after, bias=not norm)]
        return [*steps, self.norm(after, "bn1")] if norm else steps

    def projection(self, flow: Flow, after: Flow, bias: bool) -> Step:
        strides = (after.stride[0] // flow.stride[0], after.stride[1] // flow.stride[1])
        flat = flow.size is None or after.size is None
        if flat or after.size != tuple(output_size(n, 1, s) for n, s in zip(flow.size or (), strides, strict=True)):
            raise _Misfit(f'its layers turn {flow} into {after}, which cannot be added; "pad same" keeps the sides')
        self.parameters += convolution_parameters(flow.channels, after.channels, 1, bias)
        make = partial(nn.Conv2d, flow.channels, after.channels, kernel_size=1, stride=strides, bias=bias)
        return Step("conv1", partial(_weighted, make, "linear"), after)

    def parallel(self, layer: Parallel, flow: Flow, names: _Names) -> list[Step]:
        branches = [self.sequence(branch, flow, _Names()) for branch in layer.branches]
        ends = [branch[-1].flow for branch in branches]
        if len({end.size for end in ends}) > 1:
            raise _Misfit(
                f"its branches end with {' and '.join(dict.fromkeys(map(str, ends)))}, which cannot be laid side by "
                'side; "pad same" keeps the sides'
            )
        after = replace(ends[0], channels=sum(end.channels for end in ends))
        return [Step(names.next("parallel"), partial(_parallel, branches), after)]


class _Misfit(Exception):
    """What is wrong with a layer where it stands, without its name."""

    def __init__(self, reason: str, kind: type[BadRecipe] = BadRecipe) -> None:
        super().__init__(reason)
        self.kind = kind


# Shapes

Ends = tuple[Pair, Pair]  # zeros before and behind, for the height and for the width


def _ends(pad: Pad, kernel: Pair, dilation: Pair) -> Ends:
    """Padded "same", a side stays as it is at stride 1; of an odd number of zeros the last goes behind."""
    if pad == "same":
        height, width = (reach(f, d) - 1 for f, d in zip(kernel, dilation, strict=True))
        return (height // 2, height - height // 2), (width // 2, width - width // 2)
    return (pad[0], pad[0]), (pad[1], pad[1])


def _padded(flow: Flow, ends: Ends) -> Flow:
    if flow.size is None:
        raise _Misfit(f"its input is flat ({flow}); convolutions and pools stand before flatten, global and dense")
    return replace(flow, size=(flow.size[0] + sum(ends[0]), flow.size[1] + sum(ends[1])))


def _behind(flow: Flow, window: Pair, stride: Pair, ends: Ends, dilation: Pair = (1, 1)) -> Flow:
    """The map behind a window that slides over it, with the channels that it had."""
    padded = _padded(flow, ends).size
    assert padded is not None
    assert flow.size is not None
    reaches = (reach(window[0], dilation[0]), reach(window[1], dilation[1]))
    if padded[0] < reaches[0] or padded[1] < reaches[1]:
        with_pad = f" ({_times(padded)} with its padding)" if padded != flow.size else ""
        smaller = str(reaches[0]) if reaches[0] == reaches[1] else _times(reaches)
        way_out = "use larger pictures, or fewer reductions before it"
        raise _Misfit(f"its input is {_times(flow.size)}{with_pad}, smaller than {smaller}; {way_out}", TooSmall)
    height, width = (output_size(n, f, s) for n, f, s in zip(padded, reaches, stride, strict=True))
    return Flow(flow.channels, (height, width), (flow.stride[0] * stride[0], flow.stride[1] * stride[1]))


def _times(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def _short(layer: Layer, most: int = 60) -> str:
    text = str(layer)
    return text if len(text) <= most else f"{text[:most]}…"


# Modules without weights


def _padding(flow: Flow, ends: Ends, names: _Names) -> Step:
    (top, bottom), (left, right) = ends
    return Step(names.next("pad"), partial(nn.ZeroPad2d, (left, right, top, bottom)), _padded(flow, ends))


def _pool(layer: Pool, flow: Flow, names: _Names) -> Step:
    ends = _ends(layer.pad, layer.window, (1, 1))
    after = _behind(flow, layer.window, layer.stride, ends)
    padding = (ends[0][0], ends[1][0])
    make: Callable[[], nn.Module] = partial(nn.MaxPool2d, layer.window, layer.stride, padding)
    if layer.kind == "avgpool":  # a mean of pixels: zeros around the map are none
        make = partial(nn.AvgPool2d, layer.window, layer.stride, padding, count_include_pad=False)
    return Step(names.next(layer.kind), make, after)


def _global(layer: Global, flow: Flow, names: _Names) -> list[Step]:
    if flow.size is None:
        raise _Misfit(f"its input is flat already ({flow}); remove one of the two")
    kind = nn.AdaptiveAvgPool2d if layer.kind == "avg" else nn.AdaptiveMaxPool2d
    return [
        Step(names.next("global"), partial(kind, 1), replace(flow, size=(1, 1))),
        Step(names.next("flatten"), nn.Flatten, Flow(flow.channels, None)),
    ]


def _activation(word: str, flow: Flow, names: _Names) -> list[Step]:
    return [] if word == "linear" else [Step(names.next(word), _ACTIVATIONS[word], flow)]


# Modules with their first weights


def _weighted(make: Callable[[], nn.Conv2d | nn.Linear], activation: str) -> nn.Module:
    """Weights that keep the size of what runs through (He et al. 2015, arXiv:1502.01852, equation 10); biases zero."""
    module = make()
    if not module.weight.is_meta:  # only shapes are wanted; initialising what has no memory would import the compiler
        nn.init.kaiming_normal_(module.weight, nonlinearity=_AS_RELU.get(activation, activation))  # type: ignore[arg-type]
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return module


def _residual(branch: Sequence[Step], shortcut: Sequence[Step]) -> ResidualGroup:
    """A branch that ends linear begins at zero, and the group as its shortcut: so a deep stack starts calm
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1; without norms, Zhang et al. 2019, arXiv:1901.09321)."""
    group = ResidualGroup(assembled(branch), assembled(shortcut) if shortcut else nn.Identity())
    last = group.branch[-1]
    if isinstance(last, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d) and not last.weight.is_meta:
        nn.init.zeros_(last.weight)
    return group


def _parallel(branches: Sequence[Sequence[Step]]) -> ParallelGroup:
    return ParallelGroup([assembled(branch) for branch in branches])
