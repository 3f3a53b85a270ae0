"""Augmentation: pixels and points go the same way, and every draw is the sample's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from foveal.data.augment import Drawn, draw, in_words, mix, resolve, warp
from foveal.ops.geometry import inverse, map_points, translation
from foveal.recipe import AugmentRecipe

OFF = resolve(AugmentRecipe(preset="off"), (24, 32), 3, 1000)
EVERYTHING = OFF.model_copy(
    update={
        "flip": "both",
        "crop": 0.5,
        "zoom": 0.2,
        "translate": 0.1,
        "rotate": 20.0,
        "shear": 10.0,
        "pad_crop": 3,
        "color": 0.3,
        "cutout": 0.3,
    }
)
BLACK = np.zeros(3, np.uint8)


def pictures(n=6, height=24, width=32, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def slowly_warped(picture, matrix):
    """Bilinear by hand: for each new pixel's centre, where it was, and the four neighbours there; mirrored borders."""
    height, width, _ = picture.shape
    out = np.zeros(picture.shape)

    def folded(i, n):
        i = i % (2 * (n - 1))
        return i if i < n else 2 * (n - 1) - i

    for y in range(height):
        for x in range(width):
            (was_x, was_y) = map_points(inverse(matrix), np.array([[x + 0.5, y + 0.5]]))[0] - 0.5
            x0, y0 = int(np.floor(was_x)), int(np.floor(was_y))
            for dy in (0, 1):
                for dx in (0, 1):
                    weight = (1 - abs(was_x - x0 - dx)) * (1 - abs(was_y - y0 - dy))
                    out[y, x] += weight * picture[folded(y0 + dy, height), folded(x0 + dx, width)]
    return out


def test_off_changes_nothing():
    x = pictures()
    assert_array_equal(warp(x, draw(OFF, (24, 32), 3, 1, 2, np.arange(6)), BLACK), x)


def test_the_resample_agrees_with_bilinear_by_hand():
    x = pictures(4)
    recipe = EVERYTHING.model_copy(update={"color": 0.0, "cutout": 0.0})
    drawn = draw(recipe, (24, 32), 3, 5, 1, np.arange(4))
    fast = warp(x, drawn, BLACK).astype(float)
    for i in range(4):
        slow = slowly_warped(x[i], drawn.matrices[i])
        assert np.abs(fast[i] - slow).mean() < 2.5, "OpenCV keeps five bits of each fraction"


def test_points_follow_the_pixels():
    x = np.zeros((1, 61, 81, 1), np.uint8)
    x[0, 20:23, 50:53] = 255  # a blob around (51.5, 21.5)
    recipe = OFF.model_copy(update={"rotate": 25.0, "zoom": 0.2, "shear": 10.0, "flip": "horizontal"})
    for epoch in range(6):
        drawn = draw(recipe, (61, 81), 1, 3, epoch, np.array([0]))
        moved = map_points(drawn.matrices[0], np.array([[51.5, 21.5]]))[0]
        if not (5 < moved[0] < 76 and 5 < moved[1] < 56):
            continue
        out = warp(x, drawn, BLACK[:1])[0, :, :, 0].astype(float)
        ys, xs = np.mgrid[:61, :81] + 0.5
        near = np.hypot(xs - moved[0], ys - moved[1]) < 8
        centre = [(xs * out * near).sum() / (out * near).sum(), (ys * out * near).sum() / (out * near).sum()]
        assert_allclose(centre, moved, atol=0.2)


def test_whole_pixel_moves_copy_pixels():
    x = pictures(1)
    out = warp(x, Drawn(translation(3, -2)[None], None, None), BLACK)
    assert_array_equal(out[0, :-2, 3:], x[0, 2:, :-3])
    assert_array_equal(out[0, 0, :3], x[0, 2, 3:0:-1])  # mirrored in, the border's own pixel once


def test_a_flip_alternates_from_epoch_to_epoch_and_starts_on_both_sides():
    recipe = OFF.model_copy(update={"flip": "horizontal"})
    flipped = [draw(recipe, (24, 32), 3, 0, e, np.arange(500)).matrices[:, 0, 0] < 0 for e in range(3)]
    assert_array_equal(flipped[0], ~flipped[1])
    assert_array_equal(flipped[0], flipped[2])
    assert 0.4 < flipped[0].mean() < 0.6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 50), st.integers(0, 5))
