"""Weights from elsewhere: state dicts as other libraries save them, `.safetensors` or PyTorch's `.pth`, `.pt`, `.bin`.

What a file is, is told by its bytes, not by its name. A safetensors file is read here, its header checked first. A
PyTorch file is a pickle: a process of its own, with limited memory and time, reads it with the weights-only loader and
writes its tensors down as safetensors; then these are read as if they came from a stranger, which they do.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import BadModel, shown
from foveal.files import _weights_only
from foveal.files._foreign import foreign_archive
from foveal.files._safetensors import Refused
from foveal.files.safely import Unreadable, in_bytes, open_regular, why
from foveal.files.tensors import read_anyones

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LARGEST", "read_foreign"]

LARGEST = 4 << 30  # bytes of a file of weights, unless the caller knows better
SECONDS = 120  # that the other process may take; it needs some of them to import PyTorch
SPARE = 512 << 20  # bytes of memory that it gets besides four times the file: read, copied, packed, and one for luck
WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel, of torch.compile
_ENDS = 1 << 16  # bytes at either end of a file by which it is told what it is
_SAVE = "save its tensors alone: torch.save(network.state_dict(), FILE)"
_REASONS = {
    "more": f"holds more than tensors{{}}, and foveal never runs code from a file; {_SAVE}",
    "none": f"holds no state dict (names with their tensors); {_SAVE}",
    "odd": 'cannot be used: tensor "{}" is sparse, quantised, complex or without values',
    "large": "unfolds to more than a file of its size should; it is damaged, or not what it seems",
    "damaged": "is damaged or cut short: PyTorch cannot read it",
    "died": "cannot be read: PyTorch crashed on it, or there was too little memory",
    "full": "cannot be converted: the temporary folder has no room for it; set TMPDIR to another",
    "old": "is a PyTorch file, and PyTorch {} reads those unsafely (CVE-2026-24747); upgrade to 2.10, or save it as "
    ".safetensors",
}


def read_foreign(path: str | Path, *, most: int = LARGEST) -> dict[str, Tensor]:
    """The tensors of a state dict by their names, as they are stored (half-precision ones, too), all finite.

    A nest such as {"state_dict": …} is opened, and what DataParallel or torch.compile put before every name is dropped.

    Args:   most, the bytes that the file and its tensors may have.
    Raises: BadModel, one sentence: missing, damaged, too large, something else, or a pickle that holds more than
            tensors. Nothing in the file is executed.
    """
    try:
        size, head, tail = _looked_at(path)
        if size > most:
            raise Refused(f"is {in_bytes(size)}, more than weights need here (at most {in_bytes(most)})")
        if head[8:9] == b"{":
            return _unwrapped(read_anyones(Path(path), most))
        if not _is_pytorch(head, tail):
            raise Refused(_something_else(foreign_archive(head, tail)))
        return _unwrapped(_from_pytorch(Path(path), size, most))
    except (Refused, Unreadable) as error:
        reason = "does not exist" if str(error) == "is gone" else str(error)
        raise BadModel(f"{shown(path)} {reason}.") from None


def _something_else(kind: str | None) -> str:
    if kind is None:
        return "is no file of weights (.safetensors, .pth)"
    return kind if ";" in kind else f"{kind}, not weights (.safetensors, .pth)"


def _looked_at(path: str | Path) -> tuple[int, bytes, bytes]:
    """Size and both ends of a regular file."""
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            tail = file.read(_ENDS)
        except OSError as error:
            raise Unreadable(why(error, path)) from None
    if not size:
        raise Refused("is empty (0 bytes)")
    return size, head, tail


def _is_pytorch(head: bytes, tail: bytes) -> bool:
    """torch.save's zip, or the bare pickles of before 1.6; TorchScript is code in a like zip."""
    if head.startswith(b"PK\3\4"):
        return b"data.pkl" in head + tail and b"constants.pkl" not in head + tail
    return head.startswith(b"\x80")


def _from_pytorch(path: Path, size: int, most: int) -> dict[str, Tensor]:
    try:
        with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
            target = Path(folder) / "weights.safetensors"
            word, name = _in_another_process(path, target, most, 4 * size + SPARE)
            if word == "done":
                return read_anyones(target, 2 * most)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Refused(f"cannot be converted in {shown(tempfile.gettempdir())} ({reason})") from None
    if word == "more":
        name = f" ({name})" if name else ""
    raise Refused(_REASONS[word].format(shown(name)))


def _in_another_process(source: Path, target: Path, most: int, memory: int) -> tuple[str, str]:
    """What `_weights_only.py` answers. -P: nothing that lies in a current folder is imported there."""
    program = [sys.executable, "-P", _weights_only.__file__, os.path.abspath(source), str(target)]
    numbers = [str(number) for number in (most, memory, math.ceil(SECONDS))]
    quiet = {"OMP_NUM_THREADS": "1"}  # the stacks of more threads would count as memory
    try:
        done = subprocess.run(
            program + numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=target.parent,
            env={**os.environ, **quiet},
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"takes more than {SECONDS} s to read, so it is probably not weights") from None
    try:
        word, name = json.loads(done.stdout)
    except ValueError:  # it died before it could answer
        return "died", ""
    return str(word), str(name)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what stands before every name."""
    while prefix := next((p for p in WRAPPERS if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
