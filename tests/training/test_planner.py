"""The planner: nothing stays open, what was asked for stays, and time is kept."""

import pytest

from foveal.errors import BadRecipe
from foveal.networks.catalogue import forward_flops
from foveal.recipe import Recipe
from foveal.tasks.classify import Classify
from foveal.tasks.label_defaults import choose_network, choose_size
from foveal.tasks.task import Facts
from foveal.training.planner import Plan, choose_by_time, epochs_in, ladder
from foveal.training.settle import resolved

MNIST = Facts(58_800, (28, 28), 1, (5880,) * 10)
CIFAR = Facts(49_000, (32, 32), 3, (4900,) * 10)
PHOTOS = Facts(307, (530, 400), 3, (30,) * 10)
DIGITS = Facts(1309, (8, 8), 1, (130,) * 10)


def settled(facts, device="cpu", **settings):
    recipe = Recipe().with_settings({k.replace("__", "."): v for k, v in settings.items()})
    size = choose_size(recipe, facts, device)
    named = recipe.with_settings({"network.name": choose_network(recipe, size, facts.channels)})
    return resolved(Classify, named, facts, size, device)


@pytest.mark.parametrize("facts", [MNIST, CIFAR, PHOTOS, DIGITS])
def test_nothing_stays_open_but_what_is_measured(facts):
    recipe = settled(facts)
    unsettled = {key for section in recipe.model_dump().values() for key, value in section.items() if value == "auto"}
    assert unsettled <= {
        "arithmetic",
        "optimizer_arithmetic",
        "threads",
        "store",
        "dropout",
        "batch_norm",
        "weights",
        "norms",
        "soup",
        "train",
        "head_decay",
        "mosaic",
        "anchors",
        "labels",
        "label_separator",
        "loss",  # of several labels a picture
        "group_by",  # found in the source anew, each time the same
        "box_origin",
        "white",
    }
    Plan.of(recipe)


@pytest.mark.parametrize("facts", [MNIST, CIFAR, PHOTOS, DIGITS])
def test_a_settled_recipe_settles_to_itself(facts):
    once = settled(facts)
    again = resolved(Classify, once, facts, choose_size(once, facts, "cpu"), "cpu")
    assert again == once


def test_small_pictures_keep_their_size_and_tiny_ones_grow():
    assert settled(MNIST).data.size == "28x28"
    assert settled(CIFAR).data.size == "32x32"
    assert settled(DIGITS).data.size == "24x24"
    assert settled(PHOTOS).data.size == "128x128"
    assert settled(PHOTOS, device="cuda").data.size == "224x224"


def test_the_network_fits_the_kind_of_picture():
    assert [settled(f).network.name for f in (MNIST, CIFAR, PHOTOS)] == ["speednet_small", "speednet", "resnet18"]


def test_what_was_asked_for_stays():
    recipe = settled(
        CIFAR, training__epochs=3, training__learning_rate=0.7, training__batch_size=64, data__size="48x40"
    )
    assert (recipe.training.epochs, recipe.training.learning_rate) == (3, 0.7)
    assert (recipe.training.batch_size, recipe.data.size) == (64, "48x40")


def test_another_optimizer_comes_with_rates_of_its_own():
    recipe = settled(CIFAR, training__optimizer="adamw")
    assert recipe.training.learning_rate < 0.01
    assert recipe.training.momentum == 0.9


def test_fewer_pictures_are_seen_more_often_in_smaller_batches():
    assert settled(DIGITS).training.epochs > settled(MNIST).training.epochs
    assert settled(DIGITS).training.batch_size < settled(MNIST).training.batch_size


def test_a_batch_is_never_larger_than_the_data():
    assert settled(PHOTOS, training__batch_size=4096).training.batch_size == 307


def test_imbalance_is_weighed():
    lopsided = Facts(400, (200, 200), 3, (350, 50))
    assert settled(lopsided).training.class_weights == "balanced"
    assert settled(PHOTOS).training.class_weights == "none"


def test_weights_are_started_from_slowly_in_small_batches_and_few_epochs():
    usual, near = (settled(PHOTOS, network__weights=w).training for w in ("scratch", "imagenet"))
    assert near.learning_rate < usual.learning_rate / 2
    assert near.batch_size <= 16
    assert near.epochs < usual.epochs / 3
    assert settled(PHOTOS, network__weights="imagenet", training__learning_rate=0.3).training.learning_rate == 0.3


def test_weights_bring_the_size_that_they_were_found_on():
    recipe = Recipe().with_settings({"network.name": "squeezenet1_1", "network.weights": "imagenet"})
    assert choose_size(recipe, PHOTOS, "cpu", known=(224, 240)) == (224, 240)
    assert choose_size(recipe, CIFAR, "cpu", known=(224, 224)) == (128, 128)  # enlarged towards it, not all the way
    asked = recipe.with_settings({"data.size": "96x80"})
    assert choose_size(asked, PHOTOS, "cpu", known=(224, 224)) == (96, 80)


def test_published_weights_choose_among_the_networks_that_have_some():
    for facts, size in ((DIGITS, "32x32"), (CIFAR, "32x32"), (PHOTOS, "128x128")):
        recipe = settled(facts, network__weights="imagenet")
        assert (recipe.network.name, recipe.data.size) == ("resnet18", size)
    recipe = Recipe().with_settings({"network.weights": "imagenet"})
    assert {name for name, _ in ladder(recipe, (32, 32), 3)} == {"resnet34", "resnet18"}


def test_minutes_leave_the_epochs_to_be_timed():
    assert settled(CIFAR, training__minutes=5.0).training.epochs == "auto"
    assert settled(CIFAR, training__minutes=5.0, training__epochs=4).training.epochs == 4


def test_epochs_fit_into_their_minutes():
    assert epochs_in(10, 60.0) == 9, "a share is kept for what stands around"
    with pytest.raises(BadRecipe, match="one epoch takes about 10 minutes here"):
        epochs_in(5, 600.0)


def test_more_time_buys_a_larger_network_or_picture():
    rungs = ladder(Recipe(), (128, 128), 3)
    work = [forward_flops(name, 10, 3, size) for name, size in rungs]
    assert work == sorted(work, reverse=True), "the dearest first"
    chosen = [choose_by_time(m, 5000, rungs, lambda r: 1e11 / work[r]) for m in (1, 10, 60, 500)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == len(rungs) - 1
    assert chosen[-1] == 0


def test_a_size_that_was_asked_for_is_kept_under_minutes():
    recipe = Recipe().with_settings({"data.size": "96"})
    assert {size for _, size in ladder(recipe, (96, 96), 3)} == {(96, 96)}


def test_flops_are_counted_without_computing():
    assert forward_flops("resnet18", 1000, 3, (224, 224)) == pytest.approx(2 * 1.814e9, rel=0.01)
