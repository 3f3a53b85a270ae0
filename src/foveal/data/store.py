"""The pixel store: each picture decoded and resized once, then sliced by every epoch.

Decoding costs an ordinary machine as much as the network does. So the first training writes uint8 pixels at the size
of the network's input into one memory-mapped file in the cache, keyed by the pictures' content and the preprocessing;
the next one maps it and starts. Where the disk is too small for that, small JPEGs are kept instead, or the pictures
are decoded anew for each slice.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveal.data._store_cache import StoreInfo, bound, clear_stores, list_stores, store_path, stores_folder
from foveal.data._store_file import Damaged, Stored, StoreWriter, in_threads, read_store, remove_stale
from foveal.data.dataset import ArrayPictures, Dataset, Pictures
from foveal.data.fingerprints import changed, digests
from foveal.errors import BadData, BadPicture, shown
from foveal.files.pictures import picture_bytes, read_image
from foveal.files.safely import in_bytes, why
from foveal.machine import cores_allowed
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress

__all__ = ["PixelStore", "StoreInfo", "clear_stores", "list_stores", "open_store"]

Kind: TypeAlias = Literal["auto", "pixels", "jpeg", "none"]
Row: TypeAlias = tuple[int, int, int]  # offset, length and CRC-32 of a block

CHANGED = "changed during the run"
KEY_VERSION = 2  # raise it when pixels come out otherwise than before, or other pictures are refused
BLOCK_BYTES = 1 << 20  # of pixels that one thread decodes, checksums and writes at a time
MOST_BLOCKS = 8192
JPEG_QUALITY = 95
JPEG_SHARE = 0.25  # of the pixels' bytes that such JPEGs need, at most, on photographs
REMEMBERED_BYTES = 256 << 20  # of pixels decoded last, where nothing is stored


@dataclass(frozen=True)
class PixelStore:
    """Pictures as (H, W, C) uint8, by index of the data set. Knows no labels."""

    shape: tuple[int, int, int, int]  # (N, H, W, C)
    kind: str  # "array", "pixels", "jpeg" or "none"
    broken: tuple[tuple[int, str], ...]  # (index, reason): their pixels are zeros, and callers leave them out
    seconds: float  # that opening or building took
    note: str  # how large it is, and where
    pixels: NDArray[np.uint8] | None = field(repr=False)  # (N, H, W, C), read-only; None where it is decoded by slice
    _rows: Callable[[NDArray[np.int64]], NDArray[np.uint8]] = field(repr=False)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, H, W, C) uint8, the caller's own. Thread-safe.

        Raises: IndexError; BadData when a picture has changed or vanished since the store was opened.
        """
        return self._rows(indices)


def open_store(
    dataset: Dataset,
    preprocess: Preprocess,
    kind: Kind = "auto",
    progress: Progress = SILENT,
    loading_threads: int | None = None,
) -> PixelStore:
    """The pictures of a data set, prepared: found in the cache, or decoded now and kept there.

    Args:   kind: "pixels", "jpeg", "none" (decode at each slice), or "auto": the first of these for which half of the
            free disk space suffices. Pictures in memory that have the wanted size are used as they are.
            loading_threads: how many decode; changes no bit.
    Raises: NoSpace, NotWritable; broken pictures are listed in `broken`, not raised.
    """
    started, threads = time.perf_counter(), loading_threads or cores_allowed()
    shape = (len(dataset), preprocess.height, preprocess.width, preprocess.channels)
    if (pixels := _as_they_are(dataset.pictures, preprocess)) is not None:
        note = f"{shape[0]} pictures of {_size(shape)} are used as they are in memory ({in_bytes(pixels.nbytes)})."
        return PixelStore(shape, "array", (), time.perf_counter() - started, note, pixels, lambda i: pixels[i])
    dataset = _known(dataset, progress)
    content = _content_key(dataset, preprocess)
    kind = _choose(content, shape, progress) if kind == "auto" else kind
    path = store_path(_key(content, kind))
    stored, built = _found(path, threads, progress), False
    if stored is None or stored.shape != shape:
        remove_stale(path.parent)
        stored, built = _built(path, kind, shape, dataset, preprocess, progress, threads), True
    seconds = time.perf_counter() - started
    note = _note(kind, shape, stored, path, seconds if built else None)
    whole = stored.data.reshape(shape) if kind == "pixels" else None
    return PixelStore(
        shape, kind, stored.broken, seconds, note, whole, _reader(kind, stored, dataset, preprocess, path)
    )


