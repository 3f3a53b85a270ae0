"""Runs from end to end on small real pictures: what is written, repeated, resumed, refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import foveal
from foveal.errors import BadModel, BadRecipe, Busy, FovealError, Interrupted, Missing, NotFinite, NotWritable
from foveal.files.durable import RunLock
from foveal.recipe import read_recipe
from foveal.runs import evaluate
from foveal.training import fit as fit_module

FAST = {"training.epochs": 2, "training.arithmetic": "fp32", "data.size": "16"}
# Everything that draws or remembers: dropout, EMA, mixing, all of the geometry.
RICH = FAST | {
    "training.epochs": 3,
    "training.ema": 0.9,
    "network.dropout": 0.2,
    "training.clip": 5.0,
    "augment.mixup": 0.2,
    "augment.cutmix": 0.5,
    "augment.cutout": 0.2,
    "training.arithmetic": "bf16 channels-last",
}


def some_digits(per_class=24):
    digits = load_digits()
    pixels, labels = (digits.images * 15.9).astype(np.uint8), digits.target
    chosen = np.concatenate([np.flatnonzero(labels == k)[:per_class] for k in range(10)])
    return pixels[chosen], labels[chosen]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four classes of digits as class folders of PNG."""
    root = tmp_path_factory.mktemp("pictures") / "numbers"
    pixels, labels = some_digits(30)
    for i, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        if label < 4:
            (root / "abcd"[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / "abcd"[label] / f"{i:04d}.png")
    return root


def weights(path):
    return {k: v.clone() for k, v in foveal.load(path).network.state_dict().items()}


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Stopping:
    """A progress that stops the work after some steps, as a fault of the machine would."""

    def __init__(self, steps):
        self.left = steps

    def say(self, sentence):
        pass

    @contextmanager
    def task(self, name, total, unit="pictures"):
        def advance(n, note=""):
            if name == "training":
                self.left -= 1
                if self.left < 0:
                    raise RuntimeError("the power is gone")

        yield advance


def test_a_run_leaves_everything_that_was_promised(folder, tmp_path):
    run = foveal.train(folder, out=tmp_path / "run", settings=FAST)
    names = {p.name for p in run.folder.iterdir()}
    promised = {
        "recipe.toml",
        "history.csv",
        "model.safetensors",
        "metrics.json",
        "checkpoint",
        "report.html",
        "log.txt",
    }
    assert promised | {"skipped.csv"} <= names
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert {"n", "top1", "ece", "loss"} <= metrics["test"].keys()
    assert "top5" not in metrics["test"], "with four classes the truth is always among five"
    assert metrics["test"]["n"] == metrics["pictures"]["test"] > 0
    assert 0 <= metrics["baseline"]["top1"] <= 1
    assert {"store", "train", "total"} <= metrics["seconds"].keys()
    assert metrics["arithmetic"]["chosen"] == "fp32"
    rows = table(run.folder / "history.csv")
    assert [r["epoch"] for r in rows] == ["1", "2"]
    assert "numbers" in (run.folder / "report.html").read_text()


def test_the_saved_recipe_repeats_the_run_to_the_bit(folder, tmp_path):
    first = foveal.train(folder, out=tmp_path / "one", settings=RICH)
    from foveal.recipe import read_recipe

    again = foveal.train(folder, out=tmp_path / "two", recipe=read_recipe(first.folder / "recipe.toml"))
    assert same(weights(first.folder), weights(again.folder))
    assert (first.folder / "recipe.toml").read_bytes() == (again.folder / "recipe.toml").read_bytes()
    other = foveal.train(folder, out=tmp_path / "three", settings=RICH | {"training.seed": 1})
    assert not same(weights(first.folder), weights(other.folder))


@pytest.mark.parametrize("threads", [2, 4])
def test_loading_threads_change_no_bit(folder, tmp_path, threads):
    one = foveal.train(folder, out=tmp_path / "one", settings=RICH, loading_threads=1)
    more = foveal.train(folder, out=tmp_path / "more", settings=RICH, loading_threads=threads)
    assert same(weights(one.folder), weights(more.folder))


@pytest.mark.parametrize("steps", [0, 1, 4, 7, 11])
def test_a_run_stopped_at_any_step_resumes_to_the_bit(folder, tmp_path, monkeypatch, steps):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)  # after every step
    settings = RICH | {"training.batch_size": 24}
    whole = foveal.train(folder, out=tmp_path / "whole", settings=settings)
    with pytest.raises(RuntimeError, match="the power is gone"):
        foveal.train(folder, out=tmp_path / "cut", settings=settings, progress=Stopping(steps))
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    resumed = foveal.resume(tmp_path / "cut")
    assert same(weights(whole.folder), weights(resumed.folder))
    kept = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "learning_rate")
    histories = [[[row[k] for k in kept] for row in table(r.folder / "history.csv")] for r in (whole, resumed)]
    assert histories[0] == histories[1], "each epoch once, with the same figures"
    assert len(list((tmp_path / "cut" / "checkpoint").glob("epoch-*.safetensors"))) <= 2


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    whole = foveal.train(folder, out=tmp_path / "whole", settings=RICH)
    with pytest.raises(RuntimeError):
        foveal.train(folder, out=tmp_path / "cut", settings=RICH, progress=Stopping(3))
    newest = sorted((tmp_path / "cut" / "checkpoint").glob("epoch-*"))[-1]
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)
    assert same(weights(whole.folder), weights(foveal.resume(tmp_path / "cut").folder))
    assert "Resuming from the one before" in (tmp_path / "cut" / "log.txt").read_text()


