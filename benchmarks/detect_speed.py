"""How quick are the small detector's epochs and answers, against Ultralytics' nano with its own loader and loop?

`raccoon` (its README's split), both from random weights. Training: seconds of an epoch from the second on at 320²,
batches of 16, mosaics on in both, as each writes them into its own table; the peer does not validate, foveal does.
Prediction: pictures a second at 640², decoding included: `predict` as a user types it over a small and a large folder
of the same pictures, and what the additional ones took. Processes in turn, each alone.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from _common import Measure, Result, figures, parser, say, scratch
from startup import command

SPLIT = ["--test-if", r"raccoon-\d*[05]\."]
NETWORK = ["--network", "yolo_trunk_n"]
TRAIN_SIZE, PREDICT_SIZE, BATCH = 320, 640, 16
LEARNT = 0.75  # of foveal's epochs have mosaics; later ones are left out


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--peer", type=Path, required=True, help="Ultralytics' yolo command")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=8, help="of each training")
    arguments.add_argument("--pictures", type=int, default=400, help="in the large folder; a quarter in the small one")
    asked = arguments.parse_args()
    if asked.quick:
        asked.rounds, asked.epochs, asked.pictures = 1, 3, 40
    with scratch(asked) as place:
        told(*measured(asked, place)).finish(asked)


def measured(
    asked: argparse.Namespace, place: Path
) -> tuple[dict[str, list[list[float]]], dict[str, list[list[float]]]]:
    """Seconds of later epochs, and of the small and the large folder: each way in turn, round by round."""
    peer = Peer(asked.peer, place)
    learning: dict[str, list[list[float]]] = {"foveal": [], "peer": []}
    answering: dict[str, list[list[float]]] = {"foveal": [], "peer": []}
    for number in range(asked.rounds):
        ways = ("foveal", "peer") if number % 2 == 0 else ("peer", "foveal")
        for way in ways:
            train = trained if way == "foveal" else peer.trained
            learning[way].append(train(place, f"{way}-{number}", TRAIN_SIZE, asked.epochs))
            say(f"round {number + 1}, {way}: an epoch {figures(learning[way][-1], 's', 1)}")
    trained(place, "model", PREDICT_SIZE, 1)
    peer.trained(place, "peer-model", PREDICT_SIZE, 1)
    folders = [copies(place / f"pictures-{n}", n) for n in (asked.pictures // 4, asked.pictures)]
    for number in range(asked.rounds):
        for way in ("foveal", "peer") if number % 2 else ("peer", "foveal"):
            ask = answered if way == "foveal" else peer.answered
            answering[way].append([ask(place, folder) for folder in folders])
            say(f"round {number + 1}, {way}: {answering[way][-1][0]:.1f} s, {answering[way][-1][1]:.1f} s")
    for way, seconds in answering.items():
        answering[way] = [[(len(os.listdir(folders[1])) - len(os.listdir(folders[0]))) / (b - a)] for a, b in seconds]
    return learning, answering


def trained(place: Path, name: str, size: int, epochs: int) -> list[float]:
    """Seconds of foveal's epochs with mosaics, from the second on."""
    shutil.rmtree(Path(os.environ["FOVEAL_CACHE"]), ignore_errors=True)
    words = ["train", "raccoon", *SPLIT, *NETWORK, "--size", str(size), "--epochs", str(epochs), "--batch", str(BATCH)]
    words += ["--set", "augment.mosaic=1.0", "--out", str(place / name)]
    subprocess.run([*command(), *words], check=True, capture_output=True)
    rows = table(place / name / "history.csv")
    return [float(row["seconds"]) for row in rows][1 : max(2, int(LEARNT * epochs))]


def answered(place: Path, folder: Path) -> float:
    """Seconds of the process."""
    start = time.perf_counter()
    words = ["predict", str(place / "model"), str(folder), "--csv", "--score", "0.25"]
    subprocess.run([*command(), *words], check=True, capture_output=True)
    return time.perf_counter() - start


class Peer:
    """Ultralytics' command on the same pictures, written in its own form."""

    def __init__(self, yolo: Path, place: Path) -> None:
        from foveal.data.convert import convert
        from foveal.data.sources import open_dataset

        convert(open_dataset("raccoon", test_if=SPLIT[1]), place / "yolo", "yolo")
        (self.yaml,) = (place / "yolo").glob("*.yaml")
        self.yolo = yolo
        environment = {**os.environ, "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(place)}
        environment.pop("PYTHONPATH", None)
        self.common: dict[str, Any] = {"cwd": place, "env": environment, "check": True, "capture_output": True}

    def trained(self, place: Path, name: str, size: int, epochs: int) -> list[float]:
        """Seconds of its epochs from the second on."""
        subprocess.run(
            [str(self.yolo), "detect", "train", f"data={self.yaml}", "model=yolo11n.yaml", f"imgsz={size}",
             "device=cpu", f"epochs={epochs}", f"batch={BATCH}", "pretrained=False", f"project={place}",
             f"name={name}", "plots=False", "close_mosaic=0", "val=False"], **self.common,
        )  # fmt: skip
        ends = [float(row["time"]) for row in table(place / name / "results.csv")]
        return [b - a for a, b in itertools.pairwise(ends)][: max(1, len(ends) - 2)]  # the last one is tested

    def answered(self, place: Path, folder: Path) -> float:
        """Seconds of the process."""
        start = time.perf_counter()
        subprocess.run(
            [str(self.yolo), "detect", "predict", f"model={place / 'peer-model' / 'weights' / 'last.pt'}",
             f"source={folder}", f"imgsz={PREDICT_SIZE}", "device=cpu", "save=False", "save_txt=True",
             f"project={place}", "name=peer-said", "exist_ok=True"], **self.common,
        )  # fmt: skip
        return time.perf_counter() - start


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV whose head may be padded."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key.strip(): value.strip() for key, value in row.items()} for row in csv.DictReader(file)]


def copies(folder: Path, count: int) -> Path:
    """`count` of the pictures, repeated under other names."""
    from foveal.data.sources import open_dataset

    folder.mkdir()
    pictures = open_dataset("raccoon").pictures
    for i in range(count):
        path = pictures.content(i % len(pictures))
        assert isinstance(path, Path)
        shutil.copy(path, folder / f"{i:05d}{path.suffix}")
    return folder


def told(learning: dict[str, list[list[float]]], answering: dict[str, list[list[float]]]) -> Result:
    """A row a way, and the two ratios."""
    epochs = {way: [statistics.median(later) for later in runs] for way, runs in learning.items()}
    rates = {way: [run[0] for run in runs] for way, runs in answering.items()}
    rows = [[way, figures(epochs[way], "s", 1), figures(rates[way], "", 1)] for way in epochs]
    faster = statistics.median(epochs["peer"]) / statistics.median(epochs["foveal"])
    quicker = statistics.median(rates["foveal"]) / statistics.median(rates["peer"])
    measures = [
        Measure("epochs as fast as the peer's, times", f"{faster:.2f}", "at least 1.5", faster >= 1.5),
        Measure("pictures a second, times the peer's", f"{quicker:.2f}", "at least 1", quicker >= 1),
    ]
    return Result(
        "detect_speed", "The small detector beside the peer's: seconds an epoch at 320², pictures a second at 640².",
        ["way", "epoch", "pictures/s"], rows, measures, {"epochs": learning, "pictures a second": answering},
    )  # fmt: skip


if __name__ == "__main__":
    main()
