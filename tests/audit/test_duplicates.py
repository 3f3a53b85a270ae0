"""Copies are found whatever was done to them, and different pictures stay different."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from foveal.audit import duplicates
from foveal.audit.duplicates import exact_pairs, near_pairs
from foveal.preprocess import Preprocess


class Pixels:
    """A store in memory."""

    def __init__(self, pixels):
        self.pixels, self.shape = pixels, pixels.shape

    def rows(self, indices):
        return self.pixels[indices]


def changed(image, kind):
    width, height = image.size
    if kind == "resized":
        return image.resize((width // 2, height // 2), Image.Resampling.BILINEAR), 90
    if kind == "cropped":
        left, top = width // 20, height // 40
        return image.crop((left, top, left + int(0.95 * width), top + int(0.95 * height))), 90
    if kind == "brightened":
        return ImageEnhance.Brightness(image).enhance(1.3), 90
    return image, 30


@pytest.fixture(scope="module")
def photographs(real_data):
    """40 photographs, not square, of five classes."""
    return sorted(path for name in ("shirt", "shoes", "hat", "pants", "dress")
                  for path in sorted((real_data("clothing") / "test" / name).glob("*.jpg"))[:8])  # fmt: skip


@pytest.mark.parametrize("kind", ["resized", "re-compressed", "cropped", "brightened"])
def test_every_changed_copy_is_found_and_nothing_else(photographs, kind):
    prepare, rows = Preprocess(128, 128), []
    for path in photographs:
        rows.append(prepare.pixels(path))
    for path in photographs[::2]:
        image, quality = changed(Image.open(path).convert("RGB"), kind)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        rows.append(prepare.pixels(buffer.getvalue()))
    found = near_pairs(Pixels(np.stack(rows)), np.arange(len(rows)))
    n = len(photographs)
    assert {(p.first, p.second) for p in found} == {(2 * k, n + k) for k in range(n // 2)}
    assert all(0.9 <= p.agreement <= 1 and not p.exact for p in found)


def test_pictures_of_one_color_are_no_copies_of_each_other():
    levels = np.arange(8, dtype=np.uint8)[:, None, None, None] * 20
    assert near_pairs(Pixels(np.broadcast_to(levels, (8, 24, 24, 3)).copy()), np.arange(8)) == []


def test_blocks_do_not_change_what_is_found(monkeypatch):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    pixels = coarse.repeat(5, axis=1).repeat(5, axis=2)
    pixels = np.concatenate([pixels, np.clip(pixels[:10] * 0.8 + 30, 0, 255).astype(np.uint8)])
    whole = near_pairs(Pixels(pixels), np.arange(40))
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    assert near_pairs(Pixels(pixels), np.arange(40)) == whole
    assert {(p.first, p.second) for p in whole} == {(k, 30 + k) for k in range(10)}


@given(st.lists(st.integers(0, 5), max_size=20))
def test_exact_copies_are_those_of_an_obvious_search(contents):
    digests = np.zeros((len(contents), 16), np.uint8)
    digests[:, 3] = contents
    wanted = [(contents.index(c), i) for i, c in enumerate(contents) if contents.index(c) != i]
    assert [(p.first, p.second) for p in exact_pairs(digests)] == wanted
