"""Bytes become pixels: used whole as a person expects, or refused with a reason; never half, never in silence."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.errors import BadPicture
from foveal.files.pictures import is_picture_name, read_image


def pic(width: int = 64, height: int = 48) -> Image.Image:
    """A gradient with a white 8 x 8 corner at top left."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 3, y * 4, (x + y) * 2], -1).astype(np.uint8)
    pixels[:8, :8] = 255
    return Image.fromarray(pixels)


def noise(width: int = 200, height: int = 150) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, idat: bytes, extra: bytes = b"", interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


JPG, PNG = encoded(pic(), quality=95), encoded(pic(), "PNG")
HALF_BLACK = png(64, 48, 8, 2, zlib.compress(b"".join(b"\0" + bytes([200]) * 192 for _ in range(24))))
FLAT_GREY = encoded(Image.new("L", (64, 64), 9), "PNG")


def scan_bomb() -> bytes:
    """A flat progressive picture whose last scan is repeated, each time costing a pass over 30 megapixels."""
    data = encoded(Image.new("L", (6000, 5000), 128), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 3000 + b"\xff\xd9"


def claimed_jpeg(side: int) -> bytes:
    data = bytearray(encoded(Image.new("L", (16, 16), 3)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def tiff(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


def bmp_claiming(width: int) -> bytes:
    data = bytearray(encoded(pic(), "BMP"))
    data[18:22] = struct.pack("<i", width)
    return bytes(data)


def oversized_text() -> bytes:
    return chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * (80 << 20)))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


ROWS: dict[str, tuple[Callable[[], bytes], str]] = {
    "P01 empty": (lambda: b"", "is empty (0 bytes)"),
    "P01 one byte": (lambda: b"\xff", "is cut short (1 byte)"),
    "P02 half": (lambda: JPG[: len(JPG) // 2], "is cut short"),
    "P02 20 bytes": (lambda: JPG[:20], "is cut short"),
    "P02 100 bytes": (lambda: JPG[:100], "is cut short"),
    "P05 closed early": (lambda: (d := encoded(noise()), d[: len(d) // 2] + b"\xff\xd9")[1], "picture data ends early"),
    "P06 144 megapixels": (lambda: claimed_jpeg(12000), "says 144 megapixels in"),
    "P06 4290 megapixels": (lambda: claimed_jpeg(65500), "says 4290 megapixels in"),
    "P07": (lambda: encoded(noise(), "PNG")[: len(encoded(noise(), "PNG")) * 6 // 10], "is cut short"),
    "P07 ends properly but early": (lambda: HALF_BLACK, "picture data ends early"),
    "P09": (lambda: flipped(encoded(noise(), "PNG"), 5000), "is damaged"),
    "P10 crc": (lambda: flipped(PNG, 30), "is damaged"),
    "P10 png 0x0": (lambda: png(0, 0, 8, 2, zlib.compress(b"")), "has no pixels"),
    "P10 jpeg height 0": (lambda: claimed_jpeg(0), "has no pixels"),
    "P12 page": (lambda: b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", "is a web page"),
    "P12 lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "is a Git LFS pointer"),
    "P13 random": (lambda: b"\x01" + random.Random(1).randbytes(5000), "is not a picture foveal reads (JPEG, PNG, GIF"),
    "P13 text": (lambda: b"hello\n" * 50, "is not a picture foveal reads"),
    "P13 json": (lambda: b'{"a": 1}', "is not a picture foveal reads"),
    "P13 BM text": (lambda: b"BMW drivers and other stories, all of them true", "is not a picture foveal reads"),
    "P14 bomb": (lambda: png(12000, 12000, 8, 2, b"\0" * 400_000), "claims 144 megapixels, limit 100 (data"),
    "P15 png": (lambda: png(2**31 - 1, 2**31 - 1, 8, 2, b""), "claims 4611686014132 megapixels"),
    "P15 gif": (lambda: encoded(pic(), "GIF")[:6] + b"\xff" * 4 + encoded(pic(), "GIF")[10:], "claims 4295"),
    "P15 bmp": (lambda: bmp_claiming(2**30), "megapixels"),
    "P15 webp": (lambda: b"RIFFd\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6 + bytes(80), "megapixels"),
    "P16 zTXt": (lambda: png(1, 1, 8, 0, b"", oversized_text()), "oversized text"),
    "P19 nan": (lambda: tiff(np.array([[0.1, np.nan]], np.float32)), "has NaN values"),
    "P19 inf": (lambda: tiff(np.array([[0.1, np.inf]], np.float32)), "has values outside 0…1 and 0…255"),
    "P19 5000": (lambda: tiff(np.linspace(0, 5000, 64, dtype=np.float32).reshape(8, 8)), "has values outside"),
    "P18 negative": (lambda: tiff(np.array([[-4, 9]], np.int32)), "has values outside 0…65535"),
    "P23": (scan_bomb, "takes too long to decode"),
    "P28 too thin": (lambda: encoded(Image.new("L", (65500, 1))), "is too thin (65500 x 1)"),
    "P28 1x500": (lambda: encoded(Image.new("L", (1, 500)), "PNG"), "is too thin (1 x 500)"),
    "P41 svg": (lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
    "P41 pdf": (lambda: b"%PDF-1.4\n", "is a PDF"),
    "P41 heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is "),
    "P41 avif": (lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "is "),
    "P41 psd": (lambda: b"8BPS\0\1" + bytes(40), "is a Photoshop document"),
    "P41 ico": (lambda: encoded(pic(), "ICO"), "is a Windows icon"),
    "P41 tga": (lambda: encoded(pic(), "TGA"), "is a TGA picture"),
    "P41 ppm": (lambda: encoded(pic(), "PPM"), "is a PPM picture"),
    "P41 dds": (lambda: encoded(pic(), "DDS"), "is a DDS texture"),
    "P41 fits": (lambda: b"SIMPLE  =                    T", "is a FITS picture"),
    "P41 dng": (lambda: encoded(pic(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "is a raw photograph (DNG)"),
    "P42": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BeginBinary: -20\n", "is PostScript"),
    "webp cut": (lambda: encoded(pic(), "WEBP")[:-9], "is cut short"),
    "gif cut": (lambda: encoded(noise(), "GIF")[:5000], "is cut short"),
    "bmp cut": (lambda: encoded(pic(), "BMP")[:5000], "is cut short"),
    "tiff cut": (lambda: encoded(pic(), "TIFF", compression="tiff_lzw")[:900], "is cut short"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_picture_is_told_with_its_reason_within_seconds(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, reason = ROWS[name]
    data = make()
    started = time.perf_counter()
    with pytest.raises(BadPicture) as raised:
        read_image(data, name="a\n.jpg")
    assert reason in raised.value.reason
    assert str(raised.value).startswith(r"a\n.jpg ")
    assert time.perf_counter() - started < 5
    assert capfd.readouterr().err == ""


USED: dict[str, tuple[Callable[[], bytes], Callable[[], np.ndarray]]] = {
    "P03 no end marker": (lambda: JPG[:-2], lambda: rgb(opened(JPG))),
    "P03 half an end marker": (lambda: JPG[:-1], lambda: rgb(opened(JPG))),
    "P04 jpeg and garbage": (lambda: JPG + random.Random(2).randbytes(100 << 10), lambda: rgb(opened(JPG))),
    "P04 png and garbage": (lambda: PNG + random.Random(2).randbytes(100 << 10), lambda: rgb(pic())),
    "P04 two jpegs": (lambda: JPG + encoded(noise()), lambda: rgb(opened(JPG))),
    "P08 no IEND": (lambda: PNG[:-12], lambda: rgb(pic())),
    "P08 no last CRC": (lambda: PNG[:-16], lambda: rgb(pic())),
    "P16 iCCP": (lambda: PNG[:33] + chunk(b"iCCP", b"x\0\0nonsense") + PNG[33:], lambda: rgb(pic())),
    "P17 16-bit ramp": (
        lambda: encoded(Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256)), "PNG"),
        lambda: np.rint(np.arange(65536).reshape(256, 256, 1) / 257).astype(np.uint8),
    ),
    "P17 big-endian TIFF": (
        lambda: b"MM\0*\0\0\0\x08" + ifd16() + np.arange(0, 65536, 256, dtype=">u2").tobytes(),
        lambda: np.rint(np.arange(0, 65536, 256).reshape(16, 16, 1) / 257).astype(np.uint8),
    ),
    "P18 float to 1": (
        lambda: tiff(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)),
        lambda: np.arange(256, dtype=np.uint8).reshape(16, 16, 1),
    ),
    "P18 float to 255": (
        lambda: tiff(np.arange(256, dtype=np.float32).reshape(16, 16)),
        lambda: np.arange(256, dtype=np.uint8).reshape(16, 16, 1),
    ),
    "P18 int32": (
        lambda: tiff((np.arange(256, dtype=np.int32) * 257).reshape(16, 16)),
        lambda: np.arange(256, dtype=np.uint8).reshape(16, 16, 1),
    ),
    "P20 transparent over red": (
        lambda: encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG"), lambda: np.full((9, 9, 3), 255, np.uint8)
    ),
    "P20 half transparent": (
        lambda: encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 51)), "PNG"), lambda: np.full((9, 9, 3), 204, np.uint8)
    ),
    "P20 LA": (
        lambda: encoded(Image.new("LA", (9, 9), (0, 51)), "PNG"), lambda: np.full((9, 9, 1), 204, np.uint8)
    ),
    "P20 1": (lambda: encoded(Image.new("1", (9, 9), 1), "PNG"), lambda: np.full((9, 9, 1), 255, np.uint8)),
    "P20 P": (lambda: encoded(Image.new("RGB", (9, 9), "teal").quantize(2), "PNG"),
              lambda: np.full((9, 9, 3), (0, 128, 128), np.uint8)),
    "P20 P and tRNS bytes": (
        lambda: encoded(Image.new("RGB", (9, 9), "red").quantize(2), "PNG", transparency=b"\0\0"),
        lambda: np.full((9, 9, 3), 255, np.uint8),
    ),
    "P20 RGB and tRNS colour": (
        lambda: encoded(Image.new("RGB", (9, 9), "red"), "PNG", transparency=(255, 0, 0)),
        lambda: np.full((9, 9, 3), 255, np.uint8),
    ),
    "P22 grey": (lambda: encoded(Image.new("L", (4, 3), 77), quality=100), lambda: np.full((3, 4, 1), 77, np.uint8)),
    "P24 gif": (lambda: animation("GIF"), lambda: np.full((20, 20, 3), (255, 0, 0), np.uint8)),
    "P24 webp": (lambda: animation("WEBP", lossless=True), lambda: np.full((20, 20, 3), (255, 0, 0), np.uint8)),
    "P24 apng": (lambda: animation("PNG"), lambda: np.full((20, 20, 3), (255, 0, 0), np.uint8)),
    "P24 tiff": (lambda: animation("TIFF"), lambda: np.full((20, 20, 3), (255, 0, 0), np.uint8)),
    "P26 garbage exif": (lambda: encoded(pic(), "PNG", exif=b"Exif\0\0garbage"), lambda: rgb(pic())),
    "P26 orientation 9": (lambda: encoded(pic(), "PNG", exif=exif(9)), lambda: rgb(pic())),
    "P26 orientation 65535": (lambda: encoded(pic(), "PNG", exif=exif(65535)), lambda: rgb(pic())),
    "P27 garbage profile": (lambda: encoded(pic(), "PNG", icc_profile=b"garbage"), lambda: rgb(pic())),
    "P28 1x1": (lambda: encoded(pic(1, 1), "PNG"), lambda: rgb(pic(1, 1))),
    "P28 64x6400": (lambda: encoded(Image.new("L", (64, 6400)), "PNG"), lambda: np.zeros((6400, 64, 1), np.uint8)),
    "black png": (lambda: encoded(Image.new("RGB", (30, 20)), "PNG"), lambda: np.zeros((20, 30, 3), np.uint8)),
    "lossless webp": (lambda: encoded(pic(), "WEBP", lossless=True), lambda: rgb(pic())),
    "bmp": (lambda: encoded(pic(), "BMP"), lambda: rgb(pic())),
    "tiff lzw": (lambda: encoded(pic(), "TIFF", compression="tiff_lzw"), lambda: rgb(pic())),
}  # fmt: skip


def ifd16() -> bytes:
    """The directory of a big-endian 16 x 16 TIFF of 16-bit grey; its pixels follow."""
    tags = [
        (256, 3, 16),
        (257, 3, 16),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 122),
        (277, 3, 1),
        (278, 3, 16),
        (279, 4, 512),
    ]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    return struct.pack(">H", len(tags)) + entries + bytes(4)


def animation(form: str, **options: Any) -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("name", USED)
def test_an_odd_picture_is_used_as_a_person_expects(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, expected = USED[name]
    pixels = read_image(make())
    np.testing.assert_array_equal(pixels, expected())
    assert pixels.dtype == np.uint8
    assert capfd.readouterr().err == ""


JPEGS = {
    "baseline": {}, "4:4:4": {"subsampling": 0}, "progressive": {"progressive": True}, "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}  # fmt: skip


@pytest.mark.parametrize("content", ["smooth", "noisy", "grey", "flat"])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("cover", [None, (20, 20)], ids=["full", "draft"])
def test_a_jpeg_is_used_when_whole_and_refused_wherever_it_is_cut(
    content: str, options: dict[str, Any], cover: tuple[int, int] | None
) -> None:
    images = {
        "smooth": pic(200, 150),
        "noisy": noise(),
        "grey": noise().convert("L"),
        "flat": Image.new("RGB", (200, 150)),
    }
    data = encoded(images[content], **options)
    whole = read_image(data, cover=cover)
    if cover is None:
        oracle = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(whole, oracle if oracle.ndim == 3 else oracle[..., None])
    np.testing.assert_array_equal(read_image(data[:-2], cover=cover), whole)
    start = data.index(b"\xff\xda") + 12
    rng = random.Random(3)
    for lost in [
        *range(1, 60, 6),
        *range(60, min(300, len(data) - start), 9),
        *(rng.randrange(60, 10**4) for _ in range(9)),
    ]:
        for end in (b"\xff\xd9", b""):
            cut = reason_or_pixels(data[:-2][: max(start, len(data) - 2 - lost)] + end, cover)
            if isinstance(cut, str):
                assert any(words in cut for words in ("ends early", "cut short", "damaged"))
            else:  # only the last of its blocks: a decoder cannot know
                assert lost < 60
                assert (cut != whole).any(-1).sum() < 200


def reason_or_pixels(data: bytes, cover: tuple[int, int] | None = None) -> str | np.ndarray:
    try:
        return read_image(data, cover=cover)
    except BadPicture as error:
        return error.reason


def test_the_check_for_a_jpegs_end_costs_little() -> None:
    data = encoded(noise(1200, 900), quality=90)

    def seconds(work: Callable[[], object]) -> float:
        started = time.process_time()  # of this process: others use the machine, too
        work()
        return time.process_time() - started

    def plain() -> None:
        np.asarray(Image.open(io.BytesIO(data)))

    plain()
    ratios = [seconds(lambda: read_image(data)) / seconds(plain) for _ in range(7)]
    assert sorted(ratios)[2] < 1.4, ratios  # a second decode of every picture would make it 1.9


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(form: str, orientation: int) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = pic(64, 48)
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    options = {"quality": 95} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    pixels = read_image(encoded(stored, form, exif=exif(orientation), **options))
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - rgb(upright)).max() <= (40 if form == "JPEG" else 0)
    assert pixels[:7, :7].min() > 230


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_colours_of_other_spaces_come_out_right(mode: str) -> None:
    from PIL import ImageCms

    plain = Image.fromarray(rgb(pic()) // 2 + 64)
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        data = encoded(ImageCms.applyTransform(plain, to_lab), "TIFF")
    else:
        data = encoded(plain.convert(mode), "TIFF")
    assert np.abs(read_image(data).astype(int) - rgb(plain)).max() <= 12
    if mode == "CMYK":
        data = encoded(plain.convert("CMYK"), "JPEG", quality=98, subsampling=0)
        assert np.abs(read_image(data).astype(int) - rgb(plain)).mean() <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_channels_are_as_asked(form: str) -> None:
    colour, grey = encoded(pic(), form), encoded(pic().convert("L"), form)
    assert read_image(colour, channels=1).shape == read_image(grey, channels=1).shape == (48, 64, 1)
    assert read_image(colour, channels=3).shape == read_image(grey, channels=3).shape == (48, 64, 3)
    luma = np.asarray(Image.open(io.BytesIO(colour)).convert("RGB").convert("L"))
    assert np.abs(read_image(colour, channels=1)[..., 0].astype(int) - luma).max() <= 2
    threes = read_image(grey, channels=3)
    if form == "WEBP":
        return  # which knows no grey, and rounds
    assert (threes[..., 0] == threes[..., 1]).all()
    assert (threes[..., 0] == threes[..., 2]).all()


@given(
    st.integers(40, 900), st.integers(40, 900), st.integers(8, 300), st.integers(8, 300), st.sampled_from([1, 6])
)  # fmt: skip
def test_a_draft_keeps_one_and_a_half_pixels_for_each_one_wanted(w: int, h: int, ch: int, cw: int, turn: int) -> None:
    data = encoded(Image.new("RGB", (w, h), "teal"), exif=exif(turn))
    height, width = (w, h) if turn == 6 else (h, w)
    got_h, got_w, _ = read_image(data, cover=(ch, cw)).shape
    scale = round(max(width / got_w, height / got_h))
    assert (got_h, got_w) == (-(-height // scale), -(-width // scale))
    if scale > 1:
        factor = max(ch / height, cw / width)
        assert got_h >= 1.5 * height * factor - 1e-6
        assert got_w >= 1.5 * width * factor - 1e-6


def test_a_draft_looks_like_the_picture() -> None:
    data = encoded(pic(640, 480), quality=95)
    small = read_image(data, cover=(48, 64))
    assert small.shape == (120, 160, 3) or small.shape == (60 * 2, 80 * 2, 3)
    whole = np.asarray(Image.fromarray(read_image(data)).resize((160, 120), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - whole).mean() < 6


ALL_FORMS = [
    JPG,
    PNG,
    encoded(pic(), "TIFF", compression="tiff_lzw"),
    *(encoded(pic(), f) for f in ("GIF", "BMP", "WEBP")),
]


@given(st.binary(max_size=300), st.sampled_from(ALL_FORMS), st.integers(0, 10**6))
def test_mutants_are_used_or_refused_and_nothing_else(junk: bytes, data: bytes, at: int) -> None:
    at %= len(data)
    for mutant in (data[:at] + junk, data[:at] + junk + data[at + len(junk) :], data[:8] + junk):
        result = reason_or_pixels(mutant)
        assert result if isinstance(result, str) else (result.dtype, result.ndim) == (np.uint8, 3)


def test_pixels_given_are_checked_and_converted() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert read_image(grey).shape == (3, 4, 1)
    assert (read_image(grey, channels=3) == grey[..., None]).all()
    assert (read_image(np.zeros((3, 4, 4), np.uint8)) == 255).all()  # transparent: white paper
    colour = rgb(pic())
    np.testing.assert_array_equal(read_image(colour, channels=1)[..., 0], np.asarray(pic().convert("L")))
    with pytest.raises(BadPicture, match="holds float32 values"):
        read_image(grey.astype(np.float32))  # type: ignore[arg-type]
    for shape, words in (((2, 2, 2), "shape"), ((0, 4), "no pixels"), ((1, 500), "too thin")):
        bad = np.zeros(shape, np.uint8)
        with pytest.raises(BadPicture, match=words):
            read_image(bad)


@pytest.mark.parametrize("kind", ["fifo", "socket", "zero", "folder", "missing", "dangling", "loop"])
def test_what_is_no_regular_file_is_told_at_once(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # a socket's path has 108 bytes at most
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("a.jpg")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.symlink_to({"zero": "/dev/zero", "dangling": "nowhere.jpg", "loop": "a.jpg"}[kind])
    reason = {"folder": "is a folder", "missing": "is gone", "dangling": "points to a missing file",
              "loop": "is a link that points to itself"}.get(kind, "is not a regular file")  # fmt: skip
    with pytest.raises(BadPicture, match=reason):
        read_image(path)


def test_a_link_to_a_picture_is_used_and_odd_names_are_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").symlink_to("a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), rgb(pic()))
    with pytest.raises(BadPicture) as raised:
        read_image(tmp_path / "\x1b[31m\u202e.png")
    assert "\x1b" not in str(raised.value)
    assert r"\u202e" in str(raised.value)


def test_a_forbidden_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    with pytest.raises(BadPicture, match=r"cannot be read \(permission denied\)"):
        read_image(path)


def test_the_limit_is_the_callers() -> None:
    with pytest.raises(BadPicture, match=r"claims 2 megapixels, limit 1 \(data"):
        read_image(encoded(Image.new("L", (1500, 1000)), "PNG"), max_megapixels=1)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadPicture, match="is larger than"):
        read_image(path)


def test_stderr_and_warnings_stay_clean_whatever_a_tiff_holds(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(noise(64, 48), "TIFF", compression="tiff_lzw"))
    for at in range(200, len(data) // 2, 97):
        data[at] ^= 0x5A
    threads = [threading.Thread(target=_refused, args=(bytes(data),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("still there", file=sys.stderr)
    assert capfd.readouterr().err == "still there\n"


def _refused(data: bytes) -> None:
    for _ in range(5):
        with pytest.raises(BadPicture):
            read_image(data)


@pytest.mark.parametrize(("name", "is_one"), [("a/b.JPG", True), ("b.jpeg", True), ("b.tIf", True), ("x.webp", True),
    ("._a.jpg", False), (".hidden.jpg", False), ("Thumbs.db", False), ("notes.txt", False), ("jpg", False),
    ("a.jpg/notes", False), ("-rf.png", True), ("a\nb.png", True)])  # fmt: skip
def test_pictures_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert is_picture_name(name) is is_one


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = "import sys, foveal.files.pictures, foveal.files.tensors, foveal.files.durable; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "cv2", "PIL", "safetensors", "pydantic"} & set(modules)


def adam7(pixels: np.ndarray) -> bytes:
    """The filtered rows of an interlaced grey picture, pass after pass."""
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in starts]
    return b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (8, 8), (17, 30)])
def test_an_interlaced_png_is_used_when_whole_and_refused_when_rows_are_missing(height: int, width: int) -> None:
    black = adam7(np.zeros((height, width), np.uint8))
    assert not read_image(png(width, height, 8, 0, zlib.compress(black), interlace=1)).any()
    with pytest.raises(BadPicture, match=r"ends early|cut short"):
        read_image(png(width, height, 8, 0, zlib.compress(black[:-1]), interlace=1))


def test_what_pillow_logs_stays_off_the_terminal() -> None:
    child = (
        "import logging; from foveal.files.pictures import read_image; import numpy\n"
        "read_image(numpy.zeros((4, 4), numpy.uint8)); logging.getLogger('PIL.TiffImagePlugin').error('raw')"
    )
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_large_picture_is_converted_band_by_band_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = noise(61, 47)
    clear.putalpha(noise(61, 47).convert("L"))
    deep = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (47, 61), dtype=np.uint16))
    forms = [
        (clear, "PNG"), (clear.convert("LA"), "PNG"), (noise(61, 47).quantize(9), "GIF"), (deep, "PNG"),
        (clear, "TIFF"), (noise(61, 47).convert("CMYK"), "JPEG"), (noise(61, 47).convert("1"), "TIFF"), (clear, "WEBP"),
    ]  # fmt: skip
    for image, form in forms:
        data = encoded(image, form)
        for channels in (None, 1, 3):
            whole = read_image(data, channels=channels)
            with monkeypatch.context() as patch:
                patch.setattr("foveal.files.pictures.BAND_PIXELS", 200)
                np.testing.assert_array_equal(read_image(data, channels=channels), whole)


def test_bytes_are_bounded_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    costly = {
        "PNG": encoded(pic(), "PNG"), "GIF": encoded(pic(), "GIF"), "BMP": encoded(pic(), "BMP"),
        "WEBP": encoded(pic(), "WEBP"), "TIFF": tiff(np.zeros((48, 64), np.float32)),
        "JPEG": encoded(pic(), progressive=True, subsampling=0), "AVIF": encoded(pic(), "AVIF"),
    }  # fmt: skip
    monkeypatch.setattr("foveal.files._limits.MOST_BYTES", 3 * 64 * 48)
    for form, data in costly.items():
        with pytest.raises(
            BadPicture, match=r"needs 0.00 GiB to decode, limit .*; save it smaller, or set data.max_meg"
        ):
            read_image(data, name=form)
    with pytest.raises(BadPicture) as raised:
        read_image(costly["WEBP"])
    least = int(raised.value.reason.rsplit(" ", 1)[1])
    assert read_image(costly["WEBP"], max_megapixels=least).shape == (48, 64, 3)  # as the sentence says


def test_a_strip_counts_as_a_whole() -> None:
    from foveal.files import _tiff

    image = Image.open(io.BytesIO(encoded(pic(), "TIFF", compression="tiff_lzw")))
    assert _tiff._largest_piece(image) == 64 * 48 * 3
