"""What earlier versions wrote is loaded, answered, gone on with and repeated as they did: see record_earlier.py."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import record_earlier
import torch
from torch import Tensor

import foveal
from foveal.files.tensors import read_tensors
from foveal.recipe import Recipe, parse_recipe, read_recipe

EARLIER = Path(__file__).parent / "earlier"
VERSIONS = sorted(folder for folder in EARLIER.iterdir() if folder.is_dir())
MODELS = [file for folder in VERSIONS for file in record_earlier.models(folder)]
RECIPES = [file for folder in VERSIONS for file in sorted(folder.rglob("*.toml"))]
LARGEST = 1 << 20  # bytes of a file

# On another processor or with other versions of what computes. Measured with instructions from SSE 4 to AVX-512:
ANSWERS = 1e-5  # of the largest number of its kind; 2e-6 were measured
REPEATED = 1e-4  # of a tensor's norm, after all steps of the finished run; 3e-6
# Muon rounds to bf16, and every step anew. Of the way that a tensor went from the checkpoint to the end; 0.013.
GONE_ON = 0.1


def _named(path: Path) -> str:
    return str(path.relative_to(EARLIER))


def _recorded(folder: Path, name: str) -> Any:
    return json.loads((folder / "answers.json").read_text(encoding="utf-8"))[name]


def _to_the_bit(folder: Path) -> bool:
    """Whether this is the machine of the recording, with what computed there."""
    was, now = json.loads((folder / "machine.json").read_text(encoding="utf-8")), record_earlier.machine()
    return all(was[key] == now[key] for key in ("processor", "torch", "numpy", "opencv"))


@pytest.mark.parametrize("file", MODELS, ids=_named)
def test_a_model_answers_as_it_did(file: Path) -> None:
    wanted, found = _recorded(file.parent, file.name), record_earlier.answer(foveal.load(file))
    assert found.keys() >= wanted.keys()
    for key, value in wanted.items():
        _agree(found[key], value, f"{file.name}: {key}")


def _agree(found: Any, wanted: Any, where: str) -> None:
    """Numbers nearly, everything else exactly; `wanted` is nested lists, or dicts by class."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        found, wanted = [found[name] for name in wanted], list(wanted.values())
    if isinstance(wanted, float):
        assert math.isclose(found, wanted, rel_tol=ANSWERS), where
    elif not isinstance(wanted, list):
        assert found == wanted, where
    elif wanted and isinstance(wanted[0], float):
        assert len(found) == len(wanted), where
        np.testing.assert_allclose(found, wanted, rtol=0, atol=ANSWERS * np.abs(wanted).max(), err_msg=where)
    else:
        assert len(found) == len(wanted), where
        for one, other in zip(found, wanted, strict=True):
            _agree(one, other, where)


@pytest.mark.parametrize("file", RECIPES, ids=_named)
def test_a_recipe_says_what_it_said(file: Path) -> None:
    _says(read_recipe(file), file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", [f for f in MODELS if not f.name.startswith("darknet")], ids=_named)
def test_a_model_tells_the_recipe_that_it_was_trained_with(file: Path) -> None:
    text = foveal.load(file).trained["recipe"]
    assert text == (file.parent / "recipes" / f"{file.stem}.toml").read_text(encoding="utf-8")
    _says(parse_recipe(text), text)


def _says(recipe: Recipe, text: str) -> None:
    now = tomllib.loads(recipe.to_toml())
    for section, keys in tomllib.loads(text).items():
        assert now[section].items() >= keys.items()


@pytest.fixture(scope="module", params=VERSIONS, ids=_named)
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a version's folder, where its interrupted run has gone on to its end and its finished one was run again)."""
    folder, work = request.param, tmp_path_factory.mktemp("again")
    record_earlier.run_held([record_earlier.__file__, "--again", str(folder)], work)
    return folder, work


def test_the_interrupted_run_ends_as_it_would_have(ended: tuple[Path, Path]) -> None:
    folder, work = ended
    (checkpoint,) = (folder / "interrupted" / "checkpoint").glob("epoch-*")
    tensors, _ = read_tensors(checkpoint, "checkpoint")
    _ends_alike(folder, "interrupted", folder / "interrupted-ended.safetensors", work / "interrupted")
    wanted, found = _weights(folder / "interrupted-ended.safetensors"), _weights(work / "interrupted")
    for name, value in wanted.items():
        way = (value - tensors[f"averaged.{name}"]).double().norm()
        assert (found[name] - value).double().norm() <= GONE_ON * way, name
    log = (work / "interrupted" / "log.txt").read_text(encoding="utf-8")
    assert "Resuming from epoch 2, step 6" in log
    assert ("not to the bit" in log) <= (not _to_the_bit(folder))


def test_the_finished_run_s_recipe_repeats_it(ended: tuple[Path, Path]) -> None:
    folder, work = ended
    _ends_alike(folder, "finished", folder / "finished" / "model.safetensors", work / "finished")
    wanted, found = _weights(folder / "finished"), _weights(work / "finished")
    for name, value in wanted.items():
        assert (found[name] - value).double().norm() <= REPEATED * value.double().norm(), name
    recipe = (folder / "finished" / "recipe.toml").read_text(encoding="utf-8")
    _says(read_recipe(work / "finished" / "recipe.toml"), recipe)


def _weights(place: Path) -> dict[str, Tensor]:
    return foveal.load(place).network.state_dict()


def _ends_alike(folder: Path, run: str, recorded: Path, again: Path) -> None:
    """The same tensors, and the same history: to the bit on the machine of the recording."""
    was, now = _recorded(folder, run), record_earlier.outcome(again)
    wanted, found = _weights(recorded), _weights(again)
    assert record_earlier.digest(wanted) == was["sha256"], f"{recorded.name} is not what was recorded"
    assert found.keys() == wanted.keys()
    assert [row["epoch"] for row in now["history"]] == [row["epoch"] for row in was["history"]], "each epoch once"
    for one, other in zip(now["history"], was["history"], strict=True):
        assert one == pytest.approx(other, rel=0.02, abs=0.02)
        assert math.isclose(one["learning_rate"], other["learning_rate"], rel_tol=1e-9)
    if _to_the_bit(folder):
        apart = {k: float((found[k] - v).double().norm()) for k, v in wanted.items() if not torch.equal(found[k], v)}
        assert not apart, f"the weights of the {run} run differ, by norms of {apart}"
        assert now == was


def test_what_is_kept_is_small_and_complete() -> None:
    assert VERSIONS[0].name == "0.1"
    for file in EARLIER.rglob("*"):
        assert file.is_dir() or file.stat().st_size <= LARGEST, file.name
