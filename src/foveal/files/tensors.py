"""Tensors in a file that holds no code: safetensors, with what foveal says of them as one JSON text in the metadata.

The text stands under the key "foveal": the kind of file ("model", "checkpoint"), the format's version, the facts of
whoever wrote it, and a SHA-256 over the facts and over every tensor's name, dtype, shape and bytes. It tells damage;
whoever wants to deceive can compute it anew, which is why nothing in the file is ever executed or used as a path.

Read in this order, no step skipped: regular file, size, header length, JSON, metadata, shapes against what the caller
expects, offsets, checksum, finite values. Read, not mapped: a mapped file that is cut by somebody kills the process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from foveal.errors import BadModel, shown
from foveal.files._safetensors import (
    DTYPES,
    HEADER_MAX_BYTES,
    MAX_TENSORS,
    Header,
    Refused,
    header_length,
    parse_header,
    strict_json,
)  # fmt: skip
from foveal.files.durable import write_bytes
from foveal.files.safely import Unreadable, in_bytes, open_regular, why

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "FORMAT_VERSION", "HEADER_MAX_BYTES", "Spec", "check_fit", "metadata_bytes", "read_anyones", "read_metadata",
    "read_tensors", "unstorable", "write_tensors",
]  # fmt: skip

Spec: TypeAlias = "tuple[tuple[int, ...], torch.dtype]"  # shape and dtype of one tensor

FORMAT_VERSION = 1
KEY = "foveal"
_OURS = ("format_version", "kind", "sha256")
_LARGEST = 16 << 30  # bytes of a file that is read without knowing what to expect
_ENDS = 1 << 16  # bytes at either end by which a foreign file is named
_ENTRY = 200  # bytes of the header that a tensor's dtype, shape and offsets take at most, or our own three facts
_WAY_OUT = {
    ("checkpoint", "model"): "is a checkpoint, not a model; use the model.safetensors of its run",
    ("model", "checkpoint"): "is a model, not a checkpoint; give --resume the run's folder",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], kind: str) -> None:
    """Write named tensors (any device, layout, dtype, 0-dimensional and empty ones too) and facts, durably.

    Args:   metadata: plain JSON values without NaN; the keys "kind", "format_version" and "sha256" are the file's own.
    Raises: NoSpace, NotWritable; BadModel for what `read_tensors` would refuse by its size, and nothing is written;
            ValueError for facts that are no JSON.
    """
    from safetensors.torch import save

    entries = sum(len(json.dumps(name)) + _ENTRY for name in tensors)
    if len(tensors) > MAX_TENSORS or metadata_bytes(metadata) + entries > HEADER_MAX_BYTES:
        most = f"at most {in_bytes(HEADER_MAX_BYTES)} and {MAX_TENSORS} tensors"
        raise BadModel(f"{shown(path)} cannot be written: its metadata is too large ({most}).")
    plain = {name: _plain(value) for name, value in tensors.items()}
    facts = {**metadata, "kind": kind, "format_version": FORMAT_VERSION}
    described = {name: (_dtype_name(t.dtype), tuple(t.shape), _bytes(t)) for name, t in plain.items()}
    text = json.dumps({**facts, "sha256": _checksum(facts, described)}, allow_nan=False, ensure_ascii=True)
    write_bytes(path, save(plain, {KEY: text}))


def metadata_bytes(metadata: Mapping[str, Any]) -> int:
    """What facts take of the HEADER_MAX_BYTES that a file's header may have: they are a text within a text."""
    return len(json.dumps(json.dumps(metadata, allow_nan=False, ensure_ascii=True))) + _ENTRY


