"""Runs with boxes: trained, scored, told, saved, resumed to the bit; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import foveal
from foveal.errors import BadModel, Interrupted
from foveal.files.model_file import KIND
from foveal.files.places import data_folders
from foveal.files.tensors import read_tensors, write_tensors
from foveal.model import Model, load
from foveal.networks.catalogue import build
from foveal.preprocess import Preprocess
from foveal.progress import SILENT
from foveal.tasks.detect import LEAST_SCORE
from foveal.tasks.heads import head_of
from foveal.tasks.heads.head import Architecture
from foveal.training import fit as fit_module


@pytest.fixture(name="foveal")
def within_this_process(command):
    """The command, without a process of its own: what that costs is the imports."""
    return command


def _published(name: str) -> Path:
    for folder in data_folders():
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"not executed: {name} is not below $FOVEAL_DATA")


QUICK = {"training.epochs": 2, "training.arithmetic": "fp32", "training.threads": 1, "training.batch_size": 8}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """42 wide pictures with one or two coloured rectangles, as YOLO has them."""
    folder = tmp_path_factory.mktemp("rectangles")
    rng = np.random.default_rng(0)
    for part, numbers in (("train", range(24)), ("val", range(6)), ("test", range(10)), ("val", range(6, 8))):
        (folder / "images" / part).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / part).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            canvas = rng.integers(90, 130, (72, 120, 3)).astype(np.uint8)
            lines = []
            for label in rng.permutation(2)[: 1 + number % 2]:
                w, h = int(rng.integers(20, 40)), int(rng.integers(16, 30))
                x, y = int(rng.integers(0, 60 - w)) + 60 * int(label), int(rng.integers(0, 72 - h))
                canvas[y : y + h, x : x + w] = (230, 40, 40) if label == 0 else (40, 60, 230)
                lines.append(f"{label} {(x + w / 2) / 120} {(y + h / 2) / 72} {w / 120} {h / 72}")
            Image.fromarray(canvas).save(folder / "images" / part / f"{part}{number}.png")
            (folder / "labels" / part / f"{part}{number}.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("red\nblue\n")
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = QUICK | {"training.epochs": 40, "training.ema": 0.9, "augment.preset": "off"}
    return foveal.train(pictures, out=out, settings=settings)


def test_boxes_are_found_and_scored(run: foveal.Run) -> None:
    test = json.loads((run.folder / "metrics.json").read_text())["test"]
    assert test["n"] == 10
    assert test["ap50"] > 0.5
    assert test["ap50_interval"][0] <= test["ap50"] <= test["ap50_interval"][1]
    assert [row["name"] for row in test["classes"]] == ["red", "blue"]


def test_the_report_is_one_offline_page_with_pictures(run: foveal.Run) -> None:
    page = run.report.read_text()
    for words in ("Detections", "Which predictions are assigned to which object", "Average precision", "red"):
        assert words in page
    assert page.count("data:image/") > 10
    assert "http" not in page.split("<style>")[0].replace("http-equiv", "")


def test_a_saved_detector_finds_the_same(run: foveal.Run, pictures: Path) -> None:
    again = load(run.folder)
    assert isinstance(again, Model)
    folder = pictures / "images" / "test"
    assert isinstance(run.model, Model)
    for one, other in zip(run.model.predict(folder, score=0.05), again.predict(folder, score=0.05), strict=True):
        assert one.answer is not None
        assert other.answer is not None
        assert np.array_equal(one.answer.xyxy, other.answer.xyxy)
        assert one.size == (72, 120)
        assert (one.answer.xyxy <= np.array([120, 72, 120, 72])).all()


def test_objects_lie_where_the_colours_are(run: foveal.Run, pictures: Path) -> None:
    """In pixels of the picture itself, which is not square and was set amid grey."""
    assert isinstance(run.model, Model)
    hits = total = 0
    for path in sorted((pictures / "images" / "test").iterdir()):
        pixels = np.asarray(Image.open(path)).astype(int)
        masks = [pixels[..., 0] - pixels[..., 2] > 100, pixels[..., 2] - pixels[..., 0] > 100]
        found = run.model.predict(path)
        assert found.answer is not None
        for box, label in zip(found.answer.xyxy, found.answer.labels, strict=True):
            x1, y1, x2, y2 = np.round(box).astype(int)
            total += 1
            hits += masks[label][y1:y2, x1:x2].mean() > 0.6
    assert total >= 8
    assert hits / total > 0.7


def test_evaluate_agrees_with_the_run(run: foveal.Run, pictures: Path) -> None:
    from foveal.runs import evaluate

    told = json.loads((run.folder / "metrics.json").read_text())["test"]
    scored = evaluate(run.folder, pictures)
    assert scored.scores.as_dict()["ap50"] == pytest.approx(told["ap50"], abs=1e-9)


def test_a_wished_precision_bounds_the_scores(foveal: Any, run, pictures: Path) -> None:
    folder = pictures / "images" / "test"
    model = run.model
    assert isinstance(model, Model)
    bound = model.trust.bound_for(0.8)
    assert LEAST_SCORE < bound < 1
    asked = foveal("predict", run.folder, folder, "--csv", "--precision", "0.8")
    assert asked.exit_code == 0, asked.stderr
    assert "Target precision 80 %: minimum score" in asked.stderr
    assert asked.stdout == foveal("predict", run.folder, folder, "--csv", "--score", str(bound)).stdout
    scored = foveal("evaluate", run.folder, pictures, "--precision", "0.8", "--json")
    tried = json.loads(scored.stdout)["tried"]
    assert tried["told"] == sum(",,,,," not in row for row in asked.stdout.splitlines()[1:])
    none = foveal("predict", run.folder, folder, "--precision", "0.9999")
    assert "give a lower --precision" in none.stderr
    both = foveal("predict", run.folder, folder, "--precision", "0.9", "--score", "0.2")
    assert both.exit_code == 2
    assert "give one of them" in both.stderr


def test_a_file_without_calibration_still_loads(run: foveal.Run, pictures: Path, tmp_path: Path, foveal: Any) -> None:
    tensors, facts = read_tensors(run.folder / "model.safetensors", KIND)
    del facts["trust"]
    write_tensors(tmp_path / "older.safetensors", tensors, facts, KIND)
    older, newer = load(tmp_path / "older.safetensors"), run.model
    assert isinstance(older, Model)
    assert isinstance(newer, Model)
    assert newer.trust is not None
    for one, other in zip(older.predict(pictures, score=0.0), newer.predict(pictures, score=0.0), strict=True):
        assert one.answer is not None
        assert other.answer is not None
        said = newer.trust.calibrated(one.answer.take(one.answer.scores > 0.005))
        assert np.array_equal(said.scores, other.answer.scores)
        assert np.array_equal(said.xyxy, other.answer.xyxy)
    refused = foveal("predict", tmp_path / "older.safetensors", pictures, "--precision", "0.9")
    assert refused.exit_code == 2
    assert "train it again" in refused.stderr


def test_commands_tell_where_and_draw(foveal: Any, run, pictures, tmp_path) -> None:
    folder = pictures / "images" / "test"
    done = foveal("predict", run.folder, folder, "--csv", "--draw", "drawn")
    assert done.exit_code == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "picture,label,score,x1,y1,x2,y2,reason"
    assert len(rows) >= 8
    assert len(list((tmp_path / "drawn").iterdir())) == 10
    coco = json.loads(foveal("predict", run.folder, folder, "--coco").stdout)
    assert {"image_id", "category_id", "bbox", "score", "file_name"} <= set(coco[0])
    again = foveal("predict", run.folder, folder, "--draw", "drawn")
    assert again.exit_code == 2
    assert "not empty" in again.stderr
    refused = foveal("predict", run.folder, folder, "--accuracy", "0.9")
    assert refused.exit_code == 2
    assert "--score" in refused.stderr
    scored = foveal("evaluate", run.folder, pictures)
    assert "AP50" in scored.stdout


def test_large_pictures_are_looked_at_piece_by_piece(run: foveal.Run, pictures: Path, tmp_path: Path) -> None:
    """Four pictures side by side are too small for the network as a whole; tiles see each at its own size."""
    assert isinstance(run.model, Model)
    parts = [np.asarray(Image.open(p)) for p in sorted((pictures / "images" / "test").iterdir())[:8]]
    rows = [np.concatenate(parts[i : i + 4], axis=1) for i in (0, 4)]
    wide = np.concatenate([rows[0], np.full((48, 480, 3), 110, np.uint8), rows[1]])
    tiled = run.model.predict(wide, tile=120)
    assert tiled.answer is not None
    separate = sum(len(f.answer) for f in run.model.predict(list(parts)) if f.answer is not None)
    assert len(tiled.answer) >= 0.5 * separate
    assert tiled.answer.xyxy[:, 0].max() > 300
    assert tiled.answer.xyxy[:, 1].max() > 100


def test_a_killed_run_goes_on_to_the_same_bits(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = foveal.train(pictures, out=tmp_path / "whole", settings=QUICK)
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    stop = fit_module._Keeper.after_step

    def stopped(self, state, steps) -> None:
        stop(self, state, steps)
        if state.epoch == 1 and state.step == 2:
            raise Interrupted("stopped", 130)

    monkeypatch.setattr(fit_module._Keeper, "after_step", stopped)
    with pytest.raises(Interrupted):
        foveal.train(pictures, out=tmp_path / "parts", settings=QUICK)
    monkeypatch.setattr(fit_module._Keeper, "after_step", stop)
    resumed = foveal.resume(tmp_path / "parts")
    for one, other in zip(
        whole.model.network.state_dict().values(), resumed.model.network.state_dict().values(), strict=True
    ):
        assert one.equal(other)


def test_largest_objects_can_be_classified_instead(pictures: Path, tmp_path: Path) -> None:
    settings = QUICK | {"training.task": "classify", "training.epochs": 1, "network.name": "speednet_small"}
    run = foveal.train(pictures, out=tmp_path / "labels", settings=settings | {"data.size": "32"})
    assert "top1" in run.metrics["test"]


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ("digits", {"training.task": "detect"}, "labels only"),
        ("boxes", {"network.name": "mlp"}, "no feature maps"),
        ("boxes", {"augment.cutmix": 1.0}, "--task detect does not use it"),
        ("boxes", {"data.unlabelled": "nothing"}, "leave-out"),
        ("boxes", {"network.detector": "yolo3"}, "yolov3"),
        ("boxes", {"training.minutes": 0.0001, "training.epochs": "auto"}, "too short"),
        ("boxes", {"network.name": "resnet18", "network.weights": "nowhere.pth"}, "no such file"),
    ],
)
def test_what_cannot_be_detected_is_refused_and_leaves_nothing(
    source: str, settings: dict[str, object], words: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(foveal.FovealError) as refused:
        foveal.train(pictures if source == "boxes" else source, out=tmp_path / "out", settings=QUICK | settings)
    assert words in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_lies_about_its_detector_is_refused(run: foveal.Run, tmp_path: Path) -> None:
    tensors, facts = read_tensors(run.folder / "model.safetensors", KIND)
    for change, words in (
        ({"network": {**facts["network"], "width": 72}}, "pyramid"),
        ({"network": {**facts["network"], "name": "mlp"}}, "no feature maps"),
        ({"threshold": 2.0}, "threshold"),
        ({"classes": ["red", "red"]}, "twice"),
        ({"trust": {**facts["trust"], "maps": {"a": [1.0], "b": [1.0], "c": [0.0]}}}, "calibrated"),
        ({"trust": {**facts["trust"], "maps": {"a": [1.0, -1.0], "b": [1.0, 1.0], "c": [0.0, 0.0]}}}, "maps.a"),
        ({"trust": {**facts["trust"], "curve": [[0.5, 2.0]]}}, "curve"),
        ({"classes": ["red"]}, "classes"),
    ):
        path = tmp_path / "bad.safetensors"
        path.unlink(missing_ok=True)
        write_tensors(path, tensors, {**facts, **change}, KIND)
        with pytest.raises(BadModel) as refused:
            load(path)
        assert words in str(refused.value)


def test_a_whole_picture_is_placed_as_its_matrix_says() -> None:
    """A bright corner of a tall and of a wide picture ends where the matrix carries it."""
    preprocess = Preprocess(64, 96, 3, whole=True)
    for height, width in ((200, 90), (60, 300), (64, 96), (10, 10)):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[height // 2 :, width // 2 :] = 255
        seen = preprocess.pixels(picture)
        assert seen.shape == (64, 96, 3)
        x, y = (preprocess.matrix(height, width) @ np.array([width * 0.75, height * 0.75, 1]))[:2]
        assert seen[int(y), int(x)].min() > 200
        x, y = (preprocess.matrix(height, width) @ np.array([width * 0.25, height * 0.75, 1]))[:2]
        assert seen[int(y), int(x)].max() < 60


def test_a_centre_crop_is_placed_as_its_matrix_says() -> None:
    preprocess = Preprocess(40, 60, 3, crop_fraction=0.8)
    picture = np.zeros((150, 130, 3), np.uint8)
    picture[70:90, 60:80] = 255
    seen = preprocess.pixels(picture)[..., 0] > 127
    rows, columns = np.nonzero(seen)
    x1, y1 = (preprocess.matrix(150, 130) @ np.array([60, 70, 1]))[:2]
    x2, y2 = (preprocess.matrix(150, 130) @ np.array([80, 90, 1]))[:2]
    assert (columns.min(), columns.max() + 1) == (pytest.approx(x1, abs=1), pytest.approx(x2, abs=1))
    assert (rows.min(), rows.max() + 1) == (pytest.approx(y1, abs=1), pytest.approx(y2, abs=1))


def test_one_object_is_placed_better_than_the_same_box_everywhere(foveal, pictures: Path, tmp_path: Path) -> None:
    from foveal import train

    settings = QUICK | {
        "training.epochs": 40,
        "training.ema": 0.9,
        "training.task": "localise",
        "augment.preset": "off",
    }
    run = train(pictures, out=tmp_path / "run", settings=settings)
    test = run.metrics["test"]
    assert {"mean_iou", "presence", "top1", "located", "constant_iou"} <= set(test)
    assert test["mean_iou"] > test["constant_iou"] + 0.05
    assert test["presence"] == 1.0
    page = run.report.read_text()
    assert "the best constant box on every picture" in page
    again = load(run.folder)
    assert isinstance(again, Model)
    assert again.architecture.kind == "one-object"
    found = again.predict(pictures / "images" / "test" / "test0.png")
    assert found.answer is not None
    assert len(found.answer) == 1
    scored = foveal("evaluate", tmp_path / "run", pictures)
    assert "mean IoU" in scored.stdout, scored.stderr


def test_yolov3_learns_with_prior_boxes_of_the_data(foveal: Any, pictures: Path, tmp_path: Path) -> None:
    """Through the command: trained, told which anchors, saved, loaded, the same objects."""
    words = ["--detector", "yolov3", "--network", "squeezenet1_1", "--epochs", "30", "--size", "64x96", "--batch", "8"]
    exact = ["--exact", "--threads", "1", "--set", "augment.preset=off", "--set", "training.ema=0.9"]
    done = foveal("train", pictures, *words, *exact, "--out", "run")
    assert done.exit_code == 0, done.stderr
    assert "prior boxes from the" in done.stderr
    model = load(tmp_path / "run")
    assert isinstance(model, Model)
    anchors = np.array(model.architecture.anchors)
    assert len(anchors) % 3 == 0
    assert (np.diff(anchors.prod(1)) >= 0).all()
    assert (anchors < [96, 64]).all()
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert told["ap50"] > 0.5
    assert evaluated(tmp_path / "run", pictures) == pytest.approx(told["ap50"], abs=1e-9)
    assert "prior box" in (tmp_path / "run" / "report.html").read_text()


def test_faster_rcnn_proposes_and_looks(foveal: Any, pictures: Path, tmp_path: Path) -> None:
    words = ["--detector", "faster-rcnn", "--network", "squeezenet1_1", "--epochs", "6", "--size", "64x96"]
    exact = ["--exact", "--threads", "1", "--batch", "4", "--set", "augment.preset=off", "--set", "training.ema=0.9"]
    done = foveal("train", pictures, *words, *exact, "--out", "run")
    assert done.exit_code == 0, done.stderr
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert told["ap50"] > 0.5
    assert evaluated(tmp_path / "run", pictures) == pytest.approx(told["ap50"], abs=1e-9)
    assert "anchors for" in (tmp_path / "run" / "report.html").read_text()
    losses = [float(row.split(",")[1]) for row in (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.7 * losses[0]


def evaluated(run: Path, pictures: Path) -> float:
    from foveal.runs import evaluate

    return float(evaluate(run, pictures).scores.as_dict()["ap50"])


def test_norms_that_came_with_weights_stay_frozen_in_faster_rcnn(tmp_path: Path) -> None:
    """Built frozen, it takes the weights of a network whose norms learnt."""
    network = head_of("faster-rcnn").build(Architecture("faster-rcnn", "resnet18", frozen_norms=True), 2, 3, (64, 96))
    published = build("resnet18", 1, 3, (64, 96))
    published(torch.randn(2, 3, 64, 96))
    network.trunk.network.load_state_dict(published.state_dict(), strict=True)
    assert torch.equal(network.trunk.network.bn1.running_mean, published.bn1.running_mean)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_few_boxes_leave_yolov3_the_papers_anchors(tmp_path: Path) -> None:
    from foveal.data.sources import open_dataset
    from foveal.recipe import Recipe
    from foveal.tasks.detect import Detect

    for part in ("train", "test"):
        (tmp_path / "images" / part).mkdir(parents=True)
        (tmp_path / "labels" / part).mkdir(parents=True)
        for n in range(4):
            Image.new("RGB", (208, 104), (n * 20, 90, 30)).save(tmp_path / "images" / part / f"{part}{n}.png")
            (tmp_path / "labels" / part / f"{part}{n}.txt").write_text(f"0 0.5 0.5 0.2 {0.2 + n / 10}")
    recipe = Recipe().with_settings({"network.name": "resnet18", "network.detector": "yolov3", "data.size": "208x416"})
    dataset, preprocess = open_dataset(tmp_path), Preprocess(208, 416, whole=True)
    assert Detect.built(dataset, recipe, preprocess, print)[0].anchors[0] == (10.0, 6.5)
    asked = recipe.with_settings({"network.anchors": "own"})
    with pytest.raises(foveal.FovealError, match="9 prior boxes need"):
        Detect.built(dataset, asked, preprocess, print)


CFG = """
[net]
width=96
height=64
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=8,8, 20,16
classes=2
num=2
"""


@pytest.fixture
def darknet(tmp_path: Path) -> Path:
    """A tiny network in Darknet's files, with random weights that say some boxes."""
    (tmp_path / "tiny.cfg").write_text(CFG)
    values = np.random.default_rng(1).normal(0, 0.3, 8 * 3 * 9 + 8 + 14 * 8 + 14).astype("<f4")
    (tmp_path / "tiny.weights").write_bytes(np.array([0, 2, 5, 0, 0], "<i4").tobytes() + values.tobytes())
    (tmp_path / "tiny.names").write_text("cat\ndog\n")
    return tmp_path / "tiny.cfg"


