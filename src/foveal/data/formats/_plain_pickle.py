"""Plain values and arrays out of a Python pickle, with nothing executed.

A pickle is a program for a small stack machine. `pickletools.genops` only takes the program apart; the machine here
knows the closed set of opcodes that numbers, texts, lists, tuples, dictionaries and NumPy arrays need. No name in the
file is ever looked up: the few that NumPy writes are recognised as words, and everything else is refused.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadData, shown
from foveal.files.safely import read_bytes

__all__ = ["read_plain_pickle"]

OPCODES_MAX = 2_000_000  # CIFAR-100's largest batch has about 400 000; these take seconds

# module and name, as NumPy 1 and 2 and Python 2 and 3 write them -> the word that the machine knows it by
NAMES = {
    "numpy.core.multiarray _reconstruct": "empty array",
    "numpy._core.multiarray _reconstruct": "empty array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
    "builtins bytes": "bytes",
    "builtins bytearray": "bytes",
    "__builtin__ bytearray": "bytes",
    "numpy.core.numeric _frombuffer": "array of buffer",
    "numpy._core.numeric _frombuffer": "array of buffer",
}
TYPES = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "b1"}
PUSHED = {  # opcodes whose argument is the value itself
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple,
}  # fmt: skip


class _NotPlain(Exception):
    """The program needs more than the machine has."""


class _Word(str):
    """A known name out of `NAMES`; never the thing that it names."""


class _Array:
    """An array under way: first empty, then given its state."""

    value: NDArray[Any] | None = None


class _Type:
    """A NumPy element type under way: first its letters, then its byte order."""

    def __init__(self, letters: str) -> None:
        if letters.lstrip("<>|=") not in TYPES:
            raise _NotPlain(f"elements of type {letters!r}")
        self.letters = letters.lstrip("<>|=")
        self.order = "<"

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.letters)


def read_plain_pickle(path: Path, max_bytes: int) -> Any:
    """The value in a pickle of plain values and arrays. Python 2's texts are returned as text (Latin-1).

    Raises: BadData when it is cut short, damaged, or holds anything else; nothing is executed.
    """
    raw = read_bytes(path, limit=max_bytes, what="CIFAR file", error=BadData)
    try:
        return _finished(_Machine().run(raw))
    except _NotPlain as found:
        raise BadData(f"{shown(path)} holds an object that is not an array: {shown(str(found)[:80])}.") from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, struct.error):
        raise BadData(f"{shown(path)} is cut short or damaged ({len(raw)} bytes); get it again.") from None


def _finished(value: Any) -> Any:
    """Arrays under way, at the top or one level down, as arrays."""
    if isinstance(value, dict):
        return {k: _finished_one(v) for k, v in value.items()}
    return _finished_one(value)


def _finished_one(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    return value


class _Machine:
    """The stack, the marks and the memory of a pickle program."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
            if count > OPCODES_MAX:
                raise _NotPlain(f"more than {OPCODES_MAX} parts")
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name not in ("PROTO", "FRAME"):
                self.step(opcode.name, argument)
        raise ValueError("no end")

    def step(self, name: str, argument: Any) -> None:
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):  # Python 2's `str`; Latin-1 maps its bytes one to one
            self.stack.append(argument)
        elif name in STEPS:
            STEPS[name](self, argument)
        else:
            raise _NotPlain(f"opcode {name}")

    # Marks: what comes after MARK is gathered until an opcode takes it.
    def _mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    # Memory.
    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, argument: Any) -> None:
        self.memo[int(argument)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    # Containers.
    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._list_on_top().append(item)

    def _appends(self, _: Any) -> None:
        items = self._marked()
        self._list_on_top().extend(items)

    def _list_on_top(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise ValueError("no list to append to")
        return self.stack[-1]

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self, _: Any) -> None:
        self._fill(self._marked())

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2 or not all(isinstance(k, str | bytes | int) for k in items[::2]):
            raise ValueError("no dictionary of texts")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _dict(self, _: Any) -> None:
        items = self._marked()
        self.stack.append({})
        self._fill(items)

    def _list(self, _: Any) -> None:
        items = self._marked()  # first: it exchanges the stack
        self.stack.append(items)

    def _tuple(self, _: Any) -> None:
        items = self._marked()
        self.stack.append(tuple(items))

    def _tuple1(self, _: Any) -> None:
        self._tuple_of(1)

    def _tuple2(self, _: Any) -> None:
        self._tuple_of(2)

    def _tuple3(self, _: Any) -> None:
        self._tuple_of(3)

    def _tuple_of(self, n: int) -> None:
        if len(self.stack) < n:
            raise ValueError("too little on the stack")
        self.stack[-n:] = [tuple(self.stack[-n:])]

    # The few names of NumPy, recognised as words.
    def _global(self, argument: str) -> None:
        if argument not in NAMES:
            raise _NotPlain(argument.replace(" ", "."))
        self.stack.append(_Word(NAMES[argument]))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        arguments, word = self.stack.pop(), self.stack.pop()
        if type(word) is not _Word or type(arguments) is not tuple:
            raise _NotPlain("a call")
        self.stack.append(_made(str(word), arguments))

    def _build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Type):
            target.order = {"<": "<", ">": ">", "|": "|", "=": "<"}[state[1]]
        elif isinstance(target, _Array):
            _, shape, kind, fortran, content = state
            target.value = _array(content, kind, shape, "F" if fortran else "C")
        else:
            raise _NotPlain("an object with a state")


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "MEMOIZE": _Machine._memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._get),
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "DICT": _Machine._dict,
    "LIST": _Machine._list,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._tuple1,
    "TUPLE2": _Machine._tuple2,
    "TUPLE3": _Machine._tuple3,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
}


def _made(word: str, arguments: tuple[Any, ...]) -> Any:
    """What calling one of the known names would give, made from data alone."""
    if word == "empty array":
        return _Array()
    if word == "dtype":
        return _Type(_text(arguments[0]))
    if word == "encode":  # how Python 3 writes bytes for Python 2 to read
        return _text(arguments[0]).encode("latin-1")
    if word == "bytes":
        return _bytes(arguments[0]) if arguments else b""
    if word == "array of buffer":
        made = _Array()
        content, kind, shape, order = arguments
        made.value = _array(content, kind, shape, "F" if order == "F" else "C")
        return made
    raise _NotPlain(f"a call of {word}")


def _text(value: Any) -> str:
    if type(value) is bytes:
        return value.decode("latin-1")
    if type(value) is not str:
        raise ValueError("no text")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is str:
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError("no bytes")
    return bytes(value)


def _array(content: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    """An array over bytes that are already there; the shape must use all of them."""
    if not isinstance(kind, _Type) or type(shape) is not tuple or len(shape) > 4:
        raise ValueError("no shape or no type")
    flat = np.frombuffer(_bytes(content), kind.dtype())
    if not all(type(s) is int and 0 <= s <= flat.size for s in shape):
        raise ValueError("a shape beyond the content")
    return flat.reshape(shape, order=order)
