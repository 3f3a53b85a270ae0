"""What code written for 0.1 imports is still there, and says what it is called now. It goes with 0.3."""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import pytest

from foveal.model import Model, Prediction
from foveal.tasks.answers import Detections, Label


@pytest.mark.parametrize(
    ("module", "name", "now"),
    [
        ("foveal.detector", "Detector", Model),
        ("foveal.detector", "Found", Prediction),
        ("foveal.tasks.objects", "Objects", Detections),
    ],
)
def test_an_older_name_is_the_new_one_and_says_so(module, name, now):
    with pytest.warns(DeprecationWarning, match=now.__name__):
        assert getattr(import_module(module), name) is now
    with pytest.raises(AttributeError):
        import_module(module).Nothing  # noqa: B018


def test_heads_are_found_in_the_older_folder(monkeypatch):
    from foveal.tasks.heads.faster_rcnn import faster_rcnn_on

    for name in [name for name in sys.modules if name.startswith("foveal.tasks.detectors")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.warns(DeprecationWarning, match="foveal.tasks.heads"):
        assert import_module("foveal.tasks.detectors.faster_rcnn").faster_rcnn_on is faster_rcnn_on


def test_what_predictions_said_of_themselves_their_answers_say():
    unsure = Prediction("a.png", Label("cat", 0.5, abstained=True))
    with pytest.warns(DeprecationWarning, match=r"answer\.abstained"):
        assert unsure.passed
    with pytest.warns(DeprecationWarning, match=r"Label\.abstained"):
        assert unsure.answer.passed
    with pytest.warns(DeprecationWarning, match=r"is Model\.predict\(picture\) now"):
        assert unsure[0] is unsure
    with pytest.warns(DeprecationWarning, match="is the answer now"):
        (only,) = unsure
    assert only is unsure
    found = Prediction("a.png", Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0)))
    with pytest.warns(DeprecationWarning, match=r"answer"):
        assert found.objects is found.answer


def test_the_joint_loss_is_found_under_its_older_name():
    import torch

    from foveal.networks.catalogue import build
    from foveal.tasks.heads.faster_rcnn import faster_rcnn_on

    torch.manual_seed(0)
    network = faster_rcnn_on(build("squeezenet1_1", 10, 3, (64, 96)), "squeezenet1_1", num_classes=2)
    asked = torch.randn(1, 3, 64, 96), [torch.tensor([[24.0, 16, 64, 48]])], [torch.tensor([1])]
    with pytest.warns(DeprecationWarning, match="joint_loss"):
        told = network.loss(*asked)
    assert torch.equal(told.total, network.joint_loss(*asked).total)
