"""What is drawn on a GPU is what is drawn on the CPU; tried on the CPU as device, and on CUDA where there is one."""

import numpy as np
import pytest
import torch

from foveal.data.augment import draw, resolve, warp
from foveal.data.batches import TrainingBatches
from foveal.data.on_device import DeviceBatches, warp_on_device
from foveal.recipe import AugmentRecipe

SETTINGS = {
    "geometry": {"crop": 0.5, "zoom": 0.2, "translate": 0.1, "rotate": 20.0, "shear": 10.0, "flip": "both"},
    "whole pixels": {"pad_crop": 3, "flip": "horizontal"},
    "color": {"color": 0.4},
    "cutout": {"cutout": 0.4},
}


class Store:
    def __init__(self, channels=3):
        smooth = np.random.default_rng(0).random((40, 5, 6, channels))
        import cv2

        pictures = [cv2.resize(p, (24, 20), interpolation=cv2.INTER_CUBIC) for p in smooth]
        self.pixels = (np.clip(np.stack(pictures), 0, 1) * 255).astype(np.uint8).reshape(40, 20, 24, channels)
        self.shape = self.pixels.shape

    def rows(self, indices):
        return self.pixels[indices]


def batches(recipe, channels=3):
    augment = resolve(AugmentRecipe(preset="off", **recipe), (20, 24), channels, 100)
    fill = np.array([10, 20, 30][:channels], np.uint8)
    return TrainingBatches(Store(channels), np.arange(40) % 3, np.arange(0, 40, 2), 6, augment, fill, seed=5)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_device_draws_what_the_cpu_draws(name, channels):
    plain = batches(SETTINGS[name], channels)
    there = DeviceBatches.upload(plain, "cpu")
    for epoch in (0, 1):
        pairs = list(zip(plain.epoch(epoch), there.epoch(epoch), strict=True))
        assert len(pairs) == len(plain) == 3
        for ours, theirs in pairs:
            assert torch.equal(ours.labels, theirs.labels)
            difference = (ours.pixels.int() - theirs.pixels.int()).abs().float()
            assert difference.mean() < 1.0, "OpenCV keeps five bits of each fraction"
            if name in ("whole pixels", "cutout"):
                assert difference.max() == 0


def test_an_epoch_starts_at_any_step():
    there = DeviceBatches.upload(batches(SETTINGS["geometry"]), "cpu")
    whole, rest = list(there.epoch(3)), list(there.epoch(3, start=2))
    assert torch.equal(whole[2].pixels, rest[0].pixels)
    assert len(rest) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_cuda_as_on_the_cpu():
    plain = batches(SETTINGS["geometry"])
    for ours, theirs in zip(plain.epoch(0), DeviceBatches.upload(plain, "cuda").epoch(0), strict=True):
        assert (ours.pixels.int() - theirs.pixels.cpu().int()).abs().float().mean() < 1.0


def test_warp_keeps_the_shape_of_lying_pictures():
    augment = resolve(AugmentRecipe(preset="off", rotate=90.0), (10, 30), 3, 100)
    drawn = draw(augment, (10, 30), 3, 0, 0, np.arange(4))
    x = np.random.default_rng(0).integers(0, 255, (4, 10, 30, 3), dtype=np.uint8)
    fill = np.zeros(3, np.uint8)
    there = warp_on_device(torch.from_numpy(x), drawn, torch.from_numpy(fill)).numpy()
    assert there.shape == warp(x, drawn, fill).shape == x.shape
