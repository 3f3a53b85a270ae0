"""What does `auto` do when the weights were found on something else?

A small trunk (ResNet-20) learns CIFAR-10's photographs for three epochs. Then `foveal train TARGET --weights RUN` with
auto starts from it on handwritten digits (8 × 8, built in) and on clothing at 32 pixels, beside the same network from
scratch. Told are whether the pictures were measured as near or far, what was trained, and how right each way is.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from _common import Measure, Result, data_set, parser, percent, say, scratch
from startup import command

NETWORK = "resnet20"
TARGETS = {"digits": ["--size", "32"], "clothing": ["--size", "32"]}


def main() -> None:
    """Measure and tell."""
    asked = parser(__doc__).parse_args()
    data_set("cifar10")
    epochs = "1" if asked.quick else "3"
    with scratch(asked) as place:
        run(place / "trunk", ["cifar10", "--network", NETWORK, "--epochs", epochs])
        rows = {}
        for name, size in TARGETS.items():
            few = ["--epochs", "1"] if asked.quick else []
            started = run(
                place / f"{name}-auto", [name, "--network", NETWORK, "--weights", str(place / "trunk"), *size, *few]
            )
            chance = run(place / f"{name}-scratch", [name, "--network", NETWORK, *size, *few])
            rows[name] = {"auto": started, "scratch": chance}
    told(rows).finish(asked)


def run(out: Path, words: list[str]) -> dict[str, Any]:
    """One training as a process of its own."""
    start = time.perf_counter()
    done = subprocess.run(
        [*command(), "train", *words, "--json", "--out", str(out)], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    metrics = json.loads(done.stdout)["metrics"]
    test = metrics["test"]
    say(f"{out.name}: {percent(test['top1'])} in {seconds:.0f} s")
    return {
        "top1": test["top1"], "interval": test["top1_interval"], "ece": test["ece"], "loss": test["loss"],
        "n": test["n"], "seconds": seconds, "transfer": metrics["transfer"], "temperature": metrics["temperature"],
    }  # fmt: skip


def told(rows: dict[str, dict[str, Any]]) -> Result:
    """A row a target and way."""
    table, measures = [], []
    for name, ways in rows.items():
        for way, found in ways.items():
            low, high = found["interval"]
            table.append(
                [name, way, f"{percent(found['top1'])} ({percent(low)} to {percent(high)})",
                 f"{found['seconds']:.0f} s", f"{found['ece']:.3f}", f"{found['loss']:.3f}"]
            )  # fmt: skip
        near = ways["auto"]["transfer"]["near"]
        kin = ", ".join(f"{what} {percent(share, 1)}" for what, share in near.items())
        measures.append(Measure(f"{name}: unseen pictures right by heads on features", kin))
        measures.append(Measure(f"{name}: trained", ways["auto"]["transfer"]["train"]))
        gain = 100 * (ways["auto"]["top1"] - ways["scratch"]["top1"])
        measures.append(Measure(f"{name}: points over scratch", f"{gain:+.1f}"))
    return Result("far", f"A trunk from CIFAR-10 ({NETWORK}, three epochs) on pictures of another kind.",
                  ["pictures", "way", "top-1", "time", "ECE", "loss"], table, measures, {"runs": rows})  # fmt: skip


if __name__ == "__main__":
    main()
