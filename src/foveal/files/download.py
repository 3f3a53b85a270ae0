"""Fetching a file that the user named: with a limit, a checksum and a time-out, whole or not at all.

The only place of foveal that opens a connection to another machine.
"""

from __future__ import annotations

import hashlib
import os
import urllib.parse
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from foveal.errors import BadData, Missing, shown
from foveal.files.durable import no_write, sync, sync_folder, temporary_name
from foveal.progress import SILENT, Progress

__all__ = ["download"]

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18
LARGEST = 8 << 30  # bytes, where neither we nor the server know the size


def download(
    url: str, to: Path, *, size: int = 0, sha256: str = "", md5: str = "", progress: Progress = SILENT
) -> None:
    """Put the file at an http(s) address at `to`; one that is there with the right checksum is kept.

    Args:    size: the bytes that it must have, 0 where that is not published; sha256 or md5: its checksum as published,
             in hexadecimal, or the first digits of it (8 at least) where no more is published.
    Raises:  Missing when it cannot be fetched (no full stop: the caller tells the way out); BadData when what came
             is not the file; NoSpace, NotWritable.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https") or len(sha256 or md5) < 8:
        raise ValueError(f"a download needs an http address and a checksum: {url}")
    name, expected = ("sha256", sha256) if sha256 else ("md5", md5)
    if _is_there(to, name, expected, size):
        return
    temporary = to.parent / temporary_name()
    try:
        with no_write(to):
            to.parent.mkdir(parents=True, exist_ok=True)
            file = open(temporary, "xb")  # noqa: SIM115 - closed below, where other errors are told otherwise
        with file:
            _fetch(url, file, hashlib.new(name, usedforsecurity=False), expected, size, progress)
            with no_write(to):
                file.flush()
                sync(file.fileno())
        with no_write(to):
            os.replace(temporary, to)
            sync_folder(to.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _fetch(url: str, file: IO[bytes], digest: Any, expected: str, size: int, progress: Progress) -> None:
    """Write what the address answers, at most a byte more than it should, and compare it."""
    got = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # its scheme was checked
            due = size or max(0, int(answer.headers["Content-Length"] or 0))
            most = min(due or LARGEST, LARGEST)
            with progress.task(f"downloading {url.rpartition('/')[2]}", due, "bytes") as advance:
                while chunk := answer.read(min(CHUNK, most + 1 - got)):
                    digest.update(chunk)
                    with no_write(Path(file.name)):
                        file.write(chunk)
                    got += len(chunk)
                    advance(len(chunk))
    except (OSError, HTTPException, ValueError) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", None) or error
        raise Missing(f"{url} cannot be downloaded ({shown(str(reason))[:120]})") from None
    if (due and got != due) or not digest.hexdigest().startswith(expected):
        what = f"{got} bytes instead of {due}" if due and got != due else "its checksum differs"
        raise BadData(f"{url} is not the file that was published ({what}); try again later.")


def _is_there(to: Path, name: str, expected: str, size: int) -> bool:
    try:
        if not to.is_file() or (size and to.stat().st_size != size):
            return False
        with open(to, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False))
        return digest.hexdigest().startswith(expected)
    except OSError:
        return False
