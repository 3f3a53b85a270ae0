"""Tracing a forward pass: for every tensor that comes up, what it sees of the input and which layers it came from.

Every operation that PyTorch carries out passes through here, whichever module or function called it, so that branches,
skips and functional calls are all followed. An operation that is not known by name is taken for one that works place
by place where it leaves the map's sides alone, and for one that mixes all places where it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from foveal.ops.receptive import EVERYTHING, PIXEL, Reach, united

__all__ = ["Field", "Tracing"]


@dataclass(frozen=True)
class Field:
    """What a tensor sees, and whence it comes."""

    reach: tuple[Reach, Reach]  # along height and width
    axes: tuple[int, int] | None  # where these two lie in the tensor; None when it is no map (any more)
    sources: frozenset[int] = frozenset()  # numbers of the layers that it came from


class Tracing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, every operation is followed. `flops` is told of each one's, as it happens."""

    def __init__(self, flops: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flops = flops
        self._fields: dict[int, Field] = {}
        self._alive: list[Tensor] = []  # an id is one tensor's as long as that lives

    def begin(self, images: Tensor) -> None:
        """The network's input (N, C, H, W)."""
        self.set(images, Field((PIXEL, PIXEL), (2, 3)))

    def field(self, tensor: Tensor) -> Field | None:
        """What is known of a tensor; None for one that does not come from the input."""
        return self._fields.get(id(tensor))

    def set(self, tensor: Tensor, field: Field) -> None:
        """What a tensor sees from now on."""
        if id(tensor) not in self._fields:
            self._alive.append(tensor)
        self._fields[id(tensor)] = field

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self._flops(int(flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)))
        known = [(x, self._fields[id(x)]) for x in _tensors((args, kwargs)) if id(x) in self._fields]
        if known:
            sources = frozenset().union(*(field.sources for _, field in known))
            for produced in _tensors(out):
                reach, axes = _after(func._overloadpacket, args, known, produced)
                self.set(produced, Field(reach, axes, sources))
        return out


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


_Reaches = tuple[Reach, Reach]
_Axes = tuple[int, int] | None
_GLOBAL: tuple[_Reaches, _Axes] = ((EVERYTHING, EVERYTHING), None)


def _after(packet: Any, args: Sequence[Any], known: list[tuple[Tensor, Field]], out: Tensor) -> tuple[_Reaches, _Axes]:
    """What the output of one operation sees."""
    name = packet.__name__
    first, field = known[0]
    if name in _RULES and field.axes is not None:
        return _RULES[name](_Call(args, first, field.reach, field.axes, out))
    if name in _MIXING or field.axes is None or (name in _NORMS and _takes_statistics(args)):
        return _GLOBAL[0], _axes_that_fit(known, out)
    return _place_by_place(known, out)


def _place_by_place(known: list[tuple[Tensor, Field]], out: Tensor) -> tuple[_Reaches, _Axes]:
    maps = [(x, f) for x, f in known if f.axes is not None]
    axes = _axes_that_fit(maps, out)
    if axes is None:
        return _GLOBAL
    height, width = (united([f.reach[side] for _, f in known]) for side in (0, 1))
    return (height, width), axes


def _axes_that_fit(known: list[tuple[Tensor, Field]], out: Tensor) -> _Axes:
    """Where the map's sides lie in the output: counted from the end, since broadcasting adds axes in front."""
    for x, field in known:
        if field.axes is None:
            continue
        back = [axis - x.ndim for axis in field.axes]
        if all(-b <= out.ndim and x.shape[b] in (1, out.shape[b]) for b in back):
            return (back[0] + out.ndim, back[1] + out.ndim)
    return None


@dataclass(frozen=True)
class _Call:
    """One operation on a map."""

    args: Sequence[Any]
    x: Tensor
    reach: _Reaches
    axes: tuple[int, int]
    out: Tensor

    def argument(self, place: int, default: Any = None) -> Any:
        """An argument that stands only where it differs from its default."""
        return self.args[place] if len(self.args) > place else default


_Rule = Callable[[_Call], tuple[_Reaches, _Axes]]


def _pair(value: Any, default: int = 1) -> tuple[int, int]:
    """The last two of a list, one number for both, or the default for none."""
    if isinstance(value, int):
        return value, value
    if not value:
        return default, default
    return (int(value[-2]), int(value[-1])) if len(value) > 1 else (int(value[0]), int(value[0]))


def _convolution(call: _Call) -> tuple[_Reaches, _Axes]:
    weight, transposed = call.args[1], call.args[6]
    strides, paddings, dilations = (_pair(call.args[place]) for place in (3, 4, 5))
    method = Reach.spread if transposed else Reach.window
    kernels = weight.shape[2:]
    height, width = (method(call.reach[i], kernels[i], strides[i], paddings[i], dilations[i]) for i in (0, 1))
    return (height, width), call.axes


def _max_pool(call: _Call) -> tuple[_Reaches, _Axes]:
    return _window(call, dilations=_pair(call.argument(4)))


def _avg_pool(call: _Call) -> tuple[_Reaches, _Axes]:
    return _window(call, dilations=(1, 1))


def _window(call: _Call, dilations: tuple[int, int]) -> tuple[_Reaches, _Axes]:
    kernels = _pair(call.args[1])
    strides = _pair(call.argument(2)) if call.argument(2) else kernels
    paddings = _pair(call.argument(3), default=0)
    height, width = (call.reach[i].window(kernels[i], strides[i], paddings[i], dilations[i]) for i in (0, 1))
    return (height, width), call.axes


