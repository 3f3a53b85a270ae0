"""The header of a safetensors file, believed only after every number in it was checked.

Eight bytes of length, a JSON object, then the tensors' bytes without gaps. The library that reads the tensors accepts a
name that stands twice and the last of two metadata keys; here both are refused.

Source: the format's description in github.com/huggingface/safetensors, and its audit by Trail of Bits (2023).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from foveal.errors import shown
from foveal.files._foreign import foreign_archive

__all__ = ["DTYPES", "HEADER_MAX_BYTES", "Header", "Refused", "header_length", "parse_header", "strict_json"]

HEADER_MAX_BYTES = 4 << 20
MAX_DEPTH = 32  # of nested brackets; ours has five
MAX_TENSORS = 50_000
DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


class Refused(Exception):
    """Why a file is not read, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Tensor:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes after the header
    end: int


@dataclass(frozen=True)
class Header:
    """The whole header, checked."""

    metadata: dict[str, str] | None
    tensors: dict[str, Tensor]


def header_length(head: bytes, tail: bytes, size: int) -> int:
    """The header's length in bytes. Args: head and tail: the file's ends, to name what else it may be."""
    if size < 10:
        raise Refused(f"is not a model file ({size} bytes)")
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= size - 8:
        if foreign := foreign_archive(head, tail):
            raise Refused(foreign if ";" in foreign else f"{foreign}, not a foveal model")
        if head[8:9] == b"{" and size - 8 < length <= HEADER_MAX_BYTES:
            raise Refused(f"is cut short: header length {length} does not fit the file ({size} of {8 + length} bytes)")
        if head[8:9] == b"{":
            raise Refused(f"is damaged: header length {length} does not fit the file ({size} bytes)")
        raise Refused(f"is not a model file: header length {length} does not fit the file ({size} bytes)")
    if length > HEADER_MAX_BYTES:
        raise Refused(f"is damaged: its metadata are too large ({length} bytes, limit {HEADER_MAX_BYTES})")
    return length


def parse_header(raw: bytes, data_bytes: int) -> Header:
    """The header from its JSON bytes; `data_bytes`: how many bytes follow it in the file."""
    tree = strict_json(raw, "header")
    if not isinstance(tree, dict):
        raise Refused("is damaged: its header is no JSON object")
    metadata = tree.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise Refused("is damaged: its metadata are no texts")
    if len(tree) > MAX_TENSORS:
        raise Refused(f"is damaged: it names {len(tree)} tensors, limit {MAX_TENSORS}")
    tensors = {name: _tensor(name, entry) for name, entry in tree.items()}
    _must_be_gapless(tensors, data_bytes)
    return Header(metadata, tensors)


def _tensor(name: str, entry: Any) -> Tensor:
    def bad(what: str) -> NoReturn:
        raise Refused(f'is damaged: tensor "{shown(name[:100])}": {what}')

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        bad("not dtype, shape and offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        bad(f"unknown dtype {shown(str(dtype)[:20])}")
    if not _are_sizes(shape):
        bad("bad shape")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        bad("bad offsets")
    count = 1
    for side in shape:
        count *= side
    if count * DTYPES[dtype] != offsets[1] - offsets[0]:
        bad(f"bad offsets ({offsets[1] - offsets[0]} bytes for shape {tuple(shape)} of {dtype})")
    return Tensor(dtype, tuple(shape), offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and len(values) <= 16 and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _must_be_gapless(tensors: dict[str, Tensor], data_bytes: int) -> None:
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise Refused(f'is damaged: tensor "{shown(name[:100])}": bad offsets ({tensor.begin} where {at} is due)')
        at = tensor.end
    if at > data_bytes:
        raise Refused(f"is cut short ({data_bytes} of {at} bytes of tensors)")
    if at < data_bytes:
        raise Refused(f"is damaged: {data_bytes - at} bytes after the last tensor")


def strict_json(raw: bytes | str, what: str) -> Any:
    """JSON with nothing left to chance: no key twice, no NaN, no depth that would exhaust the stack.

    Raises: Refused.
    """
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"is damaged: its {what} is not UTF-8") from None
    if _depth(text) > MAX_DEPTH:
        raise Refused(f"is damaged: its {what} is nested too deep")
    try:
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        reason = shown(str(error).split(":")[0].split(";")[0])
        raise Refused(f"is damaged: its {what} is not valid JSON ({reason})") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if key in tree:
            raise Refused(f'is damaged: name "{shown(key[:100])}" appears twice in its header')
        tree[key] = value
    return tree


def _no_constant(word: str) -> NoReturn:
    raise Refused(f"is damaged: its metadata hold {word}")


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _TOKENS.finditer(text):
        if match.lastindex == 1:
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif match.lastindex == 2:
            depth -= 1
    return deepest
