"""A program of its own, run by `foreign.py`: a PyTorch file in, a safetensors file out.

PyTorch's weights-only unpickler calls nothing that a file names. Should a file get the better of it all the same, or
ask for all the memory there is, it has only this process, which has little memory, little time and nothing to lose. It
imports nothing of ours and answers with a line of JSON on stdout: ["done", ""], or what is wrong, and with which name.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
import warnings
import zipfile
from typing import Any, NoReturn

NESTS = ("state_dict", "model_state_dict", "model", "net", "network", "params")  # what people call theirs
DEEPEST = 4
SAFE_FROM = (2, 10)  # of PyTorch: CVE-2026-24747, memory corrupted through the weights-only unpickler


class Told(Exception):
    """The answer: a word, and the name that it is about."""


def told(word: str, name: object = "") -> NoReturn:
    raise Told(word, str(name)[:100])


def main(source: str, target: str, most: int, memory: int, seconds: int) -> None:
    """Args: most, bytes of tensors; memory, bytes beyond what this process has when PyTorch is imported."""
    warnings.simplefilter("ignore")
    try:
        import torch
        from safetensors.torch import save_file

        limit(memory, seconds)
        if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < SAFE_FROM:
            told("old", torch.__version__)
        tensors = plain(state_dict(read(source, most)), most)
        try:
            save_file(tensors, target)
        except Exception:  # noqa: BLE001 - the library tells a full disk as an error of its own
            told("full")
        answer("done")
    except Told as found:
        answer(*found.args)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+) was|unsupported GLOBAL (\S+) whose", str(error))
        answer("more", next(filter(None, name.groups()), "") if name else "")
    except MemoryError:
        answer("large")
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything, and all of it means the same
        answer("large" if "alloc" in str(error) or "not enough memory" in str(error) else "damaged")


def answer(word: str, name: str = "") -> None:
    sys.stdout.write(json.dumps([word, name]))


def limit(memory: int, seconds: int) -> None:
    """The system's own limits, where it has them (macOS knows the first by name only, Windows neither)."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with open("/proc/self/statm", encoding="ascii") as file:
            has = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + memory, has + memory))
    except (ImportError, OSError, ValueError):
        pass


def read(source: str, most: int) -> Any:
    """What the file holds, without running any of it. PyTorch packs without compressing: what unfolds was made to."""
    import torch

    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            if sum(member.file_size for member in archive.infolist()) > most:
                told("large")
    return torch.load(source, map_location="cpu", weights_only=True)


def state_dict(tree: Any) -> dict[Any, Any]:
    """The names with their tensors, out of the nest that a training script put them in."""
    import torch

    for _ in range(DEEPEST):
        if not isinstance(tree, dict):
            break
        inner = next((tree[key] for key in NESTS if isinstance(tree.get(key), dict)), None)
        if inner is None:
            if any(isinstance(value, torch.Tensor) for value in tree.values()):
                return tree
            break
        tree = inner
    told("none")


def plain(tree: dict[Any, Any], most: int) -> dict[str, Any]:
    """Each tensor whole and in memory of its own: a file may hold views that claim more than is stored."""
    import torch

    tensors = {name: value for name, value in tree.items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        if not isinstance(name, str):
            told("none")
        strided = value.layout is torch.strided and not value.is_quantized and not value.is_complex()
        if not strided or value.device.type != "cpu":
            told("odd", name)
    if sum(value.numel() * value.element_size() for value in tensors.values()) > most:
        told("large")
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
