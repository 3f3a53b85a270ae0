"""How long does an epoch of ResNet-18 at 224² take, against torchvision's reference way and fastai's `vision_learner`?

On all 713 pictures of `clothing` (train and test together), equal batches, each way in a process of its own, in turn,
with an empty cache. Nobody validates; foveal, which wants something held out, gets one more picture for that. An epoch
is wall clock from one epoch's end to the next, for as many pictures as there are (who leaves an incomplete last batch
out is charged for it). Epoch 1 starts when the libraries are imported: foveal's contains reading the folder, the store
and measuring the arithmetic. Memory is the peak of the process and its workers, PSS, up to the end of the last epoch.
`--megapixels 12` does the same on the pictures enlarged.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _common import Measure, Result, all_for_training, data_set, figures, inside, parser, say, scratch
from _memory import Sampler

HERE = Path(__file__).parent
WAYS = ("foveal", "torchvision", "fastai", "fastai-plain")
TOLD = {
    "foveal": "foveal, as it decides",
    "torchvision": "torchvision's reference way",
    "fastai": "fastai, `Resize` and `aug_transforms()`",
    "fastai-plain": "fastai, `Resize` alone",
}


@dataclass(frozen=True)
class Timing:
    """One process."""

    first: float  # seconds
    later: list[float]  # seconds of each epoch after it
    peak: int  # bytes, up to the end of the last epoch
    peak_whole: int  # bytes, of the whole process
    imports: float  # seconds from start to the first own line of work
    events: list[dict[str, Any]]


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, metavar="DIR", help="the pictures [clothing below $FOVEAL_DATA]")
    arguments.add_argument("--fastai-python", type=Path, metavar="PATH", help="a Python that has fastai; without, none")
    arguments.add_argument("--ways", metavar="A,B", help=f"of {','.join(WAYS)} [the first three]")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--epochs", type=int, default=3, help="of each process")
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--size", type=int, default=224)
    arguments.add_argument("--megapixels", type=float, default=0, help="enlarge the pictures first [0: as they are]")
    asked = arguments.parse_args()
    if asked.quick:
        asked.rounds, asked.epochs, asked.batch, asked.size = 1, 2, 8, 64
    ways = asked.ways.split(",") if asked.ways else [w for w in WAYS[:3] if w != "fastai" or asked.fastai_python]
    if unknown := [way for way in ways if way not in WAYS]:
        raise SystemExit(f"--ways: no such way: {unknown[0]} (ways: {', '.join(WAYS)})")
    if not asked.fastai_python and any(way.startswith("fastai") for way in ways):
        raise SystemExit("fastai needs --fastai-python PATH: a Python that has it.")
    with scratch(asked) as place:
        pictures, _ = all_for_training(data_set("clothing", asked.data), place, 4 if asked.quick else None)
        if asked.megapixels:
            enlarge(pictures, asked.megapixels)
        told(asked, ways, len(inside(pictures)), rounds(asked, ways, pictures, place)).finish(asked)


def rounds(asked: argparse.Namespace, ways: list[str], pictures: Path, place: Path) -> dict[str, list[Timing]]:
    """Every way in turn; each round begins with another one."""
    found: dict[str, list[Timing]] = {way: [] for way in ways}
    for number in range(asked.rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            timing = process(way, asked, pictures, place / f"{way}-{number}", number)
            found[way].append(timing)
            say(
                f"round {number + 1}, {way}: epoch 1 {timing.first:.1f} s, then {figures(timing.later, 's', 1)}, "
                f"{timing.peak / 2**20:.0f} MiB"
            )
    return found


def process(way: str, asked: argparse.Namespace, pictures: Path, place: Path, seed: int) -> Timing:
    """One way's training in a process of its own, watched from outside."""
    place.mkdir()
    python = asked.fastai_python if way.startswith("fastai") else Path(sys.executable)
    command = [
        str(python), str(HERE / f"_way_{way.partition('-')[0]}.py"), "--pictures", str(pictures),
        "--epochs", str(asked.epochs), "--batch", str(asked.batch), "--size", str(asked.size), "--seed", str(seed),
        "--scratch", str(place), *(["--plain"] if way.endswith("-plain") else []),
    ]  # fmt: skip
    environment = os.environ | {"FOVEAL_CACHE": str(place / "cache")}
    began = time.monotonic()
    with open(place / "errors.txt", "w+", encoding="utf-8") as errors:
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as running,
            Sampler(running.pid) as memory,
        ):
            assert running.stdout is not None
            events = [json.loads(line) for line in running.stdout if line.startswith('{"event"')]
        if running.returncode:
            errors.seek(0)
            raise SystemExit(f"{way} ended with {running.returncode}:\n{errors.read()[-3000:]}")
    ready = next(e["at"] for e in events if e["event"] == "ready")
    ends = [e for e in events if e["event"] == "epoch"]
    count = len(inside(pictures))
    times = [ready, *(e["at"] for e in ends)]
    seconds = [(b - a) * count / e["seen"] for a, b, e in zip(times, times[1:], ends, strict=False)]
    last = ends[-1]["at"]
    return Timing(seconds[0], seconds[1:], memory.peak(last), memory.peak(float("inf")), ready - began, events)


