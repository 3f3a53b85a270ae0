"""The layer table: what every layer of a network gives, holds, costs and sees, from one forward pass.

Works on any module: layers are watched while they run (`taps.py`), arithmetic is counted where it is carried out, and
receptive fields are followed through every operation (`tracing.py`). Tensors have shapes but no memory (the meta
device of PyTorch), unless the network needs values: the table of a large network takes no longer than that of a small
one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from foveal.errors import BadRecipe, check_kind, shown
from foveal.files.plain_table import counted
from foveal.files.spreadsheet import csv_text
from foveal.files.tables import MOST_ROWS, html_table
from foveal.networks._asked import check_numbers, sides_of
from foveal.networks.taps import watching
from foveal.networks.tracing import Field, Tracing
from foveal.ops.arithmetic import parameter_formula
from foveal.ops.receptive import Reach

__all__ = ["Layer", "LayerTable", "in_sides", "layers", "layers_csv"]

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """A row of the table; everything is for one picture."""

    name: str  # path in the network
    kind: str  # class of the module
    settings: str  # "3×3, stride 2, padding 1"
    shape: tuple[int, ...]  # of its output, without N
    parameters: int
    formula: str  # "(5·5·3 + 1)·8 = 608"; "" without parameters
    multiply_adds: int
    reach: tuple[Reach, Reach] | None  # along height and width; None when the output does not come from the picture
    inputs: tuple[int, ...] = ()  # numbers of the rows whose outputs it takes; −1: the picture

    @property
    def activations(self) -> int:
        """Numbers in its output; none when it did not answer."""
        return math.prod(self.shape) if self.shape else 0

    @property
    def bytes(self) -> int:
        """Of its output and its parameters, in float32."""
        return _FLOAT_BYTES * (self.activations + self.parameters)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Receptive field, stride and offset are [height, width], or "global"."""
        return {
            "name": self.name,
            "kind": self.kind,
            "settings": self.settings,
            "shape": list(self.shape),
            "activations": self.activations,
            "parameters": self.parameters,
            "formula": self.formula,
            "multiply_adds": self.multiply_adds,
            "bytes": self.bytes,
            "receptive_field": _both(self.reach, "size"),
            "stride": _both(self.reach, "stride"),
            "offset": _both(self.reach, "offset"),
            "inputs": list(self.inputs),
        }


