"""The printed loop is the loop of the package with the recipe's numbers in it, and Python."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect

import pytest
import torch
from trainings import quick

from foveal.recipe import parse_recipe
from foveal.training import loop
from foveal.training.planner import Plan
from foveal.training.script import as_script

ASKED = {
    "training__epochs": 13, "training__clip": 0.75, "training__warmup": 0.35, "training__schedule": "one-cycle",
    "training__seed": 41, "training__early_stopping": 6, "training__on_nan": "skip", "training__learning_rate": 0.0625,
}  # fmt: skip


def test_every_number_of_the_plan_stands_in_the_loop() -> None:
    script = as_script(quick(**ASKED).recipe)
    compile(script, "loop.py", "exec")
    for line in (
        "for epoch in range(state.epoch, 13):",
        "if 6 and stalled(state, 6):",
        "step_seed(41, now)",
        "rate_factor('one-cycle', 0.35, now, steps)",
        'if \'skip\' == "stop" or loss.isfinite():',
        "if 0.75:",
        "clip_grad_norm_(network.parameters(), 0.75)",
        "state.end_epoch(val_loss, val_top1, 0.0625 * last)",
    ):
        assert line in script, line
    assert "plan." not in script
    assert "type: ignore" not in script


def test_it_has_the_functions_of_the_loop_and_every_name_that_they_use() -> None:
    script = as_script(quick().recipe)
    defined = {node.name for node in ast.parse(script).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own = [value for value in vars(loop).values() if inspect.isfunction(value) and value.__module__ == loop.__name__]
    theirs = {function.__name__ for function in own}
    assert theirs | {"main", "Quiet"} <= defined
    there: dict[str, object] = {"__name__": "the_loop"}
    exec(script, there)
    for name in theirs | {"main"}:
        code = there[name].__code__  # type: ignore[attr-defined]
        attributes = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
        assert all(word in there or hasattr(builtins, word) for word in attributes), attributes


def test_it_trains_the_same_weights() -> None:
    from foveal.training.loop import train_epochs

    asked = {"training__clip": 0.5, "training__ema": 0.9, "augment__preset": "mild"}
    setup, again = quick(**asked), quick(**asked)
    there: dict[str, object] = {"__name__": "the_loop"}
    exec(as_script(setup.recipe), there)
    state, other = setup.begun(), again.begun()
    quiet = there["Quiet"]()  # type: ignore[operator]
    quiet.after_epoch = lambda state: None
    there["train_epochs"](state, setup, quiet)  # type: ignore[operator]
    train_epochs(other, again, quiet)
    assert all(torch.equal(value, other.result()[name]) for name, value in state.result().items())


@pytest.mark.parametrize("source", ['a"""b', "back\\slash", 'two\nlines"'])
def test_a_source_of_any_name_gives_a_script_that_reads_it_back(source: str) -> None:
    recipe = quick().recipe.with_settings({"data.source": source})
    there: dict[str, object] = {"__name__": "the_loop"}
    exec(as_script(recipe), there)
    read = parse_recipe(str(there["RECIPE"]))
    assert read == recipe
    assert Plan.of(read) == Plan.of(recipe)
