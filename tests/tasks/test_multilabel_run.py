"""A whole run of several labels a picture: trained, saved, loaded, asked, scored, resumed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import foveal
from foveal.errors import BadRecipe
from foveal.recipe import read_recipe
from foveal.runs.batch import predict_to

SHAPES = ("bar", "dot", "ring")
QUICK = {"network.name": "lenet5", "training.epochs": 12, "training.threads": 1, "training.arithmetic": "fp32"}


def drawn(shows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(28, 28) uint8: a bar at the left, a dot at the right, a ring round both, where they are asked for."""
    pixels = rng.integers(0, 60, (28, 28))
    y, x = np.indices((28, 28))
    if shows[0]:
        pixels[6:22, 6:9] += 150
    if shows[1]:
        pixels[(y - 14) ** 2 + (x - 19) ** 2 < 9] += 150
    if shows[2]:
        pixels[np.abs(np.hypot(y - 13.5, x - 13.5) - 12) < 1] += 150
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 pictures of any of three shapes, some of none."""
    root, rng = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    rows = ["path,labels,split"]
    for i in range(180):
        shows = rng.random(3) < 0.5
        Image.fromarray(drawn(shows, rng)).save(root / f"{i}.png")
        split = "train" if i < 100 else "val" if i < 140 else "test"
        rows.append(f"{i}.png,{';'.join(np.array(SHAPES)[shows])},{split}")
    (root / "table.csv").write_text("\n".join(rows))
    return root / "table.csv"


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> foveal.Run:
    return foveal.train(table, out=tmp_path_factory.mktemp("run") / "run", settings=QUICK, progress=None)


def test_it_learns_and_tells_every_figure(run: foveal.Run) -> None:
    told = json.loads((run.folder / "metrics.json").read_text())
    assert told["task"] == "multilabel"
    assert told["test"]["mAP"] > 0.95
    assert told["test"]["micro_f1"] > 0.85
    assert 0 < told["test"]["mAP_interval"][0] <= told["test"]["mAP"]
    assert told["baseline"]["measure"] == "mAP"
    assert 0.5 < told["baseline"]["mAP"] <= 1
    page = run.report.read_text()
    for words in (
        "Label by label",
        "Average precision of each label",
        "bar",
        "ring",
        "subset accuracy",
        "HOG + linear",
    ):
        assert words in page


def test_its_file_answers_alike_and_names_what_is_there(run: foveal.Run, table: Path) -> None:
    model = foveal.load(run.folder)
    dataset = foveal.open_dataset(table)
    test = dataset[dataset.indices("test")]
    paths = [str(sample.path) for sample in test]
    answers = list(model.predict(paths))
    assert [a.labels for a in answers] == [a.labels for a in run.model.predict(paths)]
    right = sum(set(a.labels) == set(sample.labels) for a, sample in zip(answers, test, strict=True))
    assert right == round(run.metrics["test"]["subset_accuracy"] * len(test))
    shares = model.probabilities(paths)
    assert shares.shape == (len(paths), 3)
    np.testing.assert_allclose(shares[0], list(answers[0].probabilities.values()), rtol=1e-5)
    assert foveal.evaluate(model, table).scores.as_dict()["mAP"] == pytest.approx(run.metrics["test"]["mAP"])


def test_answers_become_rows_a_label_and_a_picture_without_any_is_told(run: foveal.Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name, shows in (("both", [1, 1, 0]), ("none", [0, 0, 0])):
        Image.fromarray(drawn(np.array(shows, bool), rng)).save(tmp_path / f"{name}.png")
    out = io.StringIO()
    predict_to(run.model, [str(tmp_path)], out, format="csv")
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [Path(row["picture"]).stem for row in rows] == ["both", "both", "none"]
    assert {row["label"] for row in rows[:2]} == {"bar", "dot"}
    assert rows[2]["reason"] == "no label"
    with pytest.raises(BadRecipe, match="--top is for classifiers"):
        run.model.predict(str(tmp_path), top=2)


def test_a_target_precision_moves_the_thresholds(run: foveal.Run, table: Path) -> None:
    found = foveal.evaluate(run.model, table, on="all", precision=0.9)
    assert found.tried is not None
    assert found.tried.as_dict()["precision"] >= 0.9
    assert "Target precision 90 %" in found.tried.sentences[0]
    assert found.as_dict()["trust"]["target_precision"] == 0.9


def weights_of(run: foveal.Run) -> list[np.ndarray]:
    return [value.numpy() for value in run.model.network.state_dict().values()]


def test_its_recipe_repeats_it_to_the_bit_and_it_is_resumed(table: Path, tmp_path: Path) -> None:
    first = foveal.train(table, out=tmp_path / "first", settings={**QUICK, "training.epochs": 4}, progress=None)
    again = foveal.train(table, out=tmp_path / "again", recipe=read_recipe(first.folder / "recipe.toml"), progress=None)
    for a, b in zip(weights_of(first), weights_of(again), strict=True):
        np.testing.assert_array_equal(a, b)
    more = [foveal.resume(run.folder, settings={"training.epochs": 6}, progress=None) for run in (first, again)]
    assert [row["epoch"] for row in more[0].history] == [1, 2, 3, 4, 5, 6]
    assert any((a != b).any() for a, b in zip(weights_of(first), weights_of(more[0]), strict=True))
    for a, b in zip(*map(weights_of, more), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_head_on_frozen_features_serves_several_labels(run: foveal.Run, table: Path, tmp_path: Path) -> None:
    settings = {"network.weights": str(run.folder), "network.train": "head", "training.threads": 1}
    head = foveal.train(table, out=tmp_path / "head", settings=settings, progress=None)
    assert head.metrics["test"]["mAP"] > 0.9
    assert head.metrics["transfer"]["head_out_of_fold"] > 0.9
    assert "learning_curve" in head.metrics
    again = foveal.load(head.folder)
    assert again.predict(str(table.parent / "0.png")).answer.unlike in (True, False)


def test_one_label_a_picture_may_be_learnt_as_several(tmp_path: Path) -> None:
    run = foveal.train("digits", out=tmp_path / "run", task="multilabel", network="mlp", epochs=2, progress=None)
    assert run.metrics["task"] == "multilabel"
    assert run.metrics["test"]["mAP"] > 0.5


def test_options_that_do_not_go_are_refused(table: Path) -> None:
    with pytest.raises(BadRecipe, match=r"training\.loss is set, but --task classify does not use it"):
        foveal.train("digits", settings={"training.loss": "asymmetric"})
    with pytest.raises(BadRecipe, match=r"training\.accuracy is set, but --task multilabel does not use it"):
        foveal.train(table, accuracy=0.9)


def test_a_label_on_one_picture_and_a_label_everywhere_train_and_are_told(table: Path, tmp_path: Path) -> None:
    rows = table.read_text().splitlines()
    lines = [rows[0]]
    for number, row in enumerate(rows[1:]):
        path, labels, split = row.split(",")
        more = ["all", *(["lone"] if number == 5 else [])]
        lines.append(f"{table.parent / path},{';'.join([*more, *filter(None, [labels])])},{split}")
    (tmp_path / "odd.csv").write_text("\n".join(lines))
    said: list[str] = []
    run = foveal.train(tmp_path / "odd.csv", out=tmp_path / "run", network="mlp", epochs=2, progress=Heard(said))
    assert any("Every training picture has the label all: there is nothing to tell apart." in line for line in said)
    figures = {row["class"]: row for row in run.metrics["test"]["classes"]}
    assert figures["lone"]["ap"] is None
    assert figures["lone"]["support"] == 0
    assert figures["all"]["ap"] == pytest.approx(1.0)
    assert 0 < run.metrics["test"]["mAP"] <= 1
    settings = {"network.weights": str(run.folder), "network.train": "head"}
    head = foveal.train(tmp_path / "odd.csv", out=tmp_path / "head", settings=settings, progress=None)
    assert np.isfinite(head.metrics["test"]["mAP"])
    assert "lone" in head.report.read_text()


class Heard:
    """A progress that remembers what is said."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def say(self, text: str) -> None:
        self.said.append(text)

    def task(self, *_: object, **__: object):
        from foveal.progress import SILENT

        return SILENT.task("", 0)
