"""CIFAR-10 and CIFAR-100, in the binary and in the python layout.

Binary: records of one label byte (CIFAR-100: a coarse and a fine one) and 3072 bytes, red, green, blue, each 32 × 32.
Python: dictionaries with `data` (N, 3072) and `labels` (CIFAR-100: `fine_labels`), read by `_plain_pickle`.
Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the data sets' page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, ArrayPictures, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, numbered_labels, read_names
from foveal.data.formats._plain_pickle import read_plain_pickle
from foveal.data.names import CIFAR10, CIFAR100
from foveal.errors import BadData, did_you_mean, shown
from foveal.files.safely import read_bytes

__all__ = ["BINARY", "CIFAR10", "CIFAR100", "PYTHON"]

FILE_MAX_BYTES = 256 << 20  # the largest of them has 154 MB
PIXELS = 3 * 32 * 32

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # (N, 3072) pixels and (N,) labels

BIN10 = re.compile(r"(data|test)_batch(_\d+)?\.bin")
BIN100 = re.compile(r"(train|test)\.bin")
PY10 = re.compile(r"(data_batch_\d+|test_batch)")
PY100 = re.compile(r"(train|test)")


def _binary_batch(path: Path, label_bytes: int) -> Batch:
    raw = np.frombuffer(read_bytes(path, limit=FILE_MAX_BYTES, what="CIFAR file", error=BadData), np.uint8)
    record, kind = label_bytes + PIXELS, "CIFAR-10" if label_bytes == 1 else "CIFAR-100"
    if len(raw) == 0:
        raise BadData(f"{shown(path)} is empty (0 bytes); get it again.")
    if extra := len(raw) % record:
        raise BadData(
            f"{shown(path)} is {extra} byte{'s' * (extra > 1)} too long for {kind} "
            f"({len(raw)} bytes, not a multiple of {record}); get it again."
        )
    records = raw.reshape(-1, record)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)


def _python_batch(path: Path, key: str) -> Batch:
    batch = read_plain_pickle(path, FILE_MAX_BYTES)
    if not isinstance(batch, dict):
        raise BadData(f"{shown(path)} is not a CIFAR batch: it holds no dictionary.")
    data, labels = _entry(batch, "data", path), _numbers(_entry(batch, key, path), path, key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise BadData(f'{shown(path)}: "data" must be an array of bytes of shape (N, {PIXELS}), is {found}.')
    if len(data) != len(labels):
        raise BadData(f'{shown(path)}: {len(data)} pictures but {len(labels)} labels ("{key}").')
    return data, labels


def _entry(batch: dict[Any, Any], key: str, path: Path) -> Any:
    """A value by its key, which Python 2 wrote as bytes."""
    names = {k.decode("latin-1") if isinstance(k, bytes) else str(k): v for k, v in batch.items()}
    if key not in names:
        raise BadData(f'{shown(path)} is not a CIFAR batch: it has no "{key}"{did_you_mean(key, names)}')
    return names[key]


def _numbers(labels: Any, path: Path, key: str) -> NDArray[np.int64]:
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if not isinstance(labels, list) or not all(type(x) is int and -(2**63) <= x < 2**63 for x in labels):
        raise BadData(f'{shown(path)}: "{key}" must be a list of whole numbers.')
    return np.array(labels, np.int64)


def _binary_names(home: Path, file: str) -> tuple[str, ...] | None:
    return read_names(home / file) if (home / file).is_file() else None


def _python_names(home: Path, file: str, key: str) -> tuple[str, ...] | None:
    if not (home / file).is_file():
        return None
    meta = read_plain_pickle(home / file, FILE_MAX_BYTES)
    names = _entry(meta, key, home / file) if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names):
        raise BadData(f'{shown(home / file)}: "{key}" must be a list of class names.')
    return tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names)


def _assemble(
    home: Path,
    files: list[str],
    read: Callable[[Path], Batch],
    classes: tuple[str, ...],
    asked: Asked,
    kind: str,
) -> Dataset:
    """All batches of a folder as one data set; files whose name begins with "test" are test."""
    batches, splits, names = [], [], []
    counted = [0, 0, 0]
    for file in sorted(files, key=lambda f: (f.startswith("test"), len(f), f)):
        pixels, numbers = read(home / file)
        split = 2 if file.startswith("test") else 0
        batches.append((pixels, numbers))
        splits.append(np.full(len(numbers), split, np.int8))
        names += [f"{SPLITS[split]}[{i}]" for i in range(counted[split], counted[split] + len(numbers))]
        counted[split] += len(numbers)
    pixels = np.empty((len(names), 32, 32, 3), np.uint8)
    start = 0
    for planes, numbers in batches:
        pixels[start : start + len(numbers)] = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        start += len(numbers)
    labels, classes = numbered_labels(np.concatenate([b[1] for b in batches]), asked.classes or classes, shown(home))
    origin = Origin(asked.source, str(home), kind, "the source's own files")
    return Dataset(ArrayPictures(pixels, tuple(names)), labels, classes, np.concatenate(splits), origin)


def _read_binary(place: Place, asked: Asked) -> Dataset:
    home = place.only_home(_is_binary, "CIFAR")
    files = [f.name for f in home.iterdir() if f.is_file()]
    if ten := [f for f in files if BIN10.fullmatch(f)]:
        classes = _binary_names(home, "batches.meta.txt") or CIFAR10
        return _assemble(home, ten, lambda path: _binary_batch(path, 1), classes, asked, "cifar-10 binary")
    classes = _binary_names(home, "fine_label_names.txt") or CIFAR100
    hundred = [f for f in files if BIN100.fullmatch(f)]
    return _assemble(home, hundred, lambda path: _binary_batch(path, 2), classes, asked, "cifar-100 binary")


def _read_python(place: Place, asked: Asked) -> Dataset:
    home = place.only_home(_is_python, "CIFAR")
    files = [f.name for f in home.iterdir() if f.is_file()]
    if ten := [f for f in files if PY10.fullmatch(f)]:
        classes = _python_names(home, "batches.meta", "label_names") or CIFAR10
        return _assemble(home, ten, lambda path: _python_batch(path, "labels"), classes, asked, "cifar-10 python")
    classes = _python_names(home, "meta", "fine_label_names") or CIFAR100
    hundred = [f for f in files if PY100.fullmatch(f)]
    return _assemble(home, hundred, lambda path: _python_batch(path, "fine_labels"), classes, asked, "cifar-100 python")


def _is_binary(names: Collection[str]) -> bool:
    return any(BIN10.fullmatch(name) or BIN100.fullmatch(name) for name in names)


def _is_python(names: Collection[str]) -> bool:
    """CIFAR-10's names tell; CIFAR-100's `train` is a common word, so `test` or `meta` must lie beside it."""
    hundred = "train" in names and ("meta" in names or "test" in names)
    return hundred or any(PY10.fullmatch(name) for name in names)


BINARY = Format("cifar binary", lambda place: bool(place.homes(_is_binary)), _read_binary)
PYTHON = Format("cifar python", lambda place: bool(place.homes(_is_python)), _read_python)
