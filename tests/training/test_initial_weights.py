"""Trainings that start from weights: which file, how its pictures were prepared, what a run says of it."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import foveal
from foveal.errors import BadModel, BadRecipe, FovealError, Missing
from foveal.networks import catalogue
from foveal.networks.catalogue import NETWORKS, build
from foveal.recipe import Recipe, parse_weights, read_recipe

QUICK = {
    "training.epochs": 1,
    "training.arithmetic": "fp32",
    "training.learning_rate": 1e-11,  # so small that the weights can be told afterwards
    "training.weight_decay": 0.0,
    "training.ema": 0.0,
    "data.size": "32x40",
}


@pytest.fixture(scope="module")
def digits():
    some = load_digits()
    pixels = (some.images * 15.9).astype(np.uint8)
    chosen = np.concatenate([np.flatnonzero(some.target == k)[:8] for k in range(5)])
    return pixels[chosen], some.target[chosen]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder as FOVEAL_DATA's, with resnet18's weights as somebody trained them on RGB pictures of 30 classes."""
    folder = tmp_path_factory.mktemp("data") / "weights"
    folder.mkdir()
    torch.manual_seed(7)
    network = build("resnet18", 30, 3, (32, 32))
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, folder / "resnet18.pth")
    return folder / "resnet18.pth", network.state_dict()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def last(run):
    return run.model.network.state_dict()["layer4.1.conv2.weight"]


def test_a_training_starts_from_a_files_weights_and_says_so(digits, weights, tmp_path):
    path, state = weights
    settings = QUICK | {"network.name": "resnet18", "network.weights": str(path)}
    run = foveal.train(digits, out=tmp_path / "run", settings=settings)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (last(run) - state["layer4.1.conv2.weight"]).abs().max() < 1e-6
    grey = run.model.network.state_dict()["conv1.weight"]
    assert (grey - state["conv1.weight"].sum(1, keepdim=True)).abs().max() < 1e-6
    assert run.metrics["weights"] == {"from": str(path), "file": "resnet18.pth", "sha256": sha}
    assert dict(foveal.load(run.folder).trained)["weights"] == run.metrics["weights"]
    assert f'weights = "{path}@sha256:{sha}"' in (run.folder / "recipe.toml").read_text()
    told = next(line for line in (run.folder / "log.txt").read_text().splitlines() if line.startswith("Weights from"))
    assert f"{path} (sha256 {sha[:12]})" in told
    assert "first convolution summed over RGB for grey pictures" in told
    assert "classifier of 30 classes replaced by a new one of 5" in told


def test_the_weights_preprocessing_becomes_the_models(digits, weights, tmp_path, monkeypatch):
    """Mean, deviation and interpolation of the record; size and crop are the recipe's. Grey: the mean of the three."""
    monkeypatch.setenv("FOVEAL_DATA", str(weights[0].parents[1]))
    settings = QUICK | {"network.name": "resnet18", "network.weights": "imagenet"}
    run = foveal.train(digits, out=tmp_path / "run", settings=settings)
    saved = foveal.load(run.folder).preprocess
    assert (saved.height, saved.width, saved.channels, saved.crop_fraction) == (32, 40, 1, 1.0)
    assert (saved.mean, saved.std, saved.interpolation) == ((0.449,), (0.226,), "bilinear")
    assert run.metrics["weights"]["from"] == "imagenet"
    assert run.metrics["weights"]["file"] == "resnet18.pth"
    colour = np.stack([digits[0]] * 3, axis=-1)
    run = foveal.train((colour, digits[1]), out=tmp_path / "colour", settings=settings)
    record = NETWORKS["resnet18"].weights.preprocess
    assert (run.model.preprocess.mean, run.model.preprocess.std) == (record.mean, record.std)


