"""`Setup` is all that the loop asks for."""

from __future__ import annotations

import inspect

from trainings import quick, quick_boxed

from foveal.training.setup import Setup
from foveal.training.trainable import Trainable, with_replaced


def wanted() -> set[str]:
    return {name for name in vars(Trainable) if not name.startswith("_")}


def test_a_setup_has_all_that_is_asked_of_a_trainable_value() -> None:
    assert {"dataset", "recipe", "plan", "network", "batches", "task", "begun", "validate"} <= wanted()
    for setup in (quick(), quick_boxed()):
        for name in wanted():
            assert getattr(setup, name) is not None, name
    for name in ("begun", "validate"):
        ours, asked = (inspect.signature(getattr(kind, name)) for kind in (Setup, Trainable))
        assert list(ours.parameters) == list(asked.parameters)


def test_a_copy_differs_in_what_was_replaced_alone() -> None:
    setup = quick()
    other = with_replaced(setup, recipe=setup.recipe.with_settings({"training.epochs": 9}))
    assert (setup.plan.epochs, other.plan.epochs) == (2, 9)
    assert all(getattr(other, name) is getattr(setup, name) for name in ("network", "batches", "store", "splits"))
