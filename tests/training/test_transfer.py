"""Transfer: frozen features once, a head fitted on them, and as much of the trunk as was asked for."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import foveal
from foveal import runs
from foveal.errors import BadRecipe
from foveal.networks.catalogue import build, find
from foveal.networks.head import classifier_path, put_head, scale_behind, taking_features
from foveal.ops.logistic import fit_logistic
from foveal.recipe import Recipe
from foveal.runs.compare import compare_starts
from foveal.training.optimisers import make_optimizer, slow_down
from foveal.training.unfreezing import freeze, rates

SETTINGS = {"network.name": "squeezenet1_1", "training.arithmetic": "fp32", "data.size": "40x48", "training.epochs": 1}


@pytest.fixture(scope="module")
def digits():
    some = load_digits()
    pixels = (some.images * 15.9).astype(np.uint8)
    chosen = np.concatenate([np.flatnonzero(some.target == k)[:20] for k in range(4)])
    return pixels[chosen], some.target[chosen]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """SqueezeNet as somebody trained it on RGB pictures of 30 classes, in torchvision's names."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(build("squeezenet1_1", 30, 3, (40, 48)).state_dict(), path)
    return path


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "cache"))


def trained(digits, weights, out, train, **settings):
    asked = SETTINGS | {"network.weights": str(weights), "network.train": train} | settings
    return foveal.train(digits, out=out, settings=asked)


NETWORKS = ["squeezenet1_1", "resnet18", "speednet", "mobilenet_v3_small", "alexnet", "densenet121", "googlenet"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_head_on_features_answers_as_the_network_that_holds_it(name):
    size = (max(48, find(name).smallest), max(64, find(name).smallest))
    options = {"linear_head": True} if name == "squeezenet1_1" else {}
    torch.manual_seed(1)
    network = build(name, 5, 3, size, options).eval()
    path = classifier_path(network, name)
    images = torch.randn(6, 3, *size)
    scale = scale_behind(network, path, images)
    with torch.no_grad(), taking_features(network, path) as taken:
        network(images)
        features = taken.take().numpy()
        bias = network.get_submodule(path).bias is not None
        head = fit_logistic(features, np.array([0, 1, 2, 3, 4, 0]), 5, 0.1, intercept=bias)
        put_head(network, path, head, scale)
        answered = network(images).numpy()
    np.testing.assert_allclose(answered, head.logits(features), atol=1e-4)


def test_a_network_whose_answers_are_bent_has_no_plain_head():
    network = build("squeezenet1_1", 5, 3, (40, 48)).eval()  # a ReLU follows its classifier
    with pytest.raises(BadRecipe, match="--train all"):
        scale_behind(network, "classifier.1", torch.randn(2, 3, 40, 48))


def test_a_network_without_a_linear_classifier_is_refused():
    with pytest.raises(BadRecipe, match="no linear classifier"):
        classifier_path(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten()), "custom")


def test_a_frozen_trunk_comes_out_bit_by_bit(digits, weights, tmp_path, cached):
    run = trained(digits, weights, tmp_path / "run", "head")
    given = torch.load(weights, weights_only=True)
    state = foveal.load(run.folder).network.state_dict()
    for name, value in state.items():
        if name == "features.0.weight":
            assert torch.equal(value, given[name].sum(1, keepdim=True))  # grey pictures
        elif not name.startswith("classifier"):
            assert torch.equal(value, given[name]), name
    assert run.metrics["transfer"]["train"] == "head"
    assert run.metrics["epochs"] == 0


def test_a_second_run_with_another_seed_or_penalty_makes_no_pass_of_the_trunk(
    digits, weights, tmp_path, cached, monkeypatch
):
    first = trained(digits, weights, tmp_path / "1", "head")

    def never(*_):
        raise AssertionError("a forward pass")

    plain = runs.evaluate(first.folder, digits)  # through the network itself, not by features
    assert plain.scores.as_dict()["loss"] == pytest.approx(first.metrics["test"]["loss"], rel=1e-5)

    from foveal.training import features, fitted_head, initial_weights

    monkeypatch.setattr(features, "trunk_features", never)
    monkeypatch.setattr(initial_weights, "read_foreign", never)  # nor is another process asked to read the .pth
    with monkeypatch.context() as patch:  # the same features, labels and folds: nothing is fitted again
        patch.setattr(fitted_head, "choose_decay", never)
        patch.setattr(fitted_head, "fit_logistic", never)
        again = trained(digits, weights, tmp_path / "2", "head", **{"training.seed": 5})
    assert again.metrics["test"]["loss"] == first.metrics["test"]["loss"]
    assert again.metrics["learning_curve"] == first.metrics["learning_curve"]
    other = trained(digits, weights, tmp_path / "3", "head", **{"network.head_decay": 3.0})
    assert other.metrics["transfer"]["decay"] == 3.0
    assert other.metrics["test"]["loss"] != pytest.approx(first.metrics["test"]["loss"], abs=1e-4)


def test_last_trains_its_stages_and_nothing_below(digits, weights, tmp_path, cached):
    run = trained(digits, weights, tmp_path / "run", "last:1", **{"training.learning_rate": 0.01})
    given, state = torch.load(weights, weights_only=True), run.model.network.state_dict()
    moved = {name for name in state if name not in given or not torch.equal(state[name], given[name])}
    moved -= {"features.0.weight"}  # summed for grey pictures
    assert all(name.startswith(("features.9", "features.1", "classifier")) for name in moved), moved
    assert "features.12.squeeze.weight" in moved
    assert "features.7.squeeze.weight" not in moved


