"""What is settled before anything is built: the user's word first, then the network's record, then the task's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import PARTS, boxed, pictures, recipe

from foveal.data.dataset import ArrayPictures, Dataset, FilePictures, Origin
from foveal.errors import BadData, BadRecipe, Missing
from foveal.networks.facts import facts_of
from foveal.networks.index import CUSTOM
from foveal.tasks.classify import Classify
from foveal.tasks.detect import Detect
from foveal.tasks.label_defaults import DEFAULTS
from foveal.tasks.localise import Localise
from foveal.training.settle import choose_device, settle, usual_shape

# Values that neither a record nor the task would choose.
ASKED: dict[str, Any] = {
    "epochs": 3, "batch_size": 5, "optimizer": "adamw", "learning_rate": 0.0123, "momentum": 0.42,
    "weight_decay": 0.0321, "schedule": "constant", "warmup": 0.37, "label_smoothing": 0.17, "ema": 0.77,
    "blend": 0.21, "clip": 3.3, "class_weights": "balanced",
}  # fmt: skip


def of_size(height: int, width: int, channels: int = 3) -> Dataset:
    """The pictures of `pictures`, larger."""
    some = pictures(channels=channels)
    shape = (sum(PARTS.values()), height, width, channels)
    return replace(some, pictures=ArrayPictures(np.zeros(shape, np.uint8), some.pictures.names))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights, which nobody opens before the training."""
    (tmp_path / "w.pth").write_bytes(b"?")
    return tmp_path / "w.pth"


@pytest.mark.parametrize("name", ["speednet", "resnet18", "mlp", CUSTOM])
@pytest.mark.parametrize("key", sorted(ASKED))
def test_the_user_wins(name: str, key: str, weights: Path) -> None:
    asked = recipe(network__name=name, **{f"training__{key}": ASKED[key]})
    if key == "blend":  # with the start, where there is one
        with pytest.raises(BadRecipe, match=r"training\.blend is set, but is only used with pretrained weights"):
            settle(Classify, of_size(32, 32), asked)
        asked = asked.with_settings({"network.weights": str(weights)})
    found = settle(Classify, of_size(32, 32), asked)
    assert getattr(found.training, key) == ASKED[key]


@pytest.mark.parametrize("name", ["speednet", "resnet18", "mlp"])
def test_the_networks_record_wins_over_the_task(name: str) -> None:
    found = settle(Classify, of_size(32, 32), recipe(network__name=name)).training
    record = {key.partition(".")[2]: value for key, value in facts_of(name).recipe.items()}
    for key in (
        "optimizer",
        "momentum",
        "weight_decay",
        "schedule",
        "warmup",
        "label_smoothing",
        "ema",
        "blend",
        "clip",
    ):
        assert getattr(found, key) == (record | {k: v for k, v in DEFAULTS.items() if k not in record})[key], key
    assert any(record.get(key) != value for key, value in DEFAULTS.items())


def test_a_network_of_ones_own_has_no_record() -> None:
    found = settle(Classify, of_size(32, 32), recipe(network__name=CUSTOM)).training
    assert (found.optimizer, found.weight_decay) == (DEFAULTS["optimizer"], DEFAULTS["weight_decay"])


@pytest.mark.parametrize(("task", "data"), [(Classify, pictures()), (Localise, boxed()), (Detect, boxed())])
def test_the_task_the_device_and_the_size_are_written_down(task: type, data: Dataset) -> None:
    found = settle(task, data, recipe(training__device="cpu"))
    assert found.training.task == task.name
    assert found.training.device == "cpu"
    assert found.network.name != "auto"
    assert found.data.size == {"classify": "24x30", "localise": "32x64", "detect": "32x64"}[task.name]  # H x W
    assert "auto" not in found.augment.model_dump().values()
    again = settle(task, data, found)
    assert again == found


def test_minutes_leave_the_epochs_open_and_nothing_else() -> None:
    asked = recipe(network__name="mlp", training__minutes=1.0)
    assert settle(Classify, pictures(), asked).training.epochs == "auto"
    assert settle(Classify, pictures(), asked.with_settings({"training.epochs": 7})).training.epochs == 7
    assert settle(Localise, boxed(), recipe(training__minutes=1.0)).training.epochs == "auto"


