"""Linear heads: the optimum is sklearn's, folds are fair, and cross-validation never asks about what it has seen."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from foveal.ops.logistic import choose_decay, fit_logistic, fold_of


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 150)
    centres = rng.normal(size=(4, 12))
    features = (rng.normal(size=(150, 12)) + centres[labels]) * rng.uniform(0.1, 30, 12) + 5
    return features.astype(np.float32), labels


def scaled(features):
    """Centred, and each divided by the geometric mean of its own deviation and of the usual one."""
    deviation = features.std(0)
    return (features - features.mean(0)) / np.sqrt(deviation * np.sqrt(np.mean(deviation**2)))


def relative(logits):
    """A constant added to all classes changes no probability."""
    return logits - logits.mean(1, keepdims=True)


@pytest.mark.parametrize("decay", [1.0, 0.03, 0.001])
def test_a_head_is_the_one_that_sklearn_finds(table, decay):
    features, labels = table
    theirs = LogisticRegression(C=1 / (decay * len(labels)), tol=1e-9, max_iter=5000)
    wanted = theirs.fit(scaled(features), labels).decision_function(scaled(features))
    ours = fit_logistic(features, labels, 4, decay).logits(features)
    np.testing.assert_allclose(relative(ours), relative(wanted), atol=2e-3 * np.abs(wanted).max())


def test_weights_count_a_picture_as_often_as_they_say(table):
    features, labels = table
    weights = np.where(labels == 2, 3.0, 1.0)
    heavy = fit_logistic(features, labels, 4, 0.1, weights).logits(features)
    light = fit_logistic(features, labels, 4, 0.1).logits(features)
    assert (heavy.argmax(1) == 2).sum() > (light.argmax(1) == 2).sum()


def test_without_an_intercept_the_bias_is_nothing(table):
    features, labels = table
    head = fit_logistic(features, labels, 4, 0.1, intercept=False)
    assert not head.bias.any()
    assert head.logits(features).argmax(1).tolist() != [0] * len(labels)


def test_a_picture_in_two_equal_views_is_the_picture(table):
    features, labels = table
    once, twice = (fit_logistic(f, labels, 4, 0.1) for f in (features, np.stack([features, features])))
    np.testing.assert_allclose(once.weight, twice.weight, atol=1e-3 * np.abs(once.weight).max())


def test_every_class_is_spread_over_the_folds(table):
    _, labels = table
    fold = fold_of(labels, 5)
    for label in range(4):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


def test_a_group_stays_in_one_fold(table):
    _, labels = table
    groups = np.arange(len(labels)) // 7
    fold = fold_of(labels, 5, groups)
    assert all(len(set(fold[groups == g])) == 1 for g in range(groups.max() + 1))
    assert np.bincount(fold, minlength=5).min() > len(labels) / 5 * 0.6


def test_features_that_tell_nothing_are_not_learnt_by_heart():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(80, 60)).astype(np.float32), rng.integers(0, 2, 80)
    chosen = choose_decay(features, labels, 2, fold_of(labels))
    assert chosen.decay >= 0.3  # a weak penalty would be sure of noise
    assert abs((chosen.logits.argmax(1) == labels).mean() - 0.5) < 0.2
    assert (fit_logistic(features, labels, 2, 1e-3).logits(features).argmax(1) == labels).all()


def test_out_of_fold_answers_come_from_heads_that_have_not_seen_the_picture(table):
    features, labels = table
    fold = fold_of(labels)
    chosen = choose_decay(features, labels, 4, fold, (0.1,))
    outside = fold == 2
    slow = fit_logistic(features[~outside], labels[~outside], 4, 0.1).logits(features[outside])
    np.testing.assert_allclose(relative(chosen.logits[outside]), relative(slow), atol=0.05)


def test_more_values_than_pictures_are_fitted_in_the_space_that_the_pictures_span():
    """The same layer as the long way finds, which sees more pictures than values: each of them several times."""
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(30, 50)).astype(np.float32), rng.integers(0, 3, 30)
    short = fit_logistic(features, labels, 3, 0.1)
    long = fit_logistic(np.tile(features, (2, 1)), np.tile(labels, 2), 3, 0.1)
    np.testing.assert_allclose(short.weight, long.weight, atol=1e-4)
    np.testing.assert_allclose(short.bias, long.bias, atol=1e-4)


@pytest.fixture(scope="module")
def several(table):
    """The same features with three labels a picture, any number of which may be there."""
    features, labels = table
    noise = np.random.default_rng(1).random((len(labels), 3)) < 0.1
    return features, np.stack([labels == 1, labels > 1, features[:, 0] > 1], 1) ^ noise


@pytest.mark.parametrize("decay", [1.0, 0.03])
def test_several_labels_are_as_many_problems_of_two_classes(several, decay):
    features, truth = several
    ours = fit_logistic(features, truth, 3, decay).logits(features)
    for k in range(3):
        theirs = LogisticRegression(C=1 / (decay * len(truth)), tol=1e-9, max_iter=5000)
        wanted = theirs.fit(scaled(features), truth[:, k]).decision_function(scaled(features))
        np.testing.assert_allclose(ours[:, k], wanted, atol=2e-3 * np.abs(wanted).max())


def test_weights_may_differ_from_label_to_label(several):
    features, truth = several
    weights = np.where(truth, [5.0, 1.0, 1.0], 1.0)
    heavy, light = (fit_logistic(features, truth, 3, 0.1, w).logits(features) for w in (weights, None))
    assert heavy[:, 0].mean() > light[:, 0].mean() + 0.5
    np.testing.assert_allclose(heavy[:, 1:], light[:, 1:], atol=1e-2)


def test_folds_have_their_share_of_every_label_and_decay_is_chosen(several):
    features, truth = several
    rare = np.zeros((len(truth), 1), bool)
    rare[::40] = True
    fold = fold_of(np.concatenate([truth, rare], 1), 5)
    for k, column in enumerate(np.concatenate([truth, rare], 1).T):
        counts = np.bincount(fold[column], minlength=5)
        assert counts.max() - counts.min() <= max(3, 0.1 * counts.mean()), (k, counts)
    chosen = choose_decay(features, truth, 3, fold)
    assert chosen.logits.shape == truth.shape
    assert ((chosen.logits > 0) == truth).mean() > 0.8
