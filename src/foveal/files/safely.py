"""Opening and listing what a stranger may have put there: never a hang, never more than asked for.

A named pipe called `a.jpg` would make `open` wait for ever and a link to `/dev/zero` would never end, so whatever
foveal reads goes through `open_regular`: regular files only, told apart before a byte is read.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from foveal.errors import FovealError, shown

__all__ = [
    "Unreadable",
    "Walked",
    "check_readable",
    "is_junk",
    "open_regular",
    "read_all",
    "read_bytes",
    "walk",
    "walk_counted",
    "walk_lazily",
    "why",
]

# Thumbnails, bins, snapshots and caches of systems, network drives and tools, besides names that begin with a dot.
JUNK = frozenset({
    "__macosx", "network trash folder", "temporary items",  # macOS
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "$extend", "system volume information",  # Windows
    "lost+found", "lost.dir",  # Linux, Android
    "@eadir", "#recycle", "#snapshot", "@recycle", "@__thumb", "@recently-snapshot", "~snapshot",  # network drives
    "__pycache__", "node_modules",
})  # fmt: skip
JUNK_LIKE = re.compile(r"found\.\d{3}|@gmt-.*", re.IGNORECASE)  # what Windows finds again; Samba's snapshots
OF_THE_SYSTEM = "belongs to the system"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Unreadable(Exception):
    """A file that cannot be read; `reason` completes the sentence that begins with its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def why(error: OSError, path: str | Path | None = None) -> str:
    """What an OSError says about a file, as the end of a sentence: "cannot be read (permission denied)"."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "points to a missing file" if path is not None and os.path.islink(path) else "is gone"
    if error.errno == errno.ELOOP:
        return "is a link that points to itself"
    if error.errno == errno.EISDIR:
        return "is a folder"
    if error.errno == errno.ENAMETOOLONG:
        return "has too long a name"
    if error.errno in (errno.ENXIO, errno.ENODEV):
        return "is not a regular file"
    return f"cannot be read ({(error.strerror or type(error).__name__).lower()})"


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file (links are followed), opened for reading without ever waiting for it.

    Raises: Unreadable for a folder, pipe, socket, device, missing or forbidden file.
    """
    try:
        _must_be_regular(os.stat(path).st_mode)  # before opening: to open a device may already do something
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise Unreadable(why(error, path)) from None
    except ValueError:  # a NUL in the name
        raise Unreadable("is not a possible file name") from None
    try:
        _must_be_regular(os.fstat(descriptor).st_mode)  # and after: it may have been exchanged
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def _must_be_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise Unreadable("is a folder")
    if not stat.S_ISREG(mode):
        raise Unreadable("is not a regular file")


