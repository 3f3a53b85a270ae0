"""idx files, as MNIST and its relatives ship them: `train-images-idx3-ubyte(.gz)` and three more.

A header of big-endian 32-bit numbers (magic 2051 for pictures, 2049 for labels; counts; sizes), then bytes. Where a
classes.txt lies beside them, its lines name the numbers.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import SPLITS, ArrayPictures, Dataset, Origin
from foveal.data.formats import Asked, Format, Place, numbered_labels, read_names
from foveal.errors import BadData, shown
from foveal.files.safely import read_bytes

__all__ = ["FORMAT", "read_idx"]

FILE_MAX_BYTES = 4 << 30  # EMNIST, the largest in use, has 0.5 GB of pixels
NAME = re.compile(
    r"(.*?)(train|t10k|test|val|valid|validation)[-_.](images|labels)[-_.]idx([13])[-_.]ubyte(\.gz)?", re.I
)
SPLIT = {"train": 0, "val": 1, "valid": 1, "validation": 1, "t10k": 2, "test": 2}


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, gzipped or not: (N, H, W) for 3 dimensions, (N,) for 1.

    Never unpacks more than the header claims and one byte.
    Raises: BadData when the header is another's or the file is longer or shorter than its header says.
    """
    what = "picture" if dimensions == 3 else "label"
    raw = read_bytes(path, limit=FILE_MAX_BYTES, what=f"idx {what} file", error=BadData)
    packed = raw[:2] == b"\x1f\x8b"
    if path.suffix.lower() == ".gz" and not packed:
        raise BadData(f"{shown(path)} is not an idx {what} file: it is named .gz, but is not gzipped.")
    stream = gzip.GzipFile(fileobj=io.BytesIO(raw)) if packed else io.BytesIO(raw)
    try:
        return _array(stream, dimensions, len(raw) * (1032 if packed else 1), path, what)
    except EOFError:
        raise BadData(f"{shown(path)} is cut short ({len(raw)} bytes); get it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadData(f"{shown(path)} is damaged ({error}); get it again.") from None


def _array(
    stream: io.BufferedIOBase | gzip.GzipFile, dimensions: int, most: int, path: Path, what: str
) -> NDArray[np.uint8]:
    header = stream.read(4 + 4 * dimensions)
    if header[:4] != bytes((0, 0, 8, dimensions)):
        raise BadData(f"{shown(path)} is not an idx {what} file (it begins with {header[:4].hex(' ') or 'nothing'}).")
    if len(header) < 4 + 4 * dimensions:
        raise BadData(f"{shown(path)} is cut short ({len(header)} bytes); get it again.")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    claimed = int(np.prod([int(s) for s in shape], dtype=object))
    said = " x ".join(str(s) for s in shape)
    if claimed == 0:
        raise BadData(f"{shown(path)} holds nothing: its header says {said}.")
    if claimed > most:  # zlib packs at most 1032 to 1, so the claim is false and is not worth reading
        raise BadData(f"{shown(path)}: its header says {said} bytes, but the file holds less; get it again.")
    body = stream.read(claimed + 1)
    if len(body) != claimed:
        found = "more" if len(body) > claimed else f"{len(body)}"
        raise BadData(f"{shown(path)}: its header says {said} = {claimed} bytes, but it holds {found}; get it again.")
    return np.frombuffer(body, np.uint8, claimed).reshape(shape)


def _sets(home: Path, place: Place) -> list[tuple[str, Path, Path]]:
    """(split word, picture file, label file) of each set in a folder, train first."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    relative_home = home.relative_to(place.path).as_posix()
    for name in place.by_folder["" if relative_home == "." else relative_home]:
        if match := NAME.fullmatch(name):
            prefix, split, kind, _, packed = match.groups()
            files = found.setdefault((prefix, split.lower()), {})
            if not packed or kind.lower() not in files:  # the unpacked one is faster
                files[kind.lower()] = home / name
    if len({prefix for prefix, _ in found}) > 1:
        prefixes = ", ".join(sorted({f'"{shown(p)}"' for p, _ in found}))
        raise BadData(f"{shown(home)} holds several idx sets ({prefixes}); put each in a folder of its own.")
    for (_, split), files in found.items():
        for kind, other in (("images", "labels"), ("labels", "images")):
            if kind in files and other not in files:
                raise BadData(f"{shown(files[kind])} has no file of {other} beside it ({split}-{other}-idx?-ubyte).")
    order = sorted(found, key=lambda key: SPLIT[key[1]])
    return [(split, found[prefix, split]["images"], found[prefix, split]["labels"]) for prefix, split in order]


def _read(place: Place, asked: Asked) -> Dataset:
    home = place.only_home(_is_idx, "idx")
    pixels: list[NDArray[np.uint8]] = []
    numbers: list[NDArray[np.uint8]] = []
    names: list[str] = []
    splits: list[NDArray[np.int8]] = []
    for word, pictures, labels in _sets(home, place):
        pixels.append(read_idx(pictures, 3))
        numbers.append(read_idx(labels, 1))
        n, split = len(pixels[-1]), SPLIT[word]
        if n != len(numbers[-1]):
            raise BadData(f"{shown(pictures)} has {n} pictures but {len(numbers[-1])} labels ({labels.name}).")
        if pixels[-1].shape[1:] != pixels[0].shape[1:]:
            sizes = [" x ".join(str(s) for s in p.shape[1:]) for p in (pixels[0], pixels[-1])]
            raise BadData(f"{shown(pictures)} has pictures of {sizes[1]} pixels, but its neighbour of {sizes[0]}.")
        names += [f"{SPLITS[split]}[{i}]" for i in range(n)]
        splits.append(np.full(n, split, np.int8))
    listed = home / "classes.txt"
    known = asked.classes or (read_names(listed) if listed.is_file() else None)
    labels_of, classes = numbered_labels(np.concatenate(numbers).astype(np.int64), known, shown(home))
    return Dataset(
        ArrayPictures(np.concatenate(pixels), tuple(names)),
        labels_of,
        classes,
        np.concatenate(splits),
        Origin(asked.source, str(home), "idx", "the source's own files"),
    )


def _is_idx(names: Collection[str]) -> bool:
    return any(NAME.fullmatch(name) for name in names)


FORMAT = Format("idx", lambda place: bool(place.homes(_is_idx)), _read)
