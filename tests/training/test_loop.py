"""The loop: what it does in which order, to which weights, and what it writes down."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trainings import PARTS, QUICK, TINY, pictures, quick

import foveal
from foveal.data.on_device import DeviceBatches
from foveal.errors import NotFinite
from foveal.ops.draws import step_seed
from foveal.training.loop import train_epochs
from foveal.training.optimisers import make_optimizer
from foveal.training.schedules import rate_factor
from foveal.training.setup import Setup
from foveal.training.train_state import TrainState

DROPPING = "conv 4 3x3 bn, pool 2, flatten, dropout 0.5, dense classes"


class Nobody:
    """Looks on and does nothing."""

    def after_step(self, state: TrainState, steps: int) -> None:
        pass

    def after_epoch(self, state: TrainState) -> None:
        pass


class Stopping(Nobody):
    """Stops the loop after so many steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def after_step(self, state: TrainState, steps: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def trained(setup: Setup) -> TrainState:
    state = setup.begun()
    train_epochs(state, setup, Nobody())
    return state


def values(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_each_step_clears_finds_clips_uses_and_averages_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def noted(owner: object, name: str, word: str) -> None:
        was = getattr(owner, name)

        def instead(*args: object, **kwargs: object) -> object:
            happened.append(word)
            return was(*args, **kwargs)

        monkeypatch.setattr(owner, name, instead)

    setup = quick(training__clip=1.0, training__ema=0.9)
    state = setup.begun()
    assert state.averaged is not None
    noted(state.network, "forward", "forward")
    noted(torch.Tensor, "backward", "backward")
    noted(nn.utils, "clip_grad_norm_", "clip")
    noted(state.optimizer, "zero_grad", "clear")
    noted(state.optimizer, "step", "step")
    noted(state.averaged, "update", "average")
    train_epochs(state, setup, Stopping(100))
    steps = len(setup.batches) * setup.plan.epochs
    learning = [word for word in happened if word != "forward"]
    assert learning == ["clear", "backward", "clip", "step", "average"] * steps
    assert happened[:2] == ["forward", "clear"]


def test_weights_are_those_of_a_loop_written_out_by_hand() -> None:
    """Dropout, batch norm, momentum, warm-up, clipping and average included, to the bit."""
    setup = quick(
        network__name=DROPPING, training__clip=0.5, training__ema=0.9, training__warmup=0.3, training__seed=4,
        training__learning_rate=0.1, augment__preset="mild",
    )  # fmt: skip
    state = trained(setup)

    again = quick(
        network__name=DROPPING, training__clip=0.5, training__ema=0.9, training__warmup=0.3, training__seed=4,
        training__learning_rate=0.1, augment__preset="mild",
    )  # fmt: skip
    network, weights = again.network, values(again.network)
    optimizer = make_optimizer(network, again.recipe.training)
    steps, now = len(again.batches) * 2, 0
    for epoch in range(2):
        network.train()
        for batch in again.batches.epoch(epoch):
            torch.manual_seed(step_seed(4, now))
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * rate_factor(again.plan.schedule, 0.3, now, steps)
            loss = F.cross_entropy(network(again.preprocess.tensor(batch.pixels)), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
            now += 1
            share = min(0.9, now / (now + 9))
            for name, value in network.state_dict().items():
                weights[name] = weights[name].lerp(value, 1 - share) if value.is_floating_point() else value.clone()
    assert same(values(state.network), values(network))
    for name, value in state.result().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-5, atol=1e-6)


def test_no_gradient_that_is_used_is_longer_than_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    for clip, bounded in ((0.01, True), (0.0, False)):
        setup = quick(training__clip=clip)
        state, lengths = setup.begun(), []
        was = state.optimizer.step

        def step(state: TrainState = state, lengths: list[float] = lengths, was: object = was) -> None:
            lengths.append(math.sqrt(sum(float(p.grad.square().sum()) for p in state.network.parameters())))
            was()

        monkeypatch.setattr(state.optimizer, "step", step)
        train_epochs(state, setup, Nobody())
        assert (max(lengths) <= 0.01 * (1 + 1e-4)) == bounded


def test_a_row_counts_every_picture_of_the_epoch_once() -> None:
    """With a rate next to nothing the epoch's figures are those of the network as it stood, the small last batch too.

    20 pictures in steps of 8 are 8, 8 and 4.
    """
    setup = quick(training__learning_rate=1e-9, training__epochs=1)
    train = setup.splits["train"]
    with torch.no_grad():
        logits = setup.network(setup.preprocess.tensor(torch.from_numpy(setup.store.rows(train))))
    truth = torch.from_numpy(setup.dataset.labels[train])
    row = trained(setup).history[0]
    assert row.train_loss == pytest.approx(float(F.cross_entropy(logits, truth)), rel=1e-5)
    assert row.train_top1 == float((logits.argmax(1) == truth).double().mean())
    assert row.images_per_second > 0


def test_the_rate_of_a_row_is_that_of_the_last_step() -> None:
    setup = quick(training__epochs=3, training__schedule="linear", training__warmup=0.0, training__learning_rate=0.3)
    state = trained(setup)
    steps = len(setup.batches)
    told = [row.learning_rate for row in state.history]
    assert told == pytest.approx([0.3 * (1 - (steps * (e + 1) - 1) / (3 * steps)) for e in range(3)])
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(told[-1])
    assert [row.epoch for row in state.history] == [1, 2, 3]


def without_numbers(setup: Setup, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The loss of one step is NaN."""
    was, steps = type(setup.task).loss, iter(range(1000))

    def loss(task: object, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        learning = outputs.requires_grad  # validation asks for a loss as well
        return was(task, outputs, targets) * (math.nan if learning and next(steps) == at else 1.0)

    monkeypatch.setattr(type(setup.task), "loss", loss)


def test_a_step_that_is_skipped_leaves_everything_but_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = quick(training__on_nan="skip", training__ema=0.9)
    without_numbers(setup, monkeypatch, at=1)
    state = setup.begun()
    seen: list[dict[str, torch.Tensor]] = []

    class Looking(Nobody):
        def after_step(self, state: TrainState, steps: int) -> None:
            seen.append(values(state.network))
            if len(seen) == 2:
                assert state.tally.skipped == 1
                assert state.tally.seen == 8
                assert math.isfinite(state.tally.loss)
                assert state.averaged is not None
                assert state.averaged.updates == 1
                assert state.step == 2

    train_epochs(state, setup, Looking())
    assert same(seen[0], seen[1])
    assert not same(seen[1], seen[2])


def test_a_loss_that_is_no_number_stops_with_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = quick(training__learning_rate=0.08, training__warmup=0.0, training__schedule="constant")
    without_numbers(setup, monkeypatch, at=4)
    words = r"The loss became nan in epoch 2, step 2, at a learning rate of 0.08; try --set training.learning_rate=0.02"
    with pytest.raises(NotFinite, match=words):
        trained(setup)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])  # three make an epoch
def test_a_loop_that_was_stopped_goes_on_to_the_same_bits(steps: int) -> None:
    asked = {"network__name": DROPPING, "training__ema": 0.9, "training__epochs": 2, "augment__preset": "mild"}
    whole = trained(quick(**asked))
    setup = quick(**asked)
    state = setup.begun()
    with pytest.raises(KeyboardInterrupt):
        train_epochs(state, setup, Stopping(steps))
    train_epochs(state, setup, Nobody())
    assert same(whole.result(), state.result())
    assert [row.train_loss for row in whole.history] == [row.train_loss for row in state.history]


def test_it_stops_when_validation_has_not_got_better_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.0, 0.5, 0.5, 0.6, 0.1, 0.1])  # as good as before is not better
    monkeypatch.setattr("foveal.training.setup.validated", lambda *_: (next(losses), 0.0))
    state = trained(quick(training__epochs=6, training__early_stopping=2))
    assert (state.epoch, state.best_epoch, state.best_loss) == (4, 2, 0.5)
    assert [row.val_loss for row in state.history] == [1.0, 0.5, 0.5, 0.6]


def test_without_validation_there_is_nothing_to_stop_early_by() -> None:
    setup = quick(pictures(parts={"train": 20, "val": 0, "test": 5}), training__epochs=4, training__early_stopping=1)
    assert trained(setup).epoch == 4


def test_norms_learn_in_every_epoch_although_validation_stands_between() -> None:
    setup = quick(network__name=DROPPING, training__epochs=3)
    state = trained(setup)
    counted = [value for name, value in state.network.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counted == [9]  # three steps in each epoch


def test_validation_scores_the_average_where_one_is_kept() -> None:
    setup = quick(training__ema=0.99, training__epochs=1, training__learning_rate=0.5)
    state = trained(setup)
    row = state.history[0]
    assert (row.val_loss, row.val_top1) == setup.validate(state.result(), state)
    assert row.val_loss != setup.validate(dict(state.network.state_dict()), state)[0]


def test_mixed_pictures_are_what_the_network_sees_and_is_asked_about() -> None:
    setup = quick(augment__mixup=1.0)
    state, seen = setup.begun(), []
    state.network.register_forward_hook(lambda _, args, __: seen.append(args[0].clone()))
    with pytest.raises(KeyboardInterrupt):
        train_epochs(state, setup, Stopping(1))
    assert not isinstance(setup.batches, DeviceBatches)
    first = next(iter(setup.batches.epoch(0)))
    plain = setup.preprocess.tensor(first.pixels)
    mixed, shares = setup.batches.mixed(plain, first.labels, 0, 0)
    assert shares.shape == (8, 2)
    assert torch.equal(seen[0], mixed)


def test_the_line_where_networks_learn_is_three_calls_below_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """train -> carried_out -> fit -> train_epochs: who reads from the top meets `optimizer.step()` in the third."""
    path: list[str] = []
    was, source = torch.optim.SGD.step, str(Path(foveal.__file__).parent)

    def step(self: torch.optim.SGD, *args: object) -> object:
        frame = sys._getframe()
        while frame is not None and path[-1:] != ["train"]:
            if frame.f_code.co_filename.startswith(source):
                path.append(frame.f_code.co_name)
            frame = frame.f_back
        return was(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    some = pictures()
    pixels = np.stack([some.pictures.content(i) for i in range(sum(PARTS.values()))])
    foveal.train((pixels, some.labels), out=tmp_path / "run", settings=QUICK | {"network.name": TINY})
    assert path == ["train_epochs", "fit", "carried_out", "train"]
