"""A fingerprint of each picture's content: what splits, duplicates and leaks are known by.

BLAKE2b with 16 bytes: two different pictures share one with probability 2⁻¹²⁸ × pairs. Files are read in threads
(hashing releases the interpreter lock) and their fingerprints kept in the cache, so that opening a data set for the
second time reads no picture. What format a file's first bytes tell is kept with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.data.dataset import ArrayPictures, Pictures
from foveal.errors import FovealError
from foveal.files.durable import write_bytes
from foveal.files.places import cache_folder
from foveal.files.safely import Unreadable, read_all
from foveal.machine import cores_allowed
from foveal.progress import SILENT, Progress

__all__ = ["KINDS", "changed", "contents", "digests", "kind_of", "position", "prints"]

BYTES = 16
FILE_MAX_BYTES = 256 << 20  # of one picture; a larger file is left to the store to refuse
MAGIC = b"foveal digests 2\n"
ROW = 2 * BYTES + 1  # a stamp, a fingerprint and a kind
KINDS = ("", "JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP", "HEIF", "AVIF")  # what first bytes tell; "" for the rest
CACHE_MAX_BYTES = 4 << 30  # 33 bytes a picture: a hundred million pictures
CHUNK = 256  # pictures a thread takes at a time
THREADS = min(8, 2 + cores_allowed())


def digests(pictures: Pictures, progress: Progress = SILENT) -> NDArray[np.uint8]:
    """(N, 16) fingerprint of each picture's content: of a file's bytes, or of the shape and pixels of an array.

    A picture that cannot be read, or is empty, gets that of its name: it is equal to no other, and the store says
    what is wrong with it.
    """
    return prints(pictures, progress)[0]


def prints(pictures: Pictures, progress: Progress = SILENT) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(N, 16) fingerprint of each picture's content, see `digests`, and (N,) index into KINDS of its format."""
    if isinstance(pictures, ArrayPictures):
        return _of_array(pictures.pixels), np.zeros(len(pictures), np.uint8)
    stamps = _stamps(pictures)
    cache = _cache_file(pictures)
    found, known = _recalled(cache, stamps)
    missing = np.flatnonzero(~known)
    if len(missing):
        found[missing], sure = _read(pictures, missing, progress)
        known[missing] = sure
        _remember(cache, stamps[known], found[known])
    return np.ascontiguousarray(found[:, :BYTES]), found[:, BYTES].copy()


def kind_of(data: bytes) -> int:
    """Index into KINDS of the format that a file's first bytes tell.

    >>> KINDS[kind_of(b"GIF89a")], KINDS[kind_of(b"RIFF....WEBPVP8 ")], KINDS[kind_of(b"<html>")]
    ('GIF', 'WebP', '')
    """
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return KINDS.index("AVIF" if brand in (b"avif", b"avis") else "HEIF" if brand[:2] in (b"he", b"mi") else "")
    if data.startswith(b"RIFF"):
        return KINDS.index("WebP" if data[8:12] == b"WEBP" else "")
    starts = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP",
              b"II*\0": "TIFF", b"MM\0*": "TIFF"}  # fmt: skip
    return KINDS.index(next((kind for start, kind in starts.items() if data.startswith(start)), ""))


def changed(pictures: Pictures, index: int, content: object, digest: NDArray[np.uint8]) -> bool:
    """Whether a picture is another one than when its fingerprint was taken; one that could not be read then is not.

    Args: content, a file's bytes or decoded pixels.
    """
    if not isinstance(content, bytes | np.ndarray):
        return False
    return digest.tobytes() not in (_digest(_bytes(content)), _digest(_named(pictures, index)))


def contents(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N,) a number for each picture, equal for equal content, below the count of different contents."""
    if not len(digests):
        return np.zeros(0, np.int64)
    high, low = _halves(digests)
    order = np.lexsort((low, high))
    new = np.ones(len(order), bool)
    new[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers


def position(digests: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N,) where each content falls in [0, 1): uniform over contents, and the same for ever."""
    high_bits = _halves(digests)[0] >> np.uint64(11)  # the 53 that a float64 holds exactly
    return high_bits.astype(np.float64) * 2.0**-53