def _as_they_are(pictures: Pictures, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    """The pixels of pictures in memory, when preprocessing would return each of them unchanged."""
    if not isinstance(pictures, ArrayPictures) or preprocess.crop_fraction != 1:
        return None
    pixels = pictures.pixels if pictures.pixels.ndim == 4 else pictures.pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (preprocess.height, preprocess.width, preprocess.channels):
        return None
    if max(pixels.shape[1:3]) > 200 * min(pixels.shape[1:3]):  # a ratio that preprocessing refuses
        return None
    view = pixels.view()
    view.flags.writeable = False
    return view


# -------------------------------------------------------------------------------------------------- which one


def _known(dataset: Dataset, progress: Progress) -> Dataset:
    """With the fingerprint of each picture."""
    if dataset.digests is not None:
        return dataset
    return replace(dataset, digests=digests(dataset.pictures, progress))


def _content_key(dataset: Dataset, preprocess: Preprocess) -> bytes:
    """Everything that a stored pixel depends on. Not mean and deviation: they come after the store."""
    import PIL

    assert dataset.digests is not None
    settings = {name: value for name, value in preprocess.as_dict().items() if name not in ("mean", "std")}
    facts = json.dumps([KEY_VERSION, PIL.__version__, settings, len(dataset)], sort_keys=True)
    return facts.encode() + np.ascontiguousarray(dataset.digests).tobytes()


def _key(content: bytes, kind: str) -> str:
    return blake2b(kind.encode() + content, digest_size=16).hexdigest()


def _choose(content: bytes, shape: tuple[int, int, int, int], progress: Progress) -> Kind:
    """The first kind that is there already or takes at most half of the free space."""
    needed, free = int(np.prod(shape, dtype=np.int64)), shutil.disk_usage(stores_folder()).free
    kinds: tuple[tuple[Kind, float], ...] = (("pixels", needed), ("jpeg", needed * JPEG_SHARE))
    for kind, size in kinds:
        if size <= free / 2 or store_path(_key(content, kind)).exists():
            if kind == "jpeg":
                progress.say(f"Pixels would take {in_bytes(needed)} of {in_bytes(free)} free: cached as small JPEGs.")
            return kind
    progress.say(f"Pixels would take {in_bytes(needed)} of {in_bytes(free)} free: decoded again for each batch.")
    return "none"


def _found(path: Path, threads: int, progress: Progress) -> Stored | None:
    try:
        stored = read_store(path, threads)
    except Damaged as damaged:
        progress.say(f"Pixel store rebuilt: {shown(path)} {damaged}.")
        return None
    if stored is not None:
        with suppress(OSError):
            os.utime(path)  # "last used", by which the cache is bounded
    return stored


def _size(shape: tuple[int, int, int, int]) -> str:
    return f"{shape[1]} × {shape[2]}"


def _note(kind: str, shape: tuple[int, int, int, int], stored: Stored, path: Path, seconds: float | None) -> str:
    if kind == "none":
        return f"{shape[0]} pictures of {_size(shape)} are decoded again for each batch; nothing is cached."
    how = "found" if seconds is None else f"built in {seconds:.1f} s"
    what = "pixels" if kind == "pixels" else f"JPEGs of quality {JPEG_QUALITY}"
    return (
        f"Pixel store: {shape[0]} pictures of {_size(shape)} as {what}, {in_bytes(stored.size)}, {how} ({shown(path)})."
    )


# -------------------------------------------------------------------------------------------------- building


def _built(
    path: Path, kind: str, shape: tuple[int, int, int, int], dataset: Dataset, preprocess: Preprocess,
    progress: Progress, threads: int,
) -> Stored:  # fmt: skip
    """Build and open a store; once more when another process clears the cache in between."""
    for _ in range(3):
        _build(path, kind, shape, dataset, preprocess, progress, threads)
        bound(path, progress)
        try:
            if (stored := read_store(path, threads)) is not None:
                return stored
        except Damaged as damaged:
            raise BadData(
                f"the pixel store {shown(path)} {damaged} just after it was written: check the disk."
            ) from None
    raise BadData(f"the pixel store {shown(path)} keeps being removed by another process; wait until that ends.")


def _build(
    path: Path, kind: str, shape: tuple[int, int, int, int], dataset: Dataset, preprocess: Preprocess,
    progress: Progress, threads: int,
) -> None:  # fmt: skip
    count, row_bytes = shape[0], shape[1] * shape[2] * shape[3]
    step = max(1, BLOCK_BYTES // row_bytes, -(-count // MOST_BLOCKS))
    starts = range(0, count, step)
    reserve = count * row_bytes if kind == "pixels" else 0
    with StoreWriter(path, reserve) as writer, progress.task("decoding", count) as advance:

        def work(start: int) -> tuple[list[Row], list[tuple[int, str]]]:
            block = np.zeros((min(step, count - start), *shape[1:]), np.uint8)
            broken = _decode_into(block, start, dataset, preprocess)
            rows = _keep(kind, writer, start * row_bytes, block, {index - start for index, _ in broken})
            advance(len(block))
            return rows, broken

        done = in_threads(work, starts, threads)
        facts = {"kind": kind, "shape": shape, "source": dataset.origin.source[:500]}
        writer.finish(facts, [row for rows, _ in done for row in rows], [b for _, broken in done for b in broken])


def _decode_into(
    block: NDArray[np.uint8], start: int, dataset: Dataset, preprocess: Preprocess
) -> list[tuple[int, str]]:
    """Fill a block with pictures from `start` on; those that are broken stay zero and are returned."""
    broken = []
    for i in range(len(block)):
        try:
            block[i] = _decode(start + i, dataset, preprocess)
        except BadPicture as error:
            broken.append((start + i, error.reason))
    return broken


def _decode(index: int, dataset: Dataset, preprocess: Preprocess) -> NDArray[np.uint8]:
    """A picture, prepared. Splits, copies and boxes are of the content that was there when the data was opened."""
    pictures = dataset.pictures
    name = pictures.name(index)
    try:
        content = picture_bytes(pictures.content(index), name, preprocess.max_megapixels)
    except OSError as error:
        raise BadPicture(name, why(error)) from None
    if dataset.digests is not None and changed(pictures, index, content, dataset.digests[index]):
        raise BadPicture(name, CHANGED)
    return preprocess.pixels(content, name)


def _keep(kind: str, writer: StoreWriter, offset: int, block: NDArray[np.uint8], broken: set[int]) -> list[Row]:
    """Write a block of decoded pictures; returns its rows of the table: one for pixels, one a picture for JPEGs."""
    if kind == "pixels":
        return [writer.put(offset, block.data)]
    if kind == "jpeg":  # a broken picture has length zero
        return [writer.append(b"" if i in broken else _as_jpeg(pixels)) for i, pixels in enumerate(block)]
    return []  # the store then only remembers which pictures are broken


def _as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL.Image import fromarray

    image = fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


# -------------------------------------------------------------------------------------------------- reading


def _reader(
    kind: str, stored: Stored, dataset: Dataset, preprocess: Preprocess, path: Path
) -> Callable[[NDArray[np.int64]], NDArray[np.uint8]]:
    shape = stored.shape
    if kind == "none":
        decoder = _Decoder(dataset, preprocess, frozenset(index for index, _ in stored.broken))
        return lambda indices: _stack(shape, indices, decoder)
    pixels = stored.data.reshape(shape) if kind == "pixels" else None

    def one(index: int) -> NDArray[np.uint8] | None:
        offset, length = int(stored.blocks[index, 0]), int(stored.blocks[index, 1])
        return read_image(stored.data[offset : offset + length].tobytes(), channels=shape[3]) if length else None

    def rows(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        if not stored.still_whole():
            raise BadData(f"the pixel store {shown(path)} was cut by another program; start again: it is rebuilt.")
        return pixels[indices] if pixels is not None else _stack(shape, indices, one)

    return rows


def _stack(
    shape: tuple[int, int, int, int], indices: NDArray[np.int64], one: Callable[[int], NDArray[np.uint8] | None]
) -> NDArray[np.uint8]:
    out = np.zeros((len(indices), *shape[1:]), np.uint8)
    for place, index in enumerate(np.arange(shape[0])[indices]):  # the same meaning of indices as slicing an array
        if (pixels := one(int(index))) is not None:
            out[place] = pixels
    return out


class _Decoder:
    """Decodes from the source, and remembers what came last."""

    def __init__(self, dataset: Dataset, preprocess: Preprocess, broken: frozenset[int]) -> None:
        self.dataset, self.preprocess, self.broken = dataset, preprocess, broken
        self._last: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._room = REMEMBERED_BYTES // (preprocess.height * preprocess.width * preprocess.channels)
        self._lock = threading.Lock()

    def __call__(self, index: int) -> NDArray[np.uint8] | None:
        if index in self.broken:
            return None
        with self._lock:
            if index in self._last:
                self._last.move_to_end(index)
                return self._last[index]
        try:
            pixels = _decode(index, self.dataset, self.preprocess)
        except BadPicture as error:  # it could be decoded when the store was opened
            other = "" if error.reason == CHANGED else f": it {CHANGED}"
            raise BadData(f"{error}{other}; --store pixels keeps a copy.") from None
        with self._lock:
            self._last[index] = pixels
            while len(self._last) > self._room:
                self._last.popitem(last=False)
        return pixels
