"""Is foveal quick on every class of processor that this one contains, and not only on itself?

A processor can be made to play a smaller one (never a larger one: that crashes): every figure is taken in a process of
its own with `ONEDNN_MAX_CPU_ISA`, `ATEN_CPU_CAPABILITY` and `MKL_ENABLE_INSTRUCTIONS` set before Python starts. One
table a class: the arithmetic that measuring chooses against all ways timed at length, what the first epoch reaches of
what was promised, the demo, MNIST, an epoch against torchvision's, speed beside a busy process, the answer to a wrong
path, and a head on EfficientNet-Lite0's features.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _common import Measure, Result, all_for_training, data_set, figures, parser, percent, say, scratch
from _machine import CASES
from _runs import trained

from foveal.machine import LIMITS, instruction_flags

HERE = Path(__file__).parent
FIGURES = ("arithmetic", "demo", "mnist", "epoch", "busy", "wrong-path", "head")


@dataclass(frozen=True)
class Class:
    """A class of processor, and how a larger one is made to play it."""

    name: str
    told: str
    needs: str  # a flag of the processor
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def native_bf16(self) -> bool:
        return not self.environment and bool(instruction_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def _played(onednn: str, aten: str, mkl: str) -> dict[str, str]:
    return {"ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": aten, "MKL_ENABLE_INSTRUCTIONS": mkl}


CLASSES = (
    Class("own", "as it is", ""),
    Class("avx512_bf16", "AVX-512 with bf16", "amx_bf16", _played("AVX512_CORE_BF16", "avx512", "AVX512")),
    Class("avx512", "AVX-512", "avx512_bf16", _played("AVX512_CORE", "avx512", "AVX512")),
    Class("avx2", "AVX2", "avx512f", _played("AVX2", "avx2", "AVX2")),
)


def main() -> None:
    """Measure every class that is contained, and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--classes", metavar="A,B", help=f"of {','.join(c.name for c in CLASSES)} [all contained]")
    arguments.add_argument("--only", metavar="A,B", help=f"of {','.join(FIGURES)} [all]")
    arguments.add_argument("--networks", default=",".join(CASES), metavar="A,B", help="whose arithmetic is looked at")
    arguments.add_argument("--seeds", type=int, default=1, help="of the demo, MNIST and the head")
    arguments.add_argument("--rounds", type=int, default=2, help="of the epoch against torchvision's")
    arguments.add_argument("--seconds", type=float, default=12.0, help="of each way that is timed at length")
    asked = arguments.parse_args()
    asked.only = asked.only.split(",") if asked.only else list(FIGURES)
    if unknown := [name for name in asked.only if name not in FIGURES]:
        raise SystemExit(f"--only: no such figure: {unknown[0]} (figures: {', '.join(FIGURES)})")
    contained = [c for c in CLASSES if not c.needs or c.needs in instruction_flags()]
    if asked.classes:
        contained = [c for c in CLASSES if c.name in asked.classes.split(",")]
    if asked.quick:
        asked.seconds, asked.networks, asked.only = 1.0, "speednet_small", ["arithmetic", "busy", "wrong-path"]
    out = asked.out
    with scratch(asked) as place:
        _, table = all_for_training(data_set("clothing"), place)
        for one in contained:
            asked.out = out and out.with_stem(f"{out.stem}_{one.name}")
            with made_to_play(one):
                told(asked, one, place / one.name, table).finish(asked)


@contextmanager
def made_to_play(one: Class) -> Iterator[None]:
    """Children see the class's environment; this process has read its own already."""
    before = {name: os.environ.pop(name) for name in LIMITS if name in os.environ}
    os.environ.update(one.environment)
    try:
        yield
    finally:
        for name in one.environment:
            del os.environ[name]
        os.environ.update(before)


