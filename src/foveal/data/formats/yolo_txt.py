"""YOLO's label files: a .txt a picture, a line an object: `class x y width height`, the middle of the box first.

Coordinates are shares of the picture as it is shown, from 0 to 1. Labels lie beside the pictures, or in a tree `labels`
like the tree `images`. Class names and splits come from `data.yaml`, `classes.txt` or a `.names` file; without one,
numbers are the names. An empty file says that nothing is there; a missing one says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._boxes import Found, dataset_of, number_of
from foveal.data.formats._pairs import Mates, folders_said, split_by_folders, stem_of
from foveal.data.formats._yolo_names import NAMES, Beside, beside, is_yaml
from foveal.errors import shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular, read_all

__all__ = ["FORMAT"]

TXT_MAX_BYTES = 4 << 20  # some 100,000 boxes
PEEKED, PEEKED_BYTES = 40, 512
HAIR = 1.001  # a coordinate up to here is rounding of one at the edge
CLASS = re.compile(r"\d{1,9}", re.ASCII)
LABELS = re.compile(r"(^|.*/)labels?(/|$)", re.IGNORECASE)


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    inside = Place(root) if place.is_file else place
    known = beside(place, root, inside.files)
    names = dict(enumerate(asked.classes)) if asked.classes else known.names
    pictures = [file for file in inside.files if is_picture_name(file)]
    mates, taken, labels = Mates(pictures), dict[str, str](), dict[str, str]()
    found = Found(root, lambda path, line: f"{labels[path]} line {line}", shares=True)
    files = _label_files(inside)
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        for file in files:
            _take(found, file, mates, taken, labels, names, known)
            advance(1)
    rest = [(path, _split(path, known)) for path in pictures if path not in taken]
    found.unlabelled(rest, asked, "has no label file")
    if known.told_by:
        found.notes.append(f"Class names are those of {shown(known.told_by)}.")
    how = shown(known.told_by) if known.folders or known.listed else folders_said(found.splits)
    origin = Origin(asked.source, str(place.path), "YOLO txt", how)
    return dataset_of(found, asked, origin, _classes(found, names))


def _classes(found: Found, names: dict[int, str] | None) -> tuple[str, ...]:
    """In the order of their numbers: those that have a name, else those that occur."""
    if names is not None:
        return tuple(names[number] for number in sorted(names))
    return tuple(str(number) for number in sorted({int(name) for name in found.names}))


def _take(
    found: Found, file: str, mates: Mates, taken: dict[str, str], labels: dict[str, str],
    names: dict[int, str] | None, known: Beside,
) -> None:  # fmt: skip
    """Add what one label file says."""
    picture, why = mates.of(file)
    if picture is None:
        found.skip("without picture", file, why)
    elif picture in taken:
        found.skip("annotation", file, f"is of {picture}, as is {taken[picture]}")
    else:
        taken[picture] = labels[picture] = file
        try:
            text = read_all(found.root / file, TXT_MAX_BYTES).decode("utf-8-sig")
        except (Unreadable, UnicodeDecodeError) as error:
            reason = error.reason if isinstance(error, Unreadable) else "is not UTF-8"
            found.skip("annotation", file, reason)
            return
        on = found.add_picture(picture, _split(picture, known))
        for number, read in _lines(text, names):
            if isinstance(read, str):
                found.lose(on, number, read)
            else:
                found.add_box(on, number, *read)


def _split(path: str, known: Beside) -> int:
    split = known.split(path)
    if split is None:
        return UNSPLIT if known.folders or known.listed else split_by_folders(path)
    return split


def _lines(
    text: str, names: dict[int, str] | None
) -> Iterator[tuple[int, tuple[tuple[float, float, float, float], str] | str]]:
    """Number of each line that is not blank, and its box and class, or what is wrong with it."""
    seen = dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        before = seen.setdefault(" ".join(words), number)
        yield number, _box(words, names) if before == number else f"repeats line {before}"


def _box(words: list[str], names: dict[int, str] | None) -> tuple[tuple[float, float, float, float], str] | str:
    if len(words) != 5:
        return f"has {len(words)} columns, a box has 5: class, x, y, width, height"
    if not CLASS.fullmatch(words[0]):
        return f"class {shown(words[0])[:40]} is no whole number from 0"
    kind = int(words[0])
    if names is not None and kind not in names:
        return f"class {kind}, but classes are {_range(names)}"
    values = [number_of(word) for word in words[1:]]
    for word, value in zip(words[1:], values, strict=True):
        if value is None:
            return f"{shown(word)[:40]} is not a number"
        if not 0 <= value <= HAIR:
            return f"{shown(word)[:40]} is not a share between 0 and 1"
    x, y, width, height = (value or 0.0 for value in values)
    if not width or not height:
        return "zero area"
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), str(kind) if names is None else names[kind]


def _range(names: dict[int, str]) -> str:
    numbers = sorted(names)
    whole = numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{numbers[0]}–{numbers[-1]}" if whole else ", ".join(map(str, numbers[:20]))


def _label_files(place: Place) -> list[str]:
    """Every .txt in a tree `labels`, and every other that is called as a picture."""
    texts = [file for file in place.files if file.lower().endswith(".txt")]
    if not texts:
        return []
    stems = {stem_of(file) for file in place.files if is_picture_name(file)}
    return [
        file
        for file in texts
        if stem_of(file) in stems or (_in_labels(file) and PurePosixPath(file).name.lower() not in NAMES)
    ]


def _in_labels(file: str) -> bool:
    return LABELS.match(str(PurePosixPath(file).parent)) is not None


def _detect(place: Place) -> bool:
    """A data.yaml; label files in a tree `labels`, or with the names of at least half of the pictures."""
    if place.is_file:
        return is_yaml(place.path.name)
    if not place.has_pictures:
        return False
    files = _label_files(place)
    in_tree = [file for file in files if _in_labels(file)]
    pictures = {stem_of(file) for file in place.files if is_picture_name(file)}
    if not files or not (in_tree or 2 * len({stem_of(file) for file in files}) >= len(pictures)):
        return False
    heads = [_head(place.path / file) for file in files[:: max(1, len(files) // PEEKED)]]
    return any(_looks_so(head) for head in heads) or (bool(in_tree) and not any(heads))


def _head(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read(PEEKED_BYTES).decode("utf-8-sig", "ignore").strip()
    except (Unreadable, OSError):
        return ""


def _looks_so(head: str) -> bool:
    """Whether a text begins with a line of numbers, a class among them."""
    words = head.split("\n", 1)[0].split()
    return len(words) >= 4 and all(number_of(word) is not None for word in words[:4])


FORMAT = Format("YOLO txt", _detect, _read)