def test_minutes_choose_among_networks_by_the_speed_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `rungs` resnet34, resnet18 the second is timed; a machine a thousand times faster affords the first."""
    from foveal.training.measuring import Measured

    for speed, name in ((1e9, "resnet34"), (1.0, "resnet18")):
        found = Measured("fp32", 1, {"fp32": speed, "bf16": speed / 2}, 0.0)
        monkeypatch.setattr("foveal.training.measuring.measure", lambda *_, found=found, **__: found)
        asked = recipe(training__minutes=5.0, data__size="96", network__weights="scratch")
        assert settle(Classify, of_size(96, 96), asked).network.name == name


def test_a_size_below_the_networks_smallest_is_refused() -> None:
    with pytest.raises(BadRecipe, match="resnet18"):
        settle(Classify, pictures(), recipe(network__name="resnet18", data__size="16"))


def test_a_file_of_weights_does_not_say_whose_they_are(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"?")
    asked = recipe(network__weights=str(tmp_path / "w.pth"))
    with pytest.raises(BadRecipe, match=r"w\.pth needs --network: a weights file does not say which network it is for"):
        settle(Classify, pictures(), asked)


def test_weights_bring_their_size_to_labels_and_none_to_boxes() -> None:
    asked = recipe(network__weights="imagenet", network__name="resnet18")
    assert settle(Classify, of_size(300, 200), asked).data.size == "224x224"
    found = settle(Localise, boxed(), asked)
    assert found.data.size == "32x64"
    assert found.network.train == "all"
    assert settle(Localise, boxed(), recipe()).network.train == "scratch"


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    assert choose_device("cpu") == "cpu"
    for word in ("cuda", "cuda:0", "mps", "cpu:0"):
        with pytest.raises(Missing, match=f"there is no {word} device here; use --device cpu"):
            choose_device(word)


def test_the_best_device_present_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
    assert choose_device("cuda:1") == "cuda:1"
    for word in ("cuda:2", "cuda:-1", "cuda:x"):
        with pytest.raises(Missing):
            choose_device(word)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "mps"


def files(folder: Path, shapes: list[tuple[int, int, str]]) -> Dataset:
    """Training pictures of (height, width) and mode; None of a file that is none."""
    names = []
    for number, (height, width, mode) in enumerate(shapes):
        names.append(f"{number}.png")
        if mode:
            Image.new(mode, (width, height)).save(folder / names[-1])
        else:
            (folder / names[-1]).write_bytes(b"no picture")
    n = len(shapes)
    origin = Origin("small", str(folder), "files")
    return Dataset(FilePictures(folder, tuple(names)), np.zeros(n, np.int64), ("a",), np.zeros(n, np.int8), origin)


def test_the_usual_shape_is_the_median_height_then_width_then_channels(tmp_path: Path) -> None:
    some = files(tmp_path, [(10, 90, "L"), (20, 40, "L"), (30, 50, "L"), (400, 60, "L"), (11, 70, "L")])
    assert usual_shape(some) == (20, 60, 1)


def test_colour_anywhere_is_colour_and_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    assert usual_shape(files(tmp_path, [(8, 9, "L"), (8, 9, "RGB"), (0, 0, "")])) == (8, 9, 3)
    with pytest.raises(BadData, match="no usable picture among the first 2 looked at"):
        usual_shape(files(tmp_path, [(0, 0, "")] * 2))


def test_validation_and_test_do_not_tell_the_usual_shape(tmp_path: Path) -> None:
    some = files(tmp_path, [(8, 9, "L"), (80, 90, "RGB"), (80, 90, "RGB")])
    assert usual_shape(replace(some, splits=np.array([0, 1, 2], np.int8))) == (8, 9, 1)


@pytest.mark.parametrize(
    ("side", "told"),
    [((400, 300), ""),
     ((97, 4000), "2% of each picture: pictures are 97 × 4000 pixels, its input is 128 × 128; --size 64x256"),
     ((4000, 97), "2% of each picture: pictures are 4000 × 97 pixels, its input is 128 × 128; --size 256x64"),
     ((300, 900), "33% of each picture: pictures are 300 × 900 pixels, its input is 128 × 128; --size 74x222")],
)  # fmt: skip
def test_what_is_cut_away_of_long_pictures_is_told(side: tuple[int, int], told: str) -> None:
    said: list[str] = []
    settle(Classify, of_size(*side), recipe(network__weights="scratch"), say=said.append)
    assert [told in sentence for sentence in said] == ([True] if told else [])
    said.clear()
    settle(Classify, of_size(*side), recipe(network__weights="scratch", data__size="64x128"), say=said.append)
    assert said == [], "who says a size knows"
