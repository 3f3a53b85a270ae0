"""WebDataset tar shards: `0001.jpg` and `0001.cls` side by side in plain .tar files, read in place.

Only the headers are read to know where each picture lies; nothing is ever unpacked to disk, links and devices are
never followed. A member that cannot be used becomes a row; the rest of the shard goes on.
Source: the WebDataset conventions (key = name up to the first dot of its last part); POSIX.1-2017 pax, ustar, GNU tar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Dataset, Origin, Skipped, TarPictures
from foveal.data.formats import Asked, Format, Place, listed, named_labels, numbered_labels, read_names, split_in
from foveal.data.formats._tar import Member, TarDamage, members
from foveal.errors import BadData, shown
from foveal.files.pictures import PICTURE_SUFFIXES

__all__ = ["FORMAT"]

PICTURES = tuple(sorted(suffix.removeprefix(".") for suffix in PICTURE_SUFFIXES))
LABEL_MAX_BYTES = 4096  # a number or a name
PICTURE_MAX_BYTES = 1 << 30
ROWS_PER_SHARD = 100_000  # of complaints; a shard of junk must not fill the memory


@dataclass
class _Index:
    """What the shards hold: a row a usable picture."""

    names: list[str] = field(default_factory=list)
    shard: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    shards = [place.path.name] if place.is_file else [f for f in place.files if f.lower().endswith(".tar")]
    index = _Index()
    with asked.progress.task("reading shards", len(shards), "shards") as advance:
        for number, shard in enumerate(shards):
            _read_shard(root, shard, number, index)
            advance(1)
    if not index.names:
        why = f" ({shown(index.skipped[0].name)} {index.skipped[0].reason})" if index.skipped else ""
        raise BadData(
            f"{shown(place.path)} holds no usable picture{why}; a shard holds pairs such as 0001.jpg and 0001.cls."
        )
    labels, classes = _labels(index.labels, root, asked)
    decided = sorted({split for split in index.splits if split >= 0})
    notes = (f"{len(index.skipped)} members of {len(shards)} shards skipped: "
             f"{listed([f'{s.name} {s.reason}' for s in index.skipped], 2)}.",) if index.skipped else ()  # fmt: skip
    return Dataset(
        TarPictures(
            root,
            tuple(shards),
            tuple(index.names),
            np.array(index.shard, np.int32),
            np.array(index.offset, np.int64),
            np.array(index.size, np.int64),
        ),
        labels,
        classes,
        np.array(index.splits, np.int8),
        Origin(asked.source, str(place.path), "tar shards", "the shards' names" if decided else ""),
        notes=notes,
        skipped=tuple(index.skipped),
    )


def _labels(written: list[str], root: Path, asked: Asked) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers are positions in the given names or in classes.txt beside the shards; anything else is a name."""
    if not all(label.isascii() and label.isdigit() and len(label) < 10 for label in written):
        return named_labels(written)
    names = asked.classes or (read_names(root / "classes.txt") if (root / "classes.txt").is_file() else None)
    numbers = np.array([int(label) for label in written], np.int64)
    if names is not None and set(written) <= set(names):  # names that happen to be numbers
        return named_labels(written)
    return numbered_labels(numbers, names, shown(root))


def _read_shard(root: Path, shard: str, number: int, index: _Index) -> None:
    """Add one shard's samples to the index; a sample is a run of members with one key."""
    path, split, seen, rows = root / shard, split_in(shard), set[str](), len(index.skipped)

    def row(name: str, reason: str) -> None:
        if len(index.skipped) - rows < ROWS_PER_SHARD:
            index.skipped.append(Skipped(f"{shard}/{name}" if name else shard, reason))

    for key, group in _samples(path, row):
        picture, label, reason = _pair(group)
        text = "" if label is None else _label_text(path, label)
        if picture is None or label is None:
            row(key, reason)
        elif key in seen:
            row(picture.name, "has the key of an earlier sample of the shard")
        elif not text:
            row(label.name, "is no label (a number or a name, as UTF-8 text)")
        else:
            seen.add(key)
            index.names.append(picture.name)
            index.shard.append(number)
            index.offset.append(picture.offset)
            index.size.append(picture.size)
            index.labels.append(text)
            index.splits.append(split)


def _samples(path: Path, row: Callable[[str, str], None]) -> Iterator[tuple[str, list[Member]]]:
    """Consecutive members of one key; what is no plain file or has an unsafe name goes to `row`."""
    key, group = "", list[Member]()
    try:
        for member in members(path):
            if reason := _unusable(member):
                row(member.name, reason)
                continue
            stem, extension = _key(member.name)
            if stem != key and group:
                yield key, group
                group = []
            key = stem
            if extension in PICTURES or extension == "cls":
                group.append(member)
    except TarDamage as damage:
        row("", str(damage))
    if group:
        yield key, group


def _key(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _unusable(member: Member) -> str:
    if member.kind == "folder":
        return ""
    if member.kind != "file":
        return f"is a {member.kind}, not a file"
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        return "has a name that leads out of the shard"
    return "is too large" if member.size > PICTURE_MAX_BYTES else ""


def _pair(group: list[Member]) -> tuple[Member | None, Member | None, str]:
    """The picture and the label of a sample, or why it has none."""
    pictures = [m for m in group if _key(m.name)[1] != "cls"]
    labels = [m for m in group if _key(m.name)[1] == "cls"]
    if len(pictures) == 1 and len(labels) == 1:
        return pictures[0], labels[0], ""
    what, found = ("picture", pictures) if len(pictures) != 1 else ("label (.cls)", labels)
    return None, None, f"has {len(found) or 'no'} {what}{'s' * (len(found) > 1)} in its sample"


def _label_text(path: Path, member: Member) -> str:
    if member.size > LABEL_MAX_BYTES:
        return ""
    with open(path, "rb") as file:
        file.seek(member.offset)
        try:
            return file.read(member.size).decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            return ""


def _detect(place: Place) -> bool:
    """A .tar file, or a folder with some and no loose pictures beside them."""
    if place.is_file:
        return place.path.suffix.lower() == ".tar"
    return not place.has_pictures and any(file.lower().endswith(".tar") for file in place.files)


FORMAT = Format("tar shards", _detect, _read)