def test_a_picture_is_drawn_the_same_alone_as_in_a_batch(seed, epoch, i):
    x = pictures()
    whole = warp(x, draw(EVERYTHING, (24, 32), 3, seed, epoch, np.arange(6)), BLACK)
    alone = warp(x[i : i + 1], draw(EVERYTHING, (24, 32), 3, seed, epoch, np.array([i])), BLACK)
    assert_array_equal(whole[i], alone[0])


def test_a_crop_keeps_the_share_it_was_told():
    recipe = OFF.model_copy(update={"crop": 0.3})
    drawn = draw(recipe, (24, 32), 3, 0, 0, np.arange(3000))
    corners = map_points(np.linalg.inv(drawn.matrices), np.array([[0.0, 0.0], [32.0, 24.0]]))
    sides = corners[:, 1] - corners[:, 0]
    area = sides.prod(1) / (24 * 32)
    assert area.min() > 0.25
    assert 0.55 < area.mean() < 0.7
    assert (corners[:, 0] > -1e-9).all()
    assert (corners[:, 1] < np.array([32, 24]) + 1e-9).all()
    assert (np.abs(sides[:, 0] / 32 - sides[:, 1] / 24) > 0.01).any(), "the ratio of the sides is drawn, too"


def test_color_keeps_grey_grey_under_saturation_alone():
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    drawn = draw(OFF.model_copy(update={"color": 0.5}), (8, 8), 3, 0, 0, np.array([4]))
    out = warp(grey, drawn, BLACK)
    assert np.ptp(out.astype(int)) <= 1


def test_color_of_a_grey_picture_is_a_line():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    drawn = draw(OFF.model_copy(update={"color": 0.4}), (16, 16), 1, 1, 0, np.array([0]))
    gain, offset = drawn.colors[0, 0]
    assert_allclose(warp(ramp, drawn, BLACK[:1]).ravel(), np.clip(np.arange(256) * gain + offset, 0, 255), atol=1)


def test_cutout_hides_a_square_of_its_side():
    recipe = OFF.model_copy(update={"cutout": 0.5})
    white = np.full((400, 24, 32, 3), 255, np.uint8)
    out = warp(white, draw(recipe, (24, 32), 3, 0, 0, np.arange(400)), np.array([1, 2, 3], np.uint8))
    hidden = (out == np.array([1, 2, 3])).all(-1)
    assert hidden.sum((1, 2)).max() == 12 * 12
    assert (hidden.sum((1, 2)) > 0).all()
    assert hidden.any(0).all(), "its place is anywhere"


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_shares_targets_as_it_shares_pixels(kind):
    recipe = OFF.model_copy(update={kind: 1.0})
    labels = torch.tensor([0, 1, 2, 3])
    images = labels.float().view(4, 1, 1, 1).expand(4, 1, 10, 14).clone() + 1
    for step in range(5):
        mixed, targets = mix(recipe, images, labels, 4, seed=0, epoch=0, step=step)
        assert_allclose(targets.sum(1), 1, rtol=1e-6)
        expected = (targets * torch.arange(1.0, 5)).sum(1)
        assert_allclose(mixed.mean((1, 2, 3)), expected, rtol=1e-5)


def test_mixing_is_the_same_each_time_a_step_is_repeated():
    recipe = OFF.model_copy(update={"mixup": 0.4, "cutmix": 1.0})
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    first, second = (mix(recipe, images, labels, 6, 1, 2, 3) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_without_mixing_the_labels_stay_indices():
    images, labels = torch.randn(2, 3, 8, 8), torch.arange(2)
    assert mix(OFF, images, labels, 2, 0, 0, 0) == (images, labels)


def test_presets_follow_the_size_of_the_data_and_what_the_pictures_are():
    few, many = (resolve(AugmentRecipe(), (224, 224), 3, n) for n in (300, 60_000))
    assert (few.preset, many.preset) == ("strong", "mild")
    assert few.crop < many.crop
    glyphs = resolve(AugmentRecipe(), (28, 28), 1, 60_000)
    assert glyphs.flip == "none", "writing is not mirrored"
    assert resolve(AugmentRecipe(), (32, 32), 3, 50_000).flip == "horizontal"


def test_a_setting_overrules_its_preset():
    assert resolve(AugmentRecipe(preset="strong", flip="none"), (224, 224), 3, 10).flip == "none"


def test_words_name_what_is_drawn():
    assert in_words(resolve(AugmentRecipe(), (32, 32), 3, 50_000)) == "mild: flip horizontal, pad 2 px and crop"
    assert in_words(OFF) == "off: pictures as they are"
