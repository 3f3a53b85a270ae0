"""Class folders: `flowers/rose/1.jpg`, or with splits above them, `flowers/train/rose/1.jpg`.

The folder's name is the class; pictures may lie deeper inside it (`rose/garden/1.jpg`). Splits are known by the usual
names (train, val, valid, validation, test) in any case. A file without an ending is a picture if it begins as one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from foveal.data.dataset import UNSPLIT, Dataset, FilePictures, Origin, Skipped
from foveal.data.fingerprints import kind_of
from foveal.data.formats import Asked, Format, Place, fold, listed, named_labels, split_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, is_junk, open_regular

__all__ = ["FORMAT", "has_classes"]

EXPECTED = "foveal expects a folder a class, such as {0}/cat/1.jpg and {0}/dog/2.jpg, or {0}/train/cat/1.jpg"


def _read(place: Place, asked: Asked) -> Dataset:
    bare = {file for file in place.files if _is_bare_picture(place.path, file)}
    pictures = [file for file in place.files if is_picture_name(file) or file in bare]
    others = len(place.files) - len(pictures)
    where, expected = shown(place.path), EXPECTED.format(shown(place.path.name))
    if not pictures:
        found = f"{_count(others, 'file')}, no picture among them" if others else "no picture in it"
        raise BadData(f"{where} has {found}; {expected}.")
    depth = 1 if _has_split_folders(pictures) else 0
    used = [file for file in pictures if file.count("/") > depth]
    if not used:
        raise BadData(f"{where} has {_count(len(pictures), 'picture')}, but not in class folders; {expected}.")
    parts = [file.split("/", depth + 1) for file in used]
    splits = [split_of(part[0]) for part in parts] if depth else [UNSPLIT] * len(used)
    if depth:
        used, parts, splits = _within_splits(used, parts, splits)
    names = [part[depth] for part in parts]
    _refuse_wrapping(place.path, used, names, depth)
    _refuse_twins(sorted(set(names)), where)
    labels, classes = named_labels(names)
    notes, skipped = _left_over(place, pictures, used, others, depth, set(names))
    if bare := bare.intersection(used):
        notes.append(
            f"{_count(len(bare), 'file')} without an ending used: pictures by their content ({shown(min(bare))})."
        )
    return Dataset(
        FilePictures(place.path, tuple(used)),
        labels,
        classes,
        np.array(splits, np.int8),
        Origin(asked.source, str(place.path), "class folders", _said(parts, splits) if depth else ""),
        notes=tuple(notes),
        skipped=tuple(skipped),
    )


def _is_bare_picture(root: Path, file: str) -> bool:
    """Whether a file in a folder, whose name has no ending, begins as a picture does."""
    if "/" not in file or "." in file.rpartition("/")[2]:
        return False
    try:
        with open_regular(root / file) as opened:
            return kind_of(opened.read(16)) > 0
    except (Unreadable, OSError):
        return False


def has_classes(files: Sequence[str]) -> bool:
    """Whether pictures lie in two class folders or more."""
    pictures = [file for file in files if is_picture_name(file)]
    depth = 1 if _has_split_folders(pictures) else 0
    return len({file.split("/")[depth] for file in pictures if file.count("/") > depth}) > 1


def _within_splits(
    used: list[str], parts: list[list[str]], splits: list[int]
) -> tuple[list[str], list[list[str]], list[int]]:
    """Without what lies in folders beside the splits."""
    kept = [i for i, split in enumerate(splits) if split != UNSPLIT]
    return [used[i] for i in kept], [parts[i] for i in kept], [splits[i] for i in kept]


def _has_split_folders(pictures: Iterable[str]) -> bool:
    """Whether the folders at the top are splits: all of them are named so, or train and another are.

    One alone among others ("train" beside "car" and "bus") is a class.
    """
    tops = {file.split("/", 1)[0] for file in pictures if "/" in file}
    splits = {top for top in tops if split_of(top) != UNSPLIT}
    return bool(splits) and (splits == tops or len({split_of(top) for top in splits}) > 1)


def _refuse_wrapping(root: Path, used: Sequence[str], names: Sequence[str], depth: int) -> None:
    """One folder that holds the class folders, as archives unpack: told rather than learnt as one class."""
    inside = sorted({file.split("/")[1] for file in used if file.count("/") > 1})
    if depth == 0 and len(set(names)) == 1 and len(inside) > 1:
        raise BadData(
            f'{shown(root)} holds one folder, "{shown(names[0])}", with {len(inside)} folders in it '
            f"({listed(inside)}); if those are the classes, give {shown(root / names[0])}."
        )


def _refuse_twins(names: Sequence[str], where: str) -> None:
    """Two folders that some systems cannot tell apart are one class by mistake, or two by accident: refused."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(fold(name), name)) != name:
            same_letters = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            differ = f"Unicode form only ({other!a} and {name!a})" if same_letters else "case only"
            raise BadData(f'{where}: classes "{shown(other)}" and "{shown(name)}" differ by {differ}; rename one.')


def _left_over(
    place: Place, pictures: list[str], used: list[str], others: int, depth: int, classes: set[str]
) -> tuple[list[str], list[Skipped]]:
    """Notes and rows for what lies in the folder and is not a picture of a class."""
    where, notes, skipped = shown(place.path), [], list[Skipped]()
    if others:
        notes.append(f"{_count(others, 'file')} in {where} without a picture's ending: skipped.")
    taken = set(used)
    if stray := [file for file in pictures if file not in taken]:
        notes.append(f"{_count(len(stray), 'picture')} outside the class folders skipped ({listed(stray)}).")
        skipped += [Skipped(file, "lies outside the class folders") for file in stray]
    if odd := place.walked.odd:
        notes.append(f"{_count(len(odd), 'file')} skipped: {listed([f'{path} {why}' for path, why in odd], 2)}.")
        skipped += [Skipped(path, why) for path, why in odd]
    if empty := [f for f in _class_folders(place.path, depth) if f.rpartition("/")[2] not in classes]:
        notes.append(f"{_count(len(empty), 'class folder')} without a picture skipped ({listed(empty)}).")
        skipped += [Skipped(folder, "is a class folder without a picture") for folder in empty]
    return notes, skipped


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _class_folders(root: Path, depth: int) -> list[str]:
    """Real folders where classes are looked for, as relative paths; links and the system's own folders are not."""
    found = []
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if not entry.is_dir(follow_symlinks=False) or is_junk(entry.name, root):
                continue
            if depth == 0:
                found.append(entry.name)
            elif split_of(entry.name) != UNSPLIT:
                found += [f"{entry.name}/{name}" for name in _class_folders(root / entry.name, 0)]
    return found


def _said(parts: Sequence[Sequence[str]], splits: Sequence[int]) -> str:
    order = {part[0]: split for part, split in zip(parts, splits, strict=True)}
    return "folders " + ", ".join(f"{shown(name)}/" for name in sorted(order, key=lambda n: order[n]))


FORMAT = Format("class folders", lambda place: not place.is_file, _read)
