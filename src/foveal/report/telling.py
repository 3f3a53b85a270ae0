"""From a finished training to the story that the report tells: what is looked up, drawn and sorted for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.data.augment import in_words
from foveal.model import Model
from foveal.ops.statistics import calibration_bins, softmax
from foveal.report.story import Mistake, Story
from foveal.tasks.classification import Scores
from foveal.tasks.trust import Tried
from foveal.training.baseline import Baseline
from foveal.training.fit import Fitted
from foveal.training.setup import Setup

__all__ = ["first_filters", "mistakes", "story"]

MISTAKES_SHOWN = 24
SHEET_ROWS, SHEET_VERSIONS = 6, 7


def story(
    name: str,
    setup: Setup,
    fitted: Fitted[Model],
    on: str,
    logits: Tensor,
    scores: Scores,
    tried: Tried | None,
    baseline: Baseline | None,
    metrics: Mapping[str, Any],
    machine: Mapping[str, str],
    warnings: Sequence[str],
    file_bytes: int,
) -> Story:
    """Everything that the page needs, gathered."""
    indices = setup.splits[on]
    probabilities = softmax(logits.double().numpy() / fitted.model.temperature)
    originals, augmented = _contact_sheet(setup)
    timings = [
        {"arithmetic": way, "images_per_second": speed} for way, speed in setup.measured.images_per_second.items()
    ]
    K = len(setup.dataset.classes)
    return Story(
        name=name,
        task="classification",
        origin=setup.dataset.origin,
        counts={s: np.bincount(setup.dataset.labels[i], minlength=K) for s, i in setup.splits.items()},
        classes=setup.dataset.classes,
        recipe_toml=setup.recipe.to_toml(),
        machine=machine,
        arithmetic={"chosen": setup.arithmetic.name, "timings": timings},
        history=[vars(row) for row in fitted.history],
        metrics=metrics,
        scores=scores,
        calibration=calibration_bins(probabilities, setup.dataset.labels[indices]),
        temperature=fitted.model.temperature,
        mistakes=mistakes(setup, indices, probabilities),
        originals=originals,
        augmented=augmented,
        augment_words=in_words(setup.recipe.augment),
        filters=first_filters(fitted.model.network),
        baseline=baseline,
        transfer=setup.transfer.reason if setup.transfer else "",
        learning_curve=setup.transfer.curve if setup.transfer else None,
        tried=tried,
        promise=fitted.model.trust.promise if fitted.model.trust else "",
        notes=setup.dataset.notes,
        warnings=tuple(warnings),
        skipped=len(setup.dataset.skipped),
        sizes={"parameters": sum(p.numel() for p in fitted.model.network.parameters()), "bytes": file_bytes},
    )


def mistakes(
    setup: Setup, indices: NDArray[np.int64], probabilities: NDArray[np.float64], most: int = MISTAKES_SHOWN
) -> list[Mistake]:
    """The pictures that were taken for something else, the surest first."""
    truth, guess = setup.dataset.labels[indices], probabilities.argmax(1)
    sure = probabilities.max(1)
    wrong = np.flatnonzero(guess != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    pictures = setup.store.rows(indices[wrong])
    classes = setup.dataset.classes
    return [
        Mistake(setup.dataset.pictures.name(int(indices[i])), picture, classes[truth[i]], classes[guess[i]], sure[i])
        for i, picture in zip(wrong, pictures, strict=True)
    ]


def _contact_sheet(setup: Setup) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Some training pictures, and how the network sees each of them in its first epochs."""
    train = setup.splits["train"]
    rows = min(SHEET_ROWS, len(train))
    chosen = train[np.linspace(0, len(train) - 1, rows).astype(np.int64)]
    drawn = [setup.batches.shown(epoch, chosen) for epoch in range(SHEET_VERSIONS)]
    originals = setup.store.rows(chosen)
    return originals, np.stack(drawn, axis=1).reshape(-1, *originals.shape[1:])


def first_filters(network: nn.Module) -> NDArray[np.float32] | None:
    """(O, C, h, w) of the first convolution, where it looks at the picture itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.detach().to(torch.float32).cpu().numpy()
            return weights if weights.shape[1] in (1, 3) and weights.shape[2] > 1 else None
    return None
