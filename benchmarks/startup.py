"""How long until foveal answers?

`import foveal` and `foveal --help` against a Python that does nothing, and `foveal predict` on one picture against a
Python that imports torch and leaves: whole processes, from start to end, in turn. Two models are asked: the one that
`foveal train digits` makes, and a ResNet-18 for photographs at 224² (its weights are random, which costs the same). A
wrong path is to be answered in 0.6 s, which torch would not let it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _common import Measure, Result, figures, parser, say, scratch

BARE, TORCH = "bare Python", "import torch"
WRONG = {
    "foveal train nowhere/": ["train", "nowhere/"],
    "foveal predict nowhere x.jpg": ["predict", "nowhere", "x.jpg"],
}
WRONG_SECONDS, REFUSED = 0.6, 2


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=9, help="times that each is started")
    asked = arguments.parse_args()
    if asked.quick:
        asked.rounds = 2
    with scratch(asked) as place:
        times = alternating(commands(place), asked.rounds)
    told(asked, times).finish(asked)


def commands(place: Path) -> dict[str, list[str]]:
    """What is started, by name."""
    python, foveal = sys.executable, command()
    say("making two models")
    return {
        BARE: [python, "-c", "pass"],
        "import foveal": [python, "-c", "import foveal"],
        "foveal --help": [*foveal, "--help"],
        **{name: [*foveal, *words] for name, words in WRONG.items()},
        TORCH: [python, "-c", "import torch"],
        "foveal predict, digits": [*foveal, "predict", *map(str, digits_model(place))],
        "foveal predict, ResNet-18 at 224²": [*foveal, "predict", *map(str, photograph_model(place))],
    }


def command() -> list[str]:
    """The installed command beside this Python, else the module."""
    beside = shutil.which("foveal", path=str(Path(sys.executable).parent))
    return [beside] if beside else [sys.executable, "-m", "foveal"]


def digits_model(place: Path) -> tuple[Path, Path]:
    """A run's folder after one epoch, and a picture."""
    import numpy as np
    from PIL import Image

    import foveal

    run = foveal.train("digits", out=place / "digits", settings={"training.epochs": 1})
    pixels = np.asarray(foveal.open_dataset("digits").pictures.content(0), np.uint8)
    Image.fromarray(pixels.squeeze()).save(place / "digit.png")
    return run.folder, place / "digit.png"


def photograph_model(place: Path) -> tuple[Path, Path]:
    """A ResNet-18 as a model file, and a JPEG of 640 × 480."""
    import numpy as np
    from PIL import Image

    import foveal
    from foveal.model import classifier
    from foveal.networks.catalogue import build

    network = build("resnet18", 10, 3, (224, 224))
    model = classifier(network, foveal.Preprocess(224, 224), tuple("abcdefghij"), "resnet18")
    model.save(place / "resnet18.safetensors")
    y, x = np.mgrid[:480, :640]
    Image.fromarray(np.stack([x % 256, y % 256, (x + y) % 256], 2).astype(np.uint8)).save(place / "photograph.jpg")
    return place / "resnet18.safetensors", place / "photograph.jpg"


def alternating(started: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, in turn; a first round, in which files are read and compiled, does not count."""
    times: dict[str, list[float]] = {name: [] for name in started}
    for number in range(rounds + 1):
        for name, line in started.items():
            start = time.perf_counter()
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            took = time.perf_counter() - start
            if done.returncode != (REFUSED if name in WRONG else 0):
                raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
            if number:
                times[name].append(took)
    return times


def told(asked: argparse.Namespace, times: dict[str, list[float]]) -> Result:
    """Differences and ratios of the same round."""
    rows = [[f"`{name}`" if " foveal" in f" {name}" else name, figures(took, digits=3)] for name, took in times.items()]
    measures = []
    for name, most in (("import foveal", 0.1), ("foveal --help", 0.3)):
        more = [a - b for a, b in zip(times[name], times[BARE], strict=True)]
        measures.append(
            Measure(f"`{name}` more than bare Python", figures(more, "s", 3), f"below {most:g} s",
                    statistics.median(more) < most)
        )  # fmt: skip
    for name in WRONG:
        measures.append(
            Measure(f"`{name}`", figures(times[name], "s", 3), f"at most {WRONG_SECONDS:g} s",
                    statistics.median(times[name]) <= WRONG_SECONDS)
        )  # fmt: skip
    for name in [n for n in times if n.startswith("foveal predict,")]:
        share = [a / (1.3 * b + 0.5) for a, b in zip(times[name], times[TORCH], strict=True)]
        measures.append(
            Measure(f"`{name}` against 1.3 × `import torch` + 0.5 s", figures(share, "×"), "at most 1×",
                    statistics.median(share) <= 1)
        )  # fmt: skip
    about = f"Whole processes, {asked.rounds} rounds after one that does not count; medians and spread."
    return Result("startup", about, ["process", "seconds"], rows, measures, {"seconds": times})


if __name__ == "__main__":
    main()
