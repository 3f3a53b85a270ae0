"""What a model says of its own doubts: set on unseen pictures, kept in its file, honoured by its answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foveal.errors import BadModel, BadRecipe
from foveal.files.model_file import KIND
from foveal.files.tensors import read_metadata, read_tensors, write_tensors
from foveal.model import Model, classifier, load
from foveal.networks.catalogue import build
from foveal.ops.statistics import softmax
from foveal.preprocess import Preprocess
from foveal.tasks.classify import LabelCalibration
from foveal.tasks.trust import BANK, FALSE_ALARMS, MOST_KEPT, MOST_POINTS, Familiar, Trust, sureness

CLASSES = ("ant", "bee", "cow")


def answers(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose probabilities are what they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 3)).astype(np.float32)
    labels = (softmax(logits.astype(np.float64)).cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits, labels.astype(np.int64)


@pytest.mark.parametrize("wished", [0.8, 0.9, 0.95])
def test_what_is_answered_is_as_right_as_was_wished(wished: float) -> None:
    trust = Trust.of(*answers(4000), 1.0, wished)
    logits, labels = answers(20_000, seed=1)
    tried = trust.tried(logits, labels, 1.0, np.zeros(len(labels), bool))
    assert tried.right / tried.answered == pytest.approx(wished, abs=0.02)
    assert tried.answered == (sureness(logits, 1.0) >= trust.bound).sum()
    assert 0.1 < tried.answered / tried.n < 1
    assert "abstains on the rest" in tried.sentences[0]


def test_without_a_wish_everything_is_answered() -> None:
    trust = Trust.of(*answers(50), 1.0, 0.0)
    assert trust.bound == 0
    assert trust.promise == ""
    assert trust.tried(*answers(30, 2), 1.0, np.zeros(30, bool)).answered == 30


def test_a_wish_out_of_reach_answers_nothing_and_says_so() -> None:
    trust = Trust.of(*answers(50), 1.0, 0.999)
    tried = trust.tried(*answers(30, 2), 1.0, np.zeros(30, bool))
    assert tried.answered == 0
    assert "always abstains" in trust.promise
    assert "abstains on all 30" in tried.sentences[0]
    json.dumps(tried.as_dict(), allow_nan=False)


def test_the_curve_that_is_kept_is_small() -> None:
    assert len(Trust.of(*answers(5000), 1.0, 0.9).curve.bounds) == MOST_POINTS


def clouds(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Features about one of three directions."""
    rng = np.random.default_rng(seed)
    centres = 4 * np.eye(8)[:3][rng.integers(0, 3, n)]
    return (centres + shift * np.eye(8)[7] + rng.normal(scale=0.7, size=(n, 8))).astype(np.float32)


@pytest.mark.parametrize("frozen", [True, False])
def test_false_alarms_are_as_rare_as_said_and_strangers_are_found(frozen: bool) -> None:
    familiar = Familiar.of(clouds(600, 0), None if frozen else clouds(600, 1))
    assert familiar is not None
    assert familiar.rate <= FALSE_ALARMS
    assert familiar.unlike(clouds(4000, 2)).mean() == pytest.approx(familiar.rate, abs=0.015)
    assert familiar.unlike(clouds(1000, 3, shift=8)).mean() > 0.95


def test_few_pictures_give_the_rate_that_they_can() -> None:
    familiar = Familiar.of(clouds(30, 0), clouds(9, 1))
    assert familiar is not None
    assert familiar.rate == pytest.approx(0.1)


def test_too_little_to_compare_with_is_no_bound_at_all() -> None:
    assert Familiar.of(clouds(3, 0), None) is None
    assert Familiar.of(clouds(30, 0), clouds(0, 0)) is None


