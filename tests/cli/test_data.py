"""What the command line says of data: excluded pictures and groups reach the run, and its recipe repeats them."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(name="foveal")
def within_this_process(command):
    """The command, without a process of its own: what that costs is the imports."""
    return command


def test_excluded_pictures_and_groups_reach_the_run_and_its_recipe(tmp_path, foveal):
    for plant in range(40):
        for leaf in range(3):
            folder = tmp_path / "in" / "ab"[(plant + leaf) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(3 * plant + leaf).integers(0, 256, (20, 30), np.uint8)
            Image.fromarray(pixels).save(folder / f"p{plant}_{leaf}.png")
    (tmp_path / "no.csv").write_text("path\na/p0_0.png\n", encoding="utf-8")
    words = ("--exclude", "no.csv", "--group-by", r"p\d+")
    done = foveal("train", "in", "--network", "mlp", "--epochs", "1", "--exact", "--out", "run", *words)
    assert done.exit_code == 0, done.stderr
    assert "40 groups" in done.stderr
    assert "split by hash of the group" in done.stderr
    recipe = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8"))
    assert (recipe["data"]["exclude"], recipe["data"]["group_by"]) == ("no.csv", r"p\d+")
    assert "a/p0_0.png" in (tmp_path / "run" / "skipped.csv").read_text(encoding="utf-8")
    assert foveal("evaluate", "run", "in", *words).exit_code == 0
    refused = foveal("train", "in", "--out", "other", "--group-by", "film")
    assert refused.exit_code == 2
    assert "matches no picture" in refused.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "other").exists()


def test_data_has_help_and_names_the_command_that_was_meant(foveal):
    assert "Examples:" in foveal("data", "convert", "--help").stdout
    assert "convert" in foveal("data", "--help").stdout
    assert 'did you mean "data"' in foveal("dta").stderr
    assert foveal("data", "convert", "digits", "x").stderr.strip().endswith("coco, yolo or boxes-csv.")
