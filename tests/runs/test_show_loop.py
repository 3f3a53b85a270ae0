"""`--show-loop`: for every kind of task one page that runs, and whose weights are those of `foveal train`, to the bit.

A child process runs all pages, one after the other: what Python and PyTorch take to start is paid once.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import foveal
from foveal.networks.catalogue import build
from foveal.recipe import read_recipe
from foveal.runs import loop_script, training_run

QUICK = {"training.epochs": 2, "training.batch_size": 8, "training.arithmetic": "fp32", "training.threads": 1}
RESTED = {"training.clip": 0.5, "training.ema": 0.9, "training.early_stopping": 1}
STARTED = {"network.name": "resnet20", "data.size": "32", "augment.preset": "mild"}


@dataclass(frozen=True)
class Kind:
    """A training, and lines that its page has and has not."""

    settings: dict[str, Any]
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    source: str = "labelled"
    weights: str = ""
    asked: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "labels": Kind(
        {"network.name": "lenet5", "data.size": "16", "augment.preset": "off"},
        ('network = build("lenet5", 2, 3, (16, 16))', "optimizer = torch.optim.AdamW(", "check_finite(loss, state)"),
        ("clip_grad", "Averaged", "best", "isfinite", "autocast", ".to(", "put_head", "frozen", "early", "slow_down"),
    ),
    "labels, whitened": Kind(
        {"network.name": "speednet_small", "data.size": "16", "training.optimizer_arithmetic": "fp32"},
        ("optimizer = Muon(", 'find("speednet_small").prepare(network'),
    ),
    "labels, everything": Kind(
        {
            "network.name": "conv 4 3x3 bn, pool 2, flatten, dropout 0.5, dense classes", "data.size": "12x16",
            "training.epochs": 6, "training.optimizer": "sgd", "training.momentum": 0.8, "training.learning_rate": 0.5,
            "training.on_nan": "skip", "training.arithmetic": "bf16 channels-last", "augment.preset": "mild",
            "training.class_weights": "balanced", "training.label_smoothing": 0.1, "augment.mixup": 0.2, **RESTED,
        },
        (
            "optimizer = torch.optim.SGD(decayed_groups(network, ", "nesterov=True)", "if loss.isfinite():",
            "torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)", "if stalled(state, 1):",
            "best = deepcopy(state) if",
            "averaged=Averaged(network, 0.9)", "state.averaged.update(network)", "with arithmetic.autocast():",
        ),
        ("check_finite",),
    ),
    "labels from weights": Kind(
        {**STARTED, "network.train": "all", "network.norms": "learn", "training.class_weights": "balanced"},
        ("initial_weights(network, recipe)", "put_head(network, ", "slow_down(optimizer, rates(", "balancing("),
        ("freeze", "frozen="),
        weights="resnet20",
    ),
    "labels from weights, everything": Kind(
        {
            **STARTED, **RESTED, "network.train": "last:1", "network.norms": "keep", "training.optimizer": "sgd",
            "training.blend": 0.3, "training.on_nan": "skip", "augment.cutmix": 0.2,
        },
        ('frozen = freeze(network, recipe.network.name, "last:1") + norms_in(network)', "origin=Origin(network, 0.3)"),
        weights="resnet20",
    ),
    "labels, of boxes": Kind(
        {"training.task": "classify", "network.name": "mlp", "data.size": "16"}, ("Classify.takes(",), source="boxed"
    ),
    "several labels": Kind(
        {"network.name": "lenet5", "data.size": "16", "training.loss": "asymmetric", "training.precision": 0.6},
        ("dataset = MultiLabel.takes(open_dataset(", 'labels="several"', 'loss="asymmetric"', "precision=0.6"),
        source="boxed/several.csv",
        asked={"training.task": "multilabel"},
    ),
    "several labels from weights": Kind(
        {**STARTED, "network.train": "all", "training.class_weights": "balanced"},
        ("MultiLabel.takes(open_dataset(", "put_head(network, ", "balancing(task.truth(dataset, train), 2)"),
        source="boxed/several.csv",
        weights="resnet20",
    ),
    "boxes": Kind(
        {"network.name": "squeezenet1_1", "data.size": "32x48", "augment.mosaic": 0.5},
        ("dataset = Detect.takes(open_dataset(", 'network = head_of("yolo").build(architecture, 2, 3, (32, 48))'),
        ("put_head", "prepare"),
        source="boxed",
    ),
    "boxes from weights": Kind(
        {"network.name": "resnet20", "data.size": "32x48", **RESTED},
        ("initial_weights(network.trunk.network, recipe)", "{id(parameter): 0.3 for parameter in network.trunk."),
        source="boxed",
        weights="resnet20",
    ),
    "boxes, yolov3": Kind(
        {"network.name": "squeezenet1_1", "data.size": "32x64", "network.detector": "yolov3", "network.anchors": "own"},
        ('head_of("yolov3")', "anchors=("),
        source="boxed",
    ),
    "boxes, faster-rcnn": Kind(
        {"network.name": "squeezenet1_1", "data.size": "32x48", "network.detector": "faster-rcnn",
         "training.epochs": 1},
        ('head_of("faster-rcnn")',),
        source="boxed",
    ),
    "boxes, one a picture": Kind(
        {"network.name": "squeezenet1_1", "data.size": "32x48", "training.task": "localise"},
        ("dataset = Localise.takes(open_dataset(", 'head_of("one-object")'),
        source="boxed",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What came of a kind."""

    page: str
    trained: Path  # the model's file of `foveal train`
    ran: Path  # that of the page


