"""Wrong labels come first, and confident learning is what the paper says."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.audit.labels import confident_learning, judged, wrong_labels


def blobs(seed, K=4, each=60, D=12):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), each)
    features = (4 * rng.standard_normal((K, D))[labels] + 1.5 * rng.standard_normal((K * each, D))).astype(np.float32)
    given, wrong = labels.copy(), rng.permutation(len(labels))[: len(labels) // 20]
    given[wrong] = (labels[wrong] + rng.integers(1, K, len(wrong))) % K
    return features, labels, given, set(wrong.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_the_first_suggestions_and_their_class_is_named(seed):
    features, labels, given, wrong = blobs(seed)
    found = wrong_labels(features, given, 4)
    first = found[: len(wrong)]
    assert len({w.index for w in first} & wrong) >= 0.9 * len(wrong)
    assert np.mean([w.likely == labels[w.index] for w in first]) >= 0.9
    assert [w.margin for w in found] == sorted(w.margin for w in found)
    assert all(w.label == given[w.index] and w.label != w.likely and -1 <= w.margin < 0 for w in found)


def reference(probabilities, labels):
    """Section 3.1, picture by picture."""
    K = probabilities.shape[1]
    threshold = [np.mean([p[k] for p, y in zip(probabilities, labels, strict=True) if y == k]) for k in range(K)]
    found = []
    for i, (p, y) in enumerate(zip(probabilities, labels, strict=True)):
        best = max(range(K), key=lambda k: p[k])
        if best != y and p[best] >= threshold[best]:
            found.append((p[y] - p[best], i, best))
    return [(i, k) for _, i, k in sorted(found)]


def test_suspects_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(5, 0.4), 300)
    labels = np.array([rng.choice(5, p=p) for p in probabilities])
    found = confident_learning(probabilities, labels)
    assert [(i, k) for i, k, _, confident in found if confident] == reference(probabilities, labels)
    assert len(found) > 20


def test_no_judge_has_seen_the_label_it_judges():
    """Otherwise a picture far from all others would be believed."""
    features, _, given, _ = blobs(0)
    lonely = np.concatenate([features, np.zeros((4, features.shape[1]), np.float32)])
    lonely[-4:] = features[0] * 1.01
    labels = np.concatenate([given, np.full(4, (given[0] + 1) % 4)])
    before = judged(lonely, labels, 4)[-1]
    labels[-1] = given[0]
    after = judged(lonely, labels, 4)[-1]
    assert abs(after[given[0]] - before[given[0]]) < 0.2


def test_classes_too_small_to_be_learnt_are_left_alone():
    features, _, given, _ = blobs(1)
    labels = given.copy()
    labels[:3] = 4
    found = wrong_labels(features, labels, 6)
    assert found
    assert all(w.index > 2 and w.likely != 4 for w in found)
    assert wrong_labels(features[:8], np.zeros(8, np.int64), 1) == ()
