"""What a source of pictures may look like: one format, one file.

Each file ends with its `FORMAT`, a name, a question ("is it one of mine?") and a reader; `data/sources.py` holds the
table. A reader says where the pictures are and what they show; splits that the source does not decide are left open.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import UNSPLIT, Dataset, multi_hot_of
from foveal.errors import BadData, shown
from foveal.files.pictures import is_picture_name
from foveal.files.safely import Walked, read_bytes, walk_counted
from foveal.progress import SILENT, Progress

__all__ = [
    "Asked",
    "Format",
    "Place",
    "fold",
    "listed",
    "named_labels",
    "numbered_labels",
    "read_names",
    "several_labels",
    "split_of",
]

SPLIT_WORDS = {
    "train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "eval": 1, "test": 2, "testing": 2,
}  # fmt: skip
_THINGS = "images?|imgs?|pictures|data|dataset|set"
SPLIT_FOLDER = re.compile(rf"(?:(?:{_THINGS})[_ -]?)?({'|'.join(SPLIT_WORDS)})(?:[_ -]?(?:{_THINGS}))?", re.IGNORECASE)
NAMES_MAX_BYTES = 8 << 20  # a list of class names; ImageNet-21k's is 0.5 MB


@dataclass(frozen=True)
class Place:
    """A folder or file on disk, and the files below it, listed once."""

    path: Path  # absolute: stamps must not depend on the working folder

    @cached_property
    def is_file(self) -> bool:
        """Whether it is one file, and no folder."""
        return not self.path.is_dir()

    @cached_property
    def walked(self) -> Walked:
        """What lies below the folder, read once."""
        return Walked() if self.is_file else walk_counted(self.path)

    @property
    def files(self) -> list[str]:
        """Relative posix paths of the regular files below that are not hidden and not left by the system, sorted."""
        return self.walked.files

    @property
    def ignored(self) -> list[str]:
        """What is to be said of hidden names and of those that systems left, as far as the place was walked."""
        names = self.walked.ignored if "walked" in vars(self) else None
        if not names:
            return []
        what = f"{names.total()} hidden or system {'files and folders' if names.total() > 1 else 'file or folder'}"
        return [f"{what} in {shown(self.path)} ignored ({listed(sorted(names), 8)})."]

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        """The same files, folder by folder."""
        folders: dict[str, list[str]] = {}
        for file in self.files:
            folder, _, name = file.rpartition("/")
            folders.setdefault(folder, []).append(name)
        return folders

    @cached_property
    def has_pictures(self) -> bool:
        """Whether a file below is named like a picture."""
        return any(is_picture_name(file) for file in self.files)

    def homes(self, wanted: Callable[[Collection[str]], bool]) -> list[str]:
        """Folders (relative, "" is the place itself) whose file names are the wanted ones.

        Looks deeper than the place itself only where no loose pictures lie: a collection of data sets is none.
        """
        if self.has_pictures:
            return [""] if wanted(self.by_folder.get("", [])) else []
        return [folder for folder, names in self.by_folder.items() if wanted(names)]

    def only_home(self, wanted: Callable[[Collection[str]], bool], what: str) -> Path:
        """The one folder of `homes`. Raises: BadData when there are several."""
        homes = self.homes(wanted)
        if len(homes) != 1:
            raise BadData(
                f"{shown(self.path)} holds {what} files in {len(homes)} folders ({listed(homes)}); "
                f"give the one you mean."
            )
        return self.path / homes[0]


@dataclass(frozen=True)
class Asked:
    """What the user wants of a source."""

    source: str  # as typed
    classes: tuple[str, ...] | None = None  # names for numbered labels, or the order of named ones
    progress: Progress = SILENT
    unlabelled: Literal["leave-out", "background"] = "leave-out"  # pictures that no annotation of boxes names
    box_origin: Literal["auto", "0", "1"] = "auto"  # what annotations of boxes call the first pixel
    labels: Literal["auto", "one", "several"] = "auto"  # that a picture may have, where no boxes say what it shows
    label_separator: str = "auto"  # between several labels in a cell; "none": a cell is one label


@dataclass(frozen=True)
class Format:
    """One way in which pictures lie on a disk."""

    name: str
    detect: Callable[[Place], bool]
    read: Callable[[Place, Asked], Dataset]


def split_of(word: str) -> int:
    """Index into SPLITS of a split's usual names in any case; UNSPLIT for another word.

    >>> split_of("Valid"), split_of("train_images"), split_of("trainer")
    (1, 0, -1)
    """
    match = SPLIT_FOLDER.fullmatch(word.strip())
    return SPLIT_WORDS[match[1].lower()] if match else UNSPLIT


def split_in(path: str) -> int:
    """The split that a file's path tells: the last of the usual words that stands alone in it.

    >>> split_in("flowers-train-0003.tar"), split_in("test/0.tar"), split_in("trainer.tar")
    (0, 2, -1)
    """
    words = re.findall(r"[a-z]+", path.lower())
    return next((SPLIT_WORDS[w] for w in reversed(words) if w in SPLIT_WORDS), UNSPLIT)


def fold(name: str) -> str:
    """What two names must differ in to be two classes: not case, not Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def named_labels(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) labels and the classes, in code point order, of a name for each picture (normalised to NFC)."""
    forms = {name: unicodedata.normalize("NFC", name) for name in set(names)}
    classes = tuple(sorted(set(forms.values())))
    order = {form: i for i, form in enumerate(classes)}
    index = {name: order[form] for name, form in forms.items()}
    return np.fromiter((index[n] for n in names), np.int64, len(names)), classes


def several_labels(names: Sequence[Sequence[str]]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(N, K) which classes each picture shows, and the classes in code point order, of several names a picture."""
    labels, classes = named_labels([name for row in names for name in row])
    rows = np.repeat(np.arange(len(names)), [len(row) for row in names])
    return multi_hot_of(rows, labels, (len(names), len(classes))), classes


def numbered_labels(
    numbers: NDArray[np.int64], classes: tuple[str, ...] | None, place: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels and class names of numbers: names by position where they are given, else the numbers that occur.

    Raises: BadData for a number that no name is given for.
    """
    if classes is None:
        occurring, labels = np.unique(numbers, return_inverse=True)
        return labels.reshape(-1).astype(np.int64), tuple(str(n) for n in occurring.tolist())
    for wrong in (numbers.min(initial=0), numbers.max(initial=0)):
        if not 0 <= wrong < len(classes):
            raise BadData(
                f"{place}: label {int(wrong)}, but {len(classes)} class names (labels are 0 to {len(classes) - 1})."
            )
    return numbers.astype(np.int64), classes


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line, from a text file; blank lines at the end do not count."""
    raw = read_bytes(path, limit=NAMES_MAX_BYTES, what="list of class names", error=BadData)
    try:
        lines = [line.strip() for line in raw.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise BadData(f"{shown(path)} is not UTF-8 (byte {error.start}); save it as UTF-8 text.") from None
    while lines and not lines[-1]:
        lines.pop()
    if not all(lines):
        raise BadData(f"{shown(path)}: line {lines.index('') + 1} is empty; it must hold a class name.")
    return tuple(lines)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, safe to print: `a.jpg, b.jpg, c.jpg and 5 more`."""
    head = ", ".join(shown(n) or "." for n in names[:most])
    return head if len(names) <= most else f"{head} and {len(names) - most} more"


def relative(path: str) -> str:
    """A path as people write it in tables, made posix and plain: `.\\a\\..\\b.jpg` -> `b.jpg`."""
    return PurePosixPath(os.path.normpath(path.replace("\\", "/"))).as_posix()
