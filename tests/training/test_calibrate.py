"""The end of a training: the weights that count, and trust that comes from pictures that were not learnt from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from trainings import HEIGHT, PARTS, WIDTH, pictures, quick, quick_boxed

from foveal.errors import NotFinite
from foveal.tasks.classification_scores import fit_temperature
from foveal.tasks.labelled import LabelOutputs
from foveal.training.calibrate import calibrated, evidence_of, outputs_of_head
from foveal.training.setup import Setup
from foveal.training.train_state import TrainState


def learnt(setup: Setup) -> TrainState:
    """A state that has moved, its average elsewhere."""
    state = setup.begun()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in state.network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    if state.averaged:
        state.averaged.update(state.network)
    state.epoch = 7
    return state


def watched(setup: Setup) -> tuple[Setup, set[int]]:
    """The same, and which pictures are looked at."""
    seen: set[int] = set()

    def rows(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        seen.update(indices.tolist())
        return setup.store.rows(indices)

    return replace(setup, store=replace(setup.store, _rows=rows)), seen


def logits(model: Any, setup: Setup, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    with torch.no_grad():
        pixels = torch.from_numpy(setup.store.rows(indices))
        out: NDArray[np.float32] = model.network(setup.preprocess.tensor(pixels)).numpy()
    return out


def test_the_temperature_is_that_of_validation_and_no_test_picture_is_looked_at() -> None:
    setup, seen = watched(quick())
    model = calibrated(setup, learnt(setup))
    val = setup.splits["val"]
    found = fit_temperature(logits(model, setup, val), setup.dataset.labels[val])
    assert model.temperature == pytest.approx(found, rel=1e-4)
    assert model.temperature != 1.0
    assert seen == set(val.tolist()) | set(setup.splits["train"].tolist())
    assert model.trust is not None
    assert model.trust.familiar is not None  # what is unlike the training is told by the training pictures


def test_labels_of_the_test_change_nothing_and_those_of_validation_do() -> None:
    some = pictures()

    def with_other(split: str) -> float:
        labels = some.labels.copy()
        labels[some.indices(split)] = 1 - labels[some.indices(split)]
        setup = quick(replace(some, labels=labels), training__class_weights="none")
        return calibrated(setup, learnt(setup)).temperature

    setup = quick(some)
    plain = calibrated(setup, learnt(setup)).temperature
    assert with_other("test") == plain
    assert with_other("val") != plain


def test_without_validation_nothing_is_said_about_trust() -> None:
    setup, seen = watched(quick(pictures(parts={"train": 20, "val": 0, "test": 5})))
    model = calibrated(setup, learnt(setup))
    assert (model.temperature, model.trust) == (1.0, None)
    assert not seen


def test_the_average_is_what_is_carried_away_and_the_state_is_left_alone() -> None:
    setup = quick(training__ema=0.9)
    state = learnt(setup)
    result = {name: value.clone() for name, value in state.result().items()}
    model = calibrated(setup, state)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, result[name])
    with torch.no_grad():
        for value in model.network.parameters():
            value.zero_()
    assert all(torch.equal(value, result[name]) for name, value in state.result().items())
    assert not model.network.training


def test_what_is_told_of_the_training_is_what_it_was() -> None:
    setup = quick(training__seed=3)
    model = calibrated(setup, learnt(setup))
    told = model.trained
    assert (told["epochs"], told["pictures"], told["left_out"]) == (7, PARTS["train"], 0)
    assert (told["source"], told["weights"]) == ("small", None)
    assert "seed = 3" in told["recipe"]
    assert model.classes == ("dark", "bright")
    assert model.preprocess == setup.preprocess


def test_weights_that_are_no_numbers_are_no_model() -> None:
    setup = quick()
    state = learnt(setup)
    with torch.no_grad():
        state.network.get_parameter("dense1.weight").view(-1)[3] = torch.inf
    with pytest.raises(
        NotFinite,
        match=r"After training, dense1\.weight has values that are not finite \(NaN or infinity\); try a lower",
    ):
        calibrated(setup, state)


def test_a_network_without_a_plain_head_is_calibrated_and_knows_no_strangers() -> None:
    class Odd(nn.Module):
        """No linear layer at its end."""

        def __init__(self) -> None:
            super().__init__()
            self.filters = nn.Conv2d(1, 2, (HEIGHT, WIDTH))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.filters(x).flatten(1) ** 2

    setup = quick(network=Odd())
    model = calibrated(setup, learnt(setup))
    assert model.trust is not None
    assert model.trust.familiar is None


def test_a_detectors_threshold_is_that_of_validation() -> None:
    setup, seen = watched(quick_boxed())
    model = calibrated(setup, setup.begun())
    assert seen == set(setup.splits["val"].tolist())
    assert model.threshold == 0.5  # presence is taken at its word


def test_objects_are_told_in_pixels_of_their_own_pictures() -> None:
    """`evidence_of` gives each picture the size of its own, by its index and not by its place in the split."""
    setup = quick_boxed()
    boxes = setup.dataset.boxes
    assert boxes is not None
    sizes = np.stack([32 + np.arange(len(boxes.sizes)), 48 + np.arange(len(boxes.sizes))], 1)
    setup = replace(setup, dataset=replace(setup.dataset, boxes=replace(boxes, sizes=sizes)))
    told: list[Any] = []

    class Spying:
        def evidence(self, store: Any, indices: Any, own: Any, **_: Any) -> None:
            told.append(own)

    evidence_of(Spying(), setup, setup.splits["test"])
    assert np.array_equal(told[0], sizes[setup.splits["test"]])


def fitted(tmp_path: Path) -> Setup:
    """A head alone on a frozen trunk."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 6 * 8, 2))
    place = tmp_path / "weights.safetensors"
    save_file({name: torch.randn_like(value) for name, value in network.state_dict().items()}, place)
    return quick(network=network, network__weights=str(place), network__train="head")


def test_a_fitted_head_is_trusted_by_what_heads_said_of_pictures_they_had_not_seen(tmp_path: Path) -> None:
    setup, seen = watched(fitted(tmp_path))
    model = calibrated(setup, None)
    transfer = setup.transfer
    assert transfer is not None
    known = np.sort(np.concatenate([setup.splits["train"], setup.splits["val"]]))
    assert np.array_equal(transfer.indices, known)
    assert model.temperature == fit_temperature(transfer.chosen.logits, setup.dataset.labels[known])
    assert not seen
    test = setup.splits["test"]
    through = logits(model, setup, test)
    by_features = outputs_of_head(setup, model, test)
    assert isinstance(by_features, LabelOutputs)
    np.testing.assert_allclose(by_features.logits, through, atol=1e-4)
    assert seen == set(test.tolist())
    assert model.trained["epochs"] == 0