def _halves(digests: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def _of_array(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fingerprints of pictures of one shape in memory."""
    out = np.empty((len(pixels), BYTES), np.uint8)
    if not len(pixels):
        return out
    begun = blake2b(repr(pixels.shape[1:]).encode(), digest_size=BYTES)  # else 4 x 9 and 6 x 6 of one grey are equal
    whole = np.ascontiguousarray(pixels).data.cast("B")
    step = len(whole) // len(pixels)
    rows = []
    for start in range(0, len(whole), step):
        each = begun.copy()
        each.update(whole[start : start + step])
        rows.append(each.digest())
    out[:] = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, BYTES)
    return out


def _stamps(pictures: Pictures) -> NDArray[np.uint8]:
    """(N, 16) fingerprint of each picture's stamp."""
    hashed = (
        blake2b(pictures.stamp(i).encode("utf-8", "surrogateescape"), digest_size=BYTES).digest()
        for i in range(len(pictures))
    )
    return np.frombuffer(b"".join(hashed), np.uint8).reshape(-1, BYTES)


def _read(
    pictures: Pictures, indices: NDArray[np.int64], progress: Progress
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(n, 17) fingerprints and kinds of some pictures, and whether each could be read."""
    found = np.empty((len(indices), BYTES + 1), np.uint8)
    sure = np.zeros(len(indices), bool)
    with (
        progress.task("reading pictures", len(indices)) as advance,
        ThreadPoolExecutor(THREADS, thread_name_prefix="fingerprints") as pool,
    ):

        def work(start: int) -> None:
            part = indices[start : start + CHUNK]
            for row, index in enumerate(part.tolist(), start):
                content = _content(pictures, index)
                sure[row] = bool(content)
                found[row, :BYTES] = np.frombuffer(_digest(content or _named(pictures, index)), np.uint8)
                found[row, BYTES] = kind_of(content[:16])
            advance(len(part))

        for _ in pool.map(work, range(0, len(indices), CHUNK)):
            pass
    return found, sure


def _content(pictures: Pictures, index: int) -> bytes:
    """The bytes that make a picture; nothing for one that cannot be read."""
    try:
        content = pictures.content(index)
        if isinstance(content, Path):
            return read_all(content, FILE_MAX_BYTES)
    except (OSError, Unreadable):
        return b""
    return _bytes(content)


def _bytes(content: bytes | NDArray[np.uint8]) -> bytes:
    return content if isinstance(content, bytes) else repr(content.shape).encode() + content.tobytes()


def _named(pictures: Pictures, index: int) -> bytes:
    """What stands for a picture that cannot be read."""
    return b"unreadable\0" + pictures.name(index).encode("utf-8", "surrogateescape")


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=BYTES).digest()


def _cache_file(pictures: Pictures) -> Path:
    """One file for each place that pictures lie in."""
    root = os.fsencode(str(getattr(pictures, "root", type(pictures).__name__)))
    return cache_folder() / "digests" / f"{blake2b(root, digest_size=BYTES).hexdigest()}.bin"


def _recalled(cache: Path, stamps: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(N, 17) fingerprints and kinds that the cache holds for these stamps, and for which it does."""
    found, known = np.zeros((len(stamps), BYTES + 1), np.uint8), np.zeros(len(stamps), bool)
    table = _table(cache)
    if not len(table) or not len(stamps):
        return found, known
    high, low = _halves(table[:, :BYTES])
    wanted_high, wanted_low = _halves(stamps)
    at = np.minimum(np.searchsorted(high, wanted_high), len(high) - 1)
    known = (high[at] == wanted_high) & (low[at] == wanted_low)
    found[known] = table[at[known], BYTES:]
    return found, known


def _table(cache: Path) -> NDArray[np.uint8]:
    """(M, 33) stamps, fingerprints and kinds, sorted by stamp; empty for a missing or damaged file, or an older one."""
    empty = np.zeros((0, ROW), np.uint8)
    try:
        raw = read_all(cache, CACHE_MAX_BYTES)
    except Unreadable:
        return empty
    body = raw[len(MAGIC) : -BYTES]
    whole = raw.startswith(MAGIC) and len(body) % ROW == 0 and raw[-BYTES:] == _checksum([body])
    return np.frombuffer(body, np.uint8).reshape(-1, ROW) if whole else empty


def _remember(cache: Path, stamps: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
    """Write the cache anew. It saves time and no more, so a full or read-only disk is no error."""
    table = np.concatenate([stamps, found], axis=1)
    table = table[np.argsort(_halves(stamps)[0], kind="stable")]
    body = table.tobytes()
    with suppress(OSError, FovealError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(cache, MAGIC + body + _checksum([body]))


def _checksum(parts: Iterable[bytes]) -> bytes:
    return blake2b(b"".join(parts), digest_size=BYTES).digest()
