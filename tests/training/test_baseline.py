from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from foveal.errors import BadData
from foveal.tasks.classify import Classify
from foveal.training import baseline
from foveal.training.baseline import _by_turns, hog_baseline, hog_features


@pytest.fixture(scope="module")
def digits():
    raw = load_digits()
    pixels = np.round(raw.images * 255 / 16).astype(np.uint8)[..., None]
    everything = np.arange(len(pixels))
    return pixels, raw.target.astype(np.int64), everything[everything % 5 != 0], everything[everything % 5 == 0]


TEN = tuple("0123456789")


def _striped(n: int, side: tuple[int, int], channels: int, seed: int = 0):
    """Pictures with horizontal (label 0) or vertical (1) stripes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rows, columns = np.indices(side)
    flat = np.where(labels[:, None, None] == 0, rows % 4 < 2, columns % 4 < 2) * 160.0
    pictures = flat[..., None] + rng.integers(0, 60, (n, *side, channels))
    return pictures.astype(np.uint8), labels.astype(np.int64)


def test_digits_are_read_well_and_quickly(digits):
    pixels, labels, train, test = digits
    found = hog_baseline(lambda i: pixels[i], labels, train, test, Classify(TEN))
    assert found.score > 0.96
    assert found.interval[0] < found.score < found.interval[1]
    assert (found.n_train, found.n_test, found.note) == (1437, 360, "")
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_same_data_give_the_same_figure(digits):
    pixels, labels, train, test = digits
    first, second = (hog_baseline(lambda i: pixels[i], labels, train[:300], test[:90], Classify(TEN)) for _ in range(2))
    assert first.score == second.score


def test_labels_that_say_nothing_are_not_predicted(digits):
    pixels, labels, train, test = digits
    shuffled = np.random.default_rng(0).permutation(labels)
    assert hog_baseline(lambda i: pixels[i], shuffled, train[:500], test[:200], Classify(TEN)).score < 0.3


def test_test_pictures_are_never_learnt_from(digits):
    pixels, labels, train, test = digits
    asked: list[np.ndarray] = []

    def pixels_of(indices):
        asked.append(indices)
        return pixels[indices]

    lying = labels.copy()
    lying[test] = (labels[test] + 1) % 10
    assert hog_baseline(pixels_of, lying, train[:600], test, Classify(TEN)).score < 0.1
    assert set(np.concatenate(asked)) == set(train[:600]) | set(test)


def test_a_guess_does_not_depend_on_the_other_pictures_that_are_asked_about(digits):
    pixels, labels, train, test = digits
    hard = test[labels[test] >= 8]  # alike, and none of most classes among them
    wholly = hog_baseline(lambda i: pixels[i], labels, train[:300], test, Classify(TEN))
    parts = [hog_baseline(lambda i: pixels[i], labels, train[:300], part, Classify(TEN))
             for part in (hard, np.setdiff1d(test, hard))]  # fmt: skip
    assert sum(part.score * part.n_test for part in parts) == pytest.approx(wholly.score * wholly.n_test)


def test_of_many_pictures_a_fixed_number_is_taken_and_told(digits, monkeypatch):
    pixels, labels, train, test = digits
    monkeypatch.setattr(baseline, "MOST_TRAIN", 300)
    monkeypatch.setattr(baseline, "MOST_TEST", 90)
    found = [hog_baseline(lambda i: pixels[i], labels, train, test, Classify(TEN)) for _ in range(2)]
    assert [(one.n_train, one.n_test) for one in found] == [(300, 90)] * 2
    assert found[0].score == found[1].score
    assert found[0].note == "on 300 of 1,437 training pictures and 90 of 360 test pictures"


def test_many_classes_and_values_take_fewer_pictures():
    assert baseline._enough(1296, 10) == 10_000
    assert baseline._enough(1764, 100) == 1133
    assert baseline._enough(8000, 1000) == 2000


def test_every_beginning_of_the_training_list_is_balanced():
    have = np.array([100, 10, 50, 3])
    labels = np.repeat(np.arange(4), have)
    order = _by_turns(np.arange(len(labels)), labels, np.random.default_rng(0))
    assert sorted(order) == list(range(len(labels)))
    for n in (4, 8, 12, 25, 40):
        counts = np.bincount(labels[order[:n]], minlength=4)
        full = np.minimum(have, counts.max())
        assert ((counts == full) | (counts == counts.max() - 1)).all()


@pytest.mark.parametrize("side", [(1, 1), (8, 8), (8, 40), (28, 28), (32, 32), (65, 200), (224, 224), (3, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_has_features(side, channels):
    pictures, _ = _striped(4, side, channels)
    features = hog_features(pictures)
    assert features.shape[0] == 4
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.shape[1] <= 8000


def test_stripes_of_two_directions_are_told_apart():
    pictures, labels = _striped(120, (48, 64), 3)
    everything = np.arange(120)
    found = hog_baseline(lambda i: pictures[i], labels, everything[:80], everything[80:], Classify(("flat", "upright")))
    assert found.score == 1.0
    assert found.interval[0] < 1


def test_a_flat_picture_has_no_direction():
    assert not hog_features(np.full((1, 32, 32, 3), 77, np.uint8)).any()


def test_one_class_in_training_is_the_only_guess():
    pictures, labels = _striped(20, (8, 8), 1)
    ones = np.flatnonzero(labels == 1)
    found = hog_baseline(lambda i: pictures[i], labels, ones, np.arange(20), Classify(("flat", "upright")))
    assert found.score == 0.5


def test_an_empty_split_is_refused():
    pictures, labels = _striped(4, (8, 8), 1)
    with pytest.raises(BadData, match="train and in test"):
        hog_baseline(lambda i: pictures[i], labels, np.arange(4), np.arange(0), Classify(("a", "b")))
