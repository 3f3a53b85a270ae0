"""What is white in deep pictures is measured once for a whole set, and kept with the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data.sources import open_dataset
from foveal.data.white import White, measured_white
from foveal.errors import BadData


def camera(folder: Path, samples: Callable[[np.random.Generator, str], np.ndarray], suffix: str = ".png") -> Path:
    """Eight pictures of each of two classes."""
    for name in ("dim", "bright"):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            picture = samples(np.random.default_rng([i, name == "dim"]), name)
            Image.fromarray(picture).save(folder / name / f"{i}{suffix}")
    return folder


def twelve_bits(rng: np.random.Generator, name: str) -> np.ndarray:
    return rng.integers(0, 1001 if name == "dim" else 4096, (24, 32)).astype(np.uint16)


def measured(folder: Path) -> White:
    dataset = open_dataset(folder)
    found = measured_white(dataset, dataset.indices("train"))
    assert found is not None
    return found


def test_bits_that_hold_the_largest_value(tmp_path: Path) -> None:
    found = measured(camera(tmp_path / "set", twelve_bits))
    assert found.value == 4095
    assert re.fullmatch(
        r"1\d pictures of more than 8 bits: values up to 40\d\d, so 4095 \(12 bits\) is white; --white V .*",
        found.sentence,
    )


@pytest.mark.parametrize(("largest", "white"), [(0.9, 1.0), (200.0, 255.0), (4000.0, 4000.0)])
def test_floats_end_where_floats_usually_end(tmp_path: Path, largest: float, white: float) -> None:
    def samples(rng: np.random.Generator, _: str) -> np.ndarray:
        picture = (rng.random((24, 32)) * largest).astype(np.float32)
        picture[0, 0] = largest
        return picture

    assert measured(camera(tmp_path / "set", samples, ".tif")).value == pytest.approx(white)


def test_a_few_hot_pixels_are_told(tmp_path: Path) -> None:
    def samples(rng: np.random.Generator, name: str) -> np.ndarray:
        picture = rng.integers(0, 4096, (200, 200)).astype(np.uint16)
        picture[7, 7] = 65535
        return picture

    found = measured(camera(tmp_path / "set", samples))
    assert found.value == 65535
    assert found.sentence.endswith("of the values lie above 4095: --white 4095, if those are faults of the camera.")


def test_plain_pictures_have_none(tmp_path: Path) -> None:
    folder = camera(tmp_path / "set", lambda rng, _: rng.integers(0, 256, (24, 32)).astype(np.uint8))
    dataset = open_dataset(folder)
    assert measured_white(dataset, dataset.indices("train")) is None


def test_integers_among_floats_are_refused(tmp_path: Path) -> None:
    folder = camera(tmp_path / "set", twelve_bits)
    for i in range(8, 16):
        Image.fromarray(np.random.default_rng(i).random((24, 32)).astype(np.float32)).save(folder / f"dim/{i}.tif")
    dataset = open_dataset(folder)
    with pytest.raises(
        BadData, match=r"two kinds, 1\d of integers \(first: .*\) and \d of floats \(first: dim/\d+\.tif"
    ):
        measured_white(dataset, dataset.indices("train"))


def test_it_is_kept_with_the_model_and_the_recipe(tmp_path: Path, command: Callable[..., object]) -> None:
    import foveal
    from foveal.recipe import read_recipe

    folder = camera(tmp_path / "set", twelve_bits)
    quick = {"training.epochs": 1, "network.name": "lenet5", "training.arithmetic": "fp32", "training.threads": 1}
    foveal.train(folder, settings=quick, out=tmp_path / "run")
    assert foveal.load(tmp_path / "run").preprocess.white == 4095
    assert read_recipe(tmp_path / "run/recipe.toml").data.white == 4095
    one = Image.fromarray(twelve_bits(np.random.default_rng(99), "bright"))
    one.save(tmp_path / "one.png")
    eight = np.rint(np.asarray(one) * (255 / 4095)).astype(np.uint8)
    model = foveal.load(tmp_path / "run")
    deep, plain = model.preprocess.pixels(tmp_path / "one.png"), model.preprocess.pixels(eight)
    assert np.array_equal(deep, plain)


def test_a_recipe_of_an_earlier_version_keeps_what_it_meant() -> None:
    from foveal.recipe import parse_recipe

    saved = '[training]\narithmetic = "fp32"\nthreads = 2\n'
    assert parse_recipe(saved).data.white == "by type"
    assert parse_recipe("").data.white == "auto"


def test_a_check_measures_it_and_shows_pictures_by_it(tmp_path: Path) -> None:
    from foveal.audit import check
    from foveal.audit.page import _pixels

    found = check(camera(tmp_path / "set", twelve_bits))
    assert found.white == 4095
    assert any("4095 (12 bits) is white" in note for note in found.as_dict()["notes"])
    shown = _pixels(found, 0)
    assert shown is not None
    assert shown.max() > 200  # by type it would be 16 at most


def test_idx_is_written_by_it(tmp_path: Path) -> None:
    from foveal.data.convert import convert

    done = convert(open_dataset(camera(tmp_path / "set", twelve_bits)), tmp_path / "idx", "idx")
    assert any("4095 (12 bits) is white" in note for note in done.notes)
    again = open_dataset(tmp_path / "idx")
    assert max(int(np.max(again.pictures.content(i))) for i in range(len(again))) > 200
