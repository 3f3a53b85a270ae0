"""Fitting in a folder: its history, the weights that are kept, and a training that is taken up again."""

from __future__ import annotations

import csv
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from trainings import boxed, pictures, quick, quick_boxed

from foveal.errors import BadData, BadModel, Interrupted
from foveal.training import checkpoint
from foveal.training import fit as fitting
from foveal.training.fit import begun_anew, fit, write_history
from foveal.training.measuring import Measured
from foveal.training.promise import BeginAnew
from foveal.training.setup import Setup
from foveal.training.train_state import Epoch

LONG = {"training__epochs": 4, "training__ema": 0.9, "augment__preset": "mild"}


class Watching:
    """A progress that keeps what was said, and may do something after some step."""

    def __init__(self, after: int = -1, do: object = None) -> None:
        self.said: list[str] = []
        self.counted, self.total, self.steps = 0, 0, 0
        self.after, self.do = after, do

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    @contextmanager
    def task(self, name: str, total: int, unit: str = "pictures") -> Iterator[object]:
        self.total = total

        def advance(n: int, note: str = "") -> None:
            self.counted, self.steps = self.counted + n, self.steps + 1
            if self.steps == self.after:
                self.do()  # type: ignore[operator]

        yield advance


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stopped(setup: Setup, folder: Path, after: int, name: int = signal.SIGINT) -> pytest.ExceptionInfo[Interrupted]:
    """A training that got a signal in a step. Returns: how it ended."""
    with pytest.raises(Interrupted) as ended:
        fit(setup, folder, progress=Watching(after, lambda: os.kill(os.getpid(), name)))
    return ended


def test_history_has_a_row_for_each_epoch_and_progress_a_line(tmp_path: Path) -> None:
    watching = Watching()
    fitted = fit(quick(**LONG), tmp_path, progress=watching)
    rows = table(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["val_loss"]) for row in rows] == [row.val_loss for row in fitted.history]
    told = [line for line in watching.said if line.startswith("epoch ")]
    assert len(told) == 4
    assert told[1].startswith(f"epoch 2/4: loss {fitted.history[1].train_loss:.4f}, train ")
    assert watching.counted == watching.total == 4 * 3 * 8
    assert not fitted.stopped_early
    assert fitted.seconds == pytest.approx(sum(row.seconds for row in fitted.history))


def test_what_there_is_not_of_an_epoch_is_left_out_of_its_line(tmp_path: Path) -> None:
    watching = Watching()
    fit(quick(pictures(parts={"train": 20, "val": 0, "test": 5})), tmp_path, progress=watching)
    line = next(line for line in watching.said if line.startswith("epoch "))
    assert "val" not in line
    assert "nan" not in line


def test_stopping_early_takes_the_best_epoch_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, kept = iter([0.9, 0.4, 0.7, 0.8, 0.1]), []

    def validated(setup: Setup, store: object, indices: object, weights: Any, network: object) -> tuple[float, float]:
        kept.append({name: value.clone() for name, value in weights.items()})
        return next(losses), 0.5

    monkeypatch.setattr("foveal.training.setup.validated", validated)
    fitted = fit(quick(**LONG | {"training__epochs": 9, "training__early_stopping": 2}), tmp_path)
    assert fitted.state is not None
    assert (fitted.stopped_early, fitted.best_epoch) == (True, 2)
    assert len(fitted.history) == len(table(tmp_path)) == 4  # those after the best were trained all the same
    assert same(fitted.state.result(), kept[1])
    assert not same(kept[1], kept[3])


