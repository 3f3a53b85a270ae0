"""How good and how quick is a start from published weights on a few hundred pictures?

`foveal train clothing --network squeezenet1_1 --weights imagenet` as a user types it, from a cold cache, for several
seeds; its head alone, from a cold cache and a second time; and the usual way in plain PyTorch: the same frozen trunk
and weights, pictures decoded and drawn anew in each epoch, a head trained by Adam through the loader, until it answers
the test pictures as well as the fitted head does, or its epochs are over. Whole processes but for that loop.
With `--scratch`, the same network from random weights in ten times the time of the first run.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from _common import Measure, Result, data_set, figures, parser, percent, say, scratch
from startup import command

NETWORK, DATA = "squeezenet1_1", "clothing"
LOOP_EPOCHS, LOOP_BATCH, LOOP_RATE = 40, 32, 1e-3  # of the usual way: Adam's own rate


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--scratch", action="store_true", help="train from chance as well, ten times as long")
    asked = arguments.parse_args()
    if asked.quick:
        asked.seeds = 1
    pictures = data_set(DATA)
    with scratch(asked) as place:
        auto = [run(place, f"auto-{seed}", seed, cold=True) for seed in range(asked.seeds)]
        head = [run(place, f"head-{seed}", seed, "head", cold=True) for seed in range(asked.seeds)]
        again = run(place, "head-again", 7, "head", cold=False)
        usual = the_usual_way(pictures, statistics.mean(row["top1"] for row in head), 2 if asked.quick else LOOP_EPOCHS)
        slow = run(place, "scratch", 0, "scratch", cold=True, minutes=auto[0]["seconds"] / 6) if asked.scratch else None
    told(auto, head, again, usual, slow).finish(asked)


def run(
    place: Path, name: str, seed: int, train: str = "auto", *, cold: bool, minutes: float | None = None
) -> dict[str, Any]:
    """One training as a process of its own."""
    cache = Path(os.environ["FOVEAL_CACHE"])
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    words = ["train", DATA, "--network", NETWORK, "--train", train, "--seed", str(seed), "--json"]
    words += ["--weights", "imagenet"] if train != "scratch" else ["--size", "224"]
    words += ["--minutes", f"{minutes:.2f}"] if minutes else []
    start = time.perf_counter()
    done = subprocess.run([*command(), *words, "--out", str(place / name)], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    metrics = json.loads(done.stdout)["metrics"]
    test = metrics["test"]
    say(f"{name}: {percent(test['top1'])} in {seconds:.1f} s")
    return {
        "top1": test["top1"], "interval": test["top1_interval"], "seconds": seconds, "ece": test["ece"],
        "loss": test["loss"], "temperature": metrics["temperature"], "transfer": metrics["transfer"],
        "baseline": metrics["baseline"]["top1"],
    }  # fmt: skip


def the_usual_way(pictures: Path, wanted: float, epochs: int) -> dict[str, Any]:
    """Frozen trunk, head by epochs: seconds until the test pictures are answered as well, evaluation not counted."""
    import numpy as np
    import torch
    from PIL import Image

    from foveal.files.foreign import read_foreign
    from foveal.networks.catalogue import build, find
    from foveal.networks.weights import find_published, load_published

    network = build(NETWORK, 1000, 3, (224, 224)).eval()
    load_published(network, find(NETWORK), read_foreign(find_published(find(NETWORK)).path, most=1 << 30))
    trunk = network.get_submodule("features")
    classes = sorted(p.name for p in (pictures / "train").iterdir() if p.is_dir())
    files = {
        split: [(f, k) for k, name in enumerate(classes) for f in sorted((pictures / split / name).glob("*.jpg"))]
        for split in ("train", "test")
    }
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def batch(rows: list[tuple[Path, int]], drawn: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images = []
        for file, _ in rows:
            with Image.open(file) as picture:
                small = np.asarray(picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
            images.append(small[:, ::-1].copy() if drawn and rng.random() < 0.5 else small)
        x = (torch.from_numpy(np.stack(images)).float() / 255 - mean) / std
        with torch.no_grad():
            return trunk(x.permute(0, 3, 1, 2)).mean((2, 3)), torch.tensor([label for _, label in rows])

    torch.manual_seed(0)
    head = torch.nn.Linear(512, len(classes))
    optimizer = torch.optim.Adam(head.parameters(), lr=LOOP_RATE)
    parts = [batch(files["test"][i : i + 64], drawn=False) for i in range(0, len(files["test"]), 64)]
    test, truth = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    spent, reached = 0.0, list[float]()
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(files["train"]), generator=generator).tolist()
        for at in range(0, len(order), LOOP_BATCH):
            features, labels = batch([files["train"][i] for i in order[at : at + LOOP_BATCH]], drawn=True)
            loss = torch.nn.functional.cross_entropy(head(features), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        spent += time.perf_counter() - start
        reached.append(float((head(test).argmax(1) == truth).float().mean()))
        if reached[-1] >= wanted:
            break
    say(f"the usual way: {percent(max(reached))} after {len(reached)} epochs, {spent:.1f} s")
    return {"top1": max(reached), "seconds": spent, "epochs": len(reached), "as_good": max(reached) >= wanted}


def told(
    auto: list[dict[str, Any]],
    head: list[dict[str, Any]],
    again: dict[str, Any],
    usual: dict[str, Any],
    slow: dict[str, Any] | None,
) -> Result:
    """A row a way, and what was to be reached."""

    def row(name: str, runs: list[dict[str, Any]]) -> list[str]:
        return [
            name, figures([100 * r["top1"] for r in runs], "%"), figures([r["seconds"] for r in runs], "s", 1),
            figures([r["ece"] for r in runs], "", 3), figures([r["loss"] for r in runs]),
        ]  # fmt: skip

    fitted = statistics.median(r["transfer"]["seconds"] for r in head)
    ratio = usual["seconds"] / fitted
    top1 = [statistics.mean(r["top1"] for r in runs) for runs in (auto, head)]
    seconds = [statistics.median(r["seconds"] for r in runs) for runs in (auto, head)]
    rows = [row("auto, cold", auto), row("head alone, cold", head), row("head alone, again, another seed", [again])]
    rows += [row("from scratch, ten times the time", [slow])] if slow else []
    rows.append(["frozen trunk, head by epochs in plain PyTorch", f"{100 * usual['top1']:.2f} %",
                 f"{usual['seconds']:.1f} s ({usual['epochs']} epochs)", "–", "–"])  # fmt: skip
    measures = [
        Measure("auto, mean top-1", percent(top1[0]), "at least 77 %", top1[0] >= 0.77),
        Measure("auto, whole process", f"{seconds[0]:.0f} s", "at most 120 s", seconds[0] <= 120),
        Measure("head alone, mean top-1", percent(top1[1]), "at least 74 %", top1[1] >= 0.74),
        Measure("head alone, whole process", f"{seconds[1]:.1f} s", "at most 15 s", seconds[1] <= 15),
        Measure("head alone, second run", f"{again['seconds']:.1f} s", "at most 10 s", again["seconds"] <= 10),
        Measure(
            "head by epochs over features, cross-validation, head and learning curve", f"{ratio:.1f}×"
            + ("" if usual["as_good"] else " and not as good"), "at least 10×", ratio >= 10,
        ),
    ]  # fmt: skip
    if slow:
        gain = 100 * (top1[0] - slow["top1"])
        measures.append(Measure("points over ten times as long from scratch", f"{gain:.1f}"))
    return Result(
        "transfer", f"{DATA} (341 to train on, 372 to test), {NETWORK}: top-1, seconds of the process, calibration.",
        ["way", "top-1", "time", "ECE", "loss"], rows, measures,
        {"auto": auto, "head": head, "again": again, "usual": usual, "scratch": slow},
    )  # fmt: skip


if __name__ == "__main__":
    main()
