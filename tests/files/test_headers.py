"""What a header tells is what decoding gives."""

import io

import numpy as np
import pytest
from PIL import Image

from foveal.errors import BadPicture
from foveal.files.headers import header_of, shape_of
from foveal.files.pictures import read_image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_header_agrees_with_the_decoded_picture(mode, kind, orientation):
    picture = Image.new(mode, (20, 30))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    try:
        picture.save(file, kind, exif=exif)
    except OSError:
        return  # this format does not hold this mode
    height, width, channels = shape_of(file.getvalue())
    decoded = read_image(file.getvalue())
    assert (height, width) == decoded.shape[:2]
    if mode != "P":
        assert channels == decoded.shape[2]


def test_arrays_tell_their_own_shape():
    assert shape_of(np.zeros((5, 7), np.uint8)) == (5, 7, 1)
    assert shape_of(np.zeros((5, 7, 3), np.uint8)) == (5, 7, 3)


def test_what_is_no_picture_is_a_bad_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(BadPicture, match=r"a\.png is not a picture"):
        shape_of(tmp_path / "a.png", "a.png")
    with pytest.raises(BadPicture):
        shape_of(tmp_path / "gone.png")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_png_in_memory_is_as_large_as_one_on_the_disk(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png", exif=exif)
    Image.new("RGB", (30, 20), "red").save(tmp_path / "plain.png")
    for name in ("a.png", "plain.png"):
        assert header_of((tmp_path / name).read_bytes(), sound=True) == header_of(tmp_path / name)


def test_the_header_of_a_png_in_memory_decodes_nothing(tmp_path, monkeypatch):
    from PIL.PngImagePlugin import PngImageFile

    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    monkeypatch.setattr(PngImageFile, "load", lambda _: pytest.fail("decoded"))
    assert shape_of((tmp_path / "a.png").read_bytes(), sound=True) == (20, 30, 3)