def test_more_stages_than_there_are_is_refused(digits, weights, tmp_path, cached):
    with pytest.raises(BadRecipe, match="has 4 stages; give last:1 to last:4"):
        trained(digits, weights, tmp_path / "run", "last:5")
    assert not (tmp_path / "run").exists()


def test_a_head_needs_weights(digits, tmp_path):
    with pytest.raises(BadRecipe, match="needs weights to start from"):
        foveal.train(digits, out=tmp_path / "run", settings=SETTINGS | {"network.train": "head"})


@pytest.mark.parametrize("word", ["last", "last:0", "last:x", "heads", "all:2"])
def test_what_is_no_part_of_a_network_is_refused(word):
    with pytest.raises(BadRecipe, match="last:K"):
        Recipe().with_settings({"network.train": word})


def test_frozen_batch_norm_keeps_its_statistics_and_lower_stages_learn_slower():
    network = build("resnet18", 5, 3, (32, 40))
    frozen = freeze(network, "resnet18", "last:1")
    names = {name for name, p in network.named_parameters() if p.requires_grad}
    assert names
    assert all(name.startswith(("layer4", "fc")) for name in names)
    assert any(m is network.bn1 for m in frozen)
    assert all(m is not network.layer4[0].bn1 for m in frozen)
    network = build("resnet18", 5, 3, (32, 40))
    recipe = Recipe().with_settings(
        {"training.optimizer": "sgd", "training.learning_rate": 1.0, "training.weight_decay": 0.1,
         "training.momentum": 0.9}).training  # fmt: skip
    optimizer = make_optimizer(network, recipe)
    slow_down(optimizer, rates(network, "resnet18", "fc"))
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rate) == len(list(network.parameters()))
    at = {name: rate[id(p)] for name, p in network.named_parameters()}
    assert at["fc.weight"] == 1.0
    assert at["layer4.1.conv2.weight"] < 1.0
    assert at["layer1.0.conv1.weight"] < at["layer3.0.conv1.weight"] < at["layer4.0.conv1.weight"]


def test_auto_measures_near_and_far_and_says_why(digits, weights, tmp_path, cached):
    run = trained(digits, weights, tmp_path / "run", "auto", **{"training.epochs": "auto"})
    told = run.metrics["transfer"]
    assert told["train"] in ("head", "better")
    assert set(told["near"]) == {"weights", "random", "hog"}
    assert "are few" in told["reason"]
    assert "HOG" in told["reason"]
    if told["near"]["weights"] < max(told["near"]["random"], told["near"]["hog"]):
        assert "collect more pictures" in told["reason"]


def test_ways_to_start_are_put_side_by_side(digits, weights, tmp_path, cached):
    asked = SETTINGS | {"network.weights": str(weights), "training.minutes": 0.3}
    ways = compare_starts(digits, out=tmp_path / "ways", settings=asked)
    assert [way.train for way in ways] == ["head", "last:1", "all", "scratch"]
    parameters = [way.parameters for way in ways]
    assert parameters[0] == 512 * 4 + 4
    assert parameters[0] < parameters[1] < parameters[2] == parameters[3]
    assert all(way.interval[0] <= way.top1 <= way.interval[1] for way in ways)
    told = json.loads((tmp_path / "ways" / "comparison.json").read_text())
    assert [row["top1"] for row in told] == [way.top1 for way in ways]
    page = (tmp_path / "ways" / "comparison.html").read_text()
    assert "Pretrained weights change the accuracy by" in page
    assert all(f"{way.train.replace(':', '-')}/report.html" in page for way in ways)


def test_ways_need_weights(digits, tmp_path):
    with pytest.raises(BadRecipe, match="--compare needs weights"):
        compare_starts(digits, out=tmp_path / "ways", settings=SETTINGS)
    assert not (tmp_path / "ways").exists()


@pytest.mark.parametrize("head_is_better", [True, False])
def test_where_the_trunk_learnt_nothing_of_use_the_run_is_that_of_a_head(
    digits, weights, tmp_path, cached, monkeypatch, head_is_better
):
    """To the bit: its recipe, which names the head now, repeats it."""
    from foveal.runs import training_run
    from foveal.tasks import label_defaults
    from foveal.training.judged import Judged

    verdict = Judged(0.4, 0.6, 9) if head_is_better else Judged(0.6, 0.4, 9)
    monkeypatch.setattr(training_run, "judged", lambda *_: verdict)
    monkeypatch.setattr(label_defaults, "EPOCHS_STARTED", (1, 1))
    run = trained(digits, weights, tmp_path / "run", "auto", **{"training.epochs": "auto"})
    recipe = foveal.recipe.read_recipe(run.folder / "recipe.toml")
    assert recipe.network.train == ("head" if head_is_better else "all")
    kept = "the frozen trunk is kept" if head_is_better else "the fine-tuned trunk is kept"
    assert kept in (run.folder / "log.txt").read_text(encoding="utf-8")
    state, given = run.model.network.state_dict(), torch.load(weights, weights_only=True)
    assert torch.equal(state["features.6.squeeze.weight"], given["features.6.squeeze.weight"]) == head_is_better
    if head_is_better:
        assert run.metrics["transfer"]["reason"] == verdict.sentence
        again = foveal.train(digits, out=tmp_path / "again", recipe=recipe)
        assert again.metrics["test"]["loss"] == run.metrics["test"]["loss"]
