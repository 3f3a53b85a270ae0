"""Features, distances and places."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.audit import look as looking
from foveal.audit.look import TRUNKS, look, principal
from foveal.audit.map import on_a_map
from foveal.audit.outliers import outliers
from foveal.networks.catalogue import build, find


class Pixels:
    def __init__(self, pixels):
        self.pixels, self.shape = pixels, pixels.shape

    def rows(self, indices):
        return self.pixels[indices]


@pytest.mark.parametrize("n", [20, 90])
def test_principal_directions_keep_all_distances(n):
    table = np.random.default_rng(0).standard_normal((n, 40)).astype(np.float32)
    standard = (table - table.mean(0)) / table.std(0)
    found = principal(table, 40)
    apart = np.linalg.norm(found[:, None] - found, axis=-1)
    assert np.allclose(apart, np.linalg.norm(standard[:, None] - standard, axis=-1), atol=1e-3)
    assert (np.diff(found.var(0)) < 1e-3).all()


def test_without_weights_gradients_and_colors_do_the_looking():
    rng = np.random.default_rng(0)
    seen = look(Pixels(rng.integers(0, 256, (12, 30, 30, 3), dtype=np.uint8)), np.arange(12), trunks=())
    assert not seen.knows_things
    assert "HOG" in seen.by
    assert len(seen.features) == 12


@pytest.mark.parametrize("trunk", [TRUNKS[0], TRUNKS[-1]], ids=lambda trunk: trunk.network)
def test_the_networks_maps_are_averaged_as_a_plain_forward_pass_has_them(trunk, monkeypatch):
    import torch

    monkeypatch.setattr(looking, "rival_format", lambda network, device: None)
    network = looking._here(trunk)
    if network is None:
        pytest.skip(f"no weights of {trunk.called} here")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    found = looking._seen(network, trunk, Pixels(pixels), np.array([2, 0]), looking.SILENT)
    used_to = find(trunk.network).weights.preprocess
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (used_to.mean, used_to.std))
    x = (torch.from_numpy(pixels[[2, 0]] / 255.0).float().permute(0, 3, 1, 2) - mean) / std
    wanted, modules = {}, dict(network.named_modules())
    for name in trunk.maps:
        modules[name].register_forward_hook(lambda m, i, out, name=name: wanted.update({name: out.mean((2, 3))}))
    with torch.no_grad():
        network.eval()(x)
    assert np.allclose(found, torch.cat([wanted[name] for name in trunk.maps], 1).numpy(), rtol=1e-3, atol=1e-3)


def test_each_map_of_a_lite_network_ends_a_stage():
    """Stages' ends: the next block has other channels or a smaller map, or is the head."""
    for trunk in TRUNKS[:3]:
        network = build(trunk.network, 10, 3, (128, 128))
        blocks = [int(name.partition(".")[2]) for name in trunk.maps[:-1]]
        for number in blocks:
            assert number + 1 == len(network.blocks) or not network.blocks[number + 1].shortcut


def test_what_lies_far_from_all_others_is_an_outlier():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 20)).astype(np.float32)
    features[[17, 40]] += 30 * rng.standard_normal((2, 20)).astype(np.float32)
    assert {row for row, _ in outliers(features)} == {17, 40}
    assert outliers(features[:5]) == []


@pytest.mark.parametrize("n", [1, 2, 5, 30, 450])
def test_a_map_places_every_picture_inside_and_the_same_each_time(n):
    features = np.random.default_rng(0).standard_normal((n, 6)).astype(np.float32)
    places, rows = on_a_map(features)
    again, _ = on_a_map(features)
    assert places.shape == (len(rows), 2)
    assert len(rows) == min(n, 400)
    assert (places >= 0).all()
    assert (places <= 1).all()
    assert np.isfinite(places).all()
    assert np.array_equal(places, again)