def test_resume_refuses_changed_pictures_and_changed_settings(folder, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(RuntimeError):
        foveal.train(copy, out=tmp_path / "cut", settings=FAST, progress=Stopping(2))
    with pytest.raises(BadRecipe, match=r"was started with data\.size = 16x16, which cannot become 24"):
        foveal.resume(tmp_path / "cut", settings={"data.size": "24"})
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(next((copy / "a").iterdir()))
    with pytest.raises(FovealError, match="the pictures have changed since the run was started"):
        foveal.resume(tmp_path / "cut")


def test_resume_may_ask_for_more_epochs_but_not_fewer(folder, tmp_path):
    foveal.train(folder, out=tmp_path / "run", settings=FAST)
    with pytest.raises(BadRecipe, match="give at least as many"):
        foveal.resume(tmp_path / "run", settings={"training.epochs": 1})
    longer = foveal.resume(tmp_path / "run", settings={"training.epochs": 3})
    assert longer.metrics["epochs"] == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves_with_its_code(folder, tmp_path, number, code):
    arguments = ["train", str(folder), "--out", str(tmp_path / "run"), "--epochs", "5000", "--size", "16", "--exact"]
    child = subprocess.Popen([sys.executable, "-m", "foveal", *arguments], stderr=subprocess.PIPE, text=True)
    history = tmp_path / "run" / "history.csv"
    for _ in range(600):
        if history.exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code, stderr
    assert "resume with: foveal train --resume" in stderr
    assert "Traceback" not in stderr
    assert list((tmp_path / "run" / "checkpoint").glob("epoch-*"))


def test_an_infinite_loss_stops_with_its_name_and_keeps_what_was_good(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    settings = FAST | {"network.name": "lenet5", "training.optimizer": "sgd", "training.learning_rate": 1e8}
    with pytest.raises(NotFinite, match=r"The loss became .* in epoch \d+, step \d+, at a learning rate of") as stopped:
        foveal.train(folder, out=tmp_path / "run", settings=settings)
    assert stopped.value.exit_code == 3
    assert not (tmp_path / "run" / "model.safetensors").exists()


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.conv(x).relu().amax((2, 3)))


def test_a_network_and_arrays_of_ones_own_train_save_and_load(tmp_path):
    torch.manual_seed(0)
    run = foveal.train(some_digits(), out=tmp_path / "run", settings=FAST, network=Tiny())
    with pytest.raises(BadModel, match=r"load it as foveal\.load"):
        foveal.load(run.folder)
    model = foveal.load(run.folder, network=Tiny())
    pictures = list(some_digits()[0][:3])
    assert list(model.predict(pictures)) == list(run.model.predict(pictures))


def test_evaluate_says_what_training_said(folder, tmp_path):
    run = foveal.train(folder, out=tmp_path / "run", settings=FAST)
    found = evaluate(run.folder, folder)
    assert found.scores.top1 == run.metrics["test"]["top1"]
    assert abs(found.scores.loss - run.metrics["test"]["loss"]) < 1e-6
    assert evaluate(run.folder, folder, on="all").scores.n == 120
    mirrored = evaluate(run.folder, folder, views="mirror").scores
    assert mirrored.loss != found.scores.loss


def test_evaluate_matches_classes_by_name(folder, tmp_path):
    import shutil

    run = foveal.train(folder, out=tmp_path / "run", settings=FAST)
    other = tmp_path / "other"
    for name in ("b", "d"):
        shutil.copytree(folder / name, other / name)
    (other / "a zebra").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(other / "a zebra" / "z.png")
    found = evaluate(run.folder, other, on="all")
    whole = evaluate(run.folder, folder, on="all").scores
    assert found.scores.n == 60
    assert any("does not know 1 of the classes (a zebra)" in note for note in found.notes)
    assert (found.scores.confusion[[1, 3]] == whole.confusion[[1, 3]]).all()


def test_a_model_answers_with_names_probabilities_and_reasons(folder, tmp_path):
    model = foveal.train(folder, out=tmp_path / "run", settings=FAST).model
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 30)
    good = next((folder / "a").iterdir())
    answers = model.predict([good, broken, Image.open(good), np.asarray(Image.open(good)), good.read_bytes()], top=3)
    assert answers[1].answer is None
    assert answers[1].reason
    first = answers[0].answer
    assert len(first.runners_up) == 2
    assert first.probability >= first.runners_up[0][1]
    for other in answers[2:]:
        assert other.answer.label == first.label
        assert abs(other.answer.probability - first.probability) < 1e-4
    assert len(model.predict(folder)) == 120
    with pytest.raises(Missing):
        model.predict("nowhere.png")


