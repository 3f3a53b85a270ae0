"""Several labels a picture: how good in two minutes, and is a target precision kept on pictures that nobody has seen?

Two sets are made of known ones: two MNIST digits side by side (5,000 pictures, 10 labels), and two CIFAR-10 pictures
side by side, of which the most frequent class is a hundred times as frequent as the rarest. Each is trained as a whole
process with --minutes and --precision, on this machine as it is or as on a smaller processor (`--classes`).
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _common import Measure, Result, figures, parser, percent, say, scratch
from machines import CLASSES
from numpy.typing import NDArray
from PIL import Image

from foveal.data.dataset import Dataset
from foveal.data.sources import open_dataset
from foveal.files.pictures import read_image
from foveal.ops.statistics import wilson_interval

SETS = {"mnist": (1.0, 4000, 1000), "cifar10": (100.0, 8000, 2000)}  # imbalance, training and test pictures
WANTED = {"mnist": 0.99}
MINUTES, PRECISION, SLACK = 2.0, 0.9, 1.02


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--classes", default="avx2", help=f"of {','.join(c.name for c in CLASSES)} [avx2]")
    arguments.add_argument("--only", default="", metavar="SETS", help=f"of {','.join(SETS)} [all]")
    arguments.add_argument("--seeds", type=int, default=1)
    asked = arguments.parse_args()
    rows = []
    with scratch(asked) as place:
        for name in (name for name in SETS if not asked.only or name in asked.only.split(",")):
            table = pairs(name, place / name, 0.05 if asked.quick else 1.0)
            for kind in (c for c in CLASSES if c.name in asked.classes.split(",")):
                for seed in range(asked.seeds):
                    out = place / f"run-{name}-{kind.name}-{seed}"
                    rows.append(
                        run(name, table, out, seed, kind.name, kind.environment, 0.1 if asked.quick else MINUTES)
                    )
    told(rows).finish(asked)


def pairs(name: str, place: Path, share: float) -> Path:
    """The table of pictures of two, drawn by class; training and test draw from the source's own splits."""
    imbalance, *counts = SETS[name]
    source, rng = open_dataset(name), np.random.default_rng(0)
    chances = imbalance ** -np.linspace(0, 1, len(source.classes))
    (place / "pictures").mkdir(parents=True)
    rows = [("path", "labels", "split")]
    for split, count in zip(("train", "test"), counts, strict=True):
        pool = source.indices(split)
        for number in range(round(share * count)):
            two = [_one_of(source, pool, chances, rng) for _ in range(2)]
            path = f"pictures/{split}-{number:05d}.png"
            Image.fromarray(np.concatenate([_pixels(source, i) for i in two], 1)).save(place / path)
            rows.append((path, ";".join(sorted({source.classes[source.labels[i]] for i in two})), split))
    with open(place / "table.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return place / "table.csv"


def _one_of(source: Dataset, pool: NDArray[np.int64], chances: NDArray[np.float64], rng: np.random.Generator) -> int:
    label = rng.choice(len(chances), p=chances / chances.sum())
    return int(rng.choice(pool[source.labels[pool] == label]))


def _pixels(source: Dataset, index: int) -> NDArray[np.uint8]:
    pixels = read_image(source.pictures.content(index))
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def run(
    name: str, table: Path, out: Path, seed: int, kind: str, limits: Mapping[str, str], minutes: float
) -> dict[str, Any]:
    """One training as a process of its own."""
    command = [sys.executable, "-m", "foveal", "train", str(table), "--minutes", str(minutes), "--seed", str(seed),
               "--precision", str(PRECISION), "--out", str(out)]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **limits})
    seconds = time.perf_counter() - start
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    test = metrics["test"]
    below = [c["class"] for c in test["classes"] if (n := c["true_positives"] + c["false_positives"])
             and wilson_interval(c["true_positives"], n)[1] < PRECISION]  # fmt: skip
    never = [c["class"] for c in test["classes"] if c["threshold"] is None]
    trust = {key: math.nan if value is None else value for key, value in metrics["trust"].items()}
    say(f"{name}, {kind}, seed {seed}: mAP {percent(test['mAP'])} in {seconds:.0f} s, precision "
        f"{percent(trust['precision'])}, below: {below}, never: {never}")  # fmt: skip
    return {"set": name, "class": kind, "seed": seed, "seconds": seconds, "test": test, "trust": trust,
            "baseline": metrics["baseline"]["mAP"], "below": below, "never": never}  # fmt: skip


def told(rows: list[dict[str, Any]]) -> Result:
    """A row a set and a processor, and what was to be reached."""
    table, measures = [], []
    for name, kind in dict.fromkeys((r["set"], r["class"]) for r in rows):
        own = [r for r in rows if (r["set"], r["class"]) == (name, kind)]
        found = [r["test"] for r in own]
        table.append([
            name, kind, figures([100 * t["mAP"] for t in found], "%"), figures([100 * r["baseline"] for r in own], "%"),
            figures([100 * t["micro_f1"] for t in found], "%"), figures([100 * t["macro_f1"] for t in found], "%"),
            figures([100 * t["subset_accuracy"] for t in found], "%"),
            figures([100 * r["trust"]["precision"] for r in own], "%"),
            figures([100 * r["trust"]["recall"] for r in own], "%"), figures([r["seconds"] for r in own], "s", 1),
        ])  # fmt: skip
        measures += _measures(name, kind, own)
    return Result(
        "multilabel",
        f"Pairs of pictures, several labels each; --minutes {MINUTES:g} --precision {PRECISION:g}, whole processes.",
        ["pairs of", "processor", "mAP", "HOG + linear", "micro F1", "macro F1", "subset", "precision", "recall",
         "time"],
        table, measures, {"runs": rows},
    )  # fmt: skip


def _measures(name: str, kind: str, own: list[dict[str, Any]]) -> list[Measure]:
    found = []
    if name in WANTED:
        worst = min(r["test"]["mAP"] for r in own)
        found.append(
            Measure(f"{name}, {kind}: mAP", percent(worst), f"at least {WANTED[name]:.0%}", worst >= WANTED[name])
        )
    slowest = max(r["seconds"] for r in own)
    found.append(
        Measure(f"{name}, {kind}: time", f"{slowest:.0f} s", f"{60 * MINUTES:.0f} s", slowest <= SLACK * 60 * MINUTES)
    )
    kept = all(r["trust"]["precision_interval"][1] >= PRECISION for r in own)
    ends = ", ".join(
        f"{percent(low)} to {percent(high)}" for low, high in (r["trust"]["precision_interval"] for r in own)
    )
    found.append(Measure(f"{name}, {kind}: precision of all labels", ends, f"{PRECISION:.0%} within or below", kept))
    below, labels = sum(len(r["below"]) for r in own), sum(len(r["test"]["classes"]) for r in own)
    found.append(Measure(f"{name}, {kind}: labels whose interval lies below", f"{below} of {labels}", "0", not below))
    return found


if __name__ == "__main__":
    main()
