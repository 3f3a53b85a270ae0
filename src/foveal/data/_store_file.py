"""The file of a pixel store: a header page, the data, and an index with a checksum of each block.

    0      "FOVEALST", version, length of the header's JSON, the JSON, CRC-32 of the page
    4096   data: N pictures of H x W x C bytes one after the other, or their JPEGs
    then   blocks (B, 3) uint64: offset in the data, length, CRC-32; JSON of the broken pictures; CRC-32 of both

The file is written under a temporary name and renamed when it is whole. It is never changed or cut after that, only
replaced, so that a mapping of it stays good. It is not synced to the device: after a power cut the checksums tell, and
it is built again.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.errors import NoSpace, NotWritable, shown
from foveal.files.durable import temporary_name, try_lock
from foveal.files.safely import in_bytes, why

__all__ = ["Damaged", "Stored", "StoreWriter", "in_threads", "read_header", "read_store", "remove_stale"]

MAGIC = b"FOVEALST"
VERSION = 1
PAGE = 4096
CHECKED_AT_OPEN = 2 << 30  # bytes; of a larger store, blocks spread over it
STALE_SECONDS = 60
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

Job = TypeVar("Job")
Result = TypeVar("Result")


class Damaged(Exception):
    """Why a store is not used; it is then built again."""


class _Handle:
    """A descriptor that is closed with the last store that uses it."""

    def __init__(self, file: BinaryIO) -> None:
        self.descriptor = os.dup(file.fileno())

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


@dataclass(frozen=True)
class Stored:
    """An opened store."""

    shape: tuple[int, int, int, int]  # (N, H, W, C)
    data: NDArray[np.uint8]  # mapped bytes
    blocks: NDArray[np.uint64]  # (B, 3) offset, length, CRC-32
    broken: tuple[tuple[int, str], ...]
    handle: _Handle  # of the file: tells whether it is still as long as the mapping
    size: int  # bytes

    def still_whole(self) -> bool:
        """Reading a mapping beyond the end of its file kills the process: asked before each slice."""
        return os.fstat(self.handle.descriptor).st_size >= self.size


# -------------------------------------------------------------------------------------------------- writing


class StoreWriter:
    """`with StoreWriter(path, reserve) as writer:` a temporary file that becomes `path` by `finish`, or nothing.

    Raises: NoSpace when the disk is full, as soon as the `reserve` bytes are asked for; NotWritable.
    """

    def __init__(self, path: Path, reserve: int) -> None:
        self.path, self.reserve = path, reserve
        self._temporary = path.parent / temporary_name()
        self._end, self._lock = 0, threading.Lock()

    def __enter__(self) -> StoreWriter:
        try:
            if os.path.isdir(self.path) and not os.path.islink(self.path):
                os.rmdir(self.path)  # whatever put it there; one that holds something is told
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._temporary, flags, 0o600)
            try_lock(self._descriptor)  # tells others that somebody is still writing it
            self._reserve()
        except OSError as error:
            self.__exit__(None, None, None)
            raise self._told(error) from None
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _reserve(self) -> None:
        if not hasattr(os, "posix_fallocate") or not self.reserve:
            return
        try:
            os.posix_fallocate(self._descriptor, 0, PAGE + self.reserve)
        except OSError as error:
            if error.errno in _FULL:
                raise  # others: a file system that cannot reserve; the writes will tell

    def put(self, offset: int, data: bytes | memoryview) -> tuple[int, int, int]:
        """Write `data` at an offset of the data; returns its row of the table of blocks. Thread-safe."""
        view, at = memoryview(data).cast("B"), PAGE + offset
        try:
            while view:
                written = self._pwrite(view, at)
                view, at = view[written:], at + written
        except OSError as error:
            raise self._told(error) from None
        return offset, len(memoryview(data).cast("B")), zlib.crc32(data)

    def append(self, data: bytes) -> tuple[int, int, int]:
        """Write `data` after all that was appended before. Thread-safe."""
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
        return self.put(offset, data)

    def _pwrite(self, view: memoryview, at: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._descriptor, view, at)
        with self._lock:
            os.lseek(self._descriptor, at, os.SEEK_SET)
            return os.write(self._descriptor, view)

    def finish(self, facts: dict[str, Any], blocks: list[tuple[int, int, int]], broken: list[tuple[int, str]]) -> None:
        """Write header and index, and give the file its name."""
        data_bytes = max((offset + length for offset, length, _ in blocks), default=0)
        table = np.array(blocks, "<u8").reshape(-1, 3).tobytes()
        index = table + json.dumps(broken).encode()
        index += zlib.crc32(index).to_bytes(4, "little")
        header = json.dumps({**facts, "data": data_bytes, "blocks": len(blocks), "index": len(index)}).encode()
        page = MAGIC + VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little") + header
        page = page.ljust(PAGE - 4, b"\0")
        self.put(data_bytes, index)
        self.put(-PAGE, page + zlib.crc32(page).to_bytes(4, "little"))
        try:
            os.ftruncate(self._descriptor, PAGE + data_bytes + len(index))
            if os.name == "nt":
                os.close(self._descriptor)  # an open file has no new name there
                self._descriptor = -1
            os.replace(self._temporary, self.path)
        except OSError as error:
            raise self._told(error) from None

    def _told(self, error: OSError) -> NoSpace | NotWritable:
        where = shown(self.path.parent)
        if error.errno in _FULL:
            needed = f" ({in_bytes(self.reserve)} are needed)" if self.reserve else ""
            return NoSpace(
                f"no space left for the pixel store in {where}{needed}; make room, use --store jpeg or --store none, "
                "or set FOVEAL_CACHE to a folder on a larger disk."
            )
        return NotWritable(
            f"the pixel store in {where} cannot be written ({(error.strerror or '').lower()}); "
            "set FOVEAL_CACHE to a folder that you can write to."
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            os.close(getattr(self, "_descriptor", -1))
        with suppress(OSError):
            os.unlink(self._temporary)  # gone already when it was finished


def remove_stale(folder: Path) -> int:
    """Remove what killed builders left; returns the bytes freed. A builder that lives holds the lock of its file."""
    freed = 0
    for path in folder.glob(".foveal-*.tmp"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                status = os.fstat(descriptor)
                if time.time() - status.st_mtime > STALE_SECONDS and try_lock(descriptor):
                    os.unlink(path)
                    freed += status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
            finally:
                os.close(descriptor)
    return freed


# -------------------------------------------------------------------------------------------------- reading


def read_header(path: Path) -> dict[str, Any]:
    """What the header page says. Raises: Damaged."""
    with _opened(path) as file:
        return _header(file)


def read_store(path: Path, threads: int) -> Stored | None:
    """A store, verified and mapped; None when there is none. Raises: Damaged."""
    if not os.path.lexists(path):
        return None
    with _opened(path) as file:
        try:
            facts = _header(file)
            size = PAGE + facts["data"] + facts["index"]
            if os.fstat(file.fileno()).st_size != size:
                raise Damaged("is cut short")
            mapped = np.memmap(file, np.uint8, "r")
            blocks, broken = _index(mapped[PAGE + facts["data"] :].tobytes(), facts["blocks"])
            data = mapped[PAGE : PAGE + facts["data"]]
            _verify(data, blocks, threads)
            return Stored(tuple(facts["shape"]), data, blocks, broken, _Handle(file), size)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged("cannot be read") from error


def _opened(path: Path) -> BinaryIO:
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Damaged(why(error)) from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged("is a folder")
    file = os.fdopen(descriptor, "rb", buffering=0)
    if hasattr(os, "geteuid") and os.fstat(descriptor).st_uid != os.geteuid():
        file.close()
        raise Damaged("belongs to another user")
    return file


def _header(file: BinaryIO) -> dict[str, Any]:
    try:
        page = file.read(PAGE)
        if len(page) < PAGE or page[:8] != MAGIC or zlib.crc32(page[:-4]).to_bytes(4, "little") != page[-4:]:
            raise Damaged("has a damaged header")
        if int.from_bytes(page[8:12], "little") != VERSION:
            raise Damaged("is of another version")
        length = int.from_bytes(page[12:16], "little")
        facts: dict[str, Any] = json.loads(page[16 : 16 + length])
    except (OSError, ValueError) as error:
        raise Damaged("has a damaged header") from error
    return facts


def _index(raw: bytes, count: int) -> tuple[NDArray[np.uint64], tuple[tuple[int, str], ...]]:
    if zlib.crc32(raw[:-4]).to_bytes(4, "little") != raw[-4:]:
        raise Damaged("has a damaged index")
    table = np.frombuffer(raw[: 24 * count], "<u8").reshape(count, 3)
    return table, tuple((int(i), str(reason)) for i, reason in json.loads(raw[24 * count : -4]))


def _verify(data: NDArray[np.uint8], blocks: NDArray[np.uint64], threads: int) -> None:
    """Compare checksums: of all blocks, or of as many, spread evenly, as fit into a second or two."""
    share = min(1.0, CHECKED_AT_OPEN / max(1, len(data)))
    chosen = np.unique(np.linspace(0, len(blocks) - 1, max(1, int(len(blocks) * share))).astype(int))
    groups = np.array_split(blocks[chosen if len(blocks) else []], 4 * threads)

    def sound(group: NDArray[np.uint64]) -> bool:
        return all(zlib.crc32(data[int(o) : int(o + n)].data) == crc for o, n, crc in group)

    if not all(in_threads(sound, groups, threads)):
        raise Damaged("is damaged (checksum)")


def in_threads(work: Callable[[Job], Result], jobs: Iterable[Job], threads: int) -> list[Result]:
    """The results in the order of the jobs; the first error (or Ctrl-C) drops the jobs that have not begun."""
    if threads <= 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
