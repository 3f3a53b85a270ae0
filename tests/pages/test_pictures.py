from __future__ import annotations

import numpy as np

from foveal.pages.pictures import contact_sheet, data_uri, filter_sheet, sheet, shrunk


def test_a_sheet_holds_each_picture_whole():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    out = contact_sheet(pictures[:2], pictures[2:])
    opaque = out[..., 3] > 0
    factor = 96 // 8
    assert opaque.sum() == 6 * (8 * factor) ** 2
    first_row = out[: 8 * factor, :, :3]
    np.testing.assert_array_equal(first_row[::factor, : 8 * factor : factor], pictures[0])
    np.testing.assert_array_equal(first_row[::factor][:, -8 * factor :: factor], pictures[3])


def test_large_pictures_shrink_and_small_ones_do_not():
    assert shrunk(np.zeros((300, 600, 3), np.uint8), 96).shape == (48, 96, 3)
    assert shrunk(np.zeros((8, 5, 1), np.uint8), 96).shape == (8, 5, 3)
    assert shrunk(np.zeros((1, 500, 3), np.uint8), 96).shape == (1, 96, 3)


def test_a_filter_of_zeros_is_grey_and_the_largest_weight_is_white():
    weights = np.zeros((2, 1, 3, 3), np.float32)
    weights[1, 0, 1, 1] = 0.01
    out = filter_sheet(weights)
    values = {tuple(v) for v in out[out[..., 3] > 0][:, :3].tolist()}
    assert values == {(128, 128, 128), (255, 255, 255)}


def test_broken_weights_do_not_stop_the_report():
    assert filter_sheet(np.full((2, 3, 3, 3), np.nan, np.float32)).dtype == np.uint8


def test_small_pictures_are_kept_without_loss_and_noise_is_not():
    assert data_uri(np.zeros((8, 8, 3), np.uint8)).startswith("data:image/png;base64,")
    photo = sheet([[np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)]], side=192)
    assert data_uri(photo).startswith("data:image/webp;base64,")
