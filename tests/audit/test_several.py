"""Labels that are missing or too many, where a picture may have several."""

from __future__ import annotations

import numpy as np

from foveal.audit.several import judge_several
from foveal.data.dataset import NOTHING


def made(n: int = 400, K: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Features that say which labels are there, and labels of which ten are turned round."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, K)) < np.linspace(0.15, 0.5, K)
    features = (truth @ rng.normal(size=(K, 32)) + 0.25 * rng.normal(size=(n, 32))).astype(np.float32)
    planted = [(int(i), int(k)) for i, k in zip(rng.permutation(n)[:10], rng.integers(0, K, 10), strict=True)]
    for i, k in planted:
        truth[i, k] ^= True
    return features, truth, planted


def test_labels_that_were_turned_round_come_first_and_say_which_way() -> None:
    features, truth, planted = made()
    found = judge_several(features, truth)
    assert found is not None
    assert found.can_tell
    first = {(s.index, max(s.label, s.likely)): s for s in found.suspects[:12]}
    assert len(first.keys() & set(planted)) >= 9
    for (i, k), suspect in first.items():
        assert (suspect.label, suspect.likely) == ((k, NOTHING) if truth[i, k] else (NOTHING, k))
    probably = {(s.index, max(s.label, s.likely)) for s in found.suspects if s.probably}
    assert len(probably & set(planted)) >= 8
    assert len(probably - set(planted)) <= 2


def test_noise_is_called_nothing() -> None:
    rng = np.random.default_rng(1)
    found = judge_several(rng.normal(size=(300, 16)).astype(np.float32), rng.random((300, 3)) < 0.3)
    assert found is not None
    assert not found.can_tell
    assert not any(s.probably for s in found.suspects)


def test_labels_of_too_few_pictures_are_left_alone() -> None:
    truth = np.zeros((50, 2), bool)
    truth[0, 0] = True
    truth[:49, 1] = True
    assert judge_several(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32), truth) is None
