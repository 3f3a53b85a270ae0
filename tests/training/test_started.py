"""What a start from weights changes: norms, gradients, blend and averages; what somebody has set stays."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from trainings import recipe

from foveal.recipe import Recipe
from foveal.training.started import with_blend, with_norms, with_soup
from foveal.training.transfer import Near

NORMED, PLAIN = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Sequential(nn.Conv2d(3, 4, 3))
NEAR, FAR = Near(0.9, 0.5, 0.6), Near(0.6, 0.5, 0.6)


def of(name: str = "efficientnet_lite0", **settings: Any) -> Recipe:
    return recipe(network__name=name, network__weights="imagenet", **settings)


@pytest.mark.parametrize(
    ("name", "network", "pictures", "norms", "clip"),
    [
        ("efficientnet_lite0", NORMED, 300, "keep", 1.0),
        ("efficientnet_lite0", NORMED, 5000, "learn", 0.0),
        ("resnet18", PLAIN, 300, "keep", 0.0),
        ("custom", NORMED, 300, "keep", 1.0),
        ("alexnet_2012", PLAIN, 300, "keep", 1.0),  # its record bounds them
    ],
)
def test_few_pictures_leave_norms_as_they_are_and_bound_the_gradient(
    name: str, network: nn.Module, pictures: int, norms: str, clip: float
) -> None:
    found = with_norms(of(name), network, pictures)
    assert (found.network.norms, found.training.clip) == (norms, clip)


def test_what_is_set_stays() -> None:
    found = with_norms(of(network__norms="learn", training__clip=3.0), NORMED, 300)
    assert (found.network.norms, found.training.clip) == ("learn", 3.0)
    assert with_norms(of(network__norms="learn"), NORMED, 300).training.clip == 0.0
    assert with_blend(of(training__blend=0.2), FAR, 300).training.blend == 0.2
    assert with_soup(of(training__soup=3, training__epochs=50), 300, print).training.epochs == 50


@pytest.mark.parametrize(("near", "pictures", "blend"), [(NEAR, 300, 0.5), (None, 300, 0.5), (FAR, 300, 0.0),
                                                         (NEAR, 5000, 0.0)])  # fmt: skip
def test_nothing_is_blended_of_weights_that_are_far(near: Near | None, pictures: int, blend: float) -> None:
    assert with_blend(of(), near, pictures).training.blend == blend


@pytest.mark.parametrize(
    ("minutes", "pictures", "fitting", "count", "epochs"),
    [(5.0, 300, 3, 1, 3), (5.0, 300, 35, 1, 35), (5.0, 300, 41, 2, 20), (5.0, 300, 500, 4, 20),
     (5.0, 5000, 500, 1, 500), (0.0, 300, 500, 1, 500)],
)  # fmt: skip
def test_many_epochs_that_fit_become_several_trainings(
    minutes: float, pictures: int, fitting: int, count: int, epochs: int
) -> None:
    """Three hundred pictures are seen twenty times, usually."""
    said: list[str] = []
    found = with_soup(of(training__epochs=fitting, training__minutes=minutes), pictures, said.append).training
    assert (found.soup, found.epochs) == (count, epochs)
    assert bool(said) == (count > 1)