def test_the_same_picture_on_both_sides_of_the_split_marks_the_score(folder, tmp_path):
    import shutil

    leaky = shutil.copytree(folder, tmp_path / "leaky" / "train")
    for name in "abcd":
        (tmp_path / "leaky" / "test" / name).mkdir(parents=True)
        shutil.copy(min((leaky / name).iterdir()), tmp_path / "leaky" / "test" / name / "copy.png")
    run = foveal.train(tmp_path / "leaky", out=tmp_path / "run", settings=FAST)
    assert run.metrics["leak"] == 4
    assert any("same picture on both sides" in w and "copy.png" in w for w in run.metrics["warnings"])
    assert "both sides of the split" in run.report.read_text()


def test_broken_pictures_are_rows_and_the_rest_goes_on(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "some-broken")
    (copy / "a" / "empty.png").write_bytes(b"")
    (copy / "b" / "page.jpg").write_bytes(b"<!DOCTYPE html><html>403 Forbidden</html>")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.rglob("*") if p.is_file()}
    run = foveal.train(copy, out=tmp_path / "run", settings=FAST)
    rows = table(run.folder / "skipped.csv")
    assert {r["name"] for r in rows} == {"a/empty.png", "b/page.jpg"}
    assert all(r["reason"] for r in rows)
    assert run.metrics["left_out"] == 2
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.rglob("*") if p.is_file()} == before


def test_a_class_of_broken_pictures_is_refused(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "e").mkdir()
    for i in range(12):
        (copy / "e" / f"{i}.png").write_bytes(b"no picture %d" % i)
    with pytest.raises(FovealError, match='class "e" has no usable picture'):
        foveal.train(copy, out=tmp_path / "run", settings=FAST)
    assert not (tmp_path / "run").exists(), "a refusal leaves no folder"


def test_two_runs_cannot_write_one_folder(folder, tmp_path):
    run = foveal.train(folder, out=tmp_path / "run", settings=FAST)
    with RunLock(run.folder), pytest.raises(Busy):
        foveal.resume(run.folder)
    with pytest.raises(NotWritable, match="exists and is not empty"):
        foveal.train(folder, out=run.folder, settings=FAST)
    with pytest.raises(NotWritable, match="lies inside the pictures' folder"):
        foveal.train(folder, out=folder / "run", settings=FAST)