@dataclass(frozen=True)
class Examined:
    """The figures of one class, taken one after the other."""

    asked: argparse.Namespace
    one: Class
    place: Path
    table: Path
    result: Result

    def arithmetic(self) -> None:
        """What is chosen against all ways timed at length, and what the first epoch reaches."""
        for network in self.asked.networks.split(","):
            found = _child("arithmetic", network, "--seconds", str(self.asked.seconds), "--table", str(self.table))
            ways = ", ".join(f"{way} {speed:.3g}" for way, speed in found["at_length"].items())
            kept, seconds = found["reached"] / found["promised"], found["measuring_seconds"]
            self.result.rows.append(
                [network, found["chosen"], ways, f"{found['promised']:.3g}", f"{found['reached']:.3g}",
                 f"{seconds:.1f}", percent(found["update_share"], 1)]
            )  # fmt: skip
            self.reach(f"{network}: of the best way", f"{found['of_best']:.2f}", "0.95", found["of_best"] >= 0.95)
            self.reach(f"{network}: first epoch, of the promise", f"{kept:.2f}", "0.8", kept >= 0.8)
            self.reach(f"{network}: measuring", f"{seconds:.1f} s", "5 s", seconds < 5.05)
            if network == "speednet":
                share = found["update_share"]
                self.reach("speednet: Muon and average, of a step", percent(share, 1), "15 %", share <= 0.15)
            self.result.raw.setdefault("arithmetic", []).append(found)

    def busy(self) -> None:
        """Speed beside a process that is always busy."""
        for network in ("speednet_small",) if self.asked.quick else ("resnet18", "speednet_small"):
            found = _child("busy", network, "--seconds", str(3 * self.asked.seconds), "--table", str(self.table))
            share = found["share"]
            self.reach(f"{network}: beside a busy process, of the speed alone", f"{share:.2f}", "0.5", share >= 0.5)
            self.result.raw.setdefault("busy", []).append(found)

    def demo(self) -> None:
        """`foveal train digits`."""
        self.trainings("demo", "digits", 0.985, 30)

    def mnist(self) -> None:
        """`foveal train mnist`."""
        self.trainings("MNIST", str(data_set("mnist")), 0.996, 180 if self.one.native_bf16 else 480)

    def trainings(self, name: str, source: str, floor: float, most: float) -> None:
        """Accuracy and seconds of the default recipe."""
        seeds = range(self.asked.seeds)
        runs = [trained(source, self.place / f"{name}-{seed}", "--seed", str(seed)) for seed in seeds]
        right, longest = statistics.mean(run.top1 for run in runs), max(run.seconds for run in runs)
        each = ", ".join(percent(run.top1) for run in runs)
        self.reach(f"{name}: accuracy, {len(runs)} seeds", each, percent(floor, 1), right >= floor)
        self.reach(f"{name}: training", f"{longest:.0f} s", f"{most} s", longest <= most)
        self.result.raw[name] = [run.metrics for run in runs]

    def epoch(self) -> None:
        """ResNet-18 against torchvision's way, by `epoch_time.py`."""
        file = self.place / "epoch.json"
        words = [
            "--rounds",
            str(self.asked.rounds),
            "--epochs",
            "2",
            "--ways",
            "foveal,torchvision",
            "--out",
            str(file),
        ]
        command = [sys.executable, str(HERE / "epoch_time.py"), *words, "--work", str(self.place)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        raw = json.loads(file.read_text(encoding="utf-8"))["raw"]
        ratios = [
            statistics.median(theirs["later"]) / statistics.median(ours["later"])
            for ours, theirs in zip(raw["foveal"], raw["torchvision"], strict=True)
        ]
        floor = 2.4 if self.one.native_bf16 else 1.15
        seen = figures(ratios, "×")
        self.reach("ResNet-18 at 224²: an epoch against torchvision's way", seen, f"{floor}×",
                   statistics.median(ratios) >= floor)  # fmt: skip
        self.result.raw["epoch"] = raw

    def wrong_path(self) -> None:
        """From the start of the process to the sentence."""
        for words in ("train nowhere/", "predict nowhere x.jpg", "train digits --network resnet19"):
            took = []
            for _ in range(6):
                began = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "foveal", *words.split()], capture_output=True, check=False
                )
                took.append(time.perf_counter() - began)
                assert done.returncode == 2, done.stderr
            self.reach(f"`foveal {words}`", figures(took[1:], "s"), "0.6 s", statistics.median(took[1:]) <= 0.6)
            self.result.raw[f"foveal {words}"] = took

    def head(self) -> None:
        """A head on EfficientNet-Lite0's features."""
        options = ["--network", "efficientnet_lite0", "--weights", "imagenet", "--train", "head"]
        runs = [
            trained(str(data_set("clothing")), self.place / f"head-{seed}", "--seed", str(seed), *options)
            for seed in range(2)
        ]
        first, again = (30, 10) if self.one.native_bf16 else (60, 20)
        right = statistics.mean(run.top1 for run in runs)
        self.reach("head on Lite0, clothing", percent(right), "82 %", right >= 0.82)
        self.reach("head on Lite0: the whole run", f"{runs[0].total:.0f} s", f"{first} s", runs[0].total <= first)
        self.reach("head on Lite0: another seed", f"{runs[1].total:.0f} s", f"{again} s", runs[1].total <= again)
        self.result.raw["head"] = [run.metrics for run in runs]

    def reach(self, measure: str, seen: str, wanted: str, met: bool) -> None:
        """A line of what was to be reached."""
        say(f"  {measure}: {seen} ({wanted})")
        self.result.measures.append(Measure(measure, seen, wanted, met))


def told(asked: argparse.Namespace, one: Class, place: Path, table: Path) -> Result:
    """Every figure of one class."""
    place.mkdir()
    os.environ["FOVEAL_CACHE"] = str(place / "cache")
    played = " ".join(f"{name}={value}" for name, value in one.environment.items())
    result = Result(
        f"machines_{one.name}",
        f"**{one.told}**{f' (`{played}`)' if played else ''}: what is chosen, promised and reached.",
        ["network", "chosen", "pictures/s at length, by way", "promised", "first epoch", "measuring, s", "update"],
    )
    examined = Examined(asked, one, place, table, result)
    for name in asked.only:
        say(f"{one.told}: {name}")
        getattr(examined, name.replace("-", "_"))()
    return result


def _child(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "_machine.py"), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"  {json.dumps({k: v for k, v in found.items() if k != 'at_length'})}")
    return found


if __name__ == "__main__":
    main()
