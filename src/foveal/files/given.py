"""Pictures as a user hands them over: paths, folders, bytes, arrays, and what has a `convert`, such as PIL's.

A folder or a pattern may stand for millions of them: names are looked up as they are needed, and never all held.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadPicture, Missing, shown
from foveal.files.pictures import Encoded, is_picture_name, not_bytes
from foveal.files.safely import Unreadable, walk_lazily

__all__ = ["Picture", "TypedPaths", "check_pictures", "count_pictures", "is_one_picture", "named_pictures"]

COLORS = (1, 3, 4)  # bands that the last axis of an array may have
WANTED = "give a path, a file's bytes, a uint8 array, a PIL picture, or several of them"

Picture = Encoded | str | NDArray[np.uint8]  # or a PIL picture, which turns into an array


@dataclass(frozen=True)
class TypedPaths:
    """Paths as they were typed, and those that patterns among them match, which no shell has expanded.

    A file whose name looks like a pattern is that file.
    """

    texts: Sequence[str]

    def __iter__(self) -> Iterator[Path]:
        """Each path; those of one pattern sorted. Raises: Missing for a pattern that matches nothing."""
        for text in self.texts:
            if not _is_pattern(text):
                yield Path(text)
            elif found := sorted(glob.iglob(text, recursive=True)):  # not Path.glob, which refuses absolute patterns
                yield from map(Path, found)
            else:
                raise _no_match(text)

    def check(self) -> None:
        """At once, without listing what they stand for. Raises: Missing where one of them stands for no picture."""
        for text in self.texts:
            if not _is_pattern(text):
                _check(Path(text))
            elif next(glob.iglob(text, recursive=True), None) is None:
                raise _no_match(text)


def is_one_picture(pictures: Any) -> bool:
    """Whether one picture is meant: a path that is no folder, a file's content, a PIL picture, an array or tensor of
    (H, W) or (H, W, C) with C 1, 3 or 4. Several are an array (N, H, W, C), or whatever can be iterated.

    An array of three axes whose last is no colour could be several grey pictures or one with its colours first; neither
    is guessed.
    Raises: BadPicture for what is neither.
    """
    if isinstance(pictures, str) and not pictures:
        raise BadPicture("an empty text", f"is no picture; {WANTED}.")
    if isinstance(pictures, str | Path):
        return not os.path.isdir(pictures)
    if isinstance(pictures, bytes | bytearray | memoryview) or hasattr(pictures, "convert"):
        return True
    if hasattr(pictures, "read"):
        raise BadPicture("an open file", "is no picture; give its path, or what its read() gives.")
    if _is_array(pictures):
        return _is_one_array(pictures)
    if isinstance(pictures, Iterable):
        return False
    kind = type(pictures).__name__
    raise BadPicture(kind if pictures is not None else "None", f"is no picture; {WANTED}.")


def check_pictures(pictures: Picture | Iterable[Picture]) -> None:
    """Whether the paths are there, as far as that can be told without reading on. Raises: as `named_pictures`."""
    if isinstance(pictures, TypedPaths):
        pictures.check()
        return
    several = _several(pictures)
    for path in several if isinstance(several, list | tuple) else ():
        if isinstance(path, str | Path):
            _check(Path(path))


def named_pictures(
    pictures: Picture | Iterable[Picture],
) -> Iterator[tuple[str, Encoded | NDArray[np.uint8] | Unreadable]]:
    """Name and content of each picture, as they are asked for; a folder stands for all pictures below it.

    What lies in a folder and is neither file nor folder (a dangling link, a pipe), or a folder that cannot be read,
    comes with the reason in place of its content.
    Raises: Missing for a path that is not there, or a folder without pictures.
    """
    for number, picture in enumerate(_several(pictures)):
        if isinstance(picture, bytes | bytearray | memoryview):
            yield f"picture {number}", bytes(picture)
        elif isinstance(picture, str | Path):
            yield from ((str(file), Unreadable(reason) if reason else file) for file, reason in _files(Path(picture)))
        else:
            yield f"picture {number}", _pixels(picture)


def count_pictures(pictures: Picture | Iterable[Picture]) -> int | None:
    """How many `named_pictures` gives, without keeping one; None where only reading them all would tell.

    Raises: as `named_pictures`, for the first path that stands for no picture.
    """
    several = _several(pictures)
    if not isinstance(several, list | tuple | TypedPaths):
        return None
    return sum(sum(1 for _ in _files(Path(one))) if isinstance(one, str | Path) else 1 for one in several)


def _several(pictures: Any) -> Iterable[Any]:
    if isinstance(pictures, str | Path) or is_one_picture(pictures):
        return [pictures]
    return list(pictures) if _is_array(pictures) else pictures


def _is_array(value: Any) -> bool:
    """NumPy's, a tensor of PyTorch's (known by its manners), or another that becomes one."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and len(getattr(value, "shape", ())) > 1)


def _is_one_array(pixels: Any) -> bool:
    shape = tuple(pixels.shape)
    if len(shape) > 1 and (reason := not_bytes(pixels.dtype)):
        raise BadPicture(f"an array of shape {shape}", reason)
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in COLORS):
        return True
    if len(shape) == 4 and shape[3] in COLORS:
        return False
    name = f"an array of shape {shape}"
    if len(shape) == 3:
        raise BadPicture(
            name, "is no picture; colours come last, and several grey pictures are list(X) or X[..., None]."
        )
    raise BadPicture(name, "holds no pictures; one is (H, W) or (H, W, C), several are (N, H, W, C), C 1, 3 or 4.")


def _pixels(picture: Any) -> NDArray[Any]:
    """An array, whatever it holds; a list of unequal ones as objects. Who reads it says what is wrong with it."""
    if hasattr(picture, "convert"):
        picture = picture.convert("RGB")
    elif hasattr(picture, "detach"):
        picture = picture.detach().cpu().numpy()
    try:
        return np.asarray(picture)
    except (ValueError, TypeError):
        return np.array(None, object)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """The path, or the pictures below it, with ""; and what cannot be one, with the reason."""
    if not os.path.isdir(path):
        _check(path)
        yield path, ""
        return
    found = False
    for name, reason in walk_lazily(path):
        if reason or is_picture_name(name):
            found = True
            yield path / name, reason
    if not found:
        raise _no_picture(path)


def _check(path: Path) -> None:
    """Raises: Missing for a path that is not there, or a folder without pictures, of which the first is enough."""
    if os.path.isdir(path):
        if not _holds_picture(path) and not any(why or is_picture_name(name) for name, why in walk_lazily(path)):
            raise _no_picture(path)
    elif not os.path.lexists(path):
        raise Missing(f"{shown(path)} does not exist.")


def _holds_picture(folder: Path) -> bool:
    """Whether one lies right in the folder: told by the first of its entries, mostly."""
    try:
        with os.scandir(folder) as entries:
            return any(is_picture_name(entry.name) and entry.is_file() for entry in entries)
    except OSError:
        return False  # the walk tells why


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.exists(text)


def _no_match(text: str) -> Missing:
    return Missing(f'no file matches "{shown(text)}".')


def _no_picture(folder: Path) -> Missing:
    return Missing(f"{shown(folder)} holds no picture (JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, HEIC).")
