"""What a person may get wrong first: one sentence with the thing and the way out, exit code 2, nothing written."""

import numpy as np
import pytest
from PIL import Image


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(value).integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def place(tmp_path):
    """flowers/ with two classes, and some places that are wrong in one way each."""
    for i in range(12):
        picture(tmp_path / "flowers" / "ab"[i % 2] / f"{i}.png", i)
        picture(tmp_path / "single" / "cat" / f"{i}.png", 100 + i)
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "loose" / "1.png", 1)
    (tmp_path / "nothing" / "a").mkdir(parents=True)
    (tmp_path / "nothing" / "b").mkdir()
    (tmp_path / "file.txt").write_text("I am a file")
    (tmp_path / "recipe.toml").write_text("[training]\nlearning_rat = 0.1\n")
    (tmp_path / "cut.toml").write_text("[training\n")
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.")
    (tmp_path / "zeros.safetensors").write_bytes(bytes(4000))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    return tmp_path


TRAIN = {
    "an empty folder": (["empty"], ["empty", "picture"]),
    "folders of nothing": (["nothing"], ["nothing", "picture"]),
    "a path that is not there": (["flower"], ['"flower"', "did you mean", "flowers"]),
    "one class": (["single"], ["two classes", "cat"]),
    "pictures without class folders": (["loose"], ["loose"]),
    "no epochs": (["flowers", "--epochs", "0"], ["--epochs", "at least 1", "is 0"]),
    "no number": (["flowers", "--epochs", "ten"], ["--epochs", "whole number", '"ten"']),
    "epochs and minutes": (["flowers", "--epochs", "2", "--minutes", "1"], ["--epochs", "--minutes"]),
    "a network's name": (["flowers", "--network", "resnet-18"], ['"resnet-18"', 'did you mean "resnet18"']),
    "an unknown key": (["flowers", "--set", "training.epoch=3"], ['"training.epoch"', 'did you mean "epochs"']),
    "an unknown key in a file": (
        ["flowers", "--recipe", "recipe.toml"],
        ["recipe.toml", "line 2", '"learning_rat"', 'did you mean "learning_rate"'],
    ),
    "a broken recipe": (["flowers", "--recipe", "cut.toml"], ["cut.toml", "line 1"]),
    "a recipe that is not there": (["flowers", "--recipe", "none.toml"], ["none.toml"]),
    "a size too small": (["flowers", "--network", "resnet18", "--size", "16"], ["resnet18", "at least 32x32", "16x16"]),
    "a device that is not there": (["flowers", "--device", "cuda:9"], ["cuda:9", "--device cpu"]),
    "no such device": (["flowers", "--device", "gpu"], ['"gpu"', "cpu, cuda"]),
    "an output below a file": (["flowers", "--out", "file.txt/run"], ["file.txt"]),
    "an output that is in use": (["flowers", "--out", "flowers"], ["flowers", "not empty"]),
    "an output inside the data": (["flowers", "--out", "flowers/run"], ["flowers/run", "inside"]),
    "a resume of nothing": (["--resume", "empty"], ["empty", "not a run folder"]),
}


@pytest.mark.parametrize("what", TRAIN)
def test_train_refuses_in_one_sentence(what, place, foveal):
    arguments, needles = TRAIN[what]
    before = sorted(place.rglob("*"))
    done = foveal("train", *arguments, cwd=place)
    assert done.exit_code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for needle in needles:
        assert needle in done.stderr
    assert done.stdout == ""
    assert sorted(place.rglob("*")) == before, "nothing was changed"
    assert done.seconds < 30


@pytest.mark.network
def test_without_a_network_a_download_is_one_sentence(place, foveal):
    done = foveal("train", "cifar100", cwd=place, env={"FOVEAL_DATA": str(place)})
    assert done.exit_code == 2
    assert "cannot be downloaded" in done.stderr
    assert "FOVEAL_DATA" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


MODELS = {
    "pickle.safetensors": "pickle",
    "zeros.safetensors": "zeros.safetensors",
    "empty.safetensors": "0 bytes",
    "nowhere.safetensors": "nowhere.safetensors",
    "empty": "holds no model.safetensors",
    "file.txt": "file.txt",
}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_that_is_no_model_is_refused_in_one_sentence(name, place, foveal):
    for command in (["predict", name, "flowers"], ["evaluate", name, "flowers"]):
        done = foveal(*command, cwd=place)
        assert done.exit_code == 2, done.stderr
        assert MODELS[name] in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