def test_runs_are_numbered(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [foveal.train(folder, settings=FAST | {"training.epochs": 1}).folder.name for _ in range(2)]
    assert names == ["numbers-speednet_small-1", "numbers-speednet_small-2"]


def test_early_stopping_gives_the_best_epoch(folder, tmp_path):
    settings = FAST | {"training.epochs": 30, "training.early_stopping": 2, "training.learning_rate": 0.3}
    run = foveal.train(folder, out=tmp_path / "run", settings=settings)
    assert run.metrics["stopped_early"]
    assert run.metrics["epochs"] == run.metrics["best_epoch"] + 2
    rows = table(run.folder / "history.csv")
    losses = [float(r["val_loss"]) for r in rows]
    assert int(rows[int(np.argmin(losses))]["epoch"]) == run.metrics["best_epoch"]


def test_random_state_of_the_caller_is_left_alone(folder, tmp_path):
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    foveal.train(folder, out=tmp_path / "run", settings=FAST | {"training.threads": 2})
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_minutes_plan_the_epochs(folder, tmp_path):
    settings = {"training.minutes": 0.05, "data.size": "16"}
    run = foveal.train(folder, out=tmp_path / "run", settings=settings)
    assert run.metrics["epochs"] >= 1
    count = run.metrics["epochs"]
    fit = "epoch fits" if count == 1 else "epochs fit"
    assert f"{count} {fit} into 0.05 minutes" in (run.folder / "log.txt").read_text()
    assert f"epochs = {run.metrics['epochs']}\n" in (run.folder / "recipe.toml").read_text()


def test_a_handful_of_pictures_does_not_blow_the_rates_up(tmp_path):
    pixels, labels = some_digits(8)
    few = labels < 3
    run = foveal.train((pixels[few], labels[few]), out=tmp_path / "run", settings={"data.size": "16"})
    losses = [float(row["train_loss"]) for row in table(run.folder / "history.csv")]
    assert max(losses) < 20
    assert losses[-1] < losses[0]


def test_interrupted_tells_both_codes():
    assert Interrupted("x", 143).exit_code == 143


NOTATION = "conv 8 3x3, pool 2, conv 16 3x3, pool 2, flatten, dense 20, dense classes"


def test_a_network_in_one_line_trains_and_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = foveal.train("digits", settings={"network.name": NOTATION + "  # mine\n", "training.epochs": 1})
    again = foveal.load(run.folder)
    assert again.network_name.endswith("dense classes")
    five = np.zeros((24, 24), np.uint8)
    assert again.predict(five) == run.model.predict(five)
    assert len(run.folder.name) < 80
    assert "\n" not in read_recipe(run.folder / "recipe.toml").network.name


def test_a_network_may_stand_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(NOTATION.replace(", ", ",  # next\n"), encoding="utf-8")
    run = foveal.train("digits", settings={"network.name": "mine.txt", "training.epochs": 1})
    assert foveal.load(run.folder).network_name.startswith("conv 8 3x3, pool 2, conv 16 3x3")


def test_four_bands_are_learnt_from_arrays_and_answered(tmp_path):
    """What tells the classes apart stands in the fourth band alone, and opacity would have hidden it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 160)
    pictures = rng.integers(60, 200, (160, 24, 32, 4), dtype=np.uint8)
    pictures[..., 3] = rng.integers(0, 60, (160, 24, 32)) + 150 * labels[:, None, None]
    settings = {"network.name": "lenet5", "training.epochs": 6, "augment.color": 0.1, "training.threads": 1}
    run = foveal.train((pictures, labels), out=tmp_path / "run", settings=settings)
    assert run.metrics["test"]["top1"] > 0.9
    again = foveal.load(tmp_path / "run")
    assert again.preprocess.channels == 4
    answers = again.predict(list(pictures[:20]))
    assert np.mean([int(a.answer.label) == label for a, label in zip(answers, labels, strict=False)]) > 0.9
    (refused,) = again.predict([pictures[0][..., :3]])
    assert "four bands" in refused.reason
