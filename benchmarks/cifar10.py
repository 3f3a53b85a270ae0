"""How good is `foveal train cifar10`, and how long does it take, against a peer in the same run?

The peer is a script that one brings: it is called as `python PEER --data DIR --epochs N --seed S`, where DIR holds
`cifar_train.npz` and `cifar_test.npz` (X uint8 (N, 32, 32, 3) and y), and its last line is JSON with "seconds" (of
training), "plain" and "views" (accuracies without and with mirrored and shifted views). foveal and the peer take turns,
seed by seed. foveal's seconds contain its validation; whatever it keeps for validation it does not train on, while the
peer has all of the training pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import Measure, Result, figures, parser, percent, say, scratch
from _runs import Trained, evaluated, trained
from numpy.typing import NDArray

VIEWS = "mirror+shift"
FLOOR, SHARE, PLAIN_SHARE = 0.94, 0.85, 1.6


@dataclass(frozen=True)
class Score:
    """One training."""

    seconds: float
    plain: float
    views: float
    metrics: dict[str, Any]


def main() -> None:
    """Train and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--source", default="cifar10")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--epochs", type=int, help="of foveal [the recipe's]")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    arguments.add_argument("--peer", type=Path, metavar="PATH", help="the script to compare with")
    arguments.add_argument("--peer-python", type=Path, default=Path(sys.executable), metavar="PATH")
    arguments.add_argument("--peer-epochs", type=int, default=8)
    arguments.add_argument("--plain-epochs", type=int, metavar="N", help="one more seed, for the score without views")
    asked = arguments.parse_args()
    if asked.quick:
        asked.seeds, asked.epochs, asked.peer_epochs = 1, 1, 1
    with scratch(asked) as place:
        told(asked, *scores(asked, place)).finish(asked)


def scores(asked: argparse.Namespace, place: Path) -> tuple[list[Score], list[Score], Score | None]:
    """foveal's, the peer's, and that of the longer run."""
    ours: list[Score] = []
    theirs: list[Score] = []
    if asked.quick:
        asked.source = str(few(asked.source, place / "few"))
    if asked.peer:
        write_arrays(asked.source, place)
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        ours.append(ours_with(asked, place / f"seed-{seed}", seed, asked.epochs))
        if asked.peer:
            theirs.append(peer(asked, place, seed))
    longer = None
    if asked.plain_epochs:
        longer = ours_with(asked, place / "longer", asked.first_seed, asked.plain_epochs)
    return ours, theirs, longer


def ours_with(asked: argparse.Namespace, folder: Path, seed: int, epochs: int | None) -> Score:
    """`foveal train` and `foveal evaluate --views`."""
    options = ["--seed", str(seed)] + [text for setting in asked.set for text in ("--set", setting)]
    if epochs:
        options += ["--epochs", str(epochs)]
    run: Trained = trained(asked.source, folder, *options)
    views = evaluated(folder, asked.source, VIEWS)
    say(f"{folder.name}: {percent(views)} with views")
    return Score(run.seconds, run.top1, views, run.metrics)


def peer(asked: argparse.Namespace, data: Path, seed: int) -> Score:
    """One training of the peer, and what its last line says."""
    command = [
        str(asked.peer_python), str(asked.peer), "--data", str(data), "--epochs", str(asked.peer_epochs),
        "--seed", str(seed),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer ended with {done.returncode}: {done.stderr[-2000:]}")
    line = json.loads(done.stdout.strip().splitlines()[-1])
    say(f"peer, seed {seed}: {percent(line['plain'])}, {percent(line['views'])} with views, {line['seconds']:.1f} s")
    return Score(float(line["seconds"]), float(line["plain"]), float(line["views"]), {})


def write_arrays(source: str, place: Path) -> None:
    """The data set as foveal opens it, for the peer: all that is not test is train."""
    for name, (pixels, labels) in arrays(source).items():
        np.savez(place / f"cifar_{name}.npz", X=pixels, y=labels)


def few(source: str, place: Path) -> Path:
    """Some of its pictures as CIFAR's own binary files, for a smoke run."""
    place.mkdir()
    for name, (pixels, labels) in arrays(source).items():
        some = np.linspace(0, len(labels) - 1, 4000 if name == "train" else 1000).astype(np.int64)
        planes = pixels[some].transpose(0, 3, 1, 2).reshape(len(some), -1)
        records = np.concatenate([labels[some, None].astype(np.uint8), planes], axis=1)
        (place / f"{'data' if name == 'train' else 'test'}_batch{'_1' * (name == 'train')}.bin").write_bytes(
            records.tobytes()
        )
    return place


def arrays(source: str) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """(N, 32, 32, 3) pixels and (N,) labels of "train" and "test"."""
    from foveal import Preprocess, open_dataset
    from foveal.data.store import open_store

    dataset = open_dataset(source)
    store = open_store(dataset, Preprocess(32, 32))
    test = np.isin(np.arange(len(dataset)), dataset.indices("test"))
    indices = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
    return {name: (store.rows(chosen), dataset.labels[chosen]) for name, chosen in indices.items()}


def told(asked: argparse.Namespace, ours: list[Score], theirs: list[Score], longer: Score | None) -> Result:
    """Rows, and the ratios of the same seed."""
    last = asked.first_seed + asked.seeds - 1
    source = Path(asked.source).name
    result = Result(
        "cifar10",
        f"`foveal train {source}`, seeds {asked.first_seed} to {last}; views: the picture and two that are "
        "shifted by a pixel, each also mirrored.",
        ["who", "epochs", "without views: mean", "each seed", "with views: mean", "each seed", "training, s"],
    )  # fmt: skip
    result.rows.append(row("foveal", ours[0].metrics["epochs"], ours))
    views = statistics.mean(s.views for s in ours)
    result.measures = [
        Measure(f"with views, mean of {len(ours)}", percent(views), percent(FLOOR, 1), views >= FLOOR),
        Measure(f"without views, mean of {len(ours)}", percent(statistics.mean(s.plain for s in ours))),
    ]
    if theirs:
        result.rows.append(row("the peer", asked.peer_epochs, theirs))
        shares = [a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)]
        result.measures.append(
            Measure("time against the peer's", figures(shares, "×"), f"at most {SHARE}×",
                    statistics.median(shares) <= SHARE)
        )  # fmt: skip
    if longer:
        result.rows.append(row("foveal, longer", longer.metrics["epochs"], [longer]))
        result.measures.append(
            Measure("longer, without views", percent(longer.plain), percent(FLOOR, 1), longer.plain >= FLOOR)
        )
        if theirs:
            share = longer.seconds / statistics.median(s.seconds for s in theirs)
            result.measures.append(
                Measure("longer, time against the peer's", f"{share:.2f}×", f"at most {PLAIN_SHARE}×",
                        share <= PLAIN_SHARE)
            )  # fmt: skip
    result.raw = {
        who: [{"seconds": s.seconds, "plain": s.plain, "views": s.views, "metrics": s.metrics} for s in some]
        for who, some in (("foveal", ours), ("peer", theirs), ("longer", [longer] if longer else []))
    }
    return result


def row(who: str, epochs: int, some: list[Score]) -> list[str]:
    """A line of the table."""
    cells = [who, str(epochs)]
    for kind in ("plain", "views"):
        values = [getattr(score, kind) for score in some]
        cells += [percent(statistics.mean(values)), ", ".join(percent(v) for v in values)]
    return [*cells, figures([s.seconds for s in some], digits=0)]


if __name__ == "__main__":
    main()
