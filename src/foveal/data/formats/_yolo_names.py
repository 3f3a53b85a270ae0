"""What stands beside YOLO's label files: class names and splits, in `data.yaml` or a list of names.

Nothing of it is run: `data.yaml` is read as plain values (no tags, no references), and its `download` is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foveal.data.formats import Place, read_names, split_of
from foveal.errors import BadData, shown
from foveal.files.safely import read_bytes

__all__ = ["Beside", "beside", "is_yaml"]

YAML_MAX_BYTES = 1 << 18  # 1,000 class names are 20 KB, and the reader takes seconds a megabyte
LIST_MAX_BYTES = 256 << 20
DEPTH_MAX = 20
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


@dataclass(frozen=True)
class Beside:
    """What the files beside the labels say."""

    names: dict[int, str] | None = None  # of class numbers; None: numbers are names
    told_by: str = ""  # the file that names the classes
    folders: dict[str, int] = field(default_factory=dict)  # split of what lies below a folder relative to the root
    listed: dict[str, int] = field(default_factory=dict)  # split of a picture that a list names, relative to the root

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
        return _from_yaml(place.path, root)
    tops = [file for file in files if file.count("/") <= 1]
    for file in sorted(
        (f for f in tops if is_yaml(f)), key=lambda f: (f.rpartition("/")[2] not in YAMLS, f.count("/"))
    ):
        found = _from_yaml(root / file, root)
        if found.names is not None:
            return found
    names = [file for file in tops if file.rpartition("/")[2].lower() in NAMES or file.endswith(".names")]
    for file in sorted(names, key=lambda f: (f.count("/"), f)):
        return Beside(dict(enumerate(read_names(root / file))), file)
    return Beside()


def _from_yaml(path: Path, root: Path) -> Beside:
    content = _read_yaml(path)
    if not isinstance(content, dict) or "names" not in content:
        return Beside()
    names = _names(content["names"], path)
    if len(set(names.values())) != len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise BadData(f'{shown(path)}: two classes are called "{shown(twice)}".')
    folders, listed = dict[str, int](), dict[str, int]()
    base = content.get("path") if isinstance(content.get("path"), str) else ""
    for key, value in content.items():
        if isinstance(key, str) and split_of(key) >= 0:
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, str) and (where := _inside(path.parent, str(base), entry, root)):
                    if where.endswith(".txt"):
                        listed.update(dict.fromkeys(_pictures_of(root / where, root), split_of(key)))
                    else:
                        folders.setdefault(where, split_of(key))
    return Beside(names, path.name, folders if len(set(folders.values())) > 1 else {}, listed)


def _names(value: Any, path: Path) -> dict[int, str]:
    """Class numbers and names, of a list or a mapping."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    plain = all(isinstance(k, int) and not isinstance(k, bool) and k >= 0 for k, _ in pairs)
    if not pairs or not plain or not all(isinstance(name, str | int | float) for _, name in pairs):
        raise BadData(f"{shown(path)}: names must be a list of class names, or numbers with a name each.")
    return {int(number): str(name).strip() for number, name in pairs}


def _inside(home: Path, base: str, entry: str, root: Path) -> str:
    """Where an entry leads, relative to the root: by the letter, else as archives unpack it; "" outside or missing."""
    for start in (home / base, home):
        for tail in dict.fromkeys((entry, entry.removeprefix("../"))):
            try:
                where = os.path.relpath(os.path.normpath(start / tail), root).replace(os.sep, "/")
                if not where.startswith("..") and (root / where).exists():
                    return where
            except ValueError:  # a NUL; another drive
                continue
    return ""


def _pictures_of(path: Path, root: Path) -> Iterator[str]:
    """The pictures that a list names, relative to the root; what lies elsewhere is passed over."""
    raw = read_bytes(path, limit=LIST_MAX_BYTES, what="list of pictures", error=BadData)
    for line in raw.decode("utf-8-sig", "replace").splitlines():
        if line.strip() and "\0" not in line:
            for start in (path.parent, root):
                where = os.path.relpath(os.path.normpath(start / line.strip().replace("\\", "/")), root)
                if not where.startswith("..") and (root / where).is_file():
                    yield where.replace(os.sep, "/")
                    break


def _read_yaml(path: Path) -> Any:
    """Plain values of a YAML file; tags and references are refused before anything is made of them."""
    import yaml

    raw = read_bytes(path, limit=YAML_MAX_BYTES, what="YAML file", error=BadData)
    try:
        depth = 0
        for event in yaml.parse(raw, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise BadData(f"{shown(path)} uses a YAML reference (*), which foveal does not read; write it out.")
            if getattr(event, "tag", None):
                raise BadData(f"{shown(path)} uses the YAML tag {shown(event.tag)[:80]}, which foveal does not read.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise BadData(f"{shown(path)} is too deeply nested.")
        return yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise BadData(f"{shown(path)} is no YAML that can be read{line}.") from None
