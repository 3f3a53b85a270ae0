"""Whatever is handed to a public function in place of what it wants is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

import foveal
from foveal.errors import FovealError

X = np.zeros((3, 28, 28))


def lenet():
    return foveal.build("lenet5", 10, 1, 28)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: foveal.build(None, 10, 1, 28), "a network is a name of the catalogue; got None"),
        (lambda: foveal.build(X, 10, 1, 28), "a network is a name of the catalogue; got an array"),
        (lambda: foveal.build("lenet-5", 10, 1, 28), "lenet5"),
        (lambda: foveal.build("lenet5", 0, 1, 28), "num_classes is at least 1; got 0"),
        (lambda: foveal.build("lenet5", float("nan"), 1, 28), "num_classes is a whole number; got nan"),
        (lambda: foveal.build("lenet5", 10, X, 28), "in_channels is a whole number; got an array"),
        (
            lambda: foveal.build("lenet5", 10, 1, (28,)),
            r"size is \(H, W\) in pixels, or one number for both; got \(28,\)",
        ),
        (lambda: foveal.build("lenet5", 10, 1, (28.5, 28)), r"height is a whole number; got 28\.5"),
        (lambda: foveal.build("lenet5", 10, 1, X), r"size is \(H, W\) .* got an array"),
        (lambda: foveal.build("lenet5", 10, 1, "28x28"), "size is"),
        (lambda: foveal.build("lenet5", 10, 1, 28, [1]), "options are a mapping, option -> value; got a list"),
        (lambda: foveal.layers(None, 28), r"layers takes an nn\.Module; got None"),
        (lambda: foveal.layers("lenet5", 28), r"build it first: foveal\.build\('lenet5', …\)\); got a str"),
        (lambda: foveal.layers(lenet(), None), "size is .* got None"),
        (lambda: foveal.layers(lenet(), X), "size is .* got an array"),
        (lambda: foveal.layers(lenet(), (-1, 28)), "height is at least 1; got -1"),
        (lambda: foveal.layers(lenet(), 28, in_channels=0), "in_channels is at least 1; got 0"),
        (lambda: foveal.load(None), "a model is a run's folder or a file; got None"),
        (lambda: foveal.load(""), "got an empty name"),
        (lambda: foveal.load(X), "got an array"),
        (lambda: foveal.resume(None), "a run is a folder; got None"),
        (lambda: foveal.evaluate(None, "digits"), "a model is a Model, a run's folder or a file; got None"),
        (lambda: foveal.evaluate(X, "digits"), "got an array"),
        (lambda: foveal.train("digits", out=3), "out is a str or Path; got an int"),
        (lambda: foveal.train("digits", recipe={}), "recipe is a Recipe; got a dict"),
        (lambda: foveal.train("digits", settings=[1]), "settings are a mapping, key -> value; got a list"),
        (lambda: foveal.train("digits", network=3), r"a name of the catalogue or an nn\.Module; got an int"),
        (lambda: foveal.train("digits", progress=True), 'progress is "auto", None or a Progress; got a bool'),
        (lambda: foveal.open_dataset("digits", split=X), "split is a str or Path; got an array"),
        (lambda: foveal.open_dataset("digits", exclude=3), "exclude is a str or Path; got an int"),
        (lambda: foveal.open_dataset("digits", classes=3), "classes are names; got an int"),
    ],
)
def test_a_thing_of_another_kind_is_refused_in_one_sentence(ask, words):
    with pytest.raises(FovealError, match=words) as refused:
        ask()
    assert "\n" not in str(refused.value)


def test_one_number_is_a_size_and_numbers_of_numpy_are_numbers():
    one = foveal.build("lenet5", np.int64(10), np.int32(1), np.int64(28))
    assert [p.shape for p in one.parameters()] == [p.shape for p in lenet().parameters()]
    assert foveal.layers(one, np.int64(28)).parameters == foveal.layers(one, (28, 28)).parameters