def test_what_is_kept_of_many_pictures_is_bounded() -> None:
    familiar = Familiar.of(clouds(5000, 0), clouds(50, 1))
    assert familiar is not None
    assert familiar.bank.shape == (MOST_KEPT, 8)
    assert familiar.bank.dtype == np.float16


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = build("lenet5", 3, 1, (24, 32))
    plain = classifier(network, Preprocess(24, 32, 1, (0.5,), (0.5,)), CLASSES, "lenet5", temperature=1.3)
    pixels = torch.randint(0, 256, (60, 24, 32, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    features = plain.engine(pixels.numpy(), features=True)["features"]
    trust = replace(Trust.of(*answers(200), 1.3, 0.9), familiar=Familiar.of(features, None))
    return replace(plain, calibration=LabelCalibration(1.3, trust))


def test_a_saved_model_trusts_and_doubts_as_before(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.trust is not None
    assert model.trust is not None
    assert again.trust.bound == model.trust.bound
    assert again.trust.promise == model.trust.promise
    noise = [np.random.default_rng(i).integers(0, 256, (24, 32), dtype=np.uint8) for i in range(4)]
    pictures = [*noise, np.zeros((24, 32), np.uint8), np.full((24, 32), 255, np.uint8)]
    first, second = model.predict(pictures), again.predict(pictures)
    assert [p.answer for p in first] == [p.answer for p in second]
    assert [p.answer.unlike for p in first][-2:] == [True, True]
    assert not first[0].answer.unlike


def test_another_wish_marks_other_answers(model: Model) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (24, 32), dtype=np.uint8) for i in range(8)]
    assert all(p.answer.abstained for p in model.predict(pictures, accuracy=0.999))
    assert not any(p.answer.abstained for p in model.predict(pictures, accuracy=0))
    with pytest.raises(BadRecipe, match=r"below 1, such as 0\.95"):
        model.predict(pictures, accuracy=1.5)
    with pytest.raises(BadRecipe, match="no pictures were held out"):
        replace(model, calibration=LabelCalibration(1.3)).predict(pictures, accuracy=0.9)


def test_views_and_features_leave_the_logits_as_they_are(model: Model) -> None:
    pixels = torch.randint(0, 256, (5, 24, 32, 1), dtype=torch.uint8)
    for views in ("none", "mirror", "mirror+shift"):
        seen = model.engine(pixels.numpy(), views, features=True)
        assert np.array_equal(seen["logits"], model.logits(pixels, views).numpy())
        assert np.array_equal(seen["features"], model.engine(pixels.numpy(), features=True)["features"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accuracy": 2.0}, "accuracy"),
        ({"curve": [[0.5, 1]]}, "curve"),
        ({"curve": [[float("1e300"), 1, 1]]}, "curve"),
        ({"familiar": {"bound": 0.5, "rate": 0.1, "pictures": 9, "bank": [10, 0]}}, "bank"),
        ({"familiar": {"bound": 0.5, "rate": 0.1, "pictures": 9, "bank": [60, 7]}}, "7 features"),
        ({"familiar": {"bound": 0.5, "rate": 0.1, "pictures": 9, "bank": [61, 84]}}, "trust.bank"),
        ({"familiar": None}, "trust.bank"),
        ({"eval": "1"}, "trust"),
    ],
)
def test_a_file_that_lies_about_its_trust_is_refused(
    model: Model, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    model.save(tmp_path / "m.safetensors")
    tensors, _ = read_tensors(tmp_path / "m.safetensors", KIND)
    facts = read_metadata(tmp_path / "m.safetensors", KIND)
    write_tensors(tmp_path / "bad.safetensors", tensors, {**facts, "trust": {**facts["trust"], **change}}, KIND)
    with pytest.raises(BadModel) as refused:
        load(tmp_path / "bad.safetensors")
    assert words in str(refused.value)


def test_older_files_load_and_know_nothing_of_trust(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    tensors, facts = read_tensors(tmp_path / "m.safetensors", KIND)
    del facts["trust"], tensors[BANK]
    write_tensors(tmp_path / "old.safetensors", tensors, facts, KIND)
    old = load(tmp_path / "old.safetensors")
    assert old.trust is None
    prediction = old.predict(np.zeros((24, 32), np.uint8))
    assert not prediction.answer.abstained
    assert not prediction.answer.unlike
    with pytest.warns(DeprecationWarning, match="answer\\.abstained"):  # the name of before
        assert not prediction.passed