def pictured(folder: Path) -> None:
    """Class folders in `labelled`, of which one picture cannot be read, and the same with boxes in `boxed`, as YOLO has
    them: one or two a picture; and a table of their labels, several a picture."""
    rng, rows = np.random.default_rng(0), ["path,labels,split"]
    for number in range(28):
        part = "train" if number < 18 else "val"
        kind = number % 3 == 0
        canvas = rng.integers(90, 130, (24, 36, 3)).astype(np.uint8)
        (x, y), (w, h) = rng.integers(0, 10, 2).tolist(), rng.integers(8, 14, 2).tolist()
        canvas[y : y + h, x : x + w] = (230, 40, 40) if kind else (40, 60, 230)
        label = f"{int(kind)} {(x + w / 2) / 36} {(y + h / 2) / 24} {w / 36} {h / 24}\n" + "0 0.9 0.9 0.1 0.2\n" * (
            number % 4 == 1
        )
        for place in (f"labelled/{part}/{'red' if kind else 'blue'}", f"boxed/images/{part}"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(canvas).save(folder / place / f"{number}.png")
        (folder / "boxed/labels" / part).mkdir(parents=True, exist_ok=True)
        (folder / "boxed/labels" / part / f"{number}.txt").write_text(label)
        both = ";blue" if number % 4 == 1 else ""
        rows.append(f"images/{part}/{number}.png,{'red' if kind else 'blue'}{both if kind else ''},{part}")
    (folder / "boxed/several.csv").write_text("\n".join(rows))
    (folder / "boxed/classes.txt").write_text("blue\nred\n")
    (folder / "labelled/train/red/broken.png").write_bytes((folder / "labelled/train/red/0.png").read_bytes()[:200])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    root = tmp_path_factory.mktemp("pages")
    pictured(root)
    torch.manual_seed(3)
    save_file(build("resnet20", 7, 3, (32, 32)).state_dict(), root / "resnet20.safetensors")
    pages = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(root / "cache"))
        patch.setattr(training_run, "scored", lambda *_: ({}, root, None))  # the weights have been written before
        for name, kind in KINDS.items():
            place = root / name
            place.mkdir()
            settings = QUICK | kind.settings
            if kind.weights:
                settings["network.weights"] = str(root / f"{kind.weights}.safetensors")
            foveal.train(root / kind.source, out=place / "run", settings=settings | kind.asked)
            pages[name] = loop_script(root / kind.source, read_recipe(place / "run/recipe.toml"))
            (place / "loop.py").write_text(pages[name])
        program = "import os, runpy, sys\nfor place in sys.argv[1:]: os.chdir(place); runpy.run_path('loop.py')"
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *(root / name for name in KINDS)], check=True, timeout=240
        )
    files = ("run/model.safetensors", "model.safetensors")
    return {name: Shown(page, *(root / name / file for file in files)) for name, page in pages.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_running_the_page_gives_the_same_weights(shown: dict[str, Shown], kind: str) -> None:
    trained, ran = load_file(shown[kind].trained), load_file(shown[kind].ran)
    assert trained.keys() == ran.keys()
    assert all(torch.equal(value, ran[name]) for name, value in trained.items())


def test_the_model_knows_of_itself_what_that_of_the_run_knows(shown: dict[str, Shown], kind: str) -> None:
    told = [foveal.load(file) for file in (shown[kind].trained, shown[kind].ran)]
    trained, ran = ({**model.trained, "left_out": None} for model in told)  # the page tells nobody of broken pictures
    assert trained == ran
    assert trained["epochs"] > 0
    first, second = told
    assert (first.task.classes, first.preprocess) == (second.task.classes, second.preprocess)
    assert first.architecture == second.architecture
    assert first.calibration.facts() == second.calibration.facts()


def test_it_is_a_page(shown: dict[str, Shown], kind: str) -> None:
    lines = shown[kind].page.splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 120
    assert not any(line != line.rstrip() for line in lines)


def test_it_has_what_this_training_does_and_nothing_else(shown: dict[str, Shown], kind: str) -> None:
    page = shown[kind].page
    for words in KINDS[kind].has:
        assert words in page, words
    for words in (*KINDS[kind].lacks, "plan.", "watch", "type: ignore", "if True", "if False"):
        assert words not in page, words


def test_it_uses_every_name_that_it_imports_and_decides_nothing_twice(shown: dict[str, Shown], kind: str) -> None:
    tree = ast.parse(shown[kind].page)
    imported = [name.asname or name.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
                for name in node.names]  # fmt: skip
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert set(imported) <= used
    assert len(imported) == len(set(imported))
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            assert any(isinstance(part, ast.Name) for part in ast.walk(node.test)), ast.unparse(node.test)
