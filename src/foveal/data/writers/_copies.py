"""What every writer needs of a data set: the bytes of each picture, and a place that becomes whole at once."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import Dataset, Skipped
from foveal.data.fingerprints import KINDS, kind_of
from foveal.errors import BadPicture, NotWritable, shown
from foveal.files.durable import new_folder, no_write, sync, sync_folder, temporary_name
from foveal.files.pictures import PICTURE_SUFFIXES, read_image
from foveal.files.safely import Unreadable, read_all

__all__ = ["Copied", "encoded", "stage"]

FILE_MAX_BYTES = 1 << 30
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WebP": ".webp"}


@dataclass
class Copied:
    """What a writer did."""

    written: NDArray[np.int64]  # indices of the pictures that are in the copy
    open: str = ""  # what to give foveal to open the copy, relative to its folder
    notes: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    boxes: int | None = None  # in the copy; None where it holds none


def encoded(
    dataset: Dataset, index: int, allowed: frozenset[str] = PICTURE_SUFFIXES
) -> tuple[bytes, str, bool] | Skipped:
    """A picture's bytes as its file has them, its suffix, and whether it had to be written anew as PNG.

    Pixels in memory, and files whose suffix is not allowed, become PNG.
    """
    name = dataset.pictures.name(index)
    try:
        content = dataset.pictures.content(index)
        if isinstance(content, np.ndarray):
            return _png(content), ".png", False
        data = read_all(content, FILE_MAX_BYTES) if isinstance(content, Path) else content
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in PICTURE_SUFFIXES:
            suffix = SUFFIXES.get(KINDS[kind_of(data)], "")
        if suffix in allowed:
            return data, suffix, False
        return _png(read_image(data, name=name)), ".png", True
    except Unreadable as unreadable:
        return Skipped(name, unreadable.reason)
    except BadPicture as bad:
        return Skipped(name, bad.reason)
    except OSError as error:
        return Skipped(name, f"cannot be read ({(error.strerror or type(error).__name__).lower()})")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


@contextmanager
def stage(out: Path) -> Iterator[Path]:
    """A hidden folder inside `out` to write into; when the block ends well, all of it is made to last and moved up.

    When the block fails, nothing is left of it, nor of `out` if it was not there before.
    Raises: NotWritable when `out` holds something or cannot be written to; NoSpace when the disk is full.
    """
    existed = os.path.lexists(out)
    if existed and out.is_dir() and any(out.iterdir()):
        raise NotWritable(f"{shown(out)} exists and is not empty; choose another folder.")
    new_folder(out)
    inner = out / temporary_name()
    try:
        with no_write(out / "…"):
            inner.mkdir()
            yield inner
            _settle(inner)
            for entry in sorted(inner.iterdir()):
                os.replace(entry, out / entry.name)
            inner.rmdir()
            sync_folder(out)
    except BaseException:
        shutil.rmtree(inner, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()
        raise


def _settle(folder: Path) -> None:
    """Down to the device: all at once first, so that the file by file, which tells errors, finds little to do."""
    if hasattr(os, "sync"):
        os.sync()
    for place, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(place, name), os.O_RDWR)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(place))