def read_all(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises: Unreadable; also when the file grows or shrinks while it is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(f"is larger than {in_bytes(limit)} ({in_bytes(size)})")
        try:
            data = _read_exactly(file, size + 1)  # one more: tells that it grew
        except OSError as error:
            raise Unreadable(why(error, path)) from None
    if len(data) != size:
        raise Unreadable("changed while it was read")
    return data


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    first = file.read(size)
    if len(first) >= size - 1:
        return first
    parts = [first]
    while parts[-1] and (missing := size - sum(map(len, parts))) > 0:
        parts.append(file.read(missing))
    return b"".join(parts)


def check_readable(path: str | Path, *, what: str, error: type[FovealError]) -> None:
    """Raises: `error`, in the words of `read_bytes`, when there is no regular file that can be opened."""
    try:
        open_regular(path).close()
    except Unreadable as unreadable:
        raise _refusal(path, what, error, unreadable) from None


def read_bytes(path: str | Path, *, limit: int, what: str, error: type[FovealError]) -> bytes:
    """The bytes of a file that the user named, or one sentence.

    Args:   limit in bytes; what: "recipe", "model file", …; error: the FovealError that carries the sentence.
    Raises: `error` when the file is missing, no regular file, forbidden or larger than `limit`.
    """
    try:
        return read_all(path, limit)
    except Unreadable as unreadable:
        raise _refusal(path, what, error, unreadable) from None


def _refusal(path: str | Path, what: str, error: type[FovealError], unreadable: Unreadable) -> FovealError:
    reason = "does not exist" if unreadable.reason == "is gone" else unreadable.reason
    return error(f"{what} {shown(path)} {reason}.")


def in_bytes(size: int) -> str:
    """A size for people: 512 bytes, 4 MiB, 1.5 GiB."""
    if size < 1024:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"


@dataclass
class Walked:
    """What lies below a folder. Paths are relative, with forward slashes, sorted by their bytes."""

    files: list[str] = field(default_factory=list)  # regular files, links to them included
    odd: list[tuple[str, str]] = field(default_factory=list)  # (path, reason): dangling links, pipes, locked folders
    ignored: Counter[str] = field(default_factory=Counter)  # names that are hidden or of systems; a folder counts once


def walk(root: Path) -> list[str]:
    """Every regular file below `root`, relative to it, sorted by bytes; see `walk_counted`."""
    return walk_counted(root).files


def walk_counted(root: Path) -> Walked:
    """Every file below `root`: each real folder once, through its own name rather than a link where it has both.

    Hidden names and what systems leave behind (`__MACOSX`, `Thumbs.db`, …) are counted and left out.

    Raises: FovealError when `root` itself cannot be listed.
    """
    found = Walked()
    for path, reason in _walk(root, found):
        if reason:
            found.odd.append((path, reason))
        else:
            found.files.append(path)
    found.files.sort(key=os.fsencode)
    found.odd.sort(key=lambda row: os.fsencode(row[0]))
    return found


def is_junk(name: str, folder: str | Path = "") -> bool:
    """Whether a file or folder of this name is hidden, or left behind by a system, whatever the letters' case.

    Windows XP's bin is called as a class may be: it is one in capitals, or where it holds what bins hold.

    >>> [is_junk(name) for name in (".DS_Store", "@eaDir", "$Recycle.Bin", "RECYCLER", "recycler", "Trash")]
    [True, True, True, True, False, False]
    """
    if name.startswith(".") or name.lower() in JUNK or JUNK_LIKE.fullmatch(name):
        return True
    return name == "RECYCLER" or (name.lower() in ("recycler", "recycled") and _holds_a_bin(folder, name))


def _holds_a_bin(folder: str | Path, name: str) -> bool:
    try:
        return any(inside.upper().startswith(("S-1-", "INFO2")) for inside in os.listdir(os.path.join(folder, name)))
    except OSError:
        return False


def walk_lazily(root: Path) -> Iterator[tuple[str, str]]:
    """As `walk_counted`, one after another, regular files with "" and odd ones with the reason: no more is held than
    the folders on the way to it.

    Sorted by bytes as well, but for what lies behind links to folders, which comes last.
    """
    return _walk(root, Walked())


Identity = tuple[int, int]  # of a folder: device and number
Met = Identity | str  # on the way: a folder, or why something is no file; "" for one that is


def _walk(root: Path, found: Walked) -> Iterator[tuple[str, str]]:
    system = _devices_of_the_system()
    seen = set[Identity]()
    links: list[str] = []  # links to folders: followed last, so that a folder is met under its own name
    try:
        identity = _identity(root)
        os.scandir(root).close()
    except OSError as error:
        raise FovealError(f"{shown(root)} {why(error, root)}.") from None
    except ValueError:  # a NUL in the name
        raise FovealError(f"{shown(root)} is not a possible file name.") from None
    if identity[0] in system:
        raise FovealError(f"{shown(root)} {OF_THE_SYSTEM}; give a folder of pictures.")
    pending: list[tuple[str, Met]] = [("", identity)]  # the next one last
    while pending or links:
        if not pending:
            links.sort(key=os.fsencode, reverse=True)
            link = links.pop()
            try:
                pending.append((link, _identity(root / link)))
            except OSError as error:  # such as what /proc shows of a file that has just been closed
                yield link, why(error)
                continue
        path, folder = pending.pop()
        if isinstance(folder, str):
            yield path, folder
        elif folder[0] in system:
            yield path, OF_THE_SYSTEM
        elif folder not in seen:
            seen.add(folder)
            here: list[tuple[str, Met]] = []
            try:
                for inside, entry in _entries(root, path, found):
                    _sort_in(inside, entry, here, links)
            except OSError as error:
                yield path, why(error)
            pending += sorted(here, key=_in_order, reverse=True)


def _devices_of_the_system() -> set[int]:
    """Of what looks like files and is none: /proc leads to every file of the machine, again and again."""
    found = set()
    for place in ("/proc", "/sys"):
        with suppress(OSError):
            found.add(os.stat(place).st_dev)
    return found - {os.stat(os.sep).st_dev}


def _identity(folder: Path) -> Identity:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _in_order(entry: tuple[str, Met]) -> bytes:
    """What to sort the entries of one folder by, so that whole paths come sorted by their bytes."""
    path, folder = entry
    return os.fsencode(path if isinstance(folder, str) else f"{path}/")


def _entries(root: Path, folder: str, found: Walked) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_junk(entry.name, root / folder):
                found.ignored["._*" if entry.name.startswith("._") else entry.name] += 1
            else:
                yield (f"{folder}/{entry.name}" if folder else entry.name), entry


def _sort_in(path: str, entry: os.DirEntry[str], here: list[tuple[str, Met]], links: list[str]) -> None:
    try:
        if entry.is_file(follow_symlinks=False):  # known without a system call: most entries end here
            here.append((path, ""))
            return
        status = os.stat(entry.path)  # follows links; not entry.stat, whose numbers are zero on Windows
    except OSError as error:
        here.append((path, why(error, entry.path)))
        return
    if stat.S_ISDIR(status.st_mode):
        if entry.is_symlink():
            links.append(path)
        else:
            here.append((path, (status.st_dev, status.st_ino)))
    elif stat.S_ISREG(status.st_mode):
        here.append((path, ""))
    else:
        here.append((path, "is not a regular file"))