def test_darknets_files_are_a_model(foveal: Any, darknet: Path, pictures: Path, tmp_path: Path) -> None:
    folder = pictures / "images" / "test"
    done = foveal("predict", darknet, folder, "--csv", "--score", "0.1")
    assert done.exit_code == 0, done.stderr
    assert {row.split(",")[1] for row in done.stdout.splitlines()[1:]} <= {"cat", "dog", ""}
    assert len(done.stdout.splitlines()) > 20
    model = load(darknet.with_suffix(".weights"))
    assert isinstance(model, Model)
    model.save(tmp_path / "tiny.safetensors")
    assert foveal("predict", "tiny.safetensors", folder, "--csv", "--score", "0.1").stdout == done.stdout


def test_darknets_files_that_do_not_fit_are_refused(foveal: Any, darknet: Path, pictures: Path) -> None:
    folder = pictures / "images" / "test"
    darknet.with_suffix(".names").write_text("cat\n")
    assert "1 names, and tiny.cfg tells 2 classes" in foveal("predict", darknet, folder).stderr
    darknet.with_suffix(".names").unlink()
    (darknet.parent / "other.names").write_text("a\nb\n")
    names = load(darknet).classes
    assert names == ("a", "b")
    (darknet.parent / "another.names").write_text("c\nd\n")
    assert load(darknet).classes == ("class 0", "class 1")
    darknet.with_suffix(".weights").unlink()
    missing = foveal("predict", darknet, folder)
    assert missing.exit_code == 2
    assert "tiny.weights is not there" in missing.stderr


