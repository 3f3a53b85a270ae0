"""Pictures of more than 8 bits: one white for all of them, in every form that a file has for it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from foveal.errors import BadPicture
from foveal.files.deep import depth_of
from foveal.files.pictures import deep_samples, read_image
from foveal.files.safely import Unreadable

RAMP = np.linspace(0, 4095, 20 * 30).reshape(20, 30)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2).astype(np.uint16)
LEVELS = np.rint(COLOURS * (255 / 4095)).astype(np.uint8)


def png(samples: np.ndarray) -> bytes:
    """A PNG of uint16 samples, (H, W), RGB or RGBA."""
    order = samples if samples.ndim == 2 else samples[:, :, [2, 1, 0, 3][: samples.shape[2]]]
    return cv2.imencode(".png", np.ascontiguousarray(order))[1].tobytes()


def tiff(samples: np.ndarray, orientation: int = 1, **more: object) -> bytes:
    file = io.BytesIO()
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(file, samples, extratags=tags, metadata=None, **more)
    return file.getvalue()


FORMS = {
    "grey PNG": (png(COLOURS[:, :, 0]), LEVELS[:, :, :1]),
    "colour PNG": (png(COLOURS), LEVELS),
    "grey TIFF": (tiff(COLOURS[:, :, 0]), LEVELS[:, :, :1]),
    "big-endian TIFF": (tiff(COLOURS[:, :, 0], byteorder=">"), LEVELS[:, :, :1]),
    "colour TIFF": (tiff(COLOURS, photometric="rgb"), LEVELS),
    "big-endian colour TIFF": (tiff(COLOURS, photometric="rgb", byteorder=">"), LEVELS),
    "deflated colour TIFF": (tiff(COLOURS, photometric="rgb", compression="zlib", rowsperstrip=7), LEVELS),
    "float TIFF": (tiff(COLOURS[:, :, 0].astype(np.float32)), LEVELS[:, :, :1]),
    "32-bit TIFF": (tiff(COLOURS[:, :, 0].astype(np.int32)), LEVELS[:, :, :1]),
}


@pytest.mark.parametrize("form", FORMS)
def test_twelve_bits_keep_256_levels(form: str) -> None:
    data, wanted = FORMS[form]
    assert np.array_equal(read_image(data, white=4095), wanted)
    assert depth_of(data) == ("floats" if form == "float TIFF" else "integers")


@pytest.mark.parametrize("form", FORMS)
def test_its_samples_are_those_of_the_file(form: str) -> None:
    samples = deep_samples(FORMS[form][0])
    assert np.array_equal(samples, COLOURS if samples.ndim == 3 else COLOURS[:, :, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_turned_once(orientation: int) -> None:
    plain = Image.open(io.BytesIO(tiff(LEVELS, orientation, photometric="rgb")))
    upright = read_image(tiff(COLOURS, orientation, photometric="rgb"), white=4095)
    assert np.array_equal(upright, read_image(tiff(LEVELS, orientation, photometric="rgb")))
    assert np.array_equal(upright, np.asarray(plain))


def test_a_turned_png_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(COLOURS[:, :, 0])
    file = io.BytesIO()
    grey.save(file, "PNG", exif=exif)
    assert np.array_equal(read_image(file.getvalue(), white=4095)[:, :, 0], np.rot90(LEVELS[:, :, 0], -1))


def test_opacity_is_laid_on_white() -> None:
    samples = np.zeros((4, 5, 4), np.uint16)
    samples[:, :, 3] = [0, 13107, 32768, 52429, 65535]  # black, more and more opaque
    assert read_image(png(samples), white=4095)[0, :, 1].tolist() == [255, 204, 127, 51, 0]


def test_what_lies_above_is_white_and_nothing_is_its_own_range() -> None:
    dim, bright = np.full((8, 8), 1000, np.uint16), np.full((8, 8), 3000, np.uint16)
    assert read_image(png(dim), white=4095).max() == 62
    assert read_image(png(bright), white=2000).min() == 255
    assert read_image(png(bright)).max() == 12  # by type: 65535 is white


def test_eight_bits_have_no_other_white() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert depth_of(file.getvalue()) == ""
    assert np.array_equal(read_image(file.getvalue(), white=10)[:, :, 0], grey)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_what_is_no_brightness_is_refused(value: float) -> None:
    samples = np.full((8, 8), 0.5, np.float32)
    samples[3, 4] = value
    with pytest.raises(BadPicture, match=r"no finite numbers|below 0"):
        read_image(tiff(samples), white=1.0)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"\x89PNG\r\n\x1a\n", b"MM\0*\0\0\0\x08" + b"\xff" * 40])
def test_what_has_no_sound_header_is_not_called_deep(data: bytes) -> None:
    assert depth_of(data) == ""


def test_deep_colours_that_need_too_much_memory_are_refused_before_they_are_decoded_again() -> None:
    from foveal.files.deep import samples_of

    large = Image.new("RGB", (9000, 9000))
    with pytest.raises(Unreadable, match="GiB to decode, limit 1 GiB; save it smaller"):
        samples_of(large, b"")
