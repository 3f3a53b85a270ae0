"""What is settled before the first step: whose pictures, with which statistics, what starts from what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from trainings import HEIGHT, PARTS, TINY, WIDTH, boxed, pictures, quick, quick_boxed, saved_weights

from foveal.data.batches import TrainingBatches
from foveal.data.box_batches import BoxBatches
from foveal.data.dataset import ArrayPictures, Dataset, FilePictures
from foveal.errors import BadData, BadRecipe
from foveal.networks.catalogue import build
from foveal.tasks.classify import Classify
from foveal.tasks.heads.head import Architecture
from foveal.training import setup as laying
from foveal.training import transfer
from foveal.training.setup import Setup, set_up, with_statistics

NORMED = "conv 4 3x3 bn, pool 2, flatten, dense classes"


def on_disk(folder: Path, broken: tuple[int, ...] = ()) -> Dataset:
    """The pictures of `pictures` as BMP, some of them cut short."""
    some = pictures()
    for index, name in enumerate(some.pictures.names):
        Image.fromarray(some.pictures.content(index)[..., 0]).save(folder / f"{name}.bmp")
    for index in broken:
        path = folder / f"{some.pictures.names[index]}.bmp"
        path.write_bytes(path.read_bytes()[:-30])
    files = FilePictures(folder, tuple(f"{name}.bmp" for name in some.pictures.names))
    return replace(some, pictures=files, digests=None)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_broken_pictures_leave_their_split_and_are_told(tmp_path: Path, split: str) -> None:
    some = pictures()
    lost = tuple(some.indices(split)[[1, 3]].tolist())
    setup = quick(on_disk(tmp_path, lost))
    for name in PARTS:
        expected = [i for i in some.indices(name).tolist() if i not in lost]
        assert setup.splits[name].tolist() == expected
    assert sorted(row.name for row in setup.dataset.skipped) == sorted(f"{some.pictures.name(i)}.bmp" for i in lost)
    assert all(row.reason for row in setup.dataset.skipped)
    assert setup.batches.indices.tolist() == setup.splits["train"].tolist()
    assert setup.preprocess == with_statistics(setup.preprocess, setup.store, setup.splits["train"])


def test_nothing_left_to_train_on_is_told_with_a_reason(tmp_path: Path) -> None:
    every = tuple(pictures().indices("train").tolist())
    with pytest.raises(BadData, match=r"no usable picture to train on \(train\[\d+\]\.bmp .+\)"):
        set_up(Classify, on_disk(tmp_path, every), quick().recipe)


def test_a_class_that_lost_all_its_pictures_is_named(tmp_path: Path) -> None:
    some = pictures()
    bright = tuple(i for i in some.indices("train").tolist() if some.labels[i] == 1)
    with pytest.raises(BadData, match='class "bright" has no usable picture to train on'):
        quick(on_disk(tmp_path, bright))


def test_boxes_need_one_object_at_least() -> None:
    some = boxed()
    assert some.boxes is not None
    nothing = np.zeros(0)
    boxes = replace(
        some.boxes, xyxy=np.zeros((0, 4)), labels=nothing.astype(int), starts=some.boxes.starts * 0,
        crowd=nothing.astype(bool), difficult=nothing.astype(bool),
    )  # fmt: skip
    with pytest.raises(BadData, match="no usable picture with an object to train on"):
        quick_boxed(replace(some, boxes=boxes))


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_numpys_of_the_training_pictures(channels: int) -> None:
    some = pictures(channels=channels)
    pixels = some.pictures.pixels.copy()
    pixels[some.indices("val")], pixels[some.indices("test")] = 255, 0  # not to be looked at
    if channels == 3:
        pixels[..., 2] //= 4
    setup = quick(replace(some, pictures=ArrayPictures(pixels, some.pictures.names)))
    train = pixels[some.indices("train")].reshape(-1, channels) / 255
    assert setup.preprocess.mean == pytest.approx(train.mean(0), abs=6e-5)
    assert setup.preprocess.std == pytest.approx(train.std(0), abs=6e-5)
    images = setup.preprocess.tensor(torch.from_numpy(setup.store.rows(setup.splits["train"])))
    assert images.shape == (PARTS["train"], channels, HEIGHT, WIDTH)
    assert images.mean((0, 2, 3)).abs().max() < 1e-3
    assert (images.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_many_pictures_are_measured_in_parts_and_flat_ones_have_a_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((600, HEIGHT, WIDTH, 1), 51, np.uint8)
    flat[300:] = 52
    names = tuple(str(i) for i in range(600))
    splits, labels = np.zeros(600, np.int8), np.arange(600) % 2
    some = replace(pictures(), pictures=ArrayPictures(flat, names), labels=labels, splits=splits, digests=None)
    setup = quick(some)
    assert setup.preprocess.mean == (round((51 + 52) / 2 / 255, 4),)
    assert setup.preprocess.std == (0.01,)
    monkeypatch.setattr(laying, "STATISTICS_OF", 2)  # the first and the last
    assert with_statistics(setup.preprocess, setup.store, np.arange(301)).mean == (round((51 + 52) / 2 / 255, 4),)


def test_the_seed_draws_the_weights_and_nothing_before_it_does() -> None:
    torch.manual_seed(99)
    first = quick(training__seed=1)
    torch.rand(3)
    again, other = quick(training__seed=1), quick(training__seed=2)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])
    assert not torch.equal(first.network.get_parameter("conv1.weight"), other.network.get_parameter("conv1.weight"))


def test_weights_of_classes_are_those_of_the_training_pictures() -> None:
    some = pictures()
    labels = some.labels.copy()
    train = some.indices("train")
    labels[train[:15]], labels[train[15:]] = 0, 1
    labels[some.indices("val")] = 1
    setup = quick(replace(some, labels=labels))  # 15 of 20 are three times 5, and no more
    assert setup.recipe.training.class_weights == "none"
    assert setup.task.class_weights is None
    setup = quick(replace(some, labels=labels), training__class_weights="balanced")
    assert setup.task.class_weights.tolist() == pytest.approx([20 / (2 * 15), 20 / (2 * 5)])


def test_each_task_has_its_batches_and_its_way_to_fit_pictures() -> None:
    labels, boxes = quick(), quick_boxed(training__epochs=5)
    assert isinstance(labels.batches, TrainingBatches)
    assert isinstance(boxes.batches, BoxBatches)
    assert boxes.batches.epochs == 5
    assert (labels.preprocess.whole, boxes.preprocess.whole) == (False, True)
    assert (boxes.preprocess.height, boxes.preprocess.width) == (32, 48)
    assert (labels.architecture.kind, labels.architecture.trunk) == ("", TINY)
    assert boxes.architecture.kind == "one-object"


def test_a_network_of_ones_own_is_the_one_that_learns() -> None:
    mine = nn.Sequential(nn.Flatten(), nn.Linear(HEIGHT * WIDTH, 2))
    setup = quick(network=mine)
    assert setup.network is mine
    assert setup.architecture == Architecture("", "custom")
    assert setup.begun().network is mine


def test_a_state_begins_with_what_the_recipe_asks_for() -> None:
    plain = quick(training__ema=0.0).begun()
    assert plain.averaged is None
    assert plain.origin is None
    averaging = quick(training__ema=0.9, training__learning_rate=0.3)
    state = replace(averaging, recipe=averaging.recipe.with_settings({"training.blend": 0.25})).begun()
    assert state.averaged is not None
    assert state.origin is not None
    assert (state.averaged.decay, state.origin.share) == (0.9, 0.25)
    assert {group["lr"] for group in state.optimizer.param_groups} == {0.3}
    assert (state.epoch, state.step, state.frozen) == (0, 0, ())


def test_a_step_of_one_picture_is_nothing_for_batch_norm() -> None:
    with pytest.raises(BadRecipe, match="batch norm needs at least 2 pictures a step"):
        quick(network__name=NORMED, training__batch_size=1)
    with pytest.raises(BadRecipe, match="batch norm"):
        quick(pictures(parts={"train": 1, "val": 1, "test": 1}), network__name=NORMED)
    quick(training__batch_size=1)  # a network without it


@pytest.mark.parametrize(("train", "learning"), [("head", {"5"}), ("last:1", {"2", "5"}), ("all", {"0", "2", "5"})])
def test_as_much_learns_of_a_network_with_weights_as_was_asked_for(
    tmp_path: Path, train: str, learning: set[str]
) -> None:
    network, place = saved_weights(tmp_path)
    setup = quick(network=network, network__weights=str(place), network__train=train)
    given = load_file(place)
    assert torch.equal(network.state_dict()["0.weight"], given["0.weight"])
    assert not torch.equal(network.state_dict()["5.weight"], given["5.weight"])  # the head that was fitted
    assert setup.transfer is not None
    assert setup.head_alone == (train == "head")
    assert setup.recipe.network.weights.startswith(f"{place}@sha256:")
    state = setup.begun()
    assert {name[0] for name, p in network.named_parameters() if p.requires_grad} == learning
    wanted = sum(p.numel() for name, p in network.named_parameters() if name[0] in learning)
    assert setup.trained_parameters == wanted
    assert sum(p.numel() for group in state.optimizer.param_groups for p in group["params"]) == wanted


@pytest.mark.parametrize("train", ["head", "all"])
def test_a_head_that_the_loop_goes_on_from_has_not_seen_validation(
    tmp_path: Path, train: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else stopping and calibration would go by pictures that were learnt; a head alone needs none kept aside.

    Cross-validation may choose by them: here it has nothing to choose.
    """
    monkeypatch.setattr(transfer, "views_of", lambda _: 1)
    some, heads = pictures(), []
    for split in (None, "val", "test"):
        network, place = saved_weights(tmp_path)
        labels = some.labels.copy()
        if split:
            labels[some.indices(split)] = 1 - labels[some.indices(split)]
        asked: dict[str, Any] = {"network__weights": str(place), "network__train": train, "network__head_decay": 0.1}
        setup = quick(replace(some, labels=labels), network, training__class_weights="none", **asked)
        assert setup.transfer is not None
        heads.append(setup.transfer.head.weight)
    assert np.array_equal(heads[0], heads[1]) == (train == "all")
    assert np.array_equal(heads[0], heads[2])


