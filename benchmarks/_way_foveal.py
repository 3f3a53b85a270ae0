"""`foveal.train` as anybody calls it, saying when each epoch has ended. Run by `epoch_time.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from _way import arguments, tell

from foveal import train


class Ends:
    """Progress that tells the end of an epoch by the sentence that foveal says there."""

    def __init__(self) -> None:
        self.pictures = self.seen = 0  # to train on; those of an epoch

    @contextmanager
    def task(self, name: str, total: int, unit: str = "pictures") -> Iterator[Callable[[int], None]]:
        yield lambda *_: None

    def say(self, sentence: str) -> None:
        if pictures := re.search(r"\((\d+) train", sentence):
            self.pictures = int(pictures[1])
        if steps := re.search(r"epochs of (\d+) steps of (\d+)", sentence):
            self.seen = min(self.pictures, int(steps[1]) * int(steps[2]))
        if epoch := re.match(r"epoch (\d+)/", sentence):
            tell("epoch", epoch=int(epoch[1]), seen=self.seen)
        if sentence.startswith("Arithmetic "):
            tell("arithmetic", said=sentence)


def main() -> None:
    """Everything as foveal decides, but network, size, batch and epochs."""
    asked = arguments()
    table = asked.pictures.with_suffix(".csv")
    tell("ready")
    run = train(
        str(table), out=asked.scratch / "run", progress=Ends(),
        settings={
            "network.name": "resnet18", "data.size": str(asked.size), "training.epochs": asked.epochs,
            "training.batch_size": asked.batch, "training.seed": asked.seed,
        },
    )  # fmt: skip
    tell("end", seconds=run.metrics["seconds"], arithmetic=run.metrics["arithmetic"]["chosen"])


if __name__ == "__main__":
    main()
