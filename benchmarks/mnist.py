"""How good is `foveal train mnist`, and how long does it take: the default recipe, LeNet-5 and the MLP, over seeds."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from _common import Measure, Result, figures, parser, percent, scratch
from _runs import Trained, trained

DEFAULT = "default"
FLOORS = {DEFAULT: 0.996, "lenet5": 0.992}
MOST_SECONDS = 180


def main() -> None:
    """Train and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--networks", default="default,lenet5,mlp", metavar="A,B")
    arguments.add_argument("--source", default="mnist")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    asked = arguments.parse_args()
    if asked.quick:
        asked.seeds, asked.source, asked.set = 1, "digits", ["training.epochs=1"]
    found: dict[str, list[Trained]] = {name: [] for name in asked.networks.split(",")}
    with scratch(asked) as place:
        for seed in range(asked.seeds):
            for network in found:
                found[network].append(run(asked, network, seed, place))
    told(asked, found).finish(asked)


def run(asked: argparse.Namespace, network: str, seed: int, place: Path) -> Trained:
    """One training."""
    options = ["--seed", str(seed)] + [text for setting in asked.set for text in ("--set", setting)]
    if network != DEFAULT:
        options += ["--network", network]
    return trained(asked.source, place / f"{network}-{seed}", *options)


def told(asked: argparse.Namespace, found: dict[str, list[Trained]]) -> Result:
    """A row a network."""
    result = Result(
        "mnist",
        f"`foveal train {Path(asked.source).name}`, {asked.seeds} seeds; accuracy on {pictures(found)} test pictures.",
        ["network", "mean", "each seed", "epochs", "training, s", "in all, s", "HOG and a linear classifier"],
    )  # fmt: skip
    for network, runs in found.items():
        baseline = runs[0].metrics["baseline"]["top1"]
        mean = statistics.mean(r.top1 for r in runs)
        result.rows.append(
            [
                network, percent(mean), ", ".join(percent(r.top1) for r in runs), str(runs[0].epochs),
                figures([r.seconds for r in runs], digits=0), figures([r.total for r in runs], digits=0),
                percent(baseline) if baseline is not None else "–",
            ]
        )  # fmt: skip
        floor = FLOORS.get(network)
        result.measures.append(
            Measure(f"{network}: mean of {asked.seeds} seeds", percent(mean), percent(floor, 1) if floor else "",
                    mean >= floor if floor else None)
        )  # fmt: skip
        if network == DEFAULT:
            longest = max(r.seconds for r in runs)
            result.measures.append(
                Measure("default: training", f"{longest:.0f} s", f"at most {MOST_SECONDS} s", longest <= MOST_SECONDS)
            )
    result.raw = {network: [r.metrics for r in runs] for network, runs in found.items()}
    return result


def pictures(found: dict[str, list[Trained]]) -> int:
    """Test pictures."""
    return int(next(iter(found.values()))[0].metrics["test"]["n"])


if __name__ == "__main__":
    main()