def told(asked: argparse.Namespace, ways: list[str], count: int, found: dict[str, list[Timing]]) -> Result:
    """The figures, and the ratios of the same round."""
    large = f", enlarged to {asked.megapixels:g} megapixels" if asked.megapixels else ""
    result = Result(
        "epoch_time" + (f"_{asked.megapixels:g}mp" if asked.megapixels else ""),
        f"ResNet-18 at {asked.size}² on {count} pictures of `clothing`{large}, batch {asked.batch}; {asked.rounds} "
        f"rounds of {asked.epochs} epochs, medians and spread; memory is the peak PSS of the process tree.",
        ["way", "epoch 1, s", "epochs from 2 on, s", "pictures a second", "peak memory, MiB"],
    )
    for way in ways:
        later = [s for t in found[way] for s in t.later]
        result.rows.append(
            [
                TOLD[way], figures([t.first for t in found[way]], digits=1), figures(later, digits=1),
                figures([count / s for s in later], digits=1),
                figures([t.peak / 2**20 for t in found[way]], digits=0),
            ]
        )  # fmt: skip
    for way in ways[1:] if ways[0] == "foveal" else []:
        pairs = list(zip(found["foveal"], found[way], strict=True))
        later = [statistics.median(b.later) / statistics.median(a.later) for a, b in pairs]
        first = [a.first / b.first for a, b in pairs]
        memory = [a.peak / max(1, b.peak) for a, b in pairs]
        floor = 5.0 if asked.megapixels >= 12 else 2.4
        result.measures += [
            Measure(f"faster than {way} from epoch 2 on", figures(later, "×"), f"{floor:g}×",
                    statistics.median(later) >= floor),
            Measure(f"epoch 1 against {way}'s", figures(first, "×"), "at most 1.2×", statistics.median(first) <= 1.2),
            Measure(f"peak memory against {way}'s", figures(memory, "×"), "at most 1×", statistics.median(memory) <= 1),
        ]  # fmt: skip
    result.raw = {
        way: [
            {
                "epoch_1": t.first, "later": t.later, "imports": t.imports, "peak_bytes": t.peak,
                "peak_bytes_whole_process": t.peak_whole, "end": t.events[-1] | {"at": None},
                "arithmetic": [e["said"] for e in t.events if e["event"] == "arithmetic"],
            }
            for t in found[way]
        ]
        for way in ways
    }  # fmt: skip
    return result


def enlarge(folder: Path, megapixels: float) -> None:
    """Each picture of the folder as a JPEG of quality 90 with so many pixels, in place of its link."""
    pictures = inside(folder)
    say(f"enlarging {len(pictures)} pictures to {megapixels:g} megapixels")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(partial(enlarged, megapixels=megapixels), pictures, chunksize=4))
    say(f"{sum(sizes) / 2**20:.0f} MiB")


def enlarged(picture: Path, megapixels: float) -> int:
    """Bytes of the new file."""
    from PIL import Image, ImageOps

    with Image.open(picture) as opened:
        small = ImageOps.exif_transpose(opened).convert("RGB")
    factor = (megapixels * 1e6 / (small.width * small.height)) ** 0.5
    large = small.resize((round(small.width * factor), round(small.height * factor)), Image.Resampling.BICUBIC)
    picture.unlink()  # the link, not what it points to
    large.save(picture, "JPEG", quality=90)
    return picture.stat().st_size


if __name__ == "__main__":
    main()
