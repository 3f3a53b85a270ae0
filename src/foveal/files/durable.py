"""Writes that last: what stands in a file is the old content or the new, whole, also after a power cut.

A temporary file in the same folder, written and synced, renamed over the target, and the folder synced. An error of
fsync is final (the kernel drops the pages and says success the next time), so the new file is discarded and the old
one stays.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from foveal.errors import Busy, FovealError, NoSpace, NotWritable, Stopped, shown

__all__ = [
    "RunLock",
    "check_new_file",
    "new_folder",
    "no_write",
    "sweep",
    "sync_folder",
    "write_bytes",
    "write_text",
    "writing",
]

_PREFIX, _SUFFIX = ".foveal-", ".tmp"  # short, and not made of the target's name, which may already be at the limit
_FULL = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENXIO", "ESTALE") if hasattr(errno, name)
)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text; lines end as they are given."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Put `data` into `path`, all or nothing; the file's mode follows the umask.

    Raises: NoSpace when the disk, a quota or the device refuses midway; NotWritable when the place cannot be written.
    """
    with _replacing(path) as descriptor, no_write(path):
        _write_all(descriptor, memoryview(data))


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """`with writing(path) as file: file.write(…)`: UTF-8 text bit by bit, in its place when the block ends well.

    What the block raises leaves the old content, or no file. Lines end as they are given.
    Raises: as `write_bytes`, from within the block as well.
    """
    with _replacing(path) as descriptor:
        raw = _Raw(descriptor, path)
        file = io.TextIOWrapper(io.BufferedWriter(raw, 1 << 16), "utf-8", "surrogateescape", newline="")
        try:
            yield file
            file.flush()
        finally:
            raw.given_up = True  # closing writes what is left, which after a failure has no place any more
            file.close()


class _Raw(io.RawIOBase):
    """An open file whose errors are sentences about `path`."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.given_up = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.given_up:
            return len(data)
        with no_write(self._path):
            return os.write(self._descriptor, data)


@contextmanager
def _replacing(path: Path) -> Iterator[int]:
    """The descriptor of a temporary file that takes the place of `path` when the block ends well, else goes."""
    temporary = path.parent / temporary_name()
    try:
        with no_write(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            yield descriptor
            with no_write(path):
                sync(descriptor)
        finally:
            with no_write(path):
                os.close(descriptor)  # may itself report that the disk is full
        with no_write(path):
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    with no_write(path):
        sync_folder(path.parent)


def temporary_name() -> str:
    """A name that no other writer draws."""
    return f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}{_SUFFIX}"


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder; only for the one who holds its lock."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                with suppress(OSError):
                    os.unlink(folder / name)


def _write_all(descriptor: int, data: memoryview) -> None:
    data = data.cast("B")
    while data:
        data = data[os.write(descriptor, data[: 1 << 30]) :]  # one call writes 2 GiB at most


def sync(descriptor: int) -> None:
    """Down to the device, as far as the system lets one."""
    os.fsync(descriptor)
    if sys.platform == "darwin":  # fsync stops at the drive's own cache there
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename is only in memory before."""
    if os.name != "posix":  # folders cannot be opened on Windows; NTFS keeps renames in its journal
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that have no such thing
            raise
    finally:
        os.close(descriptor)


@contextmanager
def no_write(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into the sentence about writing `path`."""
    try:
        yield
    except OSError as error:
        raise failed_write(path, error) from None


def failed_write(path: Path, error: OSError) -> FovealError:
    """The FovealError that tells why `path` could not be written."""
    reason = (error.strerror or type(error).__name__).lower()
    if error.errno in _FULL:
        full = "no space left" if error.errno != errno.EIO else "the device failed (input/output error)"
        return NoSpace(
            f"{full} while writing {shown(path)}; what was there before is intact. Free some space and try again."
        )
    if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY) or os.path.isdir(path):
        return NotWritable(f"{shown(path)} is a folder; choose another name.")
    if error.errno == errno.ENOENT:
        return NotWritable(f"cannot write to {shown(path)}: its folder does not exist.")
    return NotWritable(f"cannot write to {shown(path)} ({reason}); choose another place.")


def check_new_file(path: Path) -> None:
    """Raises: NotWritable for a file that exists, or whose folder does not."""
    if os.path.lexists(path):
        raise NotWritable(f"{shown(path)} already exists, and foveal does not overwrite files; choose another name.")
    if not os.path.isdir(path.parent):
        raise NotWritable(f"{shown(path)} cannot be written: there is no folder {shown(path.parent)}.")
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            raise NotWritable(f"{shown(path)} cannot be written ({_plainly(error)}); choose another name.") from None


def new_folder(path: Path) -> None:
    """Make a folder, and those above it, to write a result into; an empty one that exists will do.

    Raises: NotWritable, before any work is done, when it holds something, is a file, or cannot be written to.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise NotWritable(f"{shown(path)} exists and is not a folder; choose another.")
    there = os.path.isdir(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise NotWritable(f"{shown(path)} exists and is not empty; choose another, or continue it with --resume.")
        _try_to_write(path)
    except (OSError, ValueError) as error:
        raise NotWritable(f"cannot write to {shown(path)} ({_plainly(error)}); choose another folder.") from None
    except (KeyboardInterrupt, Stopped):
        if not there:
            with suppress(OSError):
                path.rmdir()
        raise


def _plainly(error: OSError | ValueError) -> str:
    """Why; a ValueError is about a NUL in a name."""
    return (getattr(error, "strerror", None) or "no possible name").lower()


def _try_to_write(folder: Path) -> None:
    """A probe: permissions alone do not tell of a read-only mount, a quota or a full disk."""
    probe = folder / temporary_name()
    try:
        with no_write(folder / "…"):
            descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                os.write(descriptor, b"foveal")
            finally:
                os.close(descriptor)
    finally:
        with suppress(OSError):
            os.unlink(probe)


class RunLock:
    """`with RunLock(folder):` one writer at a time; the kernel lets go of it when the process dies, however it dies.

    The file `.lock` stays: deleting it would let two processes lock two files of one name. Its text (process, host,
    start) is for the sentence only.

    Raises: Busy when another process holds it; NotWritable when the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = -1

    def __enter__(self) -> RunLock:
        path = self.folder / ".lock"
        with no_write(path):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(path, flags, 0o666)
        if not try_lock(descriptor):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise Busy(f"run {shown(self.folder)} is busy ({holder}); wait for it, or stop it.")
        self._descriptor = descriptor
        _held.add(descriptor)
        text = f"process {os.getpid()} on host {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with suppress(OSError):  # a full disk must not keep a run from being resumed
            os.ftruncate(descriptor, 0)
            os.write(descriptor, text.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _held.discard(self._descriptor)
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        text = os.pread(descriptor, 200, 0) if hasattr(os, "pread") else os.read(descriptor, 200)
        if line := text.decode("utf-8", "replace").strip():
            return shown(line.split(" since ")[0])
    return "another process"


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file without waiting; True also where the file system knows no locks."""
    try:
        import fcntl
    except ImportError:
        return _try_lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _try_lock_on_windows(descriptor: int) -> bool:
    import msvcrt

    os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # a byte far behind the text, which others may then still read
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


_held: set[int] = set()


def _let_go_in_child() -> None:
    """A forked child inherits the lock, and would keep it when the run is killed."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
