"""Darknet's files: a `.cfg` that lists a network's layers, and a `.weights` that holds their values.

A cfg is text: `[section]` lines, `key=value` lines below each, and comments that begin with `#` or `;`; spaces mean
nothing. Reading one runs nothing and trusts nothing: a section is a name and strings, and whoever wants a number asks
for it with its bounds. A weights file is a short header and float32 values one after another, without names or sizes:
only its length tells whether it belongs to a cfg.

Source: pjreddie.com/darknet and the Darknet programs' `parser.c`, whose rules of reading are kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foveal.errors import BadModel, did_you_mean, shown
from foveal.files.safely import Unreadable, open_regular, read_bytes

__all__ = ["Section", "parse_cfg", "read_cfg", "read_weights"]

LARGEST_CFG = 1 << 20  # bytes; the longest published one has about 20 thousand
MOST_SECTIONS = 4096


@dataclass(frozen=True)
class Section:
    """One `[section]` of a cfg: its name, and its values as they were written."""

    kind: str  # "convolutional"
    line: int  # where it begins, from 1
    source: str = "cfg"  # the file's name, for errors
    options: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # key -> (value, line) as often as written

    def __contains__(self, key: str) -> bool:
        return key in self.options

    @property
    def where(self) -> str:
        """For the beginning of a sentence: `yolo.cfg, line 12, [route]`."""
        return f"{shown(self.source)}, line {self.line}, [{_short(self.kind)}]"

    def text(self, key: str, default: str = "") -> str:
        """The value as written.

        Raises: BadModel when it is written twice with different values (Darknet takes the first, OpenCV the last).
        """
        written = self.options.get(key, [])
        if len({value for value, _ in written}) > 1:
            lines = " and ".join(str(line) for _, line in written)
            raise BadModel(f"{self.where} says {shown(key)} twice with different values (lines {lines}); keep one.")
        return written[0][0] if written else default

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return int(self._number(self.text(key, str(default)), key, low, high, whole=True))

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A finite number in [low, high]."""
        return self._number(self.text(key, str(default)), key, low, high)

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """Whole numbers in [low, high], parted by commas; none when the key is absent."""
        return tuple(int(self._number(part, key, low, high, whole=True)) for part in self._parts(key))

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """Finite numbers in [low, high], parted by commas; none when the key is absent."""
        return tuple(self._number(part, key, low, high) for part in self._parts(key))

    def one_of(self, key: str, default: str, known: Collection[str]) -> str:
        """A word out of `known`."""
        word = self.text(key, default)
        if word not in known:
            near = did_you_mean(word, known) or f"; it can be {', '.join(sorted(known))}."
            raise BadModel(f'{self._at(key)} has the unknown {shown(key)} "{_short(word)}"{near}')
        return word

    def refuse_misspelt(self, known: Collection[str]) -> None:
        """Darknet passes over keys that it does not know; one that nearly is a key of `known` was meant to be it.

        Raises: BadModel.
        """
        for key in self.options:
            near = did_you_mean(key, known) if key not in known and _nearly(key, known) else ""
            if near:
                raise BadModel(f'{self._at(key)} has the unknown key "{_short(key)}"{near}')

    def _parts(self, key: str) -> list[str]:
        text = self.text(key).rstrip(",")
        return text.split(",") if text else []

    def _number(self, text: str, key: str, low: float, high: float, *, whole: bool = False) -> float:
        try:
            if len(text) > 32 or not text.isascii() or "_" in text:  # Python would read 1_000 as a thousand
                raise ValueError
            value = int(text) if whole else float(text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            raise BadModel(f'{self._at(key)}: {shown(key)} must be {kind}, and is "{_short(text)}".') from None
        if not low <= value <= high:  # NaN is nowhere
            raise BadModel(f"{self._at(key)}: {shown(key)} must be {low:.10g} to {high:.10g}, and is {value:.10g}.")
        return value

    def _at(self, key: str) -> str:
        line = self.options[key][0][1] if key in self.options else self.line
        return f"{shown(self.source)}, line {line}, [{_short(self.kind)}]"


def _short(text: str) -> str:
    return shown(text if len(text) <= 40 else text[:40] + "…")


def _nearly(key: str, known: Iterable[str]) -> bool:
    import difflib

    return bool(difflib.get_close_matches(key[:64], known, n=1, cutoff=0.8))


def read_cfg(path: str | Path) -> list[Section]:
    """The sections of a cfg file, the first of them `[net]`.

    Raises: BadModel with the line where it stops being a cfg.
    """
    data = read_bytes(path, limit=LARGEST_CFG, what="Darknet cfg", error=BadModel)
    if b"\0" in data:
        raise BadModel(f"{shown(path)} is not a Darknet cfg: it is not text.")
    # Comments may be in any encoding; what counts is ASCII, and anything else is refused where it is used.
    return parse_cfg(data.decode("utf-8-sig", errors="replace"), Path(path).name)


def parse_cfg(text: str, source: str = "cfg") -> list[Section]:
    """The sections of a cfg that is at hand as text; `source` names it in errors.

    Raises: BadModel with the line where it stops being a cfg.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = "".join(raw.split("#")[0].split(";")[0].split())  # Darknet drops every blank, wherever it stands
        if line.startswith("["):
            sections.append(_begun(line, number, source))
        elif line:
            _take(line, number, sections, source)
        if len(sections) > MOST_SECTIONS:
            raise BadModel(f"{shown(source)} has more than {MOST_SECTIONS} sections, which no Darknet network has.")
    if not sections:
        raise BadModel(f"{shown(source)} is not a Darknet cfg: there is no [section] in it.")
    if sections[0].kind not in ("net", "network"):
        raise BadModel(f"{sections[0].where} stands first; a Darknet cfg begins with [net].")
    return sections


def _begun(line: str, number: int, source: str) -> Section:
    if not line.endswith("]") or len(line) < 3:
        raise BadModel(f'{shown(source)}, line {number}: "{_short(line)}" is no [section].')
    return Section(line[1:-1], number, source)


def _take(line: str, number: int, sections: list[Section], source: str) -> None:
    key, equals, value = line.partition("=")
    if not sections:
        raise BadModel(
            f'{shown(source)} is not a Darknet cfg: line {number}, "{_short(line)}", is before any [section].'
        )
    if not (equals and key):
        raise BadModel(f'{shown(source)}, line {number}: "{_short(line)}" is neither key=value nor a [section].')
    sections[-1].options.setdefault(key, []).append((value, number))


def read_weights(path: str | Path, expected: int) -> NDArray[np.float32]:
    """The values of a weights file, as many as its cfg needs, in the file's order.

    The header is three int32 (major, minor, revision) and the number of pictures seen, which has 8 bytes from version
    0.2 on and 4 before. The length is compared before anything is read, so a foreign file costs no memory.

    Returns: (expected,) float32, read-only.
    Raises:  BadModel when the file cannot be read, is shorter or longer than `expected` asks, or holds NaN or infinity.
    """
    try:
        with open_regular(path) as file:
            header, size = _header_bytes(file), os.fstat(file.fileno()).st_size
    except Unreadable as unreadable:
        reason = "does not exist" if unreadable.reason == "is gone" else unreadable.reason
        raise BadModel(f"Darknet weights {shown(path)} {reason}.") from None
    except OSError as error:
        raise BadModel(f"Darknet weights {shown(path)} cannot be read ({error.strerror}).") from None
    _check_length(path, size - header, expected)
    data = read_bytes(path, limit=size, what="Darknet weights", error=BadModel)
    if len(data) != size:
        raise BadModel(f"Darknet weights {shown(path)} changed while they were read.")
    values = np.frombuffer(data, "<f4", offset=header).astype(np.float32, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        at = int(np.argmin(finite))
        raise BadModel(f"{shown(path)} holds {values[at]} as value {at + 1} of {expected}: its weights are damaged.")
    return values


def _header_bytes(file: BinaryIO) -> int:
    first = file.read(12)
    if len(first) < 12:
        return 12
    major, minor, _ = np.frombuffer(first, "<i4").tolist()
    # The same question as Darknet asks: numbers from 1000 on marked transposed layers, never a version.
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    return 12 + (8 if wide else 4)


def _check_length(path: str | Path, size: int, expected: int) -> None:
    if size < 0:
        raise BadModel(f"{shown(path)} is too short to be Darknet weights.")
    if size % 4:
        raise BadModel(f"{shown(path)} ends inside a value: it is cut short or no Darknet weights file.")
    missing = expected - size // 4
    if missing:
        words = "too short" if missing > 0 else "too long"
        values = "value" if abs(missing) == 1 else "values"
        raise BadModel(
            f"{shown(path)} is {words} for this cfg by {abs(missing)} {values} "
            f"(it holds {size // 4}, the layers need {expected}): the two files do not belong together."
        )
