"""How well and how quickly does a detector learn from few pictures, with nothing looked up on the test?

`foveal train scenes` as a user types it, from a cold cache; `raccoon` (its README's split) on SqueezeNet's ImageNet
weights, for several seeds; `facemask` likewise, once; and one object a picture, on those of `raccoon` that show one
alone. With `--peer FILE`, the path of Ultralytics' `yolo` command in an environment of its own, its nano learns the
same pictures from random weights (offline it has no others) in the minutes that foveal took; its boxes are scored by
the same code.
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

from _common import Measure, Result, data_set, figures, parser, say, scratch
from startup import command

SETS = {"raccoon": r"raccoon-\d*[05]\.", "facemask": ""}
STARTED = ["--network", "squeezenet1_1", "--weights", "imagenet"]
PEER_SIZE, PEER_EPOCHS = 320, 300  # pixels a side; epochs that it may take if the minutes allow


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--peer", type=Path, help="Ultralytics' yolo command")
    arguments.add_argument("--only", choices=("scenes", "raccoon", "facemask", "localise"))
    asked = arguments.parse_args()
    if asked.quick:
        asked.seeds = 1
    few = ["--epochs", "1"] if asked.quick else []
    rows: dict[str, list[dict[str, Any]]] = {}
    with scratch(asked) as place:
        if asked.only in (None, "scenes"):
            rows["scenes"] = [run(place, "scenes-0", ["scenes", *few])]
        for name in [name for name in SETS if asked.only in (None, name)]:
            split = held_out(name, place)
            seeds = asked.seeds if name == "raccoon" else 1
            rows[name] = [
                run(place, f"{name}-{seed}", [name, *split, *STARTED, "--seed", str(seed), *few])
                for seed in range(seeds)
            ]
            if asked.peer:
                minutes = statistics.median(row["seconds"] for row in rows[name]) / 60
                rows[f"{name}, peer"] = [the_peer(asked.peer, place, name, split, minutes)]
        placed = localised(place, few) if asked.only in (None, "localise") else None
    told(rows, placed).finish(asked)


def held_out(name: str, place: Path) -> list[str]:
    """The split's flags: a pattern, or for COCO's ids a table of the pictures whose id 5 divides."""
    if SETS[name]:
        return ["--test-if", SETS[name]]
    (file,) = sorted(data_set(name).rglob("*.json"))
    listed = json.loads(file.read_text())["images"]
    table = place / f"{name}.csv"
    from foveal.data.sources import open_dataset

    paths = {Path(p).name: p for p in map(open_dataset(name).pictures.name, range(len(listed)))}
    lines = [f"{paths[Path(i['file_name']).name]},{'test' if i['id'] % 5 == 0 else 'train'}" for i in listed
             if Path(i["file_name"]).name in paths]  # fmt: skip
    table.write_text("\n".join(["path,split", *lines]) + "\n")
    return ["--split", str(table)]


def localised(place: Path, few: list[str]) -> dict[str, Any]:
    """One object a picture: those of `raccoon` that show one alone."""
    from foveal.data.sources import open_dataset

    dataset = open_dataset("raccoon")
    assert dataset.boxes is not None
    others = [dataset.pictures.name(int(i)) for i in (dataset.boxes.counts != 1).nonzero()[0]]
    (place / "others.csv").write_text("\n".join(["path", *others]) + "\n")
    left_out = ["--exclude", str(place / "others.csv"), "--test-if", SETS["raccoon"]]
    test, seconds, epochs = trained(place, "localise", ["raccoon", *left_out, *STARTED, "--task", "localise", *few])
    say(f"localise: mean IoU {test['mean_iou']:.3f}, the constant box {test['constant_iou']:.3f} in {seconds:.0f} s")
    told_there = {key: test[key] for key in ("n", "mean_iou", "mean_iou_interval", "constant_iou")}
    return {**told_there, "seconds": seconds, "epochs": epochs}


def trained(place: Path, name: str, words: list[str]) -> tuple[dict[str, Any], float, int]:
    """Figures on the test, seconds and epochs of one training as a process of its own, from a cold cache."""
    shutil.rmtree(Path(os.environ["FOVEAL_CACHE"]), ignore_errors=True)
    start = time.perf_counter()
    done = subprocess.run(
        [*command(), "train", *words, "--json", "--out", str(place / name)], check=True, capture_output=True, text=True
    )
    metrics = json.loads(done.stdout)["metrics"]
    return metrics["test"], time.perf_counter() - start, metrics["epochs"]


def run(place: Path, name: str, words: list[str]) -> dict[str, Any]:
    """One detector."""
    test, seconds, epochs = trained(place, name, words)
    say(f"{name}: AP {test['ap']:.3f}, AP50 {test['ap50']:.3f} in {seconds:.0f} s")
    return {
        "ap": test["ap"], "ap50": test["ap50"], "ap50_interval": test["ap50_interval"], "seconds": seconds,
        "epochs": epochs,
    }  # fmt: skip


def the_peer(yolo: Path, place: Path, name: str, split: list[str], minutes: float) -> dict[str, Any]:
    """Its nano from random weights on the same pictures for the same minutes; its boxes scored by foveal."""
    import numpy as np

    from foveal.data.convert import convert
    from foveal.data.sources import open_dataset
    from foveal.tasks.answers import Detections
    from foveal.tasks.detection_scores import score_objects

    key = {"--test-if": "test_if", "--split": "split"}[split[0]]
    dataset = open_dataset(name, **{key: split[1]})  # type: ignore[arg-type]
    folder = place / f"{name}-yolo"
    convert(dataset, folder, "yolo")
    (yaml,) = folder.glob("*.yaml")
    start = time.perf_counter()
    environment = {**os.environ, "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(place)}
    environment.pop("PYTHONPATH", None)
    common = {"cwd": place, "env": environment, "check": True, "capture_output": True}
    subprocess.run(
        [str(yolo), "detect", "train", f"data={yaml}", "model=yolo11n.yaml", f"imgsz={PEER_SIZE}", "device=cpu",
         f"epochs={PEER_EPOCHS}", f"time={minutes / 60:.4f}", "pretrained=False", f"project={place}",
         f"name={name}-peer", "plots=False", "amp=False"], **common,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    weights = place / f"{name}-peer" / "weights" / "last.pt"
    subprocess.run(
        [str(yolo), "detect", "predict", f"model={weights}", f"source={folder / 'images' / 'test'}",
         f"imgsz={PEER_SIZE}", "device=cpu", "conf=0.005", "iou=0.6", "max_det=100", "save=False", "save_txt=True",
         "save_conf=True", f"project={place}", f"name={name}-said"], **common,
    )  # fmt: skip
    told_boxes = open_dataset(folder)
    indices = told_boxes.indices("test")
    assert told_boxes.boxes is not None
    found = []
    for index in indices:
        height, width = told_boxes.boxes.sizes[index]
        text = place / f"{name}-said" / "labels" / f"{Path(told_boxes.pictures.name(int(index))).stem}.txt"
        table = np.loadtxt(text, ndmin=2) if text.exists() else np.zeros((0, 6))
        table = table[np.argsort(-table[:, 5], kind="stable")]
        half = table[:, 3:5] / 2
        corners = np.concatenate([table[:, 1:3] - half, table[:, 1:3] + half], 1) * [width, height, width, height]
        found.append(Detections(corners, table[:, 0].astype(np.int64), table[:, 5]))
    scores = score_objects(found, told_boxes.boxes.take(indices), told_boxes.classes)
    say(f"{name}, peer: AP {scores.ap:.3f}, AP50 {scores.ap50:.3f} in {seconds:.0f} s")
    return {
        "ap": scores.ap, "ap50": scores.ap50, "ap50_interval": list(scores.ap50_interval), "seconds": seconds,
        "epochs": sum(1 for _ in (place / f"{name}-peer" / "results.csv").open()) - 1,
    }  # fmt: skip


def told(rows: dict[str, list[dict[str, Any]]], placed: dict[str, Any] | None) -> Result:
    """A row a set, and what was to be reached."""
    table = [
        [name, figures([r["ap"] for r in runs], "", 3), figures([r["ap50"] for r in runs], "", 3),
         figures([r["seconds"] for r in runs], "s", 0), str(runs[0]["epochs"])]
        for name, runs in rows.items()
    ]  # fmt: skip
    measures: list[Measure] = []

    def least(what: str, seen: float, wanted: float) -> None:
        measures.append(Measure(what, f"{seen:.3f}", f"at least {wanted:g}", seen >= wanted))

    def most(what: str, seen: float, wanted: float) -> None:
        measures.append(Measure(what, f"{seen:.0f} s", f"at most {wanted:g} s", seen <= wanted))

    if "scenes" in rows:
        (scenes,) = rows["scenes"]
        least("scenes, AP", scenes["ap"], 0.90)
        least("scenes, AP50", scenes["ap50"], 0.98)
        most("scenes, whole process", scenes["seconds"], 180)
    if "raccoon" in rows:
        runs = rows["raccoon"]
        least("raccoon, mean AP50", statistics.mean(r["ap50"] for r in runs), 0.80)
        least("raccoon, mean AP", statistics.mean(r["ap"] for r in runs), 0.35)
        most("raccoon, whole process", max(r["seconds"] for r in runs), 900)
    for name in SETS:
        if f"{name}, peer" in rows:
            mean = statistics.mean(r["ap50"] for r in rows[name])
            least(f"{name}, AP50 above the peer's", mean - rows[f"{name}, peer"][0]["ap50"], 0.0)
    if placed:
        about = f"one object a picture, mean IoU on {placed['n']} (the constant box: {placed['constant_iou']:.3f})"
        least(about, placed["mean_iou"], 0.70)
        table.append(["one object a picture", "–", "–", f"{placed['seconds']:.0f} s", str(placed["epochs"])])
    return Result(
        "detect", "Detectors from few pictures: average precision, seconds of the process.",
        ["set", "AP", "AP50", "time", "epochs"], table, measures, {"runs": rows, "localise": placed},
    )  # fmt: skip


if __name__ == "__main__":
    main()
