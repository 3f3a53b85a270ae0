"""The printed page is the loop of the package with the recipe's numbers in it, and Python.

That running it gives the same weights, for every kind of task, is tested in `tests/runs/test_show_loop.py`.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from trainings import pictures, quick, quick_boxed

from foveal.data.batches import TrainingBatches
from foveal.data.on_device import DeviceBatches
from foveal.preprocess import Preprocess
from foveal.recipe import Recipe
from foveal.tasks.heads.head import Architecture
from foveal.training import loop, parts
from foveal.training.script import as_script

ASKED = {
    "training__epochs": 13, "training__clip": 0.75, "training__warmup": 0.35, "training__schedule": "one-cycle",
    "training__seed": 41, "training__early_stopping": 6, "training__on_nan": "skip", "training__learning_rate": 0.0625,
    "training__momentum": 0.0, "training__weight_decay": 0.03,
}  # fmt: skip


def made(page: str, name: str, within: dict[str, Any]) -> Any:
    """The value that a page gives to a name at first."""
    for node in ast.parse(page).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return eval(ast.unparse(node.value), dict(within))
    raise AssertionError(name)


def test_every_number_of_the_plan_stands_in_the_loop() -> None:
    page = as_script(quick(**ASKED))
    for line in (
        "steps = len(batches) * 13",
        "for epoch in range(0, 13):",
        "    if stalled(state, 6):",
        "step_seed(41, now)",
        'rate_factor("one-cycle", 0.35, now, steps)',
        "if loss.isfinite():",
        "clip_grad_norm_(network.parameters(), 0.75)",
        "state.end_epoch(val_loss, val_top1, 0.0625 * last)",
        "optimizer = torch.optim.SGD(decayed_groups(network, 0.03), lr=0.0625, momentum=0.0, nesterov=False)",
    ):
        assert line in page, line


def test_what_is_left_of_the_loop_stands_in_its_source() -> None:
    source = {line.strip() for line in inspect.getsource(loop.train_epochs).splitlines()}
    page = as_script(quick()).split("steps = ")[1].splitlines()[1:]
    own = [line for line in page if line.strip() and line.strip() not in source]
    changed = ("for epoch", "for batch", "torch.manual_seed", "set_rate", "images", "last", "state.end_epoch",
               "loss.backward", "outputs = network", "torch.nn.utils.clip")  # fmt: skip
    assert [line for line in own if not line.strip().startswith(changed)] == own[-2:]  # print, and the model


def test_without_validation_there_is_nothing_to_stop_early_by_and_nothing_told_of_it() -> None:
    page = as_script(quick(pictures(parts={"train": 20, "val": 0, "test": 5}), training__early_stopping=3))
    assert "stalled" not in page
    assert "best" not in page.split("for epoch")[1]
    assert "validation {" not in page


@pytest.mark.parametrize("source", ['a"""b', "back\\slash", 'two\nlines"', "it's", "long/" * 60 + "@home"])
def test_a_source_of_any_name_gives_a_script_that_reads_it_back(source: str) -> None:
    setup = quick()
    setup = replace(setup, recipe=setup.recipe.with_settings({"data.source": source, "training.ema": 0.1 + 0.2}))
    page = as_script(setup)
    assert made(page, "recipe", {"Recipe": Recipe}) == setup.recipe
    assert max(map(len, page.splitlines())) <= 120
    opened = next(node for node in ast.walk(ast.parse(page)) if isinstance(node, ast.Call)
                  and ast.unparse(node.func) == "open_dataset")  # fmt: skip
    assert ast.literal_eval(opened.args[0]) == source


def test_how_the_source_is_read_stands_there_where_it_is_not_as_usual() -> None:
    assert 'open_dataset("")' in as_script(quick())
    page = as_script(quick(data__held_out="val", data__group_by="", data__test_if="^test"))
    assert 'open_dataset("", test_if="^test", group_by=None, held_out="val")' in page


def test_what_was_found_in_the_pictures_stands_there() -> None:
    setup = quick_boxed()
    anchors = tuple((number / 7, number / 3) for number in range(9))
    setup = replace(setup, architecture=replace(setup.architecture, anchors=anchors))
    page = as_script(setup)
    assert made(page, "preprocess", {"Preprocess": Preprocess}) == setup.preprocess
    assert made(page, "architecture", {"Architecture": Architecture}) == setup.architecture
    assert max(map(len, page.splitlines())) <= 120


def test_pictures_that_cannot_be_read_are_left_out_where_there_are_some() -> None:
    setup = quick()
    assert "broken" not in as_script(setup)
    broken = replace(setup, store=replace(setup.store, broken=((3, "is cut short"),)))
    assert as_script(broken).count("store.broken") == 1
    line = next(line for line in as_script(broken).splitlines() if "broken" in line)
    there = {"dataset": setup.dataset, "store": broken.store, "np": np}
    exec(line, there)
    assert set(np.concatenate([there["train"], there["val"]])) == {
        i for part in ("train", "val") for i in setup.dataset.indices(part) if i != 3
    }


def test_a_device_is_named_where_it_is_not_the_processor() -> None:
    setup = quick(training__arithmetic="bf16")
    elsewhere = as_script(replace(setup, arithmetic=replace(setup.arithmetic, device="cuda:1")))
    assert 'arithmetic = Arithmetic("bf16", "cuda:1")' in elsewhere
    assert "batch.pixels.to(arithmetic.device)" in elsewhere
    assert "batch.labels.to(arithmetic.device)" in elsewhere
    assert ".to(" not in as_script(setup)


def test_pictures_that_live_on_a_device_are_put_there() -> None:
    setup = quick()
    assert isinstance(setup.batches, TrainingBatches)
    uploaded = replace(setup, batches=DeviceBatches.upload(setup.batches, "cpu"))
    assert 'batches = DeviceBatches.upload(batches, "cpu")' in as_script(uploaded)
    assert "DeviceBatches" not in as_script(setup)


def test_the_parts_are_all_there_and_nothing_else() -> None:
    names = [
        node.id for node in ast.walk(ast.parse(inspect.getsource(loop.train_epochs))) if isinstance(node, ast.Name)
    ]
    ours = {name for name in names if getattr(vars(loop).get(name), "__module__", "").startswith("foveal")}
    assert ours - {"TrainState", "Trainable", "Watch"} <= set(parts.__all__)
    imported = {name for name, value in vars(parts).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert imported == set(parts.__all__)
