"""YOLO's label files: a .txt a picture, a line an object: `class x y width height`, the middle of the box first.

Coordinates are shares of the picture as it is shown, from 0 to 1. Labels lie beside the pictures, or in a tree `labels`
like the tree `images`. Class names and splits come from `data.yaml`, `classes.txt` or a `.names` file, and from lists
of pictures; without names, numbers are the names. An empty file says that nothing is there; a missing one says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from foveal.data.dataset import UNSPLIT, Dataset, Origin
from foveal.data.formats import Asked, Format, Place
from foveal.data.formats._boxes import dataset_of
from foveal.data.formats._found import Found, number_of
from foveal.data.formats._pairs import Mates, folders_said, split_by_folders, stem_of
from foveal.data.formats._yolo_lines import KeyPoints, box_of
from foveal.data.formats._yolo_lists import CVAT
from foveal.data.formats._yolo_names import NAMES, Beside, beside, is_yaml
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Unreadable, open_regular, read_all

__all__ = ["FORMAT"]

TXT_MAX_BYTES = 4 << 20  # some 100,000 boxes
PEEKED, PEEKED_BYTES = 40, 512
LABELS = re.compile(r"(^|.*/)labels?(/|$)", re.IGNORECASE)
TOLD_FROM = 0.5  # share of a folder's label files that are empty


def _read(place: Place, asked: Asked) -> Dataset:
    root = place.path.parent if place.is_file else place.path
    inside = Place(root) if place.is_file else place
    known = beside(place, root, inside.files)
    pictures = [file for file in inside.files if is_picture_name(file)]
    labels = dict[str, str]()
    found = Found(root, lambda path, line: f"{labels[path]} line {line}", shares=True, notes=list(known.notes))
    files = _label_files(inside)
    mates = Mates(pictures).of_all(files)
    texts = dict[str, str]()
    with asked.progress.task("reading annotations", len(files), "files") as advance:
        for file in files:
            picture, why = mates[file]
            if picture is None:
                found.skip("annotation" if ", as is " in why else "without picture", file, why)
            else:
                labels[picture] = file
                _open(found, file, texts)
            advance(1)
    _tell_empty(found, texts)
    names = dict(enumerate(asked.classes)) if asked.classes else known.names
    reader = _Reader(found, names, known.key_points if known.key_points is not None else _key_points(root, texts))
    for picture, file in labels.items():
        if file in texts:
            reader.take(found.add_picture(picture, _split(picture, known)), texts[file])
    rest = [(path, _split(path, known)) for path in pictures if path not in labels]
    found.unlabelled(rest, asked, "has no label file")
    if place.is_file:
        found.notes += inside.ignored
    if known.told_by:
        found.notes.append(f"Class names are those of {shown(known.told_by)}.")
    how = shown(known.split_by) if known.folders or known.listed else folders_said(found.splits)
    origin = Origin(asked.source, str(place.path), "YOLO txt", how)
    return dataset_of(found, asked, origin, reader.classes)


def _open(found: Found, file: str, texts: dict[str, str]) -> None:
    """Read one label file."""
    try:
        texts[file] = read_all(found.root / file, TXT_MAX_BYTES).decode("utf-8-sig")
    except (Unreadable, UnicodeDecodeError) as error:
        found.skip("annotation", file, error.reason if isinstance(error, Unreadable) else "is not UTF-8")


def _tell_empty(found: Found, texts: Mapping[str, str]) -> None:
    """Tell of folders in which half of the label files say nothing: some tools drop what is no box."""
    folders = dict[str, list[bool]]()
    for file, text in texts.items():
        folders.setdefault(file.rpartition("/")[0], []).append(not text.strip())
    for folder, empty in folders.items():
        if 1 < sum(empty) >= TOLD_FROM * len(empty):
            of_cvat = CVAT.search(f"{folder}/") is not None
            why = "CVAT's YOLO export drops polygons" if of_cvat else "their pictures are taken as showing nothing"
            where = f"{shown(folder) or '.'}; told from half on"
            found.notes.append(f"{sum(empty)} of {len(empty)} label files are empty: {why} ({where}).")


def _key_points(place: Path, texts: Mapping[str, str]) -> int:
    """How many numbers of key points stand behind each box, by the lines themselves. Raises: BadData."""
    seen = KeyPoints()
    for text in texts.values():
        for line in text.splitlines():
            if seen.possible:
                seen.see(line.split())
    decided = seen.decided
    if decided is None:
        raise BadData(
            f"{shown(place)}: lines of {5 + seen.behind} columns may be of key points or of polygons; say "
            f'"kpt_shape: [number of points, 2 or 3]" in a data.yaml, or "kpt_shape: [0, 2]" for polygons.'
        )
    return decided


@dataclass
class _Reader:
    """Takes the lines of one picture after another."""

    found: Found
    names: dict[int, str] | None  # of class numbers; None: numbers are names
    key_points: int
    occurring: set[int] = field(default_factory=set)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of their numbers: those that have a name, else those that occur."""
        if self.names is not None:
            return tuple(self.names[number] for number in sorted(self.names))
        return tuple(str(number) for number in sorted(self.occurring))

    def take(self, on: int, text: str) -> None:
        """Add what the lines of one picture say."""
        seen = dict[str, int]()
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words:
                continue
            before = seen.setdefault(" ".join(words), number)
            self._line(on, number, words if before == number else f"repeats line {before}")

    def _line(self, on: int, number: int, words: list[str] | str) -> None:
        read = words if isinstance(words, str) else box_of(words, self.key_points)
        if not isinstance(read, str) and self.names is not None and read.number not in self.names:
            read = f"class {read.number}, but classes are {_range(self.names)}"
        if isinstance(read, str):
            return self.found.lose(on, number, read)
        for words_of in read.assumed:
            self.found.assume(*words_of, self.found.where(self.found.paths[on], number))
        self.occurring.add(read.number)
        name = str(read.number) if self.names is None else self.names[read.number]
        return self.found.add_box(on, number, read.corners, name)


def _split(path: str, known: Beside) -> int:
    split = known.split(path)
    if split is None:
        return UNSPLIT if known.folders or known.listed else split_by_folders(path)
    return split


def _range(names: dict[int, str]) -> str:
    numbers = sorted(names)
    whole = numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{numbers[0]}–{numbers[-1]}" if whole else ", ".join(map(str, numbers[:20]))


def _label_files(place: Place) -> list[str]:
    """Every .txt in a tree `labels`, and every other that is called as a picture."""
    texts = [file for file in place.files if file.lower().endswith(".txt")]
    if not texts:
        return []
    stems = _names_of_pictures(place)
    return [
        file
        for file in texts
        if stem_of(file) in stems or (_in_labels(file) and PurePosixPath(file).name.lower() not in NAMES)
    ]


def _names_of_pictures(place: Place) -> set[str]:
    """What label files may be called, but for their ending: `7`, or `7.jpg`."""
    pictures = [file for file in place.files if is_picture_name(file)]
    return {stem_of(file) for file in pictures} | {file.rpartition("/")[2] for file in pictures}


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
    mates = {stem_of(file) for file in files}
    if not files or not (in_tree or 2 * len(mates) >= len(pictures)):
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
