"""Features: what enters the classifier, once for each picture and view, and anew only when it would differ."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from trainings import HEIGHT, WIDTH, pictures, quick

from foveal.files.places import cache_folder
from foveal.training import features as seen
from foveal.training.arithmetic import Arithmetic
from foveal.training.features import Trunk, remembered, trunk_features


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6 * 8, 2))


def trunk(**changed: object) -> Trunk:
    setup = quick(augment__rotate=10.0, augment__flip="horizontal")
    digests = setup.dataset.digests
    assert digests is not None
    arithmetic, augment = Arithmetic("fp32"), setup.recipe.augment
    one = Trunk(network(), "4", setup.preprocess, setup.store, digests, arithmetic, augment)
    return replace(one, **changed)


class Counting:
    """Counts the passes of a trunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        was = trunk_features

        def counted(*arguments: object) -> object:
            self.passes += 1
            return was(*arguments)

        monkeypatch.setattr(seen, "trunk_features", counted)


SOME = np.array([3, 17, 4, 9])


def slowly(one: Trunk, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What enters the last layer, in eval mode."""
    with torch.no_grad():
        images = one.preprocess.tensor(torch.from_numpy(np.ascontiguousarray(pixels)))
        out: NDArray[np.float32] = one.network.eval()[:4](images).numpy()
    return out


def test_features_are_what_enters_the_classifier_picture_by_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trunk()
    assert one.preprocess.mean != (0.5,)
    monkeypatch.setattr(seen, "_BATCH_PIXELS", {"cpu": 3 * HEIGHT * WIDTH})  # four pictures are three and one
    one.network.train()
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    found = trunk_features(one.network, "4", one.preprocess, one.store, SOME, one.arithmetic)
    assert one.network.training
    assert all(torch.equal(value, before[name]) for name, value in one.network.state_dict().items())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slowly(one, one.store.rows(SOME)), rtol=1e-5, atol=1e-6)


def test_views_are_the_picture_its_mirror_image_and_others() -> None:
    one = trunk()
    views = one.views(SOME, 4)
    assert views.shape == (4, 4, 3 * 6 * 8)
    pixels = one.store.rows(SOME)
    np.testing.assert_allclose(views[0], slowly(one, pixels), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(views[1], slowly(one, pixels[:, :, ::-1]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(views[2], views[3])
    assert not np.allclose(views[2], views[0])


def test_where_nothing_is_mirrored_the_second_view_is_drawn() -> None:
    one = trunk(augment=quick(augment__rotate=10.0, augment__flip="none").recipe.augment)
    mirrored = slowly(one, one.store.rows(SOME)[:, :, ::-1])
    assert not np.allclose(one.view(SOME, 1), mirrored, atol=1e-3)


def other_weights(place: int) -> nn.Sequential:
    changed = network()
    with torch.no_grad():
        next(changed[place].parameters()).view(-1)[0] += 1
    return changed


def other_statistics() -> nn.Sequential:
    changed = network()
    changed[1].running_mean += 0.5
    return changed


def test_a_pass_is_made_once_whatever_seed_head_or_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    first = trunk().view(SOME, 0)
    assert counting.passes == 1
    changed = network()
    changed[1].num_batches_tracked += 5
    other = quick(training__seed=9, training__learning_rate=0.7)
    for again in (trunk(), trunk(network=other_weights(4)), trunk(network=changed), trunk(store=other.store)):
        assert np.array_equal(again.view(SOME, 0), first)
    assert counting.passes == 1
    trunk(augment=quick(augment__rotate=45.0).recipe.augment).view(SOME, 0)  # the picture as it is: nothing is drawn
    assert counting.passes == 1


@pytest.mark.parametrize(
    "what", ["weights", "statistics", "preprocess", "arithmetic", "order", "fewer", "content", "view", "other view"]
)
def test_a_pass_is_made_anew_when_features_would_differ(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(monkeypatch)
    one = trunk()
    one.view(SOME, 2)
    one.view(SOME, 0)
    assert counting.passes == 2
    digests = one.digests.copy()
    digests[SOME[1]] += 1
    {
        "weights": lambda: trunk(network=other_weights(0)).view(SOME, 0),
        "statistics": lambda: trunk(network=other_statistics()).view(SOME, 0),
        "preprocess": lambda: trunk(preprocess=replace(one.preprocess, mean=(0.1,))).view(SOME, 0),
        "arithmetic": lambda: trunk(arithmetic=Arithmetic("bf16")).view(SOME, 0),
        "order": lambda: one.view(SOME[::-1], 0),
        "fewer": lambda: one.view(SOME[:3], 0),
        "content": lambda: trunk(digests=digests).view(SOME, 0),
        "view": lambda: one.view(SOME, 1),
        "other view": lambda: trunk(augment=quick(augment__rotate=45.0).recipe.augment).view(SOME, 2),
    }[what]()
    assert counting.passes == 3


def test_the_same_pictures_elsewhere_in_the_data_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views without chance are of the content; what is drawn belongs to the place."""
    some = pictures()
    moved = np.roll(np.arange(len(some)), 1)
    setup = quick(some.take(moved))
    assert setup.dataset.digests is not None
    one = trunk()
    there = replace(one, store=setup.store, digests=setup.dataset.digests)
    counting = Counting(monkeypatch)
    for view, passes in ((0, 1), (1, 1), (2, 2)):
        before = counting.passes
        first, second = one.view(SOME, view), there.view(SOME + 1, view)
        assert counting.passes - before == passes
        assert np.array_equal(first, second) == (view < 2)


@pytest.mark.parametrize("harm", ["cut", "nothing", "other"])
def test_a_cache_that_was_harmed_costs_a_pass_and_no_more(harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trunk()
    first = one.view(SOME, 0)
    (file,) = (cache_folder() / seen.KIND).glob("*.safetensors")
    if harm == "other":
        one.view(SOME[:2], 0)
        (other,) = set((cache_folder() / seen.KIND).glob("*.safetensors")) - {file}
        file.write_bytes(other.read_bytes())
    else:
        file.write_bytes(b"" if harm == "nothing" else file.read_bytes()[:-4])
    counting = Counting(monkeypatch)
    assert np.array_equal(one.view(SOME, 0), first)
    assert counting.passes == 1
    one.view(SOME, 0)
    assert counting.passes == 1


def test_the_longest_unused_go_first_when_the_cache_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trunk()
    folder = cache_folder() / seen.KIND
    ages: list[Path] = []
    for number in range(4):
        one.view(SOME + number, 0)
        (new,) = set(folder.glob("*.safetensors")) - set(ages)
        ages.append(new)
        os.utime(new, (1000 + number, 1000 + number))
    one.view(SOME, 0)  # the first is used again
    monkeypatch.setattr(seen, "CACHE_MAX_BYTES", 3 * ages[0].stat().st_size + 10)
    one.view(SOME + 4, 0)
    assert [path.exists() for path in ages] == [True, False, False, True]


def test_without_pictures_there_are_no_features() -> None:
    one = trunk()
    found = trunk_features(one.network, "4", one.preprocess, one.store, np.zeros(0, np.int64), one.arithmetic)
    assert len(found) == 0


def test_what_follows_from_arrays_is_computed_once_for_the_same_values() -> None:
    made: list[int] = []

    def compute() -> dict[str, NDArray[np.float64]]:
        made.append(1)
        return {"a": np.full(2, float(len(made)))}

    x, y = np.arange(6.0), np.arange(6)
    first = remembered(["sum", 1], [x, y], compute)
    assert np.array_equal(remembered(["sum", 1], [x.copy(), y], compute)["a"], first["a"])
    assert len(made) == 1
    for what, inputs in (
        (["sum", 2], [x, y]),
        (["other", 1], [x, y]),
        (["sum", 1], [y, x]),
        (["sum", 1], [x.reshape(2, 3), y]),
        (["sum", 1], [x.astype(np.float32), y]),
        (["sum", 1], [x + 1, y]),
    ):
        before = len(made)
        remembered(what, inputs, compute)
        assert len(made) == before + 1, what