def test_a_training_that_has_stopped_early_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended after the last checkpoint and before there was a model is taken up to the same weights."""
    monkeypatch.setattr(fitting, "EPOCH_CHECKPOINT_SECONDS", -1.0)
    losses = iter([0.9, 0.4, 0.7, 0.8, 0.1, 0.05])
    monkeypatch.setattr("foveal.training.setup.validated", lambda *_: (next(losses), 0.5))
    asked = LONG | {"training__epochs": 9, "training__early_stopping": 2}
    first = fit(quick(**asked), tmp_path)
    began = time.perf_counter()
    again = fit(quick(**asked), tmp_path, resume=True)
    assert first.earlier == 0
    assert again.seconds == pytest.approx(first.seconds)
    assert again.earlier + time.perf_counter() - began >= again.seconds  # a run is as long as its training, at least
    assert first.state is not None
    assert again.state is not None
    assert (again.stopped_early, again.best_epoch, len(again.history)) == (True, 2, 4)
    assert same(first.state.result(), again.state.result())


def test_without_early_stopping_the_last_weights_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, kept = iter([0.1, 0.2, 0.3, 0.4]), []

    def validated(setup: Setup, store: object, indices: object, weights: Any, network: object) -> tuple[float, float]:
        kept.append({name: value.clone() for name, value in weights.items()})
        return next(losses), 0.5

    monkeypatch.setattr("foveal.training.setup.validated", validated)
    fitted = fit(quick(**LONG), tmp_path)
    assert fitted.state is not None
    assert same(fitted.state.result(), kept[3])
    assert checkpoint.best(tmp_path / "checkpoint") is None


@pytest.mark.parametrize(("name", "word", "code"), [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)])
def test_a_signal_saves_says_how_to_go_on_and_the_rest_gives_the_same_bits(
    tmp_path: Path, name: int, word: str, code: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = signal.getsignal(name)
    whole = fit(quick(**LONG), tmp_path / "a")
    ended = stopped(quick(**LONG), tmp_path / "b", after=5, name=name)
    assert f"Stopped by {word} in epoch 2 after step 2 of 3" in str(ended.value)
    assert f"foveal train --resume {tmp_path / 'b'}" in str(ended.value)
    assert ended.value.exit_code == code
    assert signal.getsignal(name) == before

    watching = Watching()
    rest = fit(quick(**LONG), tmp_path / "b", resume=True, progress=watching)
    assert any("Resuming from epoch 2, step 3" in line for line in watching.said)
    assert whole.state is not None
    assert rest.state is not None
    assert same(whole.state.result(), rest.state.result())
    assert [row["train_loss"] for row in table(tmp_path / "a")] == [row["train_loss"] for row in table(tmp_path / "b")]
    assert rest.seconds == pytest.approx(sum(row.seconds for row in rest.history))


def test_a_step_that_took_long_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", -1.0)
    fit(quick(training__epochs=1), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "epoch-00000-step-00000002.safetensors", "epoch-00000-step-00000003.safetensors",
    ]  # fmt: skip


def test_going_on_where_nothing_was_written_begins_anew(tmp_path: Path) -> None:
    watching = Watching()
    fitted = fit(quick(training__epochs=1), tmp_path, resume=True, progress=watching)
    assert watching.said[0] == "No checkpoint was written yet: training starts from the beginning."
    assert len(fitted.history) == 1


def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", -1.0)
    fit(quick(training__epochs=1), tmp_path)
    (tmp_path / "checkpoint" / "epoch-00000-step-00000003.safetensors").write_bytes(b"")
    watching = Watching()
    fit(quick(training__epochs=1), tmp_path, resume=True, progress=watching)
    assert "epoch-00000-step-00000003" in watching.said[0]
    assert watching.said[0].endswith("Resuming from the one before.")
    assert "Resuming from epoch 1, step 3 (epoch-00000-step-00000002.safetensors)." in watching.said


def test_a_run_is_not_taken_up_with_other_pictures_labels_splits_or_classes(tmp_path: Path) -> None:
    some = pictures()
    stopped(quick(some, **LONG), tmp_path, after=2)
    labels, splits = some.labels.copy(), some.splits.copy()
    train = some.indices("train")
    labels[train[0]] = 1 - labels[train[0]]
    splits[[train[0], some.indices("test")[0]]] = 2, 0
    assert some.digests is not None
    for other in (replace(some, labels=labels), replace(some, splits=splits), pictures(seed=1)):
        with pytest.raises(BadData, match="the pictures have changed since the run was started; start a new run"):
            fit(quick(other, **LONG), tmp_path, resume=True)
    with pytest.raises(BadModel, match="was started with other classes"):
        fit(quick(replace(some, classes=("bright", "dark")), **LONG), tmp_path, resume=True)


def test_a_run_is_not_taken_up_with_other_boxes(tmp_path: Path) -> None:
    some = boxed()
    assert some.boxes is not None
    stopped(quick_boxed(some), tmp_path, after=2)
    moved = replace(some, boxes=replace(some.boxes, xyxy=some.boxes.xyxy + 1))
    with pytest.raises(BadData, match="the pictures have changed since the run was started"):
        fit(quick_boxed(moved), tmp_path, resume=True)


def test_a_training_that_begins_anew_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    setup = quick(training__epochs=1, training__minutes=4.0)
    fit(setup, tmp_path)
    assert (tmp_path / "history.csv").exists()
    watching = Watching()
    slower = BeginAnew(Measured("bf16", 1, {"bf16": 50.0}, 1.0))
    recipe = begun_anew(setup.recipe, tmp_path, slower, watching)
    assert not (tmp_path / "checkpoint").exists()
    assert not (tmp_path / "history.csv").exists()
    assert (recipe.training.arithmetic, recipe.training.threads) == ("bf16", 1)
    assert recipe.training.minutes == 4.0  # what has passed of them is counted when the epochs are planned again
    assert "starts again with bf16" in watching.said[0]


def test_a_history_is_written_whole_each_time(tmp_path: Path) -> None:
    row = Epoch(1, 0.5, 0.75, math.nan, math.nan, 0.1, 20.0, 1.5)
    for count in (1, 3):
        write_history(tmp_path / "history.csv", [replace(row, epoch=n + 1) for n in range(count)])
        assert [r["epoch"] for r in table(tmp_path)] == [str(n + 1) for n in range(count)]
    assert table(tmp_path)[2]["train_top1"] == "0.75"