def test_the_saved_recipe_repeats_the_run_and_refuses_another_file(digits, tmp_path):
    mine = tmp_path / "mine.pth"
    torch.save(build("lenet5", 5, 1, (32, 40)).state_dict(), mine)
    settings = QUICK | {"network.name": "lenet5", "network.weights": str(mine), "training.learning_rate": 0.01}
    first = foveal.train(digits, out=tmp_path / "one", settings=settings)
    recipe = read_recipe(first.folder / "recipe.toml")
    again = foveal.train(digits, out=tmp_path / "two", recipe=recipe)
    states = [run.model.network.state_dict() for run in (first, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    torch.save(build("lenet5", 5, 1, (32, 40)).state_dict(), mine)
    with pytest.raises(BadModel, match=r"mine.pth is not the file that the recipe names .*add --weights"):
        foveal.train(digits, out=tmp_path / "three", recipe=recipe)
    assert not (tmp_path / "three").exists()
    foveal.train(digits, out=tmp_path / "three", recipe=recipe.with_settings({"network.weights": str(mine)}))


def test_a_model_of_ours_is_started_from_with_its_own_preprocessing(digits, tmp_path):
    small = {"network.name": "lenet5", "training.learning_rate": 1e-9}
    first = foveal.train(digits, out=tmp_path / "one", settings=QUICK | small)
    few = (digits[0][:24], digits[1][:24])
    run = foveal.train(few, out=tmp_path / "two", settings=QUICK | small | {"network.weights": str(tmp_path / "one")})
    assert run.model.preprocess == first.model.preprocess
    conv = next(name for name in run.model.network.state_dict() if name.endswith("weight"))
    assert (run.model.network.state_dict()[conv] - first.model.network.state_dict()[conv]).abs().max() < 1e-6


def test_a_network_of_ones_own_takes_a_file_too(digits, tmp_path):
    torch.manual_seed(1)
    theirs = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    torch.save(theirs.state_dict(), tmp_path / "own.pt")
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    ours = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    settings = QUICK | {"network.weights": str(tmp_path / "own.pt")}
    run = foveal.train(digits, out=tmp_path / "run", settings=settings, network=ours)
    assert (run.model.network.state_dict()["0.weight"] - state["0.weight"]).abs().max() < 1e-6
    assert "Mean and standard deviation are those of the training pictures." in (run.folder / "log.txt").read_text()
    with pytest.raises(BadRecipe, match="a custom network has no published weights"):
        foveal.train(digits, settings={"network.weights": "imagenet"}, network=ours, out=tmp_path / "other")


def test_whitening_does_not_undo_what_was_loaded(digits, tmp_path):
    colour = (np.stack([digits[0]] * 3, axis=-1), digits[1])
    settings = QUICK | {"network.name": "speednet_small"}
    torch.manual_seed(2)
    state = build("speednet_small", 5, 3, (32, 40)).state_dict()
    torch.save(state, tmp_path / "a.pth")
    settings |= {"network.weights": str(tmp_path / "a.pth")}
    run = foveal.train(colour, out=tmp_path / "run", settings=settings)
    assert (run.model.network.state_dict()["whiten.weight"] - state["whiten.weight"]).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("asked", "network", "error", "words"),
    [
        ("imagnet", "resnet18", Missing, r'--weights imagnet: no such file; did you mean "imagenet"\?'),
        ("no/where.pth", "resnet18", Missing, "no such file; give scratch, imagenet or a file"),
        ("x" * 5000, "resnet18", Missing, "no such file"),
        ("a\0b", "resnet18", Missing, r"a\\x00b: no such file"),
        ("imagenet", "lenet5", BadRecipe, r"no published weights for lenet5; .*resnet18.* have some"),
        ("FILE", "auto", BadRecipe, "needs --network"),
        ("FILE", "resnet34", BadModel, r"resnet18.pth does not fit network resnet34: \d+ missing"),
    ],
)
def test_what_cannot_be_started_from_is_refused_and_leaves_nothing(
    digits, weights, tmp_path, asked, network, error, words
):
    asked = str(weights[0]) if asked == "FILE" else asked
    with pytest.raises(error, match=words) as caught:
        foveal.train(digits, out=tmp_path / "run", settings=QUICK | {"network.name": network, "network.weights": asked})
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, FovealError)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text", ["", "a.pth@sha256:", "a.pth@sha256:xyz", "a.pth@sha256:ABCDEF012345", "@sha256:00112233"]
)
def test_a_checksum_that_is_none_is_refused(text):
    with pytest.raises(BadRecipe, match=r"network\.weights must be auto, scratch, imagenet or a file"):
        Recipe().with_settings({"network.weights": text})


def test_a_path_keeps_its_signs():
    assert parse_weights("C:\\a@b\\w.pth") == ("C:\\a@b\\w.pth", "")
    assert parse_weights("w.pth@sha256:00112233") == ("w.pth", "00112233")


def test_published_weights_are_downloaded_for_the_network_that_is_chosen_for_them(
    digits, weights, tmp_path, monkeypatch
):
    """From a server of our own, into the cache; the second training needs no server."""
    monkeypatch.delenv("FOVEAL_DATA", raising=False)
    raw = weights[0].read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "net.pth").write_bytes(raw)
    settings = {"training.epochs": 1, "training.arithmetic": "fp32", "network.weights": "imagenet"}
    with serving(tmp_path / "www") as address:
        record = replace(NETWORKS["resnet18"].weights, url=f"{address}/net.pth", sha256=digest[:8])
        entry = replace(NETWORKS["resnet18"], weights=record)
        monkeypatch.setattr(catalogue, "NETWORKS", {"resnet18": entry, "resnet34": NETWORKS["resnet34"]})
        first = foveal.train(digits, out=tmp_path / "one", settings=settings)
    recipe = read_recipe(first.folder / "recipe.toml")
    assert (recipe.network.name, recipe.data.size) == ("resnet18", "32x32")
    assert recipe.network.weights == f"imagenet@sha256:{digest}"
    assert recipe.training.learning_rate < 0.02
    again = foveal.train(digits, out=tmp_path / "two", recipe=recipe)
    assert torch.equal(last(first), last(again))


def test_the_command_line_starts_from_weights_and_the_evil_file_is_one_sentence(foveal, weights, tmp_path):
    words = ("train", "digits", "--network", "resnet18", "--epochs", "1", "--exact", "--size", "32")
    (tmp_path / "evil.pth").write_bytes(b"\x80\x02cos\nsystem\n(X\x0c\0\0\0touch canarytR.")
    done = foveal(*words, "--weights", "evil.pth")
    assert done.exit_code == 2
    assert "evil.pth holds more than tensors (os.system)" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pth"]


def test_a_stopped_training_goes_on_to_the_same_bits(digits, tmp_path):
    torch.save(build("lenet5", 5, 1, (32, 40)).state_dict(), tmp_path / "a.pth")
    settings = QUICK | {
        "network.name": "lenet5",
        "network.weights": str(tmp_path / "a.pth"),
        "training.learning_rate": 0.01,
        "training.epochs": 3,
        "training.schedule": "constant",
    }
    whole = foveal.train(digits, out=tmp_path / "whole", settings=settings)
    foveal.train(digits, out=tmp_path / "run", settings=settings | {"training.epochs": 2})
    run = foveal.resume(tmp_path / "run", settings={"training.epochs": 3}, source=digits)
    states = [r.model.network.state_dict() for r in (whole, run)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert run.metrics["weights"] == whole.metrics["weights"]
