"""JPEGs: Pillow's pixels to the bit, and nothing that libjpeg warns of passes for a picture."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BadPicture
from foveal.files import _jpeg, pictures
from foveal.files.pictures import read_image


def photograph(width: int = 203, height: int = 149) -> Image.Image:
    """Smooth, with noise; sides that no block divides."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x, 255 - y, (x + y) / 2], -1) % 256 + np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


WAYS: dict[str, dict[str, Any]] = {
    "4:2:0": {}, "4:2:2": {"subsampling": 1}, "4:4:4": {"subsampling": 0}, "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1}, "coarse": {"quality": 5},
    "as RGB": {"keep_rgb": True}, "optimized": {"optimize": True},
}  # fmt: skip


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_pixels_are_pillows_at_every_scale(mode: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if mode != "RGB" and "keep_rgb" in options:
        return
    data = encoded(photograph().convert(mode), **options)
    if (mode, options) != ("CMYK", WAYS["4:2:2"]):  # black sampled as the colours are, which it declines
        monkeypatch.setattr(pictures, "decode_whole", lambda *_: pytest.fail("simplejpeg declined"))
    for channels in (None, 1, 3):
        for scale, cover in ((1, None), (2, (30, 40)), (4, (20, 20)), (8, (10, 10))):
            image = Image.open(io.BytesIO(data))
            grey = "L" if channels == 1 and mode == "RGB" else None
            if scale > 1 or grey:
                image.draft(grey, (203 // scale, 149 // scale))
            wanted = image.convert({None: "L" if mode == "L" else "RGB", 1: "L", 3: "RGB"}[channels])
            found = read_image(data, channels=channels, cover=cover)
            assert found.shape[:2] == (-(-149 // scale), -(-203 // scale))
            np.testing.assert_array_equal(found.squeeze(), np.asarray(wanted))


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8, 9, 15, 16, 17])
def test_tiny_pictures_are_pillows_too(side: int) -> None:
    data = encoded(photograph(side, side))
    for cover in (None, (1, 1), (2, 2)):
        image = Image.open(io.BytesIO(data))
        if cover and (scale := max((s for s in (1, 2, 4, 8) if s * 1.5 <= side / cover[0]), default=1)) > 1:
            image.draft(None, (side // scale, side // scale))
        np.testing.assert_array_equal(read_image(data, cover=cover), np.asarray(image))


def test_a_scale_of_colours_that_nobody_writes_is_refused() -> None:
    data = bytearray(encoded(photograph(), subsampling=0))
    at = data.index(b"\xff\xc0")
    data[at + 11] = 0x14  # 4:4:1, in which the first component has four blocks where here is one
    assert reason(bytes(data)) == "is damaged"
    data[at + 11] = 0x31
    assert "at a scale that foveal doesn't read" in reason(bytes(data))
    assert _jpeg.Jpeg(sampling={1: (4, 2), 2: (1, 1), 3: (1, 1)}).plain_sampling()
    assert not _jpeg.Jpeg(sampling={1: (2, 2), 2: (2, 1), 3: (1, 1)}).plain_sampling()


def reason(data: bytes, **options: Any) -> str:
    with pytest.raises(BadPicture) as raised:
        read_image(data, **options)
    return raised.value.reason


PLAIN = encoded(photograph())
SCAN = PLAIN.index(b"\xff\xda")
HARMLESS: dict[str, Callable[[], bytes]] = {
    "no end marker": lambda: PLAIN[:-2],
    "half an end marker": lambda: PLAIN[:-1],
    "junk behind the end": lambda: PLAIN + random.Random(0).randbytes(5000),
    "another picture behind the end": lambda: PLAIN + encoded(photograph(90, 80)),
    "zeros before the end": lambda: PLAIN[:-2] + bytes(9) + PLAIN[-2:],
    "fill bytes before the end": lambda: PLAIN[:-2] + b"\xff" * 9 + PLAIN[-2:],
    "zeros between segments": lambda: PLAIN[:20] + bytes(7) + PLAIN[20:SCAN] + bytes(3) + PLAIN[SCAN:],
    "a later version of JFIF": lambda: PLAIN[:11] + b"\x09" + PLAIN[12:],
    "all of these": lambda: (
        PLAIN[:11] + b"\x09" + PLAIN[12:20] + bytes(7) + PLAIN[20:SCAN] + bytes(3) + PLAIN[SCAN:-2] + bytes(4)
        + PLAIN[-2:] + bytes(99)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("cover", [None, (40, 40)])
def test_what_every_viewer_shows_rightly_is_used(name: str, cover: tuple[int, int] | None) -> None:
    np.testing.assert_array_equal(read_image(HARMLESS[name](), cover=cover), read_image(PLAIN, cover=cover))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("cover", [None, (20, 20)], ids=["whole", "reduced"])
def test_lost_data_are_told(options: dict[str, Any], cover: tuple[int, int] | None) -> None:
    data = encoded(photograph(), **options)
    rng, whole = random.Random(1), read_image(data, cover=cover)
    start = data.index(b"\xff\xda") + 14
    for _ in range(30):
        at, length = rng.randrange(start, len(data) - 300), rng.choice((40, 100, 250))
        for mutant in (data[:at] + data[at + length :], data[:at] + rng.randbytes(length) + data[at:]):
            found = reason_or_pixels(mutant, cover)
            if isinstance(found, str):
                assert found.startswith(("is damaged", "is cut short")) or "foveal doesn't read" in found
            else:  # what the codes cannot tell: the same number of blocks came out
                assert found.shape == whole.shape
    assert reason(data[: len(data) * 2 // 3], cover=cover) == "is cut short"
    assert "ends early" in reason(data[: len(data) * 2 // 3] + b"\xff\xd9", cover=cover)


def test_what_libjpeg_warns_of_is_damage() -> None:
    assert reason(PLAIN[:-2] + b"\x12\x34" * 20 + PLAIN[-2:]) == "is damaged"
    rng, refused = random.Random(2), 0
    for at in range(SCAN + 20, len(PLAIN) - 40, (len(PLAIN) - SCAN) // 60):
        mutant = PLAIN[:at] + rng.randbytes(30).replace(b"\xff", b"\xfe") + PLAIN[at + 30 :]
        Image.open(io.BytesIO(mutant)).load()  # without a word
        refused += isinstance(reason_or_pixels(mutant), str)
    assert refused > 20  # the codes of the rest fall back into step
    assert "four bands" in reason(PLAIN, channels=4)


def reason_or_pixels(data: bytes, cover: tuple[int, int] | None = None) -> str | np.ndarray:
    try:
        return read_image(data, cover=cover)
    except BadPicture as error:
        return error.reason


def test_a_header_that_asks_for_other_pixels_than_were_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import simplejpeg

    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda *_, **__: (149, 9999, "YCbCr", "420"))
    assert reason(PLAIN) == "is damaged"


def test_a_jpeg_of_several_scans_is_bounded_by_bytes() -> None:
    marks = _jpeg.scan(encoded(photograph(), progressive=True, subsampling=0))
    assert marks.bytes_a_pixel() == 9  # 3 coefficients of 16 bits, 3 values
    assert _jpeg.scan(encoded(photograph(), progressive=True)).bytes_a_pixel() == 6
    assert _jpeg.scan(PLAIN).bytes_a_pixel() == 3
