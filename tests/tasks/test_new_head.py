"""A head that the package does not know: one file and one line of HEADS, and everything else takes it as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import foveal
from foveal.cli.main import _run
from foveal.tasks.heads import HEADS, HeadEntry, heads_for

FILE = '''
"""The whole picture, as an object of each class: it learns how sure it may be of each, and nothing of where."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from foveal.networks.catalogue import build
from foveal.networks.stages import Stages, coarsest_stride
from foveal.tasks.heads.head import Architecture, Assigned


class Whole(nn.Module):
    ASSIGNED: ClassVar[str] = "The whole picture answers for all that is on it."

    def __init__(self, trunk, name, num_classes, width):
        super().__init__()
        self.trunk = Stages(trunk, name, (coarsest_stride(name),))
        self.narrow = nn.Linear(self.trunk.channels[0], width)
        self.out = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.out(self.narrow(self.trunk(images)[0].mean((2, 3))).relu())  # (N, K) logits

    def loss(self, outputs, targets, size):
        there = F.one_hot(targets[..., 0].long() + 1, outputs.shape[1] + 1).sum(1)[:, 1:].clamp(max=1)
        return F.binary_cross_entropy_with_logits(outputs.float(), there.float())

    def tensors(self, outputs, size):
        whole = torch.tensor([0.0, 0.0, size[1], size[0]], device=outputs.device)
        return {"boxes": whole.expand(len(outputs), 1, 4), "scores": outputs.float().sigmoid()[:, None]}

    def assigned(self, outputs, labels, boxes, size):
        everywhere = np.repeat([[0.0, 0.0, size[1], size[0]]], len(labels), 0)
        return Assigned(("picture", "pictures"), np.arange(len(labels)), np.zeros((0, 2)), everywhere)


class Head:
    def usual(self, recipe, usual):
        return {"learning_rate": 0.0123, "ema": 0.5}

    def laid_out(self, recipe, options, around):
        return Architecture("whole", recipe.network.name, options, 24)

    def build(self, built, classes, channels, size):
        return Whole(build(built.trunk, 1, channels, size, built.options), built.trunk, classes, built.width)


HEAD = Head()
'''


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "whole_picture_head.py").write_text(FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(HEADS, "whole", HeadEntry("whole_picture_head", "detect"))
    return "whole"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixteen pictures with a red rectangle or a blue one, as YOLO has them."""
    folder, draw = tmp_path / "rectangles", np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        for number in range(count):
            label, pixels = number % 2, draw.integers(90, 130, (48, 64, 3)).astype(np.uint8)
            pixels[12:36, 16:48] = (40, 60, 230) if label else (230, 40, 40)
            for kind in ("images", "labels"):
                (folder / kind / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "images" / part / f"{number}.png")
            (folder / "labels" / part / f"{number}.txt").write_text(f"{label} 0.5 0.5 0.5 0.5")
    (folder / "classes.txt").write_text("red\nblue\n")
    return folder


def test_a_new_head_is_one_file_and_one_line(head: str, pictures: Path, tmp_path: Path) -> None:
    """Trained by its name, with its own usual values; saved, loaded, asked, scored, drawn on the report."""
    before = torch.get_num_threads()
    quick = {"training.epochs": 1, "training.batch_size": 4, "training.arithmetic": "fp32", "training.threads": before}
    trunk = {"network.name": "squeezenet1_1", "network.detector": head}
    run = foveal.train(pictures, out=tmp_path / "run", settings=quick | trunk)

    settled = tomllib.loads((run.folder / "recipe.toml").read_text(encoding="utf-8"))
    assert settled["network"]["detector"] == head
    assert (settled["training"]["learning_rate"], settled["training"]["ema"]) == (0.0123, 0.5)

    again = foveal.load(run.folder)
    assert (again.architecture.kind, again.architecture.width) == (head, 24)
    one, other = (model.predict(pictures / "images" / "test", score=0.0) for model in (run.model, again))
    for said, repeated in zip(one, other, strict=True):
        assert said.rows() == repeated.rows()
        assert {tuple(row[side] for side in ("x1", "y1", "x2", "y2")) for row in said.rows()} == {(0, 0, 64, 48)}

    assert set(run.metrics["test"]) >= {"ap", "ap50", "classes"}
    page = run.report.read_text(encoding="utf-8")
    assert "The whole picture answers for all that is on it." in page
    assert "1 picture for 1 object" in page


def test_the_command_knows_a_new_head_by_its_line(head: str, pictures: Path, capsys: pytest.CaptureFixture) -> None:
    assert heads_for("detect")[-1] == head
    assert _run(["train", str(pictures), "--detector", "whle"], debug=False) == 2
    assert f'did you mean "{head}"?' in capsys.readouterr().err
