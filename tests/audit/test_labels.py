"""Wrong labels come first, few right ones are called wrong, and who cannot tell says so."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.audit.judges import Joint, by_neighbours, by_planes, together
from foveal.audit.labels import judge


def blobs(seed, K=4, each=60, D=12):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), each)
    features = (4 * rng.standard_normal((K, D))[labels] + 1.5 * rng.standard_normal((K * each, D))).astype(np.float32)
    given, wrong = labels.copy(), rng.permutation(len(labels))[: len(labels) // 20]
    given[wrong] = (labels[wrong] + rng.integers(1, K, len(wrong))) % K
    return features, labels, given, set(wrong.tolist())


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_the_first_suggestions_and_their_class_is_named(seed):
    features, labels, given, wrong = blobs(seed)
    found = judge(features, given, 4)
    first = found.suspects[: len(wrong)]
    assert found.can_tell
    assert len({w.index for w in first} & wrong) >= 0.9 * len(wrong)
    assert np.mean([w.likely == labels[w.index] for w in first]) >= 0.9
    assert [-w.doubt for w in found.suspects] == sorted(-w.doubt for w in found.suspects)
    assert all(w.label == given[w.index] and w.label != w.likely and 0 < w.doubt < 1 for w in found.suspects)
    called = {w.index for w in found.suspects if w.probably}
    assert len(called & wrong) >= 0.8 * len(wrong)
    assert len(called - wrong) <= 1


@pytest.mark.parametrize("n", [90, 240])
def test_few_pictures_in_many_directions_of_which_few_mean_something(n):
    """The last principal directions of few pictures are as small as rounding: blown up, they drown the rest."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    features = 0.3 * rng.standard_normal((n, n)) * np.geomspace(1, 1e-8, n)
    features[:, :3] += 2 * np.eye(3)[labels]
    features -= features.mean(0)
    given, wrong = labels.copy(), rng.permutation(n)[: n // 15]
    given[wrong] = (labels[wrong] + 1) % 3
    found = judge(features.astype(np.float32), given, 3)
    assert {w.index for w in found.suspects[: len(wrong)]} == set(wrong.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_the_pictures_know_nothing_of_cannot_be_told_and_none_is_called_wrong(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 300)
    found = judge(rng.standard_normal((300, 60)).astype(np.float32), labels, 5)
    assert not found.can_tell
    assert found.right < 0.4
    assert found.suspects  # the ranking remains
    assert not any(w.probably for w in found.suspects)


@pytest.mark.parametrize(("noise", "n"), [(0.5, 60), (0.9, 150), (1.3, 300), (2.0, 300)])
def test_the_line_is_told_as_it_is_drawn(noise, n):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 5
    features = 2 * np.eye(5, 20)[labels] + noise * rng.standard_normal((n, 20))
    found = judge(features.astype(np.float32), labels, 5)
    assert found.can_tell == (found.right >= found.needed)
    assert 0.6 < found.needed < 0.6 + 2 / n**0.5


def test_who_always_names_the_largest_class_is_no_judge():
    """Nine of ten pictures are of one class: to be right for nine of ten is nothing."""
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(np.int64)
    found = judge(rng.standard_normal((400, 30)).astype(np.float32), labels, 2)
    assert found.right >= 0.85
    assert found.chance == pytest.approx(0.9)
    assert not found.can_tell


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_overlap_are_not_called_wrong_where_they_do(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(600) % 6
    features = 1.6 * np.eye(6, 40)[labels] + 0.7 * rng.standard_normal((600, 40))
    found = judge(features.astype(np.float32), labels, 6)
    assert 0.6 < found.right < 0.97  # the judges err
    assert np.sum([w.probably for w in found.suspects]) < 0.03 * 600


@pytest.mark.parametrize("answers", [by_planes, by_neighbours])
def test_no_judge_has_seen_the_label_it_judges(answers):
    """What is said of a picture stays when its own label changes, up to what others learn from it."""
    features, _, given, _ = blobs(0)
    lonely = np.concatenate([features, np.full((1, features.shape[1]), 3, np.float32)])
    said = [answers(unit(lonely), np.append(given, k), 4)[-1] for k in range(4)]
    assert np.ptp(np.exp(said), axis=0).max() < 0.1
    assert np.allclose(np.exp(said).sum(1), 1)


def test_doubt_is_the_share_of_wrong_labels_by_its_definition():
    rng = np.random.default_rng(0)
    known = rng.dirichlet(np.full(5, 0.2), 4000)
    labels = np.array([rng.choice(5, p=p) for p in known])
    wrong = rng.random(4000) < 0.1
    labels[wrong] = (labels[wrong] + rng.integers(1, 5, wrong.sum())) % 5
    logs = np.log(known + 1e-9)
    joint = together(logs, logs, labels)
    assert isinstance(joint, Joint)
    assert joint.wrong == pytest.approx(0.1, abs=0.03)
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)):
        inside = (joint.doubt >= low) & (joint.doubt < high)
        assert wrong[inside].mean() == pytest.approx(joint.doubt[inside].mean(), abs=0.12)


def test_a_judge_that_knows_nothing_is_not_listened_to():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    good = np.log(0.8 * np.eye(3)[labels] + 0.2 / 3)
    noise = np.log(rng.dirichlet(np.full(3, 0.5), 500))
    assert np.array_equal(together(good, noise, labels).likely, labels)
    assert np.array_equal(together(noise, good, labels).likely, labels)


def test_classes_too_small_to_be_learnt_are_left_alone():
    features, _, given, _ = blobs(1)
    labels = given.copy()
    labels[:3] = 4
    found = judge(features, labels, 6)
    assert found.suspects
    assert all(w.index > 2 and w.likely != 4 for w in found.suspects)
    assert judge(features[:8], np.zeros(8, np.int64), 1) is None
    assert judge(features[:6], np.arange(6), 6) is None
