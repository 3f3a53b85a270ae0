"""Whatever the front door lifts has an example in its docstring, and the example runs.

They share one small training: the one that the front door's own docstring shows.
"""

from __future__ import annotations

import doctest
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from trainings import quick_boxed

import foveal
from foveal.model import model_of
from foveal.tasks.localise import Localise

OLDER = "it goes with 0.3"  # in the docstring of what is only there for code written before
FLAGS = doctest.ELLIPSIS


def public() -> Iterator[tuple[str, Any]]:
    """Names, and what has the docstring: functions and classes of the front door, their methods and properties."""
    yield "foveal", foveal
    for name in foveal.__all__:
        lifted = getattr(foveal, name)
        yield name, lifted
        for own, value in vars(lifted).items() if inspect.isclass(lifted) else ():
            value = getattr(value, "fget", None) or getattr(value, "__func__", value)
            written_here = inspect.isfunction(value) and value.__module__.startswith("foveal.")
            if written_here and not own.startswith("_") and OLDER not in (value.__doc__ or ""):
                yield f"{name}.{own}", value


PUBLIC = dict(public())


def run_examples(name: str, documented: Any, names: dict[str, Any]) -> int:
    """How many of a docstring failed; what they print is captured by pytest."""
    around = vars(sys.modules[documented.__module__]) if hasattr(documented, "__module__") else {}
    test = doctest.DocTestParser().get_doctest(
        inspect.getdoc(documented) or "", {**around, **names}, name, inspect.getsourcefile(documented), 0
    )
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False).failed
    names.update({key: value for key, value in test.globs.items() if key not in around})
    return failed


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What examples may name: a run, its model, a data set, pictures; and the folder that they run in."""
    place, images = tmp_path_factory.mktemp("examples"), load_digits().images
    zero, one, five = (np.round(images[i] * 15.9).astype(np.uint8) for i in (10, 11, 15))
    Image.fromarray(five).save(place / "five.png")
    pictures, labels = np.round(images[:100] * 15.9).astype(np.uint8), load_digits().target[:100]
    found = {"place": place, "np": np, "Path": Path, "torch": __import__("torch"), "zero": zero, "one": one}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("FOVEAL_CACHE", str(place / "cache"))
        assert run_examples("foveal", foveal, found) == 0
        setup = quick_boxed()
        detector = model_of(setup.network, Localise, ("blue", "red"), setup.preprocess, setup.architecture)
        found |= {"model": found["run"].model, "dataset": foveal.open_dataset("digits"), "detector": detector}
        found |= {"evaluation": foveal.evaluate(found["run"].model, "digits", progress=None)}
        found["table"] = foveal.layers(foveal.build("lenet5", 10, 1, 28), 28)
        yield found | {"pictures": pictures, "labels": labels}


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example(name):
    assert ">>> " in (PUBLIC[name].__doc__ or ""), f"{name} has no example in its docstring"


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "foveal"])
def test_its_example_runs(name, names, monkeypatch):
    if "to_pandas" in (PUBLIC[name].__doc__ or ""):
        pytest.importorskip("pandas")
    monkeypatch.chdir(names["place"])
    assert run_examples(name, PUBLIC[name], dict(names)) == 0


def test_nothing_is_lifted_that_is_not_there():
    assert set(foveal.__all__) <= set(dir(foveal))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        foveal.nothing  # noqa: B018
