"""Reading JPEGs whole or not at all.

libjpeg fills what is missing with grey and reports it by a warning that Pillow drops, so a JPEG cut in half and closed
with an end marker decodes without any error. Here the data up to the end marker are fed to Pillow's decoder first, and
then single filler bytes: a whole picture is done with at most a few of them, because no decoder looks further ahead
than its bit buffer (64 bits), while each missing block eats at least two invalid codes of 17 bits.

Source: ITU-T T.81 (JPEG), annex B; jdhuff.c and jdphuff.c of libjpeg-turbo for the look-ahead.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Jpeg", "decode_whole", "scan"]

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in entropy-coded data: 00 is stuffing, D0-D7 are restarts
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FILLER = b"\xff\x00"  # eight one bits: the code that T.81 forbids (C.2), so that it never passes for picture data
_LOOK_AHEAD = 8  # bytes
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SLOW_SCANS = 30  # encoders write about ten
_SLOW_WORK = 3e9  # pixels times scans: about two seconds


@dataclass
class Jpeg:
    """What the markers say."""

    width: int = 0
    height: int = 0
    frame: int = 0  # the start-of-frame marker: C0 baseline, C2 progressive, C9 and above arithmetic
    restart_every: int = 0  # MCUs between restart markers; 0: none
    scans: int = 0
    last_scan: int = 0  # where its data begin
    last_components: bytes = b""
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)  # component -> horizontal, vertical
    end: int = 0  # where the end marker stands, or the length of the data when there is none
    closed: bool = False  # an end marker was found
    lowest_bit: dict[int, bytearray] = field(default_factory=dict)  # component -> for each coefficient, 255: not sent
    gaps: list[int] = field(default_factory=list)  # where something lies between two segments
    notes: bool = False  # whether there is a segment that may hold EXIF or XMP

    @property
    def arithmetic(self) -> bool:
        return self.frame >= 0xC9

    def slow(self) -> bool:
        """Many scans of a large picture: a file of kilobytes that takes minutes (libjpeg-turbo issue 284)."""
        return self.scans > _SLOW_SCANS and self.scans * self.width * self.height > _SLOW_WORK

    def bytes_a_pixel(self) -> float:
        """Of memory: its pixels, and with several scans all coefficients of 16 bits until the last one has come."""
        across, down = (max(pair[i] for pair in self.sampling.values()) for i in (0, 1)) if self.sampling else (1, 1)
        kept = sum(h * v for h, v in self.sampling.values()) / (across * down)
        return 2 * kept * (self.scans > 1) + len(self.sampling)

    def plain_sampling(self) -> bool:
        """Whether its components are sampled as an encoder would; a damaged header hardly ever says so."""
        _, *colours = self.sampling.values()
        return len(set(colours)) <= 1 and all(n in (1, 2, 4) for pair in self.sampling.values() for n in pair)

    def complete(self, data: bytes) -> bool:
        """Whether every coefficient of every component was sent down to its last bit, and no restart is missing."""
        if not self.lowest_bit or any(any(bits) for bits in self.lowest_bit.values()):
            return False
        if not self.restart_every:
            return True
        return len(_RESTART.findall(data, self.last_scan, self.end)) >= (self._units() - 1) // self.restart_every

    def _units(self) -> int:
        """MCUs of the last scan [T.81, A.2]: blocks of a lone component, else what all components have together."""
        across, down = max(h for h, _ in self.sampling.values()), max(v for _, v in self.sampling.values())
        if len(self.last_components) == 1:
            h, v = self.sampling[self.last_components[0]]
            return _up(_up(self.width * h, across), 8) * _up(_up(self.height * v, down), 8)
        return _up(self.width, 8 * across) * _up(self.height, 8 * down)


def _up(a: int, b: int) -> int:
    return -(-a // b)


def scan(data: bytes) -> Jpeg:
    """Walk over the markers of the first picture in `data`, without decoding."""
    jpeg, at, in_scan = Jpeg(), 2, False
    while True:
        match = _MARKER.search(data, at)
        if match is None or (match.start() + 4 > len(data) and data[match.start() + 1] != 0xD9):
            jpeg.end = len(data.rstrip(b"\xff")) if jpeg.scans else len(data)
            return jpeg
        if match.start() > at and not in_scan:
            jpeg.gaps.append(at)
        at, code = match.start(), data[match.start() + 1]
        if code == 0xD9:
            jpeg.end, jpeg.closed = at, True
            return jpeg
        if code in (0x01, 0xD8):  # no length follows
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        _read_segment(jpeg, code, data[at + 4 : at + 2 + length])
        at += 2 + max(length, 2)
        in_scan = code == 0xDA
        if in_scan:
            jpeg.last_scan = at


def _read_segment(jpeg: Jpeg, code: int, body: bytes) -> None:
    if code in _START_OF_FRAME and len(body) >= 6 and not jpeg.frame:
        jpeg.frame = code
        jpeg.height, jpeg.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        components = [body[i : i + 2] for i in range(6, min(len(body) - 2, 6 + 3 * body[5]), 3)]
        jpeg.sampling = {c: (max(1, factors >> 4), max(1, factors & 15)) for c, factors in components}
        jpeg.lowest_bit = {c: bytearray(b"\xff" * 64) for c in jpeg.sampling}
    elif code == 0xE1:
        jpeg.notes = True
    elif code == 0xDD:
        jpeg.restart_every = int.from_bytes(body[:2], "big")
    elif code == 0xDA and body:
        jpeg.scans += 1
        n = body[0]
        if len(body) >= 4 + 2 * n:
            first, last, bits = body[1 + 2 * n], min(body[2 + 2 * n], 63), body[3 + 2 * n] & 15
            jpeg.last_components = bytes(c for c in body[1 : 1 + 2 * n : 2] if c in jpeg.sampling)
            for component in jpeg.last_components:
                if first <= last:
                    jpeg.lowest_bit[component][first : last + 1] = bytes([bits]) * (last + 1 - first)


def decode_whole(image: Any, data: bytes, jpeg: Jpeg) -> bool:
    """Fill an opened JpegImageFile with its pixels; False when the data ended before the picture did.

    Args: image: after `draft`, if it is wanted; its `load` is not used, since it hides where the data end.
    """
    if not jpeg.complete(data):
        return False
    if jpeg.arithmetic:  # its decoder cannot wait for more, and decodes zeros for ever: Pillow's own check is all
        image.load()
        return jpeg.closed
    buffered = jpeg.frame not in (0xC0, 0xC1) or jpeg.scans > 1  # pixels come after the last scan only
    image.load_prepare()
    whole = _feed(image, data[: jpeg.end], buffered)
    image.tile = []
    return whole


def _feed(image: Any, data: bytes, buffered: bool) -> bool:
    """Decode; whether no more than the look-ahead was missing."""
    from PIL import Image

    name, extents, _, args = image.tile[0]
    decoder = Image._getdecoder(image.mode, name, args, image.decoderconfig)
    try:
        decoder.setimage(image.im, extents)
        consumed, error = decoder.decode(data)
        rest, eaten = data[max(consumed, 0) :], 0
        for fed in range(3 * _LOOK_AHEAD):
            if consumed < 0:  # done, or an error
                return bool(error >= 0)
            if not buffered and fed == _LOOK_AHEAD:
                return False
            rest += _FILLER
            consumed, error = decoder.decode(rest)
            rest = rest[max(consumed, 0) :]
            eaten = 0 if rest else eaten + 1
            if buffered and eaten == _LOOK_AHEAD:  # a search for a marker eats each byte; picture data go in gulps
                break
        else:
            return False
        consumed, error = decoder.decode(rest + b"\xff\xd9")
        return bool(consumed < 0 <= error)
    finally:
        decoder.cleanup()


def open_jpeg(data: bytes) -> Any:
    """Pillow's JPEG file, header read; the first picture only: what follows in an MPO is another view of it."""
    from PIL import JpegImagePlugin

    return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
