"""TIFFs and GIFs: what their decoders warn of is told as damage, and nothing of it reaches the terminal."""

from __future__ import annotations

import io
import os
import random
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BadPicture
from foveal.files import _libtiff
from foveal.files.pictures import read_image


def photograph(width: int = 160, height: int = 120) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x, 2 * y, (x + y) / 2], -1) % 256 + np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "TIFF", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def reason_or_pixels(data: bytes) -> str | np.ndarray:
    try:
        return read_image(data)
    except BadPicture as error:
        return error.reason


WAYS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group3", "group4"]


@pytest.mark.parametrize("way", WAYS)
def test_whole_ones_are_used_and_damage_is_told(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    picture = photograph().convert("1") if "group" in way else photograph()
    data = encoded(picture, compression=way)
    whole = read_image(data)
    wanted = np.atleast_3d(np.asarray(picture.convert("L" if whole.shape[2] == 1 else "RGB")))
    assert np.abs(whole.astype(int) - wanted).mean() < 6
    rng, told = random.Random(0), 0
    for _ in range(40):
        at = rng.randrange(60, len(data) * 3 // 4)
        found = reason_or_pixels(data[:at] + rng.randbytes(90) + data[at + 90 :])
        told += isinstance(found, str)
        assert isinstance(found, str) or found.shape == whole.shape
    assert told >= {"raw": 0, "jpeg": 30, "packbits": 20}.get(way, 38)  # of runs, only the length can be wrong
    assert "cut short" in str(reason_or_pixels(data[: len(data) // 2]))
    assert capfd.readouterr().err == ""


def test_tags_that_nobody_knows_are_no_damage(capfd: pytest.CaptureFixture[str]) -> None:
    tags = {33550: (1.0, 1.0, 0.0), 65000: "a program's own"}
    for way in ("tiff_lzw", "packbits"):
        np.testing.assert_array_equal(
            read_image(encoded(photograph(), compression=way, tiffinfo=tags)), np.asarray(photograph())
        )
    assert capfd.readouterr().err == ""


def test_damage_is_told_beside_a_tag_that_is_out_of_order() -> None:
    picture = photograph().convert("1")
    data = bytearray(encoded(picture, compression="group4", tiffinfo={33550: (1.0, 1.0, 0.0)}))
    start = Image.open(io.BytesIO(bytes(data))).tag_v2[273][0]
    data[start + 2000 : start + 2090] = random.Random(0).randbytes(90)
    assert _libtiff.warnings_of(bytes(data)) or not _libtiff._libraries()
    assert reason_or_pixels(bytes(data)) == "is damaged" or not _libtiff._libraries()


@pytest.mark.parametrize("tag", [258, 259, 262, 284])
def test_a_tag_about_pixels_that_is_no_number_is_damage(tag: int) -> None:
    data = bytearray(encoded(photograph().convert("L"), compression="raw"))
    at = data.index(tag.to_bytes(2, "little") + b"\3\0", int.from_bytes(data[4:8], "little"))
    data[at + 2] = 2  # text
    assert "damaged" in str(reason_or_pixels(bytes(data)))


def test_the_terminal_stays_open_for_others_while_a_tiff_is_decoded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL.TiffImagePlugin import TiffImageFile

    if not _libtiff._libraries():
        pytest.skip("Pillow's libtiff cannot be reached here")
    data, load = bytearray(encoded(photograph(), compression="tiff_lzw")), TiffImageFile.load
    data[3000:3090] = b"\xff" * 90
    lines: list[bytes] = []

    def slowly(image: TiffImageFile) -> Any:
        lines.append(b"a line of progress\n")
        writer = threading.Thread(target=os.write, args=(2, lines[-1]))
        writer.start()
        writer.join()
        return load(image)

    monkeypatch.setattr(TiffImageFile, "load", slowly)
    assert isinstance(reason_or_pixels(bytes(data)), str)
    assert lines
    assert capfd.readouterr().err == b"".join(lines).decode()


def test_who_reads_by_pillow_alone_hears_of_libtiff_what_it_heard_before(capfd: pytest.CaptureFixture[str]) -> None:
    if not _libtiff._libraries():
        pytest.skip("Pillow's libtiff cannot be reached here")
    data = bytearray(encoded(photograph(), compression="tiff_lzw"))
    data[3000:3090] = b"\xff" * 90
    reason_or_pixels(bytes(data))
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError):
        Image.open(io.BytesIO(bytes(data))).load()
    assert "tempfile.tif" in capfd.readouterr().err


def test_two_threads_each_hear_of_their_own_file() -> None:
    good = encoded(photograph(), compression="tiff_lzw")
    bad = good[:3000] + b"\xff" * 90 + good[3090:]
    found: dict[int, list[bool]] = {0: [], 1: []}

    def work(which: int) -> None:
        for _ in range(30):
            found[which].append(isinstance(reason_or_pixels(bad if which else good), str))

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: [False] * 30, 1: [True] * 30}


def test_where_libtiff_cannot_be_reached_its_words_still_stay_off_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_libtiff, "_error_handlers", list)
    monkeypatch.setattr(_libtiff, "_libraries", list)
    data = encoded(photograph(), compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(data), np.asarray(photograph()))
    assert isinstance(reason_or_pixels(data[:3000] + b"\xff" * 90 + data[3090:]), str)
    assert read_image(encoded(photograph(), compression="packbits")).shape == (120, 160, 3)
    assert capfd.readouterr().err == ""


def gif() -> tuple[bytes, int]:
    """A GIF, and where its picture begins."""
    data = encoded(photograph().quantize(64), "GIF", interlace=0)
    return data, data.index(b",\0\0\0\0", 13 + 3 * 64)


def test_a_gif_whose_blocks_are_out_of_step_is_damaged() -> None:
    data, at = gif()
    assert read_image(data).shape == (120, 160, 3)
    assert reason_or_pixels(data[:60] + b"\1\2\3" + data[60:]) == "is damaged"  # in the table of colours
    assert reason_or_pixels(data[:at] + b"\7" + data[at:]) == "is damaged"
    assert reason_or_pixels(data[:at] + b";") == "is cut short"
    comment = read_image(data[:at] + b"!\xfe\3abc\0" + data[at:])
    np.testing.assert_array_equal(comment, read_image(data))
    for cut in (5, 9, 12, 60, at, at + 5, at + 11, at + 500):
        assert isinstance(reason_or_pixels(data[:cut]), str)


def test_a_picture_on_a_gifs_canvas_counts_where_it_reaches_beyond() -> None:
    data, at = gif()
    claim = bytearray(data)
    claim[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    assert "claims 4295 megapixels" in str(reason_or_pixels(bytes(claim)))
