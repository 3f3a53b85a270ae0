"""What is timed is the loop itself, and nothing of the run is touched by it."""

import pytest
import torch

from foveal.data.sources import open_dataset
from foveal.recipe import Recipe, parse_recipe
from foveal.tasks.classify import Classify
from foveal.training.arithmetic import Arithmetic
from foveal.training.rehearsal import with_optimizer_arithmetic
from foveal.training.settle import settle
from foveal.training.setup import set_up
from foveal.training.trials import fitting_pictures, looping, rehearsed

TINY = "conv 4 3x3, pool 2, flatten, dense classes"


def setup(**settings):
    recipe = Recipe().with_settings(
        {"network.name": TINY, "training.arithmetic": "fp32", "training.epochs": 3, "data.source": "digits", **settings}
    )
    dataset = open_dataset("digits")
    return set_up(Classify, dataset, settle(Classify, dataset, recipe))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_trial_steps_with_optimiser_and_average_and_leaves_the_ground_alone(optimizer):
    laid = setup(**{"training.optimizer": optimizer, "training.ema": 0.9})
    before = {name: value.clone() for name, value in laid.network.state_dict().items()}
    timed, state = rehearsed(laid, lambda seconds: len(seconds) == 30)  # more steps than an epoch has
    assert len(laid.batches) < 30 == len(timed.seconds)
    assert timed.sound
    assert timed.pictures == laid.batches.batch_size
    assert 0 < timed.update < 1
    assert timed.busy > 0
    assert all(torch.equal(value, before[name]) for name, value in laid.network.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert state.averaged.updates > 30
    assert not state.history


def test_a_step_of_fewer_pictures_counts_for_what_it_has(monkeypatch):
    """The last batch of an epoch is smaller: its time is that of a whole one in proportion."""
    laid = setup(**{"training.batch_size": 500})  # 1309 pictures: 500, 500 and 309
    clock = iter(float(i) for i in range(1000))
    monkeypatch.setattr("foveal.training.trials.time.perf_counter", lambda: next(clock))
    timed, _ = rehearsed(laid, lambda seconds: len(seconds) == 3)
    assert timed.seconds[2] == pytest.approx(timed.seconds[1] * 500 / 309)


def test_a_trial_takes_each_way_of_computing():
    laid = setup()
    seen = []

    def enough(seconds):
        seen.append(len(seconds))
        return len(seconds) == 2

    for way in ("fp32", "fp32 channels-last", "bf16"):
        assert looping(laid, 16)(Arithmetic(way), enough).pictures == 16
    assert seen == [1, 2] * 3


def test_a_loss_that_is_not_finite_is_not_sound():
    laid = setup(**{"training.optimizer": "sgd", "training.learning_rate": 1e9, "training.warmup": 0.0})
    assert not rehearsed(laid, lambda seconds: len(seconds) == 20)[0].sound


def test_pictures_that_fit_a_blink():
    assert fitting_pictures(32, (224, 224)) == 7
    assert fitting_pictures(512, (32, 32)) == 256
    assert fitting_pictures(64, (24, 24)) == 64
    assert fitting_pictures(64, (4000, 4000)) == 4
    assert fitting_pictures(2, (4000, 4000)) == 2


def test_the_optimiser_s_format_is_decided_and_written(monkeypatch):
    laid = setup(**{"training.optimizer": "muon"})
    for faster, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("foveal.training.optimisers.multiplies_faster", lambda *_, faster=faster: faster)
        recipe = with_optimizer_arithmetic(
            laid.recipe.with_settings({"training.optimizer_arithmetic": "auto"}), laid.network, "cpu"
        )
        assert recipe.training.optimizer_arithmetic == chosen
    assert setup(**{"training.optimizer": "sgd"}).recipe.training.optimizer_arithmetic == "fp32"


def test_a_format_that_the_optimiser_has_no_use_for_is_refused():
    with pytest.raises(Exception, match=r"training\.optimizer_arithmetic = bf16 is for muon"):
        setup(**{"training.optimizer": "sgd", "training.optimizer_arithmetic": "bf16"})


@pytest.mark.parametrize(
    ("lines", "means"),
    [
        ('optimizer = "muon"\narithmetic = "fp32"\nthreads = 1', "bf16"),  # as runs of 0.1 saved it
        ('optimizer = "muon"\narithmetic = "fp32"\nthreads = 1\noptimizer_arithmetic = "fp32"', "fp32"),
        ('optimizer = "muon"', "auto"),  # written by hand
        ('optimizer = "sgd"\narithmetic = "fp32"\nthreads = 1', "auto"),
    ],
)
def test_a_recipe_that_a_run_saved_before_the_key_existed_means_bf16(lines, means):
    assert parse_recipe(f"[training]\n{lines}\n").training.optimizer_arithmetic == means
