"""One model, two threads: what either is told is what it would be told alone, to the bit."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from agree import with_statistics

from foveal.model import Model, classifier, model_of
from foveal.networks.catalogue import build
from foveal.preprocess import Preprocess
from foveal.tasks.heads import HEADS, head_of
from foveal.tasks.heads.head import Architecture
from foveal.tasks.registry import TASKS

PASSES = int(os.environ.get("FOVEAL_PASSES", "20"))  # of each thread; 500 before a release
SIZE = (64, 96)
TRUNK = "squeezenet1_1"
BUILT = {
    "yolo": Architecture("yolo", TRUNK, {}, 16),
    "yolov3": Architecture("yolov3", TRUNK, {}, anchors=tuple((8.0 * i, 8.0 * i) for i in range(1, 7))),
    "faster-rcnn": Architecture("faster-rcnn", TRUNK, {}),
    "one-object": Architecture("one-object", TRUNK, {}, 16),
}  # fmt: skip


def asked(kind: str) -> Model:
    """A model that has learnt nothing: its answers need be the same twice, and no more."""
    torch.manual_seed(0)
    if kind == "classifier":
        return classifier(build(TRUNK, 3, 3, SIZE), Preprocess(*SIZE), ("a", "b", "c"), TRUNK)
    task = next(task for task in TASKS if task.name == HEADS[kind].task)
    network = head_of(kind).build(BUILT[kind], 3, 3, SIZE)
    with_statistics(network, torch.randn(2, 3, *SIZE))
    return model_of(network, task, ("a", "b", "c"), Preprocess(*SIZE, whole=True), BUILT[kind])


@pytest.mark.parametrize("kind", ["classifier", *BUILT])
def test_two_threads_are_told_what_one_is(kind: str) -> None:
    model = asked(kind)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 1, *SIZE, 3), dtype=np.uint8)
    features = kind == "classifier"
    passes = max(1, PASSES // 5) if kind == "faster-rcnn" and PASSES < 100 else PASSES  # it takes its time
    alone = [model.engine(picture, features=features) for picture in pictures]
    assert any(not np.array_equal(alone[0][name], alone[1][name]) for name in alone[0])
    wrong: list[str] = []
    together = threading.Barrier(2)

    def ask(number: int) -> None:
        together.wait()
        for turn in range(passes):
            try:
                told = model.engine(pictures[number], features=features)
            except Exception as error:  # a thread's own would only be printed
                wrong.append(f"{kind}, turn {turn}: {error!r}")
                return
            if any(not np.array_equal(told[name], alone[number][name]) for name in alone[number]):
                wrong.append(f"{kind}, turn {turn}: another answer")

    threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


def test_a_darknet_network_answers_two_threads_alike() -> None:
    from foveal.model import load

    model = load(Path(__file__).parent / "earlier" / "0.1" / "darknet.cfg")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 1, *model.size, model.preprocess.channels), dtype=np.uint8)
    alone = [model.engine(one) for one in pixels]
    found: dict[int, list[bool]] = {0: [], 1: []}

    def ask(number: int) -> None:
        for _ in range(PASSES):
            told = model.engine(pixels[number])
            found[number].append(all(np.array_equal(told[name], alone[number][name]) for name in told))

    threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found[0]), len(found[1])] == [PASSES, PASSES]
    assert all(found[0] + found[1])
