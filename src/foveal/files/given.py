"""Pictures as a user hands them over: paths, folders, bytes, arrays, and what has a `convert`, such as PIL's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.errors import Missing, shown
from foveal.files.pictures import Encoded, is_picture_name
from foveal.files.safely import walk

__all__ = ["Picture", "named_pictures", "picture_files"]

Picture = Encoded | str | NDArray[np.uint8]  # or a PIL picture, which turns into an array


def named_pictures(pictures: Picture | Iterable[Picture]) -> Iterator[tuple[str, Encoded | NDArray[np.uint8]]]:
    """Name and content of each picture; a folder stands for all pictures below it.

    Raises: Missing for a path that is not there, or a folder without pictures.
    """
    if isinstance(pictures, str | Path | bytes | np.ndarray) or hasattr(pictures, "convert"):
        pictures = [pictures]  # type: ignore[list-item]
    for number, picture in enumerate(pictures):
        if isinstance(picture, bytes):
            yield f"picture {number}", picture
        elif isinstance(picture, str | Path):
            yield from _paths(Path(picture))
        else:
            yield f"picture {number}", np.asarray(picture.convert("RGB") if hasattr(picture, "convert") else picture)


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """The files that paths stand for: a folder for all pictures below it. Raises: as `named_pictures`."""
    return [file for path in paths for _, file in _paths(path)]


def _paths(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        found = [name for name in walk(path) if is_picture_name(name)]
        if not found:
            raise Missing(f"{shown(path)} holds no picture (JPEG, PNG, GIF, BMP, TIFF, WebP).")
        yield from ((str(path / name), path / name) for name in found)
    elif path.exists() or path.is_symlink():
        yield str(path), path
    else:
        raise Missing(f"{shown(path)} does not exist.")