def test_stages_that_there_are_not_are_refused(tmp_path: Path) -> None:
    network, place = saved_weights(tmp_path)
    with pytest.raises(BadRecipe, match="last:9: the trunk of custom has 2 stages"):
        quick(network=network, network__weights=str(place), network__train="last:9")


def test_the_trunk_of_a_detector_that_has_weights_learns_slower_than_its_head(tmp_path: Path) -> None:
    place = tmp_path / "trunk.safetensors"
    save_file(build("yolo_trunk_n", 5, 3, (32, 48)).state_dict(), place)
    for weights, share in (("scratch", 1.0), (str(place), laying.TRUNK_RATE)):
        setup = quick_boxed(network__weights=weights, training__learning_rate=0.01)
        trunk = {id(parameter) for parameter in setup.network.trunk.parameters()}
        for group in setup.begun().optimizer.param_groups:
            for parameter in group["params"]:
                assert group["lr"] == pytest.approx(0.01 * (share if id(parameter) in trunk else 1.0))


def test_minutes_plan_the_epochs_of_the_loop_and_of_its_mosaics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laying, "planned_epochs", lambda *_: 17)
    asked: dict[str, Any] = {"training__epochs": "auto", "training__minutes": 1.0}
    assert quick(**asked).plan.epochs == 17
    boxes = quick_boxed(**asked)
    assert boxes.plan.epochs == 17
    assert isinstance(boxes.batches, BoxBatches)
    assert boxes.batches.epochs == 17


def test_a_fitted_head_alone_plans_no_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> int:
        raise AssertionError("the loop was rehearsed")

    monkeypatch.setattr(laying, "planned_epochs", never)
    network, place = saved_weights(tmp_path)
    asked: dict[str, Any] = {"training__epochs": "auto", "training__minutes": 1.0, "network__train": "head"}
    setup: Setup = quick(network=network, network__weights=str(place), **asked)
    assert setup.head_alone
