"""Which picture a path in somebody's table means."""

from __future__ import annotations

from foveal.data.dataset import Dataset
from foveal.data.formats import relative
from foveal.errors import shown
from foveal.files.spreadsheet import FORMULA

__all__ = ["Lookup"]


class Lookup:
    """Pictures by path: relative to the source or absolute, with either slash, or as foveal's own tables escape it."""

    def __init__(self, dataset: Dataset) -> None:
        names = [dataset.pictures.name(i) for i in range(len(dataset))]
        self.index = {relative(name): i for i, name in enumerate(names)}
        self.escaped = {relative(shown(name)): i for i, name in enumerate(names) if shown(name) != name}
        self.root = str(getattr(dataset.pictures, "root", "")).replace("\\", "/").rstrip("/") + "/"

    def find(self, path: str) -> int | None:
        """The picture of that path, if there is one."""
        found = self._find(path)
        if (
            found is None and path.startswith("'") and path[1:].startswith(FORMULA)
        ):  # what keeps it from being a formula
            found = self._find(path[1:])
        return found

    def _find(self, path: str) -> int | None:
        name = relative(path)
        for candidate in (name, name.removeprefix(self.root)):
            found = self.index.get(candidate, self.escaped.get(candidate))
            if found is not None:
                return found
        return None
