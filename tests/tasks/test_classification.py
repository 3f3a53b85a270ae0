from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

from foveal.errors import BadData, NotFinite
from foveal.ops.statistics import negative_log_likelihood, softmax
from foveal.preprocess import Preprocess
from foveal.tasks.answers import Label
from foveal.tasks.classification_scores import fit_temperature, score_labels
from foveal.tasks.classify import Classify, LabelCalibration, balanced_weights
from foveal.tasks.task import Ask, Task

ABC = ("ant", "bee", "cat")


def _drawn(seed: int, n: int, K: int, scale: float = 1.0):
    """Logits whose softmax the labels were drawn from, then multiplied by `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, K)) * 2
    labels = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, K - 1)
    return torch.tensor(logits * scale, dtype=torch.float32), labels.astype(np.int64)


def answered(logits: torch.Tensor, temperature: float = 1.0, top: int = 5) -> list[Label]:
    """The answers to logits, of pictures whose size does not matter."""
    named, sizes = {"logits": logits.numpy()}, [(1, 1)] * len(logits)
    return Classify(ABC).answers(named, sizes, Preprocess(1, 1), LabelCalibration(temperature), Ask(top=top))


def test_classification_is_a_task():
    task: Task = Classify(ABC)
    assert task.classes == ABC
    assert task.tensors(torch.zeros(2, 3, dtype=torch.bfloat16))["logits"].dtype == torch.float32


# the loss


@given(st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
@settings(max_examples=40)
def test_a_one_hot_target_costs_what_its_index_costs(seed, smoothing, weighted):
    logits, labels = _drawn(seed, 17, 4)
    weights = torch.tensor([0.2, 1.0, 3.0, 0.7]) if weighted else None
    task = Classify(("a", "b", "c", "d"), smoothing, weights)
    index = torch.from_numpy(labels)
    hot = torch.nn.functional.one_hot(index, 4).float()
    torch.testing.assert_close(task.loss(logits, index), task.loss(logits, hot))


def test_loss_agrees_with_the_formula_written_out():
    logits, labels = _drawn(1, 6, 3)
    weights, eps = torch.tensor([1.0, 2.0, 0.5]), 0.1
    log_p = logits.double() - torch.logsumexp(logits.double(), dim=1, keepdim=True)
    target = torch.eye(3).double()[torch.from_numpy(labels)] * (1 - eps) + eps / 3
    wanted = -(weights * target * log_p).sum() / weights[torch.from_numpy(labels)].sum()
    got = Classify(ABC, eps, weights).loss(logits, torch.from_numpy(labels))
    torch.testing.assert_close(got.double(), wanted)


def test_a_mixed_target_costs_the_mixture():
    logits, labels = _drawn(2, 8, 3)
    task, a, b = Classify(ABC), torch.from_numpy(labels), torch.from_numpy(labels[::-1].copy())
    mixed = 0.3 * torch.eye(3)[a] + 0.7 * torch.eye(3)[b]
    torch.testing.assert_close(task.loss(logits, mixed), 0.3 * task.loss(logits, a) + 0.7 * task.loss(logits, b))


def test_loss_is_computed_in_float32():
    logits, labels = _drawn(3, 5, 3)
    half = logits.bfloat16().requires_grad_()
    loss = Classify(ABC).loss(half, torch.from_numpy(labels))
    assert loss.dtype == torch.float32
    assert loss.ndim == 0
    torch.testing.assert_close(loss, Classify(ABC).loss(half.float(), torch.from_numpy(labels)))
    loss.backward()
    assert half.grad is not None


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [5, 50, 1])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert_allclose(balanced_weights(np.bincount(labels)).numpy(), theirs, rtol=1e-6)


def test_an_absent_class_weighs_one_and_the_mean_picture_too():
    weights = balanced_weights([10, 0, 30])
    assert weights.dtype == torch.float32
    assert weights[1] == 1
    assert (weights * torch.tensor([10.0, 0, 30])).sum() / 40 == pytest.approx(1)


# answers


def test_an_answer_is_the_likeliest_class_and_its_runners_up():
    p = np.array([[0.2, 0.7, 0.1]])
    (answer,) = answered(torch.tensor(np.log(p)))
    assert answer.label == "bee"
    assert answer.probability == pytest.approx(0.7, abs=1e-6)
    assert [name for name, _ in answer.runners_up] == ["ant", "cat"]
    assert [value for _, value in answer.runners_up] == pytest.approx([0.2, 0.1], abs=1e-6)


@pytest.mark.parametrize(("top", "runners_up"), [(0, 0), (1, 0), (2, 1), (3, 2), (9, 2)])
def test_top_counts_the_answer_itself(top, runners_up):
    (answer,) = answered(torch.zeros(1, 3), top=top)
    assert answer.label == "ant"
    assert len(answer.runners_up) == runners_up


def test_a_high_temperature_takes_sureness_and_no_answer():
    logits, _ = _drawn(4, 30, 3)
    cold, warm = (answered(logits, temperature=t) for t in (1.0, 5.0))
    assert [a.label for a in cold] == [a.label for a in warm]
    assert all(a.probability > b.probability for a, b in zip(cold, warm, strict=True))


def test_no_picture_has_no_answer():
    assert answered(torch.zeros(0, 3)) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_an_answer(bad):
    logits = torch.tensor([[0.0, bad, 1.0]])
    for call in (lambda: answered(logits), lambda: score_labels(logits.numpy(), [0], ABC)):
        with pytest.raises(NotFinite, match="not finite"):
            call()
    with pytest.raises(NotFinite, match="not finite"):
        fit_temperature(logits, [0])


def test_answers_compare_by_value():
    assert Label("a", 0.5, (("b", 0.5),)) == Label("a", 0.5, (("b", 0.5),))


# scores


@given(st.integers(0, 99), st.integers(6, 12))
@settings(max_examples=25)
def test_scores_are_those_of_scikit_learn(seed, K):
    logits, labels = _drawn(seed, 80, K)
    scores = score_labels(logits.numpy(), labels, tuple(map(str, range(K))))
    guesses = logits.argmax(dim=1).numpy()
    assert scores.top1 == pytest.approx(metrics.accuracy_score(labels, guesses))
    assert scores.top5 == pytest.approx(metrics.top_k_accuracy_score(labels, logits.numpy(), k=5, labels=range(K)))
    assert scores.loss == pytest.approx(metrics.log_loss(labels, softmax(logits.numpy()), labels=range(K)), rel=1e-5)
    assert scores.right == (labels == guesses).sum()
    assert (scores.support == np.bincount(labels, minlength=K)).all()
    assert scores.top1_interval[0] < scores.top1 < scores.top1_interval[1]


@pytest.mark.parametrize("K", [2, 5])
def test_top5_is_not_told_below_six_classes(K):
    logits, labels = _drawn(0, 10, K)
    scores = score_labels(logits.numpy(), labels, tuple(map(str, range(K))))
    assert scores.top5 is None
    assert "top5" not in scores.as_dict()


def test_equal_logits_count_the_truth_in_class_order():
    assert score_labels(np.zeros((8, 8)), np.arange(8), tuple("abcdefgh")).top5 == 5 / 8


def test_scores_are_plain_json_even_with_a_class_that_has_no_picture():
    scores = score_labels(np.array([[3.0, 0, 0], [0, 3.0, 0]]), [0, 1], ABC)
    text = json.dumps(scores.as_dict(), allow_nan=False)
    assert json.loads(text)["classes"][2] == {
        "class": "cat",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }


def test_temperature_changes_loss_and_calibration_but_not_accuracy():
    logits, labels = _drawn(5, 400, 3, scale=4)
    raw, fitted = (score_labels(logits.numpy(), labels, ABC, t) for t in (1.0, 4.0))
    assert raw.top1 == fitted.top1
    assert (raw.confusion == fitted.confusion).all()
    assert fitted.loss < raw.loss
    assert fitted.ece < raw.ece


def test_an_empty_split_is_refused():
    with pytest.raises(BadData, match="no picture to score"):
        score_labels(np.zeros((0, 3)), [], ABC)


# the temperature


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(scale):
    logits, labels = _drawn(6, 20_000, 5, scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.05)


@given(st.integers(0, 999), st.integers(1, 60), st.integers(2, 6), st.floats(0.01, 50))
@settings(max_examples=60)
def test_the_temperature_is_bounded_and_never_worse_than_one(seed, n, K, scale):
    logits, labels = _drawn(seed, n, K, scale)
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature <= 20
    z = logits.double().numpy()
    assert negative_log_likelihood(z / temperature, labels) <= negative_log_likelihood(z, labels)


def test_the_temperature_is_where_a_fine_grid_has_its_lowest_point():
    logits, labels = _drawn(7, 3000, 4, scale=2.5)
    grid = np.geomspace(0.05, 20, 4001)
    losses = [negative_log_likelihood(logits.double().numpy() / t, labels) for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[int(np.argmin(losses))], rel=5e-3)


def test_a_validation_set_without_a_mistake_does_not_make_every_answer_certain():
    labels = np.arange(100) % 4
    logits = torch.eye(4)[torch.from_numpy(labels)] * 3
    sure = softmax(logits.numpy() / fit_temperature(logits, labels)).max()
    assert 0.97 < sure < 0.995  # about (n + 1) / (n + 2), not 1


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 2, 2]])
def test_logits_that_say_nothing_keep_their_temperature(labels):
    assert fit_temperature(torch.zeros(3, 3), labels) == 1.0


def test_nothing_to_fit_on_gives_one():
    assert fit_temperature(torch.zeros(0, 3), []) == 1.0
    assert fit_temperature(torch.zeros(3, 1), [0, 0, 0]) == 1.0


def test_a_temperature_that_chance_would_suggest_is_not_taken():
    """Labels drawn from the probabilities themselves ask for none; Akaike's bound lets one in six such sets pass."""
    taken = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (300, 5))
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        labels = (chances.cumsum(1) < rng.random((300, 1))).sum(1)
        taken += fit_temperature(logits, labels) != 1.0
        assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.35)
    assert taken <= 15
