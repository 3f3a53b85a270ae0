"""Does a run that was killed again and again end with the very bits of the run that was left alone?

A run with augmentation, mixup, dropout, an average of the weights (EMA) and bf16 is trained once in peace. Then, five
times, the same command is killed (SIGKILL) at a random moment, `foveal train --resume` is killed at a random moment in
turn, and the next `--resume` is left alone. The weights are compared bit by bit. Then the same run with 1, 2 and 4
loading threads.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import Measure, Result, parser, say, scratch

SETTINGS: dict[str, Any] = {
    "training.arithmetic": "bf16 channels-last",
    "training.ema": 0.99,
    "network.dropout": 0.2,
    "augment.preset": "strong",
    "augment.cutout": 0.2,
    "augment.mixup": 0.2,
}
LOADING_THREADS = (1, 2, 4)


def main() -> None:
    """Kill, resume, compare."""
    arguments = parser(__doc__)
    arguments.add_argument("--source", default="digits", help="what is trained on [digits]")
    arguments.add_argument("--network", default="speednet_small")
    arguments.add_argument("--epochs", type=int, default=100)
    arguments.add_argument("--kills", type=int, default=5, help="runs that are killed")
    arguments.add_argument("--again", type=int, default=1, help="times that a resumed run is killed in turn")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = arguments.parse_args()
    if asked.quick:
        asked.epochs, asked.kills = 4, 1
    with scratch(asked) as place:
        told(asked, place).finish(asked)


def told(asked: argparse.Namespace, place: Path) -> Result:
    """Every comparison."""
    say("the run in peace")
    start = time.perf_counter()
    finish(begin(asked, place / "peace"))
    lasted = time.perf_counter() - start
    wanted = weights(place / "peace")
    say(f"it took {lasted:.1f} s")
    chance = random.Random(asked.seed)
    columns = ["run", "what happened", "weights"]
    result = Result(
        "kill_resume",
        f"`{asked.network}` on {Path(asked.source).name}, {asked.epochs} epochs, {lasted:.0f} s; "
        + ", ".join(f"{key} = {value}" for key, value in SETTINGS.items()) + ".",
        columns,
    )  # fmt: skip
    same = 0
    for number in range(asked.kills):
        moments = killed_and_resumed(asked, place / f"killed-{number}", lasted, chance)
        equal = weights(place / f"killed-{number}") == wanted
        same += equal
        result.rows.append([f"killed {number + 1}", "; ".join(moments), "bit-identical" if equal else "**differ**"])
        say(" ".join(result.rows[-1]))
    threads_same = 0
    for threads in LOADING_THREADS:
        folder = place / f"threads-{threads}"
        trained(asked, folder, threads)
        equal = weights(folder) == wanted
        threads_same += equal
        result.rows.append([f"{threads} loading threads", "left alone", "bit-identical" if equal else "**differ**"])
        say(" ".join(result.rows[-1]))
    result.measures = [
        Measure("killed and resumed, bit-identical", f"{same} of {asked.kills}", "5 of 5", same == asked.kills),
        Measure("1, 2, 4 loading threads, bit-identical", f"{threads_same} of {len(LOADING_THREADS)}", "3 of 3",
                threads_same == len(LOADING_THREADS)),
    ]  # fmt: skip
    return result


def killed_and_resumed(asked: argparse.Namespace, folder: Path, lasted: float, chance: random.Random) -> list[str]:
    """Kill at random moments, resume to the end; returns what happened.

    A moment is an epoch, drawn evenly from those that are still to come, and a delay of up to a whole epoch after the
    one before it has ended: a share of the work, so that it hits whatever else the machine is doing.
    """
    moments, reached, running = [], 0, begin(asked, folder)
    for _ in range(1 + asked.again):
        epoch, delay = chance.randrange(reached, asked.epochs), chance.uniform(0, lasted / asked.epochs)
        if kill(running, epoch, delay):
            moments.append(f"killed in epoch {epoch + 1}, {state(folder)}")
        else:
            moments.append("had ended")
        reached = min(epoch, asked.epochs - 1)
        running = resume(folder) if (folder / "recipe.toml").exists() else begin(asked, folder)
    finish(running)
    return moments


def kill(running: subprocess.Popen[str], epoch: int, delay: float) -> bool:
    """Whether there was still something to kill, `delay` seconds after the end of an epoch (0: after the start)."""
    assert running.stderr is not None
    if epoch:
        for line in running.stderr:
            if line.startswith(f"epoch {epoch}/"):
                break
    try:
        finish(running, delay)
    except subprocess.TimeoutExpired:
        running.kill()  # SIGKILL: nothing can be tidied up
        running.communicate()
        return True
    return False


def state(folder: Path) -> str:
    """How far the run had come on disk."""
    checkpoints = sorted((folder / "checkpoint").glob("epoch-*.safetensors"))
    return checkpoints[-1].stem if checkpoints else "no checkpoint yet"


def begin(asked: argparse.Namespace, folder: Path) -> subprocess.Popen[str]:
    """The run, as typed. A folder in which nothing was begun is a new one."""
    given = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    return foveal(
        "train", asked.source, "--out", str(folder), "--network", asked.network, "--epochs", str(asked.epochs), *given
    )


def resume(folder: Path) -> subprocess.Popen[str]:
    """Go on."""
    return foveal("train", "--resume", str(folder))


def foveal(*words: str) -> subprocess.Popen[str]:
    """A foveal command, under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "foveal", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(running: subprocess.Popen[str], seconds: float | None = None) -> None:
    """Wait for the end, which must be a good one."""
    _, errors = running.communicate(timeout=seconds)
    if running.returncode:
        raise SystemExit(f"foveal ended with {running.returncode}: {errors[-2000:]}")


def trained(asked: argparse.Namespace, folder: Path, threads: int) -> None:
    """The same run, left alone, with so many loading threads."""
    import foveal

    settings = SETTINGS | {"network.name": asked.network, "training.epochs": asked.epochs}
    foveal.train(asked.source, out=folder, settings=settings, loading_threads=threads)


def weights(folder: Path) -> dict[str, bytes]:
    """Every tensor of the model, as its bytes."""
    from safetensors.numpy import load_file

    return {name: value.tobytes() for name, value in load_file(folder / "model.safetensors").items()}


if __name__ == "__main__":
    main()
