"""Does every command end well when it is told to, whatever it is doing just then?

SIGINT and SIGTERM, in turn, at moments spread evenly over the whole of each command, from the first import to the last
line: the exit code is 130 or 143, one sentence says so, nothing half written is left, and it takes ten seconds at most.
Where a training leaves a folder, `foveal train --resume` brings it to its report; where none, nothing says so.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from _common import Measure, Result, parser, say, scratch

LONGEST_SECONDS = 10.0
STOPS = (signal.SIGINT, signal.SIGTERM)
SHARES = {"train": 32, "train --train head": 8, "predict": 6, "evaluate": 4, "data check": 6, "data convert": 2,
          "networks --compare": 2}  # fmt: skip
FOLDER = "RUN"  # stands for a folder that is a new one for each signal


@dataclass
class Ended:
    """How one command ended."""

    stop: signal.Signals
    share: float  # of the time that the command takes
    code: int
    seconds: float  # from the signal on
    faults: list[str] = field(default_factory=list)
    had_ended: bool = False
    resumed: bool | None = None  # None where no folder was left


def main() -> None:
    """Stop, look, resume."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", metavar="COMMAND", help="one of the commands")
    asked = arguments.parse_args()
    for stop in STOPS:
        signal.signal(stop, signal.default_int_handler)  # a shell's background jobs ignore SIGINT, and so would theirs
    with scratch(asked) as place:
        told(asked, place).finish(asked)


def told(asked: argparse.Namespace, place: Path) -> Result:
    """A row a command."""
    columns = ["command", "takes", "signals", "had ended", "slowest end", "folders resumed", "faults"]
    result = Result("signals", "SIGINT and SIGTERM in turn, at moments spread over each command.", columns)
    ends: list[Ended] = []
    for name, words in commands(place).items():
        if asked.only not in (None, name):
            continue
        takes = alone(words, place)
        count = 2 if asked.quick else SHARES[name]
        found = [stopped(words, place, takes, (i + 0.5) / count, STOPS[i % 2]) for i in range(count)]
        ends += found
        faults = [f"{e.stop.name} at {e.share:.0%}: {fault}" for e in found for fault in e.faults]
        result.rows.append([
            f"`foveal {name}`", f"{takes:.1f} s", str(len(found)), str(sum(e.had_ended for e in found)),
            f"{max(e.seconds for e in found):.1f} s",
            f"{sum(e.resumed is True for e in found)} of {sum(e.resumed is not None for e in found)}",
            "; ".join(faults) or "none",
        ])  # fmt: skip
        say(" | ".join(result.rows[-1]))
        result.raw[name] = [(e.stop.name, e.share, e.code, e.seconds, e.faults) for e in found]
    good = sum(not e.faults for e in ends)
    slowest = max(e.seconds for e in ends)
    result.measures = [
        Measure("signals that ended well", f"{good} of {len(ends)}", "all", good == len(ends)),
        Measure("slowest end", f"{slowest:.1f} s", f"{LONGEST_SECONDS:.0f} s", slowest <= LONGEST_SECONDS),
    ]
    return result


def commands(place: Path) -> dict[str, list[str]]:
    """What is typed, by name."""
    pictures, model = folder_of_pictures(place / "pictures"), place / "model"
    train = ["train", str(pictures), "--network", "mlp", "--size", "32", "--epochs", "12"]
    say("a model")
    finished(subprocess.Popen(typed([*train, "--out", str(model)]), stderr=subprocess.PIPE, text=True))
    return {
        "train": [*train, "--out", FOLDER],
        "train --train head": [*train[:6], "--weights", str(model), "--train", "head", "--out", FOLDER],
        "predict": ["predict", str(model), *[str(pictures)] * 4, "-o", f"{FOLDER}.csv"],
        "evaluate": ["evaluate", str(model), str(pictures), "--on", "all"],
        "data check": ["data", "check", str(pictures), "--out", FOLDER],
        "data convert": ["data", "convert", str(pictures), FOLDER, "--to", "csv"],
        "networks --compare": ["networks", "--compare", "mlp", "lenet5"],
    }


