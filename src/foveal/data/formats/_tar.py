"""Where the members of a tar file lie, by its headers alone: nothing is unpacked, no claimed length is allocated.

Source: POSIX.1-2017, pax interchange format (ustar and extended headers); GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from foveal.files.safely import Unreadable, open_regular, why

__all__ = ["Member", "TarDamage", "members"]

BLOCK = 512
EXTENSION_MAX_BYTES = 1 << 20  # a long name or a pax record; longer ones are no names
KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "symbolic link", b"3": "device",
    b"4": "device", b"5": "folder", b"6": "pipe", b"S": "sparse file",
}  # fmt: skip


class TarDamage(Exception):
    """The shard cannot be read any further; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member: what it is called and where its bytes are."""

    name: str
    kind: str  # "file", "folder", "symbolic link", …
    offset: int  # of its first byte in the shard
    size: int  # bytes


def members(path: Path) -> Iterator[Member]:
    """The members of a plain (not compressed) tar file, in order.

    Raises: TarDamage where the file is empty, cut, or no tar; what came before has been yielded.
    """
    try:
        raw = open_regular(path)
    except Unreadable as unreadable:
        raise TarDamage(unreadable.reason) from None
    with raw, os.fdopen(os.dup(raw.fileno()), "rb") as file:  # buffered
        size = os.fstat(raw.fileno()).st_size
        if size == 0:
            raise TarDamage("is empty (0 bytes)")
        try:
            yield from _members(file, size)
        except OSError as error:
            raise TarDamage(why(error, path)) from None


def _members(file: BinaryIO, end: int) -> Iterator[Member]:
    at, extended = 0, dict[str, str]()
    while at < end:
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise TarDamage(f"is cut short at byte {at}; the rest of it is skipped")
        if not any(header):  # a block of zeros ends the archive
            return
        kind, size = _checked(header, at)
        offset = at + BLOCK
        size = _number(extended["size"], at) if "size" in extended and kind not in (b"L", b"x", b"g") else size
        stored = 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else size
        if offset + stored > end:
            raise TarDamage(f"is cut short in {_name(header, extended)!a} (member of {size} bytes at byte {at})")
        at = offset + -(-stored // BLOCK) * BLOCK
        if kind in (b"L", b"x", b"g", b"K"):
            if size > EXTENSION_MAX_BYTES:
                raise TarDamage(f"has a name of {size} bytes at byte {offset}; the rest of it is skipped")
            extended.update(_extension(kind, file.read(size)))
            continue
        yield Member(_name(header, extended), KINDS.get(kind, "member of unknown kind"), offset, size)
        extended = {}


def _checked(header: bytes, at: int) -> tuple[bytes, int]:
    """Kind and size of a header whose checksum is right."""
    expected = sum(header[:148]) + 8 * 32 + sum(header[156:])
    try:
        if int(header[148:156].rstrip(b" \0") or b"0", 8) != expected:
            raise ValueError
        raw = header[124:136]
        size = int.from_bytes(raw[1:], "big") if raw[0] == 0x80 else int(raw.rstrip(b" \0") or b"0", 8)
        if size < 0:
            raise ValueError
    except ValueError:
        raise TarDamage(f"is damaged at byte {at}; the rest of it is skipped") from None
    return header[156:157], size


def _number(text: str, at: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise TarDamage(f"is damaged at byte {at}; the rest of it is skipped")
    return int(text)


def _name(header: bytes, extended: dict[str, str]) -> str:
    if "path" in extended:
        return extended["path"]
    name, prefix = (header[a:b].split(b"\0", 1)[0] for a, b in ((0, 100), (345, 500)))
    whole = prefix + b"/" + name if prefix and header[257:262] == b"ustar" and header[262:263] == b"\0" else name
    return whole.decode("utf-8", "surrogateescape")


def _extension(kind: bytes, body: bytes) -> dict[str, str]:
    """What a GNU long name or a pax header says about the next member (path and size; the rest is not needed)."""
    if kind == b"L":
        return {"path": body.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    found: dict[str, str] = {}
    while kind == b"x" and body:
        length, space, _ = body.partition(b" ")
        if not space or not length.isdigit() or len(length) > 8 or not len(length) < int(length) <= len(body):
            break
        key, _, value = body[len(length) + 1 : int(length) - 1].partition(b"=")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        body = body[int(length) :]
    return found
