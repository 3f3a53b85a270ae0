"""What stands beside YOLO's label files: class names and splits, in `data.yaml`, a list of names, lists of pictures.

Nothing of it is run: `data.yaml` is read as texts (no tags, no references), and its `download` is not looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from foveal.data.formats import Place, read_names, split_of
from foveal.data.formats._yaml import Value, read_yaml
from foveal.data.formats._yolo_lists import Listed, listed_in, lists_beside
from foveal.errors import BadData, shown

__all__ = ["Beside", "beside", "is_yaml"]

YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES = (
    "classes.txt",
    "obj.names",
    "classes.names",
    "names.txt",
    "_darknet.labels",
    "labels.txt",
    "predefined_classes.txt",
)
NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
NAMES_MAX = 1 << 20


@dataclass(frozen=True)
class Beside:
    """What the files beside the labels say."""

    names: dict[int, str] | None = None  # of class numbers; None: numbers are names
    told_by: str = ""  # the file that names the classes
    split_by: str = ""  # what splits
    folders: dict[str, int] = field(default_factory=dict)  # split of what lies below a folder relative to the root
    listed: dict[str, int] = field(default_factory=dict)  # split of a picture that a list names, relative to the root
    key_points: int | None = None  # numbers behind each box; None: not told
    notes: tuple[str, ...] = ()

    def split(self, path: str) -> int | None:
        """The split of a picture, None where nothing is said of it."""
        if path in self.listed:
            return self.listed[path]
        found = [folder for folder in self.folders if folder == "." or path.startswith(f"{folder}/")]
        return self.folders[max(found, key=len)] if found else None


def is_yaml(file: str) -> bool:
    """Whether a file is named like YAML."""
    return file.lower().endswith((".yaml", ".yml"))


def beside(place: Place, root: Path, files: list[str]) -> Beside:
    """What is known of a folder's classes and splits. Raises: BadData for a data.yaml that cannot be trusted."""
    if place.is_file:
        return _from_yaml(place.path, root, files)
    tops = [file for file in files if file.count("/") <= 1]
    for file in sorted(
        (f for f in tops if is_yaml(f)), key=lambda f: (f.rpartition("/")[2] not in YAMLS, f.count("/"))
    ):
        found = _from_yaml(root / file, root, files)
        if found.told_by:
            return found
    lists = lists_beside(root, tops, files)
    names = [file for file in tops if file.rpartition("/")[2].lower() in NAMES or file.endswith(".names")]
    for file in sorted(names, key=lambda f: (f.count("/"), f)):
        return _with(lists, dict(enumerate(read_names(root / file))), file)
    return _with(lists, None, "")


def _with(lists: Listed, names: dict[int, str] | None, told_by: str) -> Beside:
    return Beside(names, told_by, lists.told_by, {}, lists.splits, None, lists.notes)


def _from_yaml(path: Path, root: Path, files: list[str]) -> Beside:
    content = read_yaml(path)
    if not isinstance(content, dict):
        return Beside()
    said = {key: value for key, value in content.items() if split_of(key) >= 0}
    if "names" not in content and not (said and "nc" in content):
        return Beside()
    names, notes = _classes(content, path)
    folders, listed = dict[str, int](), dict[str, int]()
    base = content.get("path", "")
    for key, value in said.items():
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str) or entry.strip() in ("", "~", "null"):
                continue
            where = _inside(path.parent, base if isinstance(base, str) else "", entry, root)
            if not where:
                notes.append(f"{shown(path.name)}: {key} is {shown(entry)[:200]}, which is not here.")
            elif where.endswith(".txt"):
                one = listed_in(root, where, files)
                listed.update(dict.fromkeys(one.splits, split_of(key)))
                notes += one.notes
            else:
                folders.setdefault(where, split_of(key))
    folders = folders if len(set(folders.values())) > 1 else {}
    split_by = path.name if folders or listed else ""
    return Beside(names, path.name, split_by, folders, listed, _key_points(content, path), tuple(notes))


def _key_points(content: Mapping[str, Value], path: Path) -> int | None:
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    if isinstance(shape, list) and len(shape) == 2:
        several, each = (int(v) if isinstance(v, str) and NUMBER.fullmatch(v.strip()) else -1 for v in shape)
        if several >= 0 and each in (2, 3):
            return several * each
    raise BadData(f"{shown(path)}: kpt_shape must be [number of key points, 2 or 3].")


def _classes(content: Mapping[str, Value], path: Path) -> tuple[dict[int, str], list[str]]:
    """Class numbers and names, and what is odd about them."""
    count = content.get("nc")
    n = int(count) if isinstance(count, str) and NUMBER.fullmatch(count.strip()) else None
    if "names" not in content:
        if n is None or not 0 < n <= NAMES_MAX:
            raise BadData(f"{shown(path)}: nc must be the number of classes, or names must be given.")
        return {i: str(i) for i in range(n)}, []
    names = _names(content["names"], path)
    if len(set(names.values())) != len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise BadData(f'{shown(path)}: two classes are called "{shown(twice)}".')
    odd = n is not None and n != len(names)
    return names, [f"{shown(path.name)}: nc is {n}, but there are {len(names)} names, which count."] if odd else []


def _names(value: Value, path: Path) -> dict[int, str]:
    """Class numbers and names, of a list, a mapping, or the file that a text names."""
    if isinstance(value, str) and value.strip() and "\0" not in value:
        where = _inside(path.parent, "", value, path.parent)
        if where and (path.parent / where).is_file():
            return dict(enumerate(read_names(path.parent / where)))
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    found: dict[int, str] = {}
    for key, name in pairs:
        number = str(key).strip()
        if not NUMBER.fullmatch(number) or not isinstance(name, str) or not name.strip():
            found = {}
            break
        found[int(number)] = name.strip()
    if not found:
        raise BadData(f"{shown(path)}: names must be a list of class names, or numbers with a name each.")
    return found


def _inside(home: Path, base: str, entry: str, root: Path) -> str:
    """Where an entry leads, relative to the root: by the letter, as archives unpack it, or by its end."""
    for tail in _tails(entry):
        for start in (home / base, home):
            try:
                where = os.path.relpath(os.path.normpath(start / tail), root).replace(os.sep, "/")
                if not where.startswith("..") and (root / where).exists():
                    return where
            except ValueError:  # a NUL; another drive
                continue
    return ""


def _tails(entry: str) -> Iterator[str]:
    """An entry as it is written, without `../`, then ever less of its beginning."""
    entry = entry.strip().replace("\\", "/")
    yield entry
    yield entry.removeprefix("../")
    parts = [part for part in entry.split("/") if part not in ("", ".", "..")]
    for first in range(1, len(parts)):
        yield "/".join(parts[first:])