def folder_of_pictures(folder: Path) -> Path:
    """Digits as PNG files, a folder a class."""
    import numpy as np
    from PIL import Image

    import foveal

    digits = foveal.open_dataset("digits")
    for index in range(1000):
        pixels = np.asarray(digits.pictures.content(index), np.uint8).squeeze()
        own = folder / digits.classes[int(digits.labels[index])]
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((96, 96)).save(own / f"{index}.png")
    return folder


def typed(words: list[str], folder: Path | None = None) -> list[str]:
    """The command line. Args: folder, what FOLDER stands for."""
    own = [word.replace(FOLDER, str(folder)) if word.startswith(FOLDER) else word for word in words]
    return [sys.executable, "-m", "foveal", *own]


def alone(words: list[str], place: Path) -> float:
    """Seconds that the command takes when nobody stops it, its pictures in no store."""
    started = time.perf_counter()
    finished(begun(words, place, place / f"alone-{time.time_ns()}"))
    return time.perf_counter() - started


def begun(words: list[str], place: Path, folder: Path) -> subprocess.Popen[str]:
    """The command, under way with a cache of its own, so that its store is built as well."""
    cache = {**os.environ, "FOVEAL_CACHE": str(folder) + "-cache"}
    return subprocess.Popen(
        typed(words, folder), env=cache, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(running: subprocess.Popen[str]) -> None:
    """Wait for the end, which must be a good one."""
    _, errors = running.communicate()
    if running.returncode:
        raise SystemExit(f"foveal ended with {running.returncode}: {errors[-2000:]}")


def stopped(words: list[str], place: Path, takes: float, share: float, stop: signal.Signals) -> Ended:
    """The command, told to stop after a share of its time."""
    for _ in range(4):  # a machine that others use as well is quicker at one time than at another
        folder, started = place / f"run-{time.time_ns()}", time.perf_counter()
        running = begun(words, place, folder)
        try:
            running.wait(takes * share)
            takes = time.perf_counter() - started
        except subprocess.TimeoutExpired:
            break
    sent = time.perf_counter()
    running.send_signal(stop)
    try:
        _, errors = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        running.kill()
        _, errors = running.communicate()
    ended = Ended(stop, share, running.returncode, time.perf_counter() - sent)
    ended.had_ended = ended.code == 0
    if ended.had_ended:
        return ended
    ended.faults = faults_of(ended, errors, place)
    if words[0] == "train" and folder.exists():
        ended.resumed = resumed(folder, place)
        ended.faults += [] if ended.resumed else ["not resumable"]
    elif folder.exists() or "--resume" in errors:
        ended.faults.append("a folder is left" if folder.exists() else "nothing to resume")
    say(f"{words[0]} {share:.0%} {stop.name}: {ended.code}, {ended.seconds:.1f} s, {errors.splitlines()[-1:]}")
    return ended


def faults_of(ended: Ended, errors: str, place: Path) -> list[str]:
    """What was not as it should be."""
    sentences = [line for line in errors.splitlines() if ended.stop.name in line]
    faults = []
    if ended.code != 128 + ended.stop:
        faults.append(f"exit code {ended.code}")
    if len(sentences) != 1 or sentences != errors.splitlines()[-1:]:
        faults.append(f"says {' / '.join(errors.splitlines()[-2:]) or 'nothing'}"[:200])
    if "Traceback" in errors:
        faults.append("a traceback")
    if ended.seconds > LONGEST_SECONDS:
        faults.append(f"{ended.seconds:.1f} s")
    return faults + [f"left {path.name}" for path in place.rglob("*.tmp")]


def resumed(folder: Path, place: Path) -> bool:
    """Whether the run can be brought to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "foveal", "train", "--resume", str(folder)], cwd=place, capture_output=True, check=False
    )
    return done.returncode == 0 and (folder / "report.html").exists()


if __name__ == "__main__":
    main()