@dataclass(frozen=True, repr=False)
class LayerTable:
    """All rows, in the order in which the layers answer.

    >>> table = foveal.layers(foveal.build("lenet5", 10, 1, 28), 28)
    >>> [layer.name for layer in table.layers][:3], table.parameters
    (['conv1', 'bn1', 'relu1'], 61706)
    """

    layers: tuple[Layer, ...]
    size: tuple[int, int]  # (H, W) of the picture
    parameters: int  # each counted once, however often its layer is used
    multiply_adds: int  # also of arithmetic outside any layer

    def __repr__(self) -> str:
        height, width = self.size
        counts = f"{counted(self.parameters, 'parameter')}, {counted(self.multiply_adds, 'multiply-add')}"
        return f"LayerTable({counted(len(self.layers), 'layer')} for {height}×{width} pixels: {counts})"

    def _repr_html_(self) -> str:
        columns = ("layer", "kind", "settings", "output", "parameters", "multiply-adds")
        rows = [
            (row.name, row.kind, row.settings, "×".join(map(str, row.shape)), row.parameters, row.multiply_adds)
            for row in self.layers
        ]
        return html_table(columns, rows, len(rows) - MOST_ROWS)

    @property
    def activations(self) -> int:
        """Numbers in all outputs together: what training keeps for the backward pass, about.

        >>> table.activations == sum(layer.activations for layer in table.layers)
        True
        """
        return sum(layer.activations for layer in self.layers)

    @property
    def reach(self) -> tuple[Reach, Reach] | None:
        """What the units of the last feature map see, before it is pooled or flattened away.

        >>> table.reach[0].size
        16
        """
        end = max((i for i, layer in enumerate(self.layers) if _ends_maps(layer)), default=len(self.layers))
        maps = [layer for layer in self.layers[:end] if len(layer.shape) == 3 and not _ends_maps(layer)]
        return maps[-1].reach if maps else None

    @property
    def training_bytes(self) -> int:
        """Of one picture's training step in float32: outputs kept, and weights, gradients and momentum.

        >>> table.training_bytes == 4 * (table.activations + 3 * table.parameters)
        True
        """
        return _FLOAT_BYTES * (self.activations + 3 * self.parameters)

    @property
    def inference_bytes(self) -> int:
        """Of one picture's answer in float32: the weights, and the most that lives at one time.

        >>> table.inference_bytes < table.training_bytes
        True
        """
        return _FLOAT_BYTES * (self.parameters + _most_alive(self.layers))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        >>> table.as_dict()["totals"]["parameters"]
        61706
        """
        return {
            "layers": [layer.as_dict() for layer in self.layers],
            "totals": {
                "parameters": self.parameters,
                "multiply_adds": self.multiply_adds,
                "receptive_field": _both(self.reach, "size"),
                "activations": self.activations,
                "training_bytes": self.training_bytes,
                "inference_bytes": self.inference_bytes,
            },
        }


def layers(network: nn.Module, size: int | tuple[int, int], in_channels: int | None = None) -> LayerTable:
    """The layer table of any module for pictures of one size.

    Args:   network: any module that takes (N, C, H, W) and gives one tensor or several; it is left as it was found.
            size: (H, W) in pixels, or one number for both.
            in_channels: C; by default what its first convolution takes, else 3.
    Raises: BadRecipe when the network cannot take such a picture.

    >>> foveal.layers(foveal.build("lenet5", 10, 1, 28), 28).multiply_adds
    416520
    """
    hint = f" (build it first: foveal.build({network!r}, …))" if isinstance(network, str) else ""
    check_kind(network, nn.Module, f"layers takes an nn.Module{hint}", BadRecipe)
    height, width = sides_of(size)
    check_numbers(in_channels=1 if in_channels is None else in_channels)
    channels = _channels(network) if in_channels is None else in_channels
    known = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    images = torch.empty(1, channels, height, width, dtype=known.dtype, device="meta")
    watch = _Watch(network)
    with watching(network, watch.before, watch.after), _evaluating(network), torch.no_grad():
        try:
            watch.follow(images)
        except Exception:  # noqa: BLE001 - a forward pass of the user's may need values: then it gets real ones
            watch.follow(torch.zeros_like(images, device=known.device))
    rows = (*watch.rows, *watch.silent())
    return LayerTable(rows, (height, width), _count(network), watch.flops // 2)


@dataclass
class _Open:
    """A module whose forward pass is under way."""

    name: str
    module: nn.Module
    inputs: tuple[int, ...]
    flops: int = 0
    calls_layers: bool = False


@dataclass
class _Watch:
    """Looks on while a network runs, and writes a row for each layer that answers."""

    network: nn.Module
    rows: list[Layer] = field(default_factory=list)
    flops: int = 0
    _open: list[_Open] = field(default_factory=list)
    _counted: set[int] = field(default_factory=set)  # ids of parameters
    _answered: set[int] = field(default_factory=set)  # ids of modules
    _tracing: Tracing | None = None

    def follow(self, images: Tensor) -> None:
        self.rows.clear()
        self._open.clear()
        self._counted.clear()
        self._answered.clear()
        self.flops = 0
        self._tracing = Tracing(self._computed)
        state = dict(self.network.state_dict(keep_vars=True))
        if images.is_meta:
            twins = {
                id(value): torch.empty_like(value, device="meta") for value in state.values()
            }  # shared ones stay so
            state = {name: twins[id(value)] for name, value in state.items()}
        self._tracing.begin(images)
        try:
            with self._tracing:
                functional_call(self.network, state, (images,))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if images.is_meta:
                raise
            height, width = images.shape[2:]
            reason = shown(str(error).splitlines()[0][:160])
            raise BadRecipe(
                f"The network cannot take a picture of {height}x{width} with {images.shape[1]} channels ({reason}); "
                "try another --size."
            ) from None

    def _computed(self, flops: int) -> None:
        self.flops += flops
        if self._open:
            self._open[-1].flops += flops

    def before(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        fields = [f for f in map(self._field, tree_leaves((args, kwargs))) if f is not None]
        came_from = sorted(set().union(*(f.sources or {-1} for f in fields)))
        self._open.append(_Open(name, module, tuple(came_from)))

    def after(self, _name: str, module: nn.Module, args: Any, _kwargs: Any, output: Any) -> None:
        done = self._open.pop()
        self._answered.add(id(module))
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        own = list(module.parameters(recurse=False))
        is_layer = not done.calls_layers and not any(module.children())
        if not outputs or not (is_layer or own or done.flops):
            return
        for outer in self._open:
            outer.calls_layers = True
        self._linear_of_maps(module, args, outputs[0])
        known = self._field(outputs[0])
        self.rows.append(self._row(done, outputs[0], known))
        for out in outputs:
            before = self._field(out)
            if before is not None:
                self._set(out, replace(before, sources=frozenset({len(self.rows) - 1})))

    def _row(self, done: _Open, output: Tensor, known: Field | None) -> Layer:
        fresh = [p for p in done.module.parameters(recurse=False) if id(p) not in self._counted]
        self._counted.update(id(p) for p in fresh)
        count = sum(p.numel() for p in fresh)
        return Layer(
            name=done.name or "(the network)",
            kind=type(done.module).__name__,
            settings=_settings(done.module),
            shape=tuple(output.shape[1:]),
            parameters=count,
            formula=_formula(done.module, count) if count else "",
            multiply_adds=done.flops // 2,
            reach=known.reach if known else None,
            inputs=done.inputs,
        )

    def silent(self) -> Iterator[Layer]:
        """Rows of the layers that hold parameters and did not answer: auxiliary classifiers, which only train."""
        for name, module in self.network.named_modules():
            count = sum(p.numel() for p in module.parameters(recurse=False))
            if count and id(module) not in self._answered:
                kind, formula = type(module).__name__, _formula(module, count)
                yield Layer(name, kind, f"{_settings(module)} (while it trains)".strip(), (), count, formula, 0, None)

    def _linear_of_maps(self, module: nn.Module, args: Any, output: Tensor) -> None:
        """A dense layer over the last axis of (N, H, W, C) works place by place, which its matrix product hides."""
        if isinstance(module, nn.Linear) and args and isinstance(args[0], Tensor) and args[0].ndim == output.ndim:
            known = self._field(args[0])
            if known is not None and known.axes is not None and output.ndim - 1 not in known.axes:
                self._set(output, known)

    def _field(self, value: Any) -> Field | None:
        assert self._tracing is not None
        return self._tracing.field(value) if isinstance(value, Tensor) else None

    def _set(self, tensor: Tensor, known: Field) -> None:
        assert self._tracing is not None
        self._tracing.set(tensor, known)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In eval mode inside; each module's own mode again on leaving."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _channels(network: nn.Module) -> int:
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _ends_maps(layer: Layer) -> bool:
    return layer.kind.startswith(("Adaptive", "Flatten"))


def _most_alive(rows: tuple[Layer, ...]) -> int:
    """The most activations that are wanted at one time: each output until the last layer that takes it."""
    last = {number: i for i, row in enumerate(rows) for number in row.inputs}
    alive: dict[int, int] = {}
    most = 0
    for i, row in enumerate(rows):
        alive[i] = row.activations
        most = max(most, sum(alive.values()))
        alive = {number: size for number, size in alive.items() if last.get(number, -1) > i}
    return most


def _both(reach: tuple[Reach, Reach] | None, what: str) -> list[float] | str | None:
    """[along height, along width], whole numbers as such; "global" when either side is seen whole."""
    if reach is None:
        return None
    if any(side.everything for side in reach):
        return "global"
    values = [float(getattr(side, what)) for side in reach]
    return [int(v) if v.is_integer() else v for v in values]


def in_sides(value: list[float] | str | None) -> str:
    """[7, 7] -> "7"; [1, 7] -> "1×7"; "global" and nothing as they are."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value[0]:g}" if value[0] == value[1] else "×".join(f"{v:g}" for v in value)


