"""Keywords of `foveal.train` are the options of the command: one table, and the recipe says what each may be."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

import pytest
from trainings import recipe as recipe_of

import foveal
from foveal.cli._flags import FLAGS
from foveal.errors import BadRecipe
from foveal.recipe import Recipe
from foveal.runs.run import with_short
from foveal.short_names import SHORT, Short


def test_options_and_keywords_are_the_same_and_short_for_the_same():
    assert {flag.removeprefix("--").replace("-", "_"): known.key for flag, known in FLAGS.items()} == SHORT
    keywords = set(inspect.signature(foveal.train).parameters) | set(get_type_hints(Short))
    assert set(SHORT) <= keywords
    assert get_type_hints(Short).keys() == SHORT.keys() - {"network"}
    known = Recipe().model_dump()
    for key in SHORT.values():
        section, _, name = key.partition(".")
        assert name in known[section]


def test_a_keyword_sets_its_key_as_the_recipe_writes_it():
    made = with_short(
        Recipe(),
        {"epochs": 3, "size": (48, 64), "exact": True, "box_origin": 1, "weights": Path("a.pth"), "batch": None},
        {"training.momentum": 0.8},
    )
    assert made == recipe_of(
        training__epochs=3, data__size="48x64", training__arithmetic="fp32", data__box_origin="1",
        network__weights="a.pth", training__momentum=0.8,
    )  # fmt: skip
    assert with_short(Recipe(), {"size": 64, "exact": False}, {}) == recipe_of(data__size="64")


def test_what_is_given_wins_over_the_recipe():
    timed = recipe_of(training__minutes=4.0)
    made = with_short(timed, {"epochs": 2}, {})
    assert (made.training.epochs, made.training.minutes) == (2, 0.0)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"epoch": 3}, r'no keyword "epoch"; did you mean "epochs"\?'),
        ({"setings": {}}, r'no keyword "setings"; did you mean "settings"\?'),
        ({"zzz": 3}, r'no keyword "zzz"; settings=\{...\} reaches every key of the recipe'),
        ({"epochs": "three"}, r'^epochs: training.epochs must be a whole number or "auto", is "three"'),
        ({"epochs": 0}, r"^epochs: training.epochs must be at least 1"),
        ({"size": "big"}, "^size: data.size must be a side or HxW"),
        ({"size": 2.5}, "^size: data.size must be a text, is 2.5"),
        ({"exact": "yes"}, "^exact: training.arithmetic must be one of auto, fp32"),
        ({"held_out": "tests"}, r'^held_out: .*did you mean "test"\?'),
        ({"epochs": 3, "minutes": 2}, "^epochs and minutes both say how long to train"),
        ({"epochs": 3, "settings": {"training.minutes": 2}}, "^epochs and minutes both say how long to train"),
        ({"epochs": 3, "settings": {"training.epochs": 3}}, r'^epochs and settings\["training.epochs"\] both set'),
        ({"network": "lenet5", "settings": {"network.name": "mlp"}}, r'^network and settings\["network.name"\]'),
        ({"network": "lenet-5"}, r'did you mean "lenet5"\?|nearest is "?.?lenet5'),
        ({"train": "head", "weights": "imagenet", "batch": 8}, "batch is for training in steps"),
    ],
)
def test_a_refusal_names_the_keyword_and_the_way_out(keywords, words, tmp_path):
    with pytest.raises(BadRecipe, match=words) as refused:
        foveal.train("digits", out=tmp_path / "run", **keywords)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_keywords_train_the_very_network_that_settings_train(tmp_path):
    usual = {"augment.preset": "off", "training.threads": 1}
    one = foveal.train(
        "digits", out=tmp_path / "one", network="mlp", epochs=1, size=8, seed=3, exact=True, settings=usual
    )
    long = {"network.name": "mlp", "training.epochs": 1, "data.size": "8", "training.seed": 3}
    other = foveal.train("digits", out=tmp_path / "two", settings={**usual, **long, "training.arithmetic": "fp32"})
    assert (one.folder / "recipe.toml").read_text() == (other.folder / "recipe.toml").read_text()
    assert one.metrics["test"] == other.metrics["test"]