def read_tensors(
    path: Path, kind: str, expected: Callable[[dict[str, Any]], Mapping[str, Spec]] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, in memory of their own, and the facts they were written with.

    Args:   expected: given the facts, the tensors that must be there; asked before a tensor is read, so that a file
            that claims more than its network needs costs nothing.
    Raises: BadModel with what is wrong; Missing is told as BadModel, too, since the user named the file.
    """
    try:
        with open_regular(path) as file:
            header, facts, start = _read_header(file, kind)
            _check_size(file, header, None if expected is None else expected(facts), path)
            data = _read_whole(file)
        _check_sum(header, facts, memoryview(data)[start:])
        return _load(data), {key: value for key, value in facts.items() if key not in _OURS}
    except (Refused, Unreadable) as error:
        raise BadModel(f"{shown(path)} {_reason(error)}.") from None


def read_anyones(path: Path, most: int = _LARGEST) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whoever wrote it; what else it says is left unread. A model of ours is checked
    against its checksum, too.

    Args:   most, the bytes that the file may have.
    Raises: Refused, Unreadable: why not, as the end of a sentence.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise Refused(f"is {in_bytes(size)}, larger than is read here ({in_bytes(most)})")
        header, start = _parsed_header(file)
        data = _read_whole(file)
    if KEY in (header.metadata or {}):
        _check_sum(header, _facts(header, "model"), memoryview(data)[start:])
    return _load(data)


def read_metadata(path: Path, kind: str) -> dict[str, Any]:
    """The facts alone, without reading the tensors (and so without knowing that they are whole)."""
    try:
        with open_regular(path) as file:
            _, facts, _ = _read_header(file, kind)
    except (Refused, Unreadable) as error:
        raise BadModel(f"{shown(path)} {_reason(error)}.") from None
    return {key: value for key, value in facts.items() if key not in _OURS}


def check_fit(found: Mapping[str, Tensor | Spec], expected: Mapping[str, Spec], path: Path) -> None:
    """Whether a file holds exactly the tensors of a network: names, shapes and dtypes (nothing is cast silently).

    Raises: BadModel that names the first three misfits and counts the rest.
    """
    specs = {
        name: value if isinstance(value, tuple) else (tuple(value.shape), value.dtype) for name, value in found.items()
    }
    misfits = [f'tensor "{shown(name)}" is missing' for name in expected if name not in specs]
    misfits += [f'tensor "{shown(name)}" belongs to no layer' for name in specs if name not in expected]
    for name in expected.keys() & specs.keys():
        (shape, dtype), (due_shape, due_dtype) = specs[name], expected[name]
        if tuple(shape) != tuple(due_shape):
            misfits.append(f'tensor "{shown(name)}" has shape {tuple(shape)}, expected {tuple(due_shape)}')
        elif dtype != due_dtype:
            misfits.append(f'tensor "{shown(name)}" is {_dtype_name(dtype)}, expected {_dtype_name(due_dtype)}')
    if misfits:
        more = f", and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise BadModel(f"{shown(path)} does not fit its network: {'; '.join(misfits[:3])}{more}.")


def _reason(error: Refused | Unreadable) -> str:
    text = str(error)
    return "does not exist" if text == "is gone" else text


# -------------------------------------------------------------------------------------------------- reading


def _read_header(file: BinaryIO, kind: str) -> tuple[Header, dict[str, Any], int]:
    header, start = _parsed_header(file)
    return header, _facts(header, kind), start


def _parsed_header(file: BinaryIO) -> tuple[Header, int]:
    """The header, and where the tensors' bytes begin."""
    size = os.fstat(file.fileno()).st_size
    head = _read_at(file, 0, min(size, _ENDS))
    tail = _read_at(file, max(0, size - _ENDS), min(size, _ENDS))
    length = header_length(head, tail, size)
    return parse_header(_read_at(file, 8, length), size - 8 - length), 8 + length


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    try:
        file.seek(offset)
        data = file.read(size)
        while len(data) < size and (more := file.read(size - len(data))):
            data += more
    except OSError as error:
        raise Unreadable(why(error)) from None
    if len(data) < size:
        raise Unreadable("changed while it was read")
    return data


def _facts(header: Header, kind: str) -> dict[str, Any]:
    text = (header.metadata or {}).get(KEY)
    if text is None:
        raise Refused("is a safetensors file, but not a foveal model")
    facts = strict_json(text, "metadata")
    if not isinstance(facts, dict) or not all(key in facts for key in _OURS):
        raise Refused("is damaged: its metadata lack kind, format_version or sha256")
    version, found = facts["format_version"], facts["kind"]
    if type(version) is not int or version < 1 or not isinstance(found, str) or not isinstance(facts["sha256"], str):
        raise Refused(f"is damaged: metadata: format_version {shown(str(version)[:20])}")
    if version > FORMAT_VERSION:
        raise Refused(f"was made by a newer foveal (format {version}, this one reads up to {FORMAT_VERSION})")
    if found != kind:
        raise Refused(_WAY_OUT.get((found, kind), f'is a "{shown(found[:40])}" file, not a {kind}'))
    return facts


def _check_size(file: BinaryIO, header: Header, expected: Mapping[str, Spec] | None, path: Path) -> None:
    size = os.fstat(file.fileno()).st_size
    if expected is None:
        if size > _LARGEST:
            raise Refused(f"is {in_bytes(size)}, larger than foveal reads ({in_bytes(_LARGEST)})")
        return
    needed = sum(_count(shape) * DTYPES[_dtype_name(dtype)] for shape, dtype in expected.values())
    if size > 2 * needed + (8 << 20):
        raise Refused(f"is {in_bytes(size)}; the network it names needs {in_bytes(needed)}")
    check_fit({name: (t.shape, _dtype(t.dtype)) for name, t in header.tensors.items()}, expected, path)


def _count(shape: tuple[int, ...]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _read_whole(file: BinaryIO) -> bytes:
    size = os.fstat(file.fileno()).st_size
    try:
        return _read_at(file, 0, size)
    except MemoryError:
        raise Refused(f"is {in_bytes(size)}, more than there is memory") from None


def _check_sum(header: Header, facts: dict[str, Any], data: memoryview) -> None:
    described = {name: (t.dtype, t.shape, data[t.begin : t.end]) for name, t in header.tensors.items()}
    if len(data) != max((t.end for t in header.tensors.values()), default=0):
        raise Unreadable("changed while it was read")
    if _checksum({k: v for k, v in facts.items() if k != "sha256"}, described) != facts["sha256"]:
        raise Refused("is damaged (checksum)")


def _load(data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError) as error:
        raise Refused(f"is damaged ({shown(str(error).splitlines()[0][:80])})") from None
    for name, value in tensors.items():
        if reason := unstorable(name, value):
            raise Refused(f'is damaged: tensor "{shown(name)}" {reason}')
    return tensors


def unstorable(name: str, tensor: Tensor) -> str:
    """Why a tensor is not read from a file of ours, as the end of a sentence; "" where it is."""
    import torch

    if tensor.dtype not in _names():
        return f"is {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.is_floating_point():
        wide = tensor if tensor.element_size() > 1 else tensor.float()
        if not bool(torch.isfinite(wide).all()):
            return "has NaN or infinite values"
    return "has negative values" if name.endswith("running_var") and bool((tensor < 0).any()) else ""


# -------------------------------------------------------------------------------------------------- both ways


def _checksum(facts: Mapping[str, Any], tensors: Mapping[str, tuple[str, tuple[int, ...], Any]]) -> str:
    """SHA-256 over the facts in canonical JSON, then each tensor's description and bytes, in the order of the names."""
    total = sha256(json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        total.update(json.dumps([name, dtype, list(shape)]).encode())
        total.update(data)
    return total.hexdigest()


def _plain(tensor: Tensor) -> Tensor:
    """The same values in memory of their own, in row order: the format knows no strides and no sharing."""
    import torch

    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def _bytes(tensor: Tensor) -> Any:
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""


def _names() -> dict[torch.dtype, str]:
    import torch

    return {
        torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.float8_e5m2: "F8_E5M2",
        torch.float8_e4m3fn: "F8_E4M3", torch.int16: "I16", torch.uint16: "U16", torch.float16: "F16",
        torch.bfloat16: "BF16", torch.int32: "I32", torch.uint32: "U32", torch.float32: "F32", torch.int64: "I64",
        torch.uint64: "U64", torch.float64: "F64",
    }  # fmt: skip


def _dtype_name(dtype: torch.dtype) -> str:
    return _names().get(dtype, str(dtype))


def _dtype(name: str) -> torch.dtype:
    return next(dtype for dtype, known in _names().items() if known == name)
