"""HEIC and AVIF: upright, of the size that the header tells, and named with the way out where nothing reads them."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from foveal.errors import BadPicture
from foveal.files._heif import kind_of
from foveal.files.headers import header_of
from foveal.files.pictures import is_picture_name, read_image


def picture() -> Image.Image:
    """Smooth, with a white corner at top left."""
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([x * 2, y * 3, x + y], -1).astype(np.uint8)
    pixels[:8, :8] = 255
    return Image.fromarray(pixels)


def heic(image: Image.Image, *others: Image.Image, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not here")
    file, buffer = pillow_heif.from_pillow(image), io.BytesIO()
    for other in others:
        file.add_from_pillow(other)
    file.save(buffer, quality=95, **options)
    return buffer.getvalue()


def avif(image: Image.Image, **options: Any) -> bytes:
    if not features.check("avif"):
        pytest.skip("this Pillow knows no AVIF")
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", quality=95, speed=10, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


FORMS = {"HEIC": heic, "AVIF": avif}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_both_are_read_by_content(form: str, mode: str) -> None:
    data = FORMS[form](picture().convert(mode))
    assert kind_of(data) == form
    for channels in (None, 1, 3):
        found = read_image(data, name="a.jpg", channels=channels)
        wanted = np.atleast_3d(np.asarray(picture().convert("L" if found.shape[2] == 1 else "RGB")))
        if mode == "L":
            wanted = np.asarray(picture().convert("L"))[:, :, None]
        assert found.shape[2] == (channels or found.shape[2])
        assert np.abs(found.astype(int) - wanted).mean() < 4
    with pytest.raises(BadPicture, match="four bands"):
        read_image(data, channels=4)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_transparent_is_laid_on_white(form: str) -> None:
    clear = picture()
    clear.putalpha(0)
    assert read_image(FORMS[form](clear)).min() >= 254


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_once(form: str, orientation: int) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = picture().transpose(turns[orientation]) if orientation > 1 else picture()
    data = FORMS[form](stored, exif=exif(orientation))
    found = read_image(data)
    assert found.shape == (48, 64, 3)
    assert found[:7, :7].min() > 220
    assert np.abs(found.astype(int) - np.asarray(picture())).mean() < 4
    header = header_of(data)
    assert (header.format, header.height, header.width, header.channels) == (form, 48, 64, 3)


def test_of_several_pictures_the_primary_is_used(tmp_path: Any) -> None:
    data = heic(picture(), Image.new("RGB", (40, 30), "red"), primary_index=1)
    assert read_image(data).shape == (30, 40, 3)
    (tmp_path / "A.HEIC").write_bytes(data)
    assert header_of(tmp_path / "A.HEIC").width == 40


@pytest.mark.parametrize("form", FORMS)
def test_sizes_are_checked_before_anything_is_decoded(form: str) -> None:
    data = FORMS[form](picture())
    with pytest.raises(BadPicture, match=r"claims 0 megapixels, limit 0.001 \(data.max_megapixels\)"):
        read_image(data, max_megapixels=0.001)
    at = data.index(b"ispe") + 8
    with pytest.raises(BadPicture, match=r"claims 400 megapixels|is damaged"):
        read_image(data[:at] + (20000).to_bytes(4, "big") * 2 + data[at + 8 :])


@pytest.mark.parametrize("form", FORMS)
def test_cut_ones_are_rows(form: str) -> None:
    data = FORMS[form](picture())
    for length in (12, 24, 60, 200, len(data) // 2, len(data) - 1):
        with pytest.raises(BadPicture, match=r"is cut short|is damaged|is not a picture"):
            read_image(data[:length])


@pytest.mark.parametrize("form", FORMS)
def test_without_a_decoder_the_sentence_names_the_format_and_the_extra(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"\0\0\0\x18ftyp" + (b"mif1\0\0\0\0mif1heic" if form == "HEIC" else b"mif1\0\0\0\0mif1avif")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(features, "check", lambda _: False)
    a = "a HEIC" if form == "HEIC" else "an AVIF"
    sentence = f'is {a} picture; pip install "foveal[heif]" reads it, or save it as JPEG or PNG'
    with pytest.raises(BadPicture) as raised:
        read_image(data)
    assert raised.value.reason == sentence


def test_a_video_is_no_picture() -> None:
    with pytest.raises(BadPicture, match="is a video; give pictures"):
        read_image(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")


@pytest.mark.parametrize("ending", ["heic", "HEIF", "avif", "jfif", "JPE", "Jif"])
def test_their_endings_are_those_of_pictures(ending: str) -> None:
    assert is_picture_name(f"a/b.{ending}")
