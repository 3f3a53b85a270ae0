"""Taps: values taken out of a running network, and functions called around its layers.

A tap belongs to one call and one thread. PyTorch's hooks belong to the module: they fire in every thread, go along into
every copy, and one that is added while another thread goes through a module's hooks can end that thread's pass with
an error. Nothing is registered here, therefore: while taps are open, a module's table of hooks lies under a cover that
shows each thread the user's hooks and its own taps; with the last tap the very table that was there lies open again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import RLock, get_ident
from typing import Any

from torch import Tensor, nn

from foveal.errors import Missing, did_you_mean, shown

__all__ = ["Values", "take", "taking", "watching"]

Keep = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Values:
    """What was taken, by the path of its module; of a module that ran several times, the last."""

    inputs: dict[str, Tensor] = field(default_factory=dict)  # its first argument
    outputs: dict[str, Tensor] = field(default_factory=dict)


class _AllTaken(Exception):
    """The pass of one call of `take` has given everything."""


def _as_it_is(value: Any) -> Any:
    return value


def take(
    network: nn.Module,
    images: Tensor,
    *,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    keep: Keep = _as_it_is,
) -> Values:
    """Values from inside one forward pass, which ends as soon as all of them are there.

    Args:   images (N, C, H, W); inputs and outputs, paths of modules; keep, made of each value as it comes by:
            as it is, in its graph, unless said otherwise (`Tensor.detach`, `Tensor.clone` before an in-place layer).
    Raises: Missing for a path that the network does not have, or whose module takes no part in this pass.
    """
    values, wanted = Values(), (set(inputs), set(outputs))

    def stop_when_all_are_there() -> None:
        if len(values.inputs) == len(wanted[0]) and len(values.outputs) == len(wanted[1]):
            raise _AllTaken(values)

    with _opened(_fillers(network, values, *wanted, keep, stop_when_all_are_there)):
        try:
            network(images)
        except _AllTaken as reached:
            if reached.args[0] is not values:  # of a call around this one, on the same layers
                raise
    silent = sorted((wanted[0] - set(values.inputs)) | (wanted[1] - set(values.outputs)))
    if silent:
        raise Missing(f"The network's layer {shown(silent[0])} takes no part in this forward pass; take another.")
    return values


@contextmanager
def taking(
    network: nn.Module, *, inputs: Iterable[str] = (), outputs: Iterable[str] = (), keep: Keep = _as_it_is
) -> Iterator[Values]:
    """Inside, each forward pass of this thread leaves its values in what is given; arguments as of `take`."""
    values = Values()
    with _opened(_fillers(network, values, set(inputs), set(outputs), keep)):
        yield values


@contextmanager
def watching(network: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Inside, two functions are called around each module that this thread runs, the network itself ("") included.

    Args: before(path, module, args, kwargs) and after(path, module, args, kwargs, output).
    """
    taps = []
    for path, module in network.named_modules():
        taps.append(_Tap(module, {_BEFORE_TAKES_KWARGS: True, _BEFORE: partial(before, path)}))
        taps.append(_Tap(module, {_AFTER_TAKES_KWARGS: True, _AFTER: partial(after, path)}))
    with _opened(taps):
        yield


def _fillers(
    network: nn.Module,
    values: Values,
    inputs: set[str],
    outputs: set[str],
    keep: Keep,
    then: Callable[[], None] = lambda: None,
) -> list[_Tap]:
    """Taps that fill `values`."""

    def enters(path: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values.inputs[path] = keep((*args, *kwargs.values())[0])
        then()

    def leaves(path: str, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        values.outputs[path] = keep(output)
        then()

    return [
        *[_Tap(_at(network, path), {_BEFORE_TAKES_KWARGS: True, _BEFORE: partial(enters, path)}) for path in inputs],
        *[_Tap(_at(network, path), {_AFTER: partial(leaves, path)}) for path in outputs],
    ]


def _at(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError:
        near = did_you_mean(path, [name for name, _ in network.named_modules()])
        raise Missing(f"The network has no layer {shown(path)}{near or '.'}") from None


# ----------------------------------------------------------------------------------------------- tables under covers

# PyTorch offers no hooks of one thread, and its public ways write into tables that other threads may be reading; hence
# the private names, here and nowhere else (`Module._call_impl` of PyTorch 2.13 asks them for len, items and contains).
_BEFORE, _BEFORE_TAKES_KWARGS = "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"
_AFTER, _AFTER_TAKES_KWARGS = "_forward_hooks", "_forward_hooks_with_kwargs"

# Held while a table is covered or laid open, never while a network runs. Reentrant: within, the garbage collector may
# end a forgotten generator, and so its taps; every line below leaves things so that this does no harm.
_COVERING = RLock()

_NOTHING: dict[object, Any] = {}


class _Cover(MutableMapping[Any, Any]):
    """A module's table of hooks as it should look to each thread: the user's entries, then the thread's own taps.

    What is written goes into the user's table, whose own handles stay good.
    """

    def __init__(self, table: OrderedDict[Any, Any]) -> None:
        self.table = table
        self.taps: dict[int, dict[object, Any]] = {}  # thread -> its entries; none is empty
        self.written: set[Any] = set()  # keys of entries whose handles know this cover in place of the table

    def add(self, thread: int, key: object, entry: Any) -> None:
        mine = self.taps.get(thread, {})
        mine[key] = entry
        self.taps[thread] = mine

    def remove(self, thread: int, key: object) -> None:
        mine = self.taps.get(thread, {})
        mine.pop(key, None)
        if not mine:
            self.taps.pop(thread, None)

    def is_needed(self) -> bool:
        return bool(self.taps) or any(key in self.table for key in self.written)

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        """A list of its own: nothing that any thread does meanwhile changes it."""
        return [*self.table.items(), *self.taps.get(get_ident(), _NOTHING).items()]

    def __len__(self) -> int:
        return len(self.table) + len(self.taps.get(get_ident(), _NOTHING))

    def __iter__(self) -> Iterator[Any]:
        return iter([key for key, _ in self.items()])

    def __contains__(self, key: object) -> bool:
        return key in self.table or key in self.taps.get(get_ident(), _NOTHING)

    def __getitem__(self, key: Any) -> Any:
        return dict(self.items())[key]

    def __setitem__(self, key: Any, entry: Any) -> None:
        self.written.add(key)
        self.table[key] = entry

    def __delitem__(self, key: Any) -> None:
        del self.table[key]

    def move_to_end(self, key: Any, last: bool = True) -> None:
        self.table.move_to_end(key, last)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and files of a network get the user's table."""
        return OrderedDict, (list(self.table.items()),)


class _Tap:
    """Entries of one module's tables, for the thread that opens it, until it is closed."""

    def __init__(self, module: nn.Module, entries: dict[str, Any]) -> None:
        self.module, self.entries, self.thread = module, entries, get_ident()
        self.covers: list[tuple[str, _Cover]] = []

    def open(self) -> None:
        tables = vars(self.module)
        with _COVERING:
            for name, entry in self.entries.items():
                table = tables[name]
                cover = table if isinstance(table, _Cover) else _Cover(table)
                self.covers.append((name, cover))
                cover.add(self.thread, self, entry)
                tables[name] = cover

    def close(self) -> None:
        tables = vars(self.module)
        with _COVERING:
            for name, cover in self.covers:
                cover.remove(self.thread, self)
                if tables[name] is cover and not cover.is_needed():
                    tables[name] = cover.table


@contextmanager
def _opened(taps: list[_Tap]) -> Iterator[None]:
    try:
        for tap in taps:
            tap.open()
        yield
    finally:
        for tap in taps:
            tap.close()
