"""The end of a training: from weights to a model that knows how sure it may be, and what it has never seen.

What is said about trust comes from pictures that were not learnt from: validation, or, where a head alone was fitted on
a frozen trunk, all pictures of the training, each answered by a head that had not seen it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from foveal.errors import BadRecipe, NotFinite
from foveal.model import Model, model_of
from foveal.networks.head import classifier_path
from foveal.ops.draws import evenly
from foveal.progress import SILENT, Progress
from foveal.tasks.labelled import LabelOutputs
from foveal.tasks.trust import MOST_KEPT
from foveal.training.arithmetic import Arithmetic
from foveal.training.features import Trunk
from foveal.training.fit import Ended
from foveal.training.setup import Setup
from foveal.training.transfer import prepared

__all__ = ["calibrated", "evidence_of", "outputs_of_head"]

Indices = NDArray[np.int64]


def calibrated(setup: Setup, state: Ended | None) -> Model:
    """The model of a training that has ended. Args: state, None where a fitted head needed no loop.

    Raises: NotFinite when a weight is not.
    """
    if state is None:
        return _with_fitted_head(setup)
    network = setup.network
    network.load_state_dict({name: value.detach().clone() for name, value in state.result().items()})
    network = network.to("cpu")
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise NotFinite(
                f"After training, {name} has values that are not finite (NaN or infinity); try a lower learning rate."
            )
    model, held_out = _model(setup, network, state.epoch), setup.splits["val"]
    if not len(held_out):
        return model
    features = setup.task.linear and _has_features(network, model.network_name)
    evidence = evidence_of(model, setup, held_out, features)
    known = setup.splits["train"][evenly(len(setup.splits["train"]), MOST_KEPT)]
    train = evidence_of(model, setup, known, features) if features else None
    truth = setup.task.truth(setup.dataset, held_out)
    return replace(model, calibration=setup.task.calibrate(evidence, truth, setup.recipe, train))


def evidence_of(
    model: Model, setup: Setup, indices: Indices, features: bool = False, progress: Progress = SILENT
) -> Any:
    """What calibration and scores need of stored pictures."""
    boxes = setup.dataset.boxes
    sizes = None if boxes is None else boxes.sizes[indices]
    return model.evidence(setup.store, indices, sizes, features=features, progress=progress)


def outputs_of_head(setup: Setup, model: Model, indices: Indices, progress: Progress = SILENT) -> LabelOutputs:
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
    return LabelOutputs(transfer.head.logits(features), features)


def _with_fitted_head(setup: Setup) -> Model:
    """The frozen trunk with the fitted head, calibrated on what heads said of pictures they had not seen."""
    transfer = setup.transfer
    assert transfer is not None
    prepared(setup.network, transfer)
    model = _model(setup, setup.network.to("cpu"), 0)
    unseen, known = LabelOutputs(transfer.chosen.logits), LabelOutputs(transfer.chosen.logits, transfer.features)
    truth = setup.task.truth(setup.dataset, transfer.indices)
    return replace(model, calibration=setup.task.calibrate(unseen, truth, setup.recipe, known))


def _has_features(network: nn.Module, name: str) -> bool:
    """Whether something plain enters its logits, to tell by what is unlike the training."""
    try:
        classifier_path(network, name)
    except BadRecipe:
        return False
    return True


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
    classes, built = setup.dataset.classes, setup.architecture
    return model_of(network, type(setup.task), classes, setup.preprocess, built, trained=trained)
