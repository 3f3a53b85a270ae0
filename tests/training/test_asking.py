"""What is asked for is checked before anything is read, and refused in words that show the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from trainings import recipe

from foveal.errors import BadData, BadRecipe, FovealError, Missing, NotWritable
from foveal.networks.index import CUSTOM
from foveal.training.asking import check_asked, check_device, check_start, named, start_file


@pytest.mark.parametrize("word", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_a_device_need_not_be_here_to_be_asked_for(word: str) -> None:
    check_device(word)


@pytest.mark.parametrize("word", ["gpu", "", "CUDA", "cpu0", "tpu:0"])
def test_a_word_that_is_no_device_is_refused_with_those_that_are(word: str) -> None:
    with pytest.raises(BadRecipe, match=rf'^no such device: "{word}"; devices are cpu, cuda, cuda:1, mps\.$'):
        check_device(word)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (
            {"network__train": "head", "network__weights": "scratch"},
            BadRecipe,
            "--train head needs weights to start from; give --weights imagenet",
        ),
        (
            {"network__train": "last:2", "network__weights": "scratch"},
            BadRecipe,
            "--train last:2 needs weights to start from",
        ),
        (
            {"network__weights": "imagenet", "network__name": CUSTOM},
            BadRecipe,
            "a custom network has no published weights; give --weights FILE",
        ),
        (
            {"network__weights": "imagenet", "network__name": "lenet5"},
            BadRecipe,
            "there are no published weights for lenet5; .* or give --weights FILE",
        ),
        ({"network__weights": "imagnet"}, Missing, 'no such file; did you mean "imagenet"?'),
        ({"network__weights": "q.pth"}, Missing, "--weights q.pth: no such file; give scratch, imagenet or a file"),
    ],
)
def test_weights_that_cannot_be_started_from_are_refused(
    settings: dict[str, str], kind: type[FovealError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        check_start(recipe(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"network__train": "all"},
        {"network__weights": "imagenet"},
        {"network__weights": "imagenet", "network__name": "resnet18", "network__train": "last:1"},
        {"network__weights": "nowhere.pth", "network__train": "scratch"},  # nothing of the file is wanted
    ],
)
def test_what_can_be_started_from_is_not_talked_about(settings: dict[str, str]) -> None:
    check_start(recipe(**settings))


def test_a_runs_folder_stands_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    assert start_file(str(tmp_path)) == tmp_path / "model.safetensors"
    assert start_file(str(tmp_path / "w.pth")) == tmp_path / "w.pth"
    check_start(recipe(network__weights=str(tmp_path / "w.pth")))
    with pytest.raises(Missing):
        check_start(recipe(network__weights=str(tmp_path)))  # a folder without a model


def test_a_network_goes_by_the_name_that_builds_it_again(tmp_path: Path) -> None:
    assert named(recipe()).network.name == "auto"
    assert named(recipe(network__name=CUSTOM)).network.name == CUSTOM
    assert named(recipe(network__name="resnet18")).network.name == "resnet18"
    with pytest.raises(BadRecipe, match='did you mean "resnet18"'):
        named(recipe(network__name="resnet-18"))


@pytest.mark.parametrize("key", ["split", "exclude"])
def test_a_table_that_is_not_there_is_named(key: str) -> None:
    with pytest.raises((BadData, Missing), match=r"nowhere\.csv"):
        check_asked(recipe(**{f"data__{key}": "nowhere.csv"}))


def test_a_source_or_folder_that_cannot_do_is_told_before_the_rest(tmp_path: Path) -> None:
    wrong = recipe(training__device="tpu")
    with pytest.raises(Missing, match="no-such-folder"):
        check_asked(wrong, "no-such-folder/")
    full = tmp_path / "run"
    full.mkdir()
    (full / "file").write_text("mine")
    with pytest.raises(NotWritable, match="is not empty"):
        check_asked(wrong, "digits", full)
    with pytest.raises(BadRecipe, match="no such device"):
        check_asked(wrong, "digits", tmp_path / "new")


def test_asking_needs_neither_numpy_nor_pytorch() -> None:
    code = "import sys, foveal.training.asking; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