def _adaptive_pool(call: _Call) -> tuple[_Reaches, _Axes]:
    def along(side: int) -> Reach:
        n, m = call.x.shape[side - 2], call.out.shape[side - 2]
        if m == 1 or call.reach[side].everything:
            return EVERYTHING
        # Where m does not divide n, windows overlap and differ by one unit: the widest of them, on average strides.
        widest = n // m if n % m == 0 else math.ceil(n / m) + 1
        reach = call.reach[side].window(widest)
        return Reach(reach.low, reach.high, reach.stride * n / m)

    return (along(0), along(1)), call.axes


def _pad(call: _Call) -> tuple[_Reaches, _Axes]:
    amounts = list(call.args[1])  # left, right, top, bottom, …: from the last axis on
    before = {-1 - i // 2: amounts[i] for i in range(0, len(amounts), 2)}
    height, width = (call.reach[i].sliced(-before.get(axis - call.x.ndim, 0), 1) for i, axis in enumerate(call.axes))
    return (height, width), call.axes


def _slice(call: _Call) -> tuple[_Reaches, _Axes]:
    axis, start, step = call.argument(1, 0) % call.x.ndim, call.argument(2) or 0, call.argument(4, 1)
    start = start + call.x.shape[axis] if start < 0 else start
    height, width = (
        call.reach[i].sliced(start, step) if axis == own else call.reach[i] for i, own in enumerate(call.axes)
    )
    return (height, width), call.axes


def _upsample(call: _Call) -> tuple[_Reaches, _Axes]:
    def along(side: int) -> Reach:
        finer, reach = call.out.shape[side - 2] / call.x.shape[side - 2], call.reach[side]
        return Reach(reach.low - reach.stride * (1 - 1 / finer), reach.high, reach.stride / finer)

    return (along(0), along(1)), call.axes


def _smooth_upsample(call: _Call) -> tuple[_Reaches, _Axes]:
    """Bilinear: two neighbours are mixed; this holds the fields of all units."""
    (height, width), axes = _upsample(call)
    wider = [
        Reach(r.low - r.stride, r.high + f.stride, r.stride) for r, f in zip((height, width), call.reach, strict=True)
    ]
    return (wider[0], wider[1]), axes


def _reduction(call: _Call) -> tuple[_Reaches, _Axes]:
    over = call.argument(1)
    over = range(call.x.ndim) if over is None or over == [] else [over] if isinstance(over, int) else over
    gone = {axis % call.x.ndim for axis in over}
    height, width = (EVERYTHING if axis in gone else call.reach[i] for i, axis in enumerate(call.axes))
    if call.out.ndim == call.x.ndim:
        return (height, width), call.axes
    if gone & set(call.axes):
        return (height, width), None
    moved = [axis - sum(g < axis for g in gone) for axis in call.axes]
    return (height, width), (moved[0], moved[1])


def _softmax(call: _Call) -> tuple[_Reaches, _Axes]:
    mixed = call.args[1] % call.x.ndim in call.axes
    return ((EVERYTHING, EVERYTHING) if mixed else call.reach), call.axes


def _layer_norm(call: _Call) -> tuple[_Reaches, _Axes]:
    mixed = any(axis >= call.x.ndim - len(call.args[1]) for axis in call.axes)
    return ((EVERYTHING, EVERYTHING) if mixed else call.reach), call.axes if call.out.ndim == call.x.ndim else None


def _permute(call: _Call) -> tuple[_Reaches, _Axes]:
    order = [axis % call.x.ndim for axis in call.args[1]]
    return call.reach, (order.index(call.axes[0]), order.index(call.axes[1]))


def _transpose(call: _Call) -> tuple[_Reaches, _Axes]:
    order = list(range(call.x.ndim))
    a, b = call.args[1] % call.x.ndim, call.args[2] % call.x.ndim
    order[a], order[b] = order[b], order[a]
    return _permute(replace(call, args=[call.x, order]))


def _view(call: _Call) -> tuple[_Reaches, _Axes]:
    """A side lives on where an axis of its length has as many numbers behind it as before."""
    found = [_same_axis(call.x.shape, axis, call.out.shape) for axis in call.axes]
    if found[0] is None or found[1] is None:
        return _GLOBAL if any(call.x.shape[axis] > 1 for axis in call.axes) else (call.reach, None)
    return call.reach, (found[0], found[1])


def _same_axis(shape: Sequence[int], axis: int, new: Sequence[int]) -> int | None:
    behind = math.prod(shape[axis + 1 :])
    for candidate in range(len(new)):
        if new[candidate] == shape[axis] and math.prod(new[candidate + 1 :]) == behind:
            return candidate
    return None


_RULES: Mapping[str, _Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "avg_pool3d": _avg_pool,
    "_adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "slice": _slice,
    "upsample_nearest2d": _upsample,
    "_upsample_nearest_exact2d": _upsample,
    "upsample_bilinear2d": _smooth_upsample,
    "upsample_bicubic2d": _smooth_upsample,
    "mean": _reduction,
    "sum": _reduction,
    "amax": _reduction,
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "native_layer_norm": _layer_norm,
    "permute": _permute,
    "transpose": _transpose,
    "view": _view,
    "_unsafe_view": _view,
    "_reshape_alias": _view,
    "reshape": _view,
    "unsqueeze": _view,
    "squeeze": _view,
}
_MIXING = frozenset(
    ("mm", "addmm", "bmm", "baddbmm", "native_group_norm", "roll", "sort", "topk", "cumsum", "flip",
     "_scaled_dot_product_flash_attention_for_cpu", "grid_sampler_2d")
)  # fmt: skip
_NORMS = frozenset(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional"))


def _takes_statistics(args: Sequence[Any]) -> bool:
    """Whether a batch norm looks at the whole map (as instance norm always does) or at its running statistics."""
    return any(argument is True for argument in args)
