"""idx files, as MNIST ships them: grey pictures of one size, at most 256 classes, names in classes.txt beside.

Source: see `data/formats/idx.py`.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from foveal.data.dataset import SPLITS, Dataset, Skipped
from foveal.data.white import measured_white
from foveal.data.writers._copies import Copied
from foveal.data.writers.shards import class_lines
from foveal.errors import BadData, BadPicture, shown
from foveal.files.headers import shape_of
from foveal.files.pictures import read_image
from foveal.progress import Advance, Progress

__all__ = ["check_idx", "write_idx"]

PREFIX = {"train": "train", "val": "val", "test": "t10k"}
WAY_OUT = "use --to folders, csv or shards"


def check_idx(dataset: Dataset) -> None:
    """Raises: BadData, before anything is written, when idx cannot hold the pictures; broken ones are passed over."""
    if len(dataset.classes) > 256:
        raise BadData(f"idx holds at most 256 classes, these are {len(dataset.classes)}; {WAY_OUT}.")
    first: tuple[str, tuple[int, int, int]] | None = None
    for i in range(len(dataset)):
        name = dataset.pictures.name(i)
        try:
            shape = shape_of(dataset.pictures.content(i), name)
        except (BadPicture, OSError):
            continue
        if shape[2] != 1:
            raise BadData(f"idx holds grey pictures only, {shown(name)} is in color; {WAY_OUT}.")
        first = first or (name, shape)
        if shape != first[1]:
            raise BadData(
                f"idx holds pictures of one size, {shown(first[0])} has {first[1][0]} x {first[1][1]} pixels and "
                f"{shown(name)} {shape[0]} x {shape[1]} (height x width); {WAY_OUT}."
            )
    if first is None:
        raise BadData(f"{shown(dataset.origin.place)}: no picture can be read.")


def write_idx(dataset: Dataset, place: Path, progress: Progress) -> Copied:
    """`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`; the same for val, and t10k for test."""
    names, changed = class_lines(dataset.classes)
    (place / "classes.txt").write_bytes("".join(f"{name}\n" for name in names).encode("utf-8"))
    done, written = Copied(np.zeros(0, np.int64)), list[int]()
    if (white := measured_white(dataset, np.arange(len(dataset)), progress=progress)) is not None:
        done.notes.append(white.sentence.partition(";")[0] + ".")
    with progress.task("writing pictures", len(dataset)) as advance:
        for split in SPLITS:
            part = _write_split(dataset, split, place, done, advance, None if white is None else white.value)
            written += part
    done.written = np.array(sorted(written), np.int64)
    done.notes += [f'Class "{shown(old)}" is "{shown(new)}" in classes.txt.' for old, new in changed]
    done.notes.append("idx keeps neither names nor files, only pixels; class names are in classes.txt.")
    if dataset.groups is not None:
        done.notes.append("idx cannot keep the groups; --to csv can.")
    return done


def _write_split(
    dataset: Dataset, split: str, place: Path, done: Copied, advance: Advance, white: float | None
) -> list[int]:
    """The pictures of one split that could be written; the header's count is put in when it is known."""
    chosen, kept = dataset.indices(split).tolist(), list[int]()
    if not chosen:
        return kept
    images, labels = (place / f"{PREFIX[split]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    shape = (0, 0)
    with open(images, "wb") as file:
        file.write(bytes(16))
        for i in chosen:
            name = dataset.pictures.name(i)
            try:
                picture = read_image(dataset.pictures.content(i), name=name, channels=1, white=white)[:, :, 0]
                shape = picture.shape
                file.write(picture.tobytes())
                kept.append(i)
            except BadPicture as bad:
                done.skipped.append(Skipped(name, bad.reason))
            advance(1)
        file.seek(0)
        file.write(struct.pack(">BBBBIII", 0, 0, 8, 3, len(kept), *shape))
    if not kept:
        images.unlink()
        return kept
    labels.write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, len(kept)) + dataset.labels[kept].astype(np.uint8).tobytes())
    return kept
