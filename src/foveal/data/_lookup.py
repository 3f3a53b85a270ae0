"""Which picture a path in somebody's table means."""

from __future__ import annotations

from pathlib import Path

from foveal.data.dataset import Dataset
from foveal.data.formats import relative
from foveal.data.formats._nearby import Nearby
from foveal.errors import shown
from foveal.files.spreadsheet import FORMULA

__all__ = ["Lookup"]


class Lookup:
    """Pictures by path: relative to the source or absolute, with either slash, or as foveal's own tables escape it.

    Without its ending, or as the end of a picture's path, where only one picture can be meant.
    """

    def __init__(self, dataset: Dataset) -> None:
        names = [dataset.pictures.name(i) for i in range(len(dataset))]
        self.index = {relative(name): i for i, name in enumerate(names)}
        self.escaped = {relative(shown(name)): i for i, name in enumerate(names) if shown(name) != name}
        self.nearby = Nearby(Path(), list(self.index))
        self.root = str(getattr(dataset.pictures, "root", "")).replace("\\", "/").rstrip("/") + "/"

    def find(self, path: str) -> int | None:
        """The picture of that path, if there is one."""
        found = self._find(path)
        if found is None and path.startswith("'") and path[1:].startswith(FORMULA):  # what keeps it from a formula
            found = self._find(path[1:])
        if found is None and (near := self.nearby.find(path.removeprefix(self.root))[0]) is not None:
            found = self.index[near]
        return found

    def told(self, path: str) -> str:
        """A path that was not found, and the pictures that it may be, where there are several."""
        return f"{path} {self.nearby.find(path)[1]}".rstrip()

    def _find(self, path: str) -> int | None:
        name = relative(path)
        for candidate in (name, name.removeprefix(self.root)):
            found = self.index.get(candidate, self.escaped.get(candidate))
            if found is not None:
                return found
        return None
