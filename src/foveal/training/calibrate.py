"""The end of a training: from weights to a model that knows how sure it may be, and what it has never seen.

What is said about trust comes from pictures that were not learnt from: validation, or, where a head alone was fitted on
a frozen trunk, all pictures of the training, each answered by a head that had not seen it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.data.batches import batches_in_order
from foveal.errors import BadRecipe, NotFinite
from foveal.model import Model, Outputs
from foveal.networks.head import classifier_path
from foveal.progress import SILENT, Progress
from foveal.tasks.classification import fit_temperature
from foveal.tasks.trust import MOST_KEPT, Familiar, Trust
from foveal.training.arithmetic import Arithmetic
from foveal.training.features import Trunk
from foveal.training.fit import Fitted, fit
from foveal.training.setup import Setup, options_of
from foveal.training.train_state import TrainState
from foveal.training.transfer import prepared

__all__ = ["finished", "fit_labels", "finished_head", "outputs_of", "outputs_of_head"]

Indices = NDArray[np.int64]


def finished(setup: Setup, state: TrainState) -> Model:
    """The state's result, calibrated on validation.

    Raises: NotFinite when a weight is not.
    """
    network = setup.network
    network.load_state_dict({name: value.detach().clone() for name, value in state.result().items()})
    network = network.to("cpu")
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise NotFinite(f"After training, {name} has values that are not finite; try a lower learning rate.")
    model, held_out = _model(setup, network, state.epoch), setup.splits["val"]
    if not len(held_out):
        return model
    try:
        classifier_path(network, model.network_name)
    except BadRecipe:  # nothing plain enters its logits: no features to tell what is unlike the training
        return _calibrated(setup, model, outputs_of(model.plain_outputs, setup, held_out), held_out, None)
    seen = outputs_of(model.outputs, setup, held_out)
    train = outputs_of(model.outputs, setup, _evenly(setup.splits["train"]))
    assert train.features is not None
    assert seen.features is not None
    familiar = Familiar.of(train.features.numpy(), seen.features.numpy())
    return _calibrated(setup, model, seen, held_out, familiar)


def finished_head(setup: Setup) -> Model:
    """The frozen trunk with the fitted head, calibrated on what heads said of pictures they had not seen."""
    transfer = setup.transfer
    assert transfer is not None
    prepared(setup.network, transfer)
    model = _model(setup, setup.network.to("cpu"), 0)
    unseen = Outputs(torch.from_numpy(transfer.chosen.logits))
    return _calibrated(setup, model, unseen, transfer.indices, Familiar.of(transfer.features, None))


def fit_labels(setup: Setup, folder: Path, *, resume: bool = False, progress: Progress = SILENT) -> Fitted[Model]:
    """Train a classifier in a run's folder; a head that was fitted on a frozen trunk needs no loop."""
    if setup.transfer is not None and setup.transfer.train == "head":
        return Fitted(finished_head(setup), [], setup.transfer.seconds, 0, False)
    return fit(setup, folder, finished, resume=resume, progress=progress)


def outputs_of_head(setup: Setup, model: Model, indices: Indices, progress: Progress = SILENT) -> Outputs:
    """What a head on a frozen trunk answers for stored pictures, as the model computes: its features are kept, so that
    another seed or penalty makes no pass of the trunk here either."""
    transfer = setup.transfer
    assert transfer is not None
    assert setup.dataset.digests is not None
    answering = Arithmetic("fp32 channels-last")
    trunk = Trunk(
        model.network, transfer.path, setup.preprocess, setup.store, setup.dataset.digests, answering,
        setup.recipe.augment, progress,
    )  # fmt: skip
    features = trunk.view(indices, 0)
    return Outputs(torch.from_numpy(transfer.head.logits(features)), torch.from_numpy(features))


def outputs_of(through: Callable[[torch.Tensor], Outputs], setup: Setup, indices: Indices) -> Outputs:
    """Of stored pictures."""
    parts = [through(pixels) for pixels in batches_in_order(setup.store, indices, 512)]
    return Outputs.joined(parts, len(setup.dataset.classes))


def _calibrated(setup: Setup, model: Model, unseen: Outputs, indices: Indices, familiar: Familiar | None) -> Model:
    """With temperature and trust from what was made of pictures that were not learnt from."""
    logits, truth = unseen.logits.numpy(), setup.dataset.labels[indices]
    temperature = fit_temperature(logits, truth)
    trust = Trust.of(logits, truth, temperature, setup.recipe.training.accuracy)
    return replace(model, temperature=temperature, trust=replace(trust, familiar=familiar))


def _evenly(indices: Indices) -> Indices:
    """At most so many as a model keeps."""
    return indices[np.unique(np.linspace(0, len(indices) - 1, min(MOST_KEPT, len(indices))).astype(np.int64))]


def _model(setup: Setup, network: nn.Module, epochs: int) -> Model:
    trained: dict[str, Any] = {
        "epochs": epochs,
        "pictures": len(setup.splits["train"]),
        "left_out": len(setup.dataset.skipped),
        "source": setup.dataset.origin.source,
        "weights": setup.start.as_dict() if setup.start else None,
        "train": setup.recipe.network.train,
        "recipe": setup.recipe.to_toml(),
    }
    name, options = setup.recipe.network.name, options_of(setup.recipe)
    return Model(network, setup.preprocess, setup.dataset.classes, name, options, trained=trained)