def test_yolo_fastest_is_a_model_of_one_command(foveal: Any) -> None:
    """What a person sees on the photograph, with the published files as they are."""
    place = _published("weights/yolo-fastest")
    done = foveal("predict", place / "yolo-fastest-1.1-xl.cfg", _published("pictures/dog.jpg"), "--json")
    assert done.exit_code == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert (told["height"], told["width"]) == (576, 768)
    found = {row["label"]: row["score"] for row in reversed(told["objects"])}  # of several the surest
    for name, score in (("dog", 0.94), ("car", 0.87), ("bicycle", 0.83)):
        assert found[name] == pytest.approx(score, abs=0.03)


def test_minutes_plan_the_epochs(pictures: Path, tmp_path: Path) -> None:
    settings = QUICK | {"training.epochs": "auto", "training.minutes": 0.1}
    told: list[str] = []

    class Heard(type(SILENT)):  # type: ignore[misc]
        def say(self, text: str) -> None:
            told.append(text)

    run = foveal.train(pictures, out=tmp_path / "run", settings=settings, progress=Heard())
    assert run.metrics["seconds"]["train"] < 9
    count = run.metrics["epochs"]
    fit = "epoch fits" if count == 1 else "epochs fit"
    assert f"{count} {fit} into 0.1 minutes." in told