def layers_csv(table: LayerTable) -> str:
    """The table for a spreadsheet: sides in columns of their own, "global" where a field has no size."""
    sided = ("receptive_field", "stride", "offset")
    plain = ("name", "kind", "settings", "activations", "parameters", "formula", "multiply_adds", "bytes")
    head = [*plain, "shape", *(f"{what}_{side}" for what in sided for side in ("height", "width"))]
    rows = []
    for layer in table.layers:
        facts = layer.as_dict()
        both = [facts[what] if isinstance(facts[what], list) else [facts[what]] * 2 for what in sided]
        shape = "x".join(map(str, layer.shape))
        rows.append([*(facts[key] for key in plain), shape, *(value for pair in both for value in pair)])
    return csv_text(head, rows)


# ------------------------------------------------------------------------------------------------- words of a layer


def _formula(module: nn.Module, count: int) -> str:
    """How the number of parameters comes about."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        window = (*module.kernel_size, module.in_channels // module.groups)
        return parameter_formula(window, module.out_channels, module.bias is not None)
    if isinstance(module, nn.Linear):
        return parameter_formula((module.in_features,), module.out_features, module.bias is not None)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and count == 2 * module.num_features:
        return parameter_formula((2,), module.num_features, bias=False)
    return str(count)


def _settings(module: nn.Module) -> str:
    """What distinguishes it from others of its kind."""
    if isinstance(module, nn.Dropout | nn.Dropout2d):
        return f"p {module.p:g}"
    if not hasattr(module, "kernel_size") or isinstance(module.kernel_size, str):
        return ""
    facts: Mapping[str, Any] = vars(module)
    words = [_sides(facts["kernel_size"])]
    default_stride = 1 if isinstance(module, nn.modules.conv._ConvNd) else facts["kernel_size"]
    for word, usual in (("stride", default_stride), ("padding", 0), ("dilation", 1), ("groups", 1)):
        value = facts.get(word, usual)
        if _sides(value) != _sides(usual) and value is not None:
            words.append(f"{word} {value if isinstance(value, int | str) else _sides(value, short=True)}")
    return ", ".join(words)


def _sides(value: Any, *, short: bool = False) -> str:
    if isinstance(value, str):
        return value
    sides = (value, value) if isinstance(value, int) else tuple(value)
    return str(sides[0]) if short and len(set(sides)) == 1 else "×".join(map(str, sides))
