"""Records models, runs and recipes of the code beside it, for `test_earlier_versions.py`.

Later versions are held to what an earlier one wrote: they load its models and answer as it did, go on with its
interrupted run, and repeat its recipe. What is recorded is never recorded anew: a version that writes something else
gets a folder of its own, from a clone of that version:

    python tests/support/record_earlier.py tests/earlier/0.1

It takes two to three minutes. The pictures are the built-in digits and scenes, or drawn below, so that none is kept.

    machine.json            the processor and the versions that computed, which the bits depend on
    answers.json            what the models said, scores and losses to full precision
    *.safetensors, darknet.*    the models
    recipes/                how they were trained
    interrupted/            a run's folder, as SIGTERM left it in the middle of an epoch
    interrupted-ended.safetensors, finished/    the model of the same run without the interruption; another run's
                            recipe and model

Bits depend on the instructions that PyTorch picks, and newer processors have more of them. So everything runs in a
child process that is held to AVX2 and to one thread. Recording twice on one machine gives the same weights and answers;
only the seconds in histories and checkpoints differ.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

Pictures = list[NDArray[np.uint8]]

SOURCE = Path(__file__).resolve().parents[2] / "src"

# What oneDNN, PyTorch's own kernels and MKL are held to: every x86 processor of the last ten years has it.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

CLASSIFIER = (
    "conv 8 3x3 pad same bn, residual(conv 8 3x3 pad same bn, conv 8 3x3 pad same bn linear), pool 2, "
    "parallel(conv 8 1x1 | conv 8 3x3 pad same), pool 3, flatten, dense 24, dense classes"
)
LEARNER = "conv 8 3x3 bn, pool 2, conv 16 3x3 pad same bn, pool 2, flatten, dense 24, dropout 0.2, dense classes"
TRUNK = ", ".join(f"conv {channels} 3x3 stride 2 pad same bn" for channels in (8, 16, 24, 24, 24))
TWO_MAPS = "conv 8 8x8 stride 8 bn, conv 16 3x3 stride 2 pad same bn"
PYRAMID = {"detector": 16, "localiser": 8}  # channels: the usual 64 would make a localiser of 3 MiB

# Settings of `foveal train`. In each run nothing depends on how fast the machine is.
EXACT = {"training.arithmetic": "fp32", "training.threads": 1}
QUICK = EXACT | {"training.epochs": 2}
LENET5 = EXACT | {
    "network.name": "lenet5",
    "network.batch_norm": True,
    "network.dropout": 0.1,
    "data.size": "16",
    "training.batch_size": 16,
    "training.epochs": 1,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> source, settings
    "classifier": (
        "digits",
        QUICK | {"network.name": CLASSIFIER, "training.learning_rate": 0.03, "training.accuracy": 0.9},
    ),
    "lenet5": ("digits", LENET5),
    "detector": ("scenes", EXACT | {"network.name": TRUNK, "training.epochs": 8, "training.learning_rate": 0.008}),
    "yolov3": ("scenes", QUICK | {"network.name": TWO_MAPS, "network.detector": "yolov3"}),
    "localiser": ("scenes", QUICK | {"network.name": TRUNK, "training.task": "localise"}),
}
# Smooth: where a ReLU or a largest value of a window flips, a rounding grows a thousandfold in so many steps.
SMOOTH = "conv 8 5x5 tanh, avgpool 2, conv 16 5x5 tanh, avgpool 2, flatten, dense 32 tanh, dense classes"
FINISHED = QUICK | {
    "network.name": SMOOTH,
    "training.optimizer": "sgd",
    "training.learning_rate": 0.05,
    "training.batch_size": 32,
}
# Everything that a checkpoint remembers or a step draws.
INTERRUPTED = {
    "network.name": LEARNER,
    "training.arithmetic": "fp32 channels-last",
    "training.threads": 1,
    "training.optimizer": "muon",
    "training.learning_rate": 0.01,
    "training.batch_size": 128,
    "training.epochs": 3,
    "training.ema": 0.8,
    "training.clip": 5.0,
    "training.label_smoothing": 0.05,
    "training.early_stopping": 3,
    "augment.mixup": 0.2,
    "augment.cutout": 0.2,
}
LAST_STEP = 15  # after which the signal comes: the middle of the second epoch of ten steps

CFG = """
[net]
width=64
height=48
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=12
size=3
stride=2
pad=1
activation=mish
[route]
layers=-1,-1
[convolutional]
filters=21
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=6,9, 14,12, 22,30
classes=2
num=3
scale_x_y=1.05
"""
CFG_LAYERS = [(8, True, 27), (12, True, 72), (21, False, 24)]
NAMES = ("wave", "ripple")


def main(target: Path) -> None:
    """Record everything into a folder, which must not exist."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        run_held([os.path.abspath(__file__), "--here", str(target.resolve())], Path(place))


def run_held(arguments: Sequence[str], work: Path) -> None:
    """Run Python in a folder, held to the instructions and the one thread of the recording."""
    paths = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])  # the code beside this file, and no other
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": paths, "FOVEAL_CACHE": str(work / "cache")}
    if is_x86():  # elsewhere these name nothing
        environment |= AVX2
    done = subprocess.run([sys.executable, *arguments], cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def is_x86() -> bool:
    """Whether this processor knows AVX2 at all."""
    return platform.machine().lower() in ("x86_64", "amd64")


def record(target: Path) -> None:
    """All files, in the child process."""
    import foveal

    write_json(target / "machine.json", machine())
    answers: dict[str, Any] = {"version": foveal.__version__}
    (target / "recipes").mkdir()
    for name, (source, settings) in MODELS.items():
        with mock.patch("foveal.tasks.heads.yolo.pyramid_width", return_value=PYRAMID.get(name)):
            run = foveal.train(source, out=name, settings=settings)
        shutil.copy(run.folder / "model.safetensors", target / f"{name}.safetensors")
        shutil.copy(run.folder / "recipe.toml", target / "recipes" / f"{name}.toml")
    _write_darknet(target)
    for file in models(target):
        answers[file.name] = answer(foveal.load(file))
    answers["interrupted"], answers["finished"] = _record_runs(target)
    write_json(target / "answers.json", answers)


def _record_runs(target: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The interrupted run and the finished one, and what came out at their ends."""
    import foveal
    from foveal.errors import Interrupted

    with suppress(Interrupted):
        foveal.train("digits", out="interrupted", settings=INTERRUPTED, progress=_Signalling(LAST_STEP))
    Path("interrupted/.lock").unlink()  # it names the process and the machine, and the log the machine's cache
    log = Path("interrupted/log.txt")
    log.write_text(log.read_text(encoding="utf-8").replace(os.environ["FOVEAL_CACHE"], "cache"), encoding="utf-8")
    shutil.copytree("interrupted", target / "interrupted")
    with suppress(_Learnt):
        foveal.train("digits", out="whole", settings=INTERRUPTED, progress=_UntilLearnt())
    shutil.copy("whole/model.safetensors", target / "interrupted-ended.safetensors")
    with suppress(_Learnt):
        foveal.train("digits", out="finished", settings=FINISHED, progress=_UntilLearnt())
    (target / "finished").mkdir()
    for name in ("recipe.toml", "model.safetensors"):
        shutil.copy(Path("finished") / name, target / "finished")
    return outcome(Path("whole")), outcome(Path("finished"))


def again(folder: Path) -> None:
    """Go on with the interrupted run of a recorded folder, and repeat its finished one, in folders here."""
    import foveal
    from foveal.recipe import read_recipe

    shutil.copytree(folder / "interrupted", "interrupted")
    with suppress(_Learnt):
        foveal.resume("interrupted", progress=_UntilLearnt())
    with suppress(_Learnt):
        recipe = read_recipe(folder / "finished" / "recipe.toml")  # as `foveal train --recipe FILE --out finished`
        foveal.train(recipe.data.source, recipe=recipe, out="finished", progress=_UntilLearnt())


class _Learnt(Exception):
    """The model is saved; what would follow are scores, the baseline and the report."""


class _UntilLearnt:
    """A progress that ends a run where its scoring begins."""

    def say(self, sentence: str) -> None:
        """Nobody listens."""

    @contextmanager
    def task(self, name: str, total: int, unit: str = "pictures") -> Iterator[Any]:
        if name == "scoring":
            raise _Learnt
        yield lambda n, note="": self.advanced(name)

    def advanced(self, name: str) -> None:
        """A step is done."""


class _Signalling(_UntilLearnt):
    """A progress that sends SIGTERM after some training steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advanced(self, name: str) -> None:
        self.left -= name == "training"
        if not self.left:
            os.kill(os.getpid(), signal.SIGTERM)


def models(folder: Path) -> list[Path]:
    """The models of a recorded folder that answer for pictures."""
    return [*(folder / f"{name}.safetensors" for name in (*MODELS, "darknet")), folder / "darknet.cfg"]


def _write_darknet(target: Path) -> None:
    """A small network as Darknet's three files, and as foveal keeps it."""
    from record_darknet import values, weights_file

    import foveal

    (target / "darknet.cfg").write_text(CFG.lstrip(), encoding="utf-8")
    (target / "darknet.weights").write_bytes(weights_file(values(CFG_LAYERS)))
    (target / "darknet.names").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    foveal.load(target / "darknet.cfg").save(target / "darknet.safetensors")


def answer(model: Any) -> dict[str, Any]:
    """What a model says of its pictures, as plain values."""
    import torch

    if hasattr(model, "temperature"):
        pixels = torch.from_numpy(np.stack([model.preprocess.pixels(picture, "") for picture in digits()]))
        said = model.predict(digits(), top=10)
        return {
            "classes": list(model.classes),
            "temperature": model.temperature,
            "logits": model.logits(pixels).tolist(),
            "probabilities": [dict([(a.label, a.probability), *a.runners_up]) for a in (one.answer for one in said)],
            "passed": [
                getattr(one.answer, "abstained" if hasattr(one.answer, "abstained") else "passed") for one in said
            ],
            "unlike": [one.answer.unlike for one in said],
        }
    kind = model.architecture.kind
    least = LEAST_SCORES[kind]
    found = model.predict([drawn()] if kind == "darknet" else scenes(), score=least)
    for one in found:  # a rounding must neither add a box nor change their order
        assert (np.diff([*one.answer.scores, least]) < -1e-5).all(), one.answer.scores
    return {
        "classes": list(model.classes),
        "threshold": model.threshold,
        "boxes_xyxy": [one.answer.xyxy.tolist() for one in found],
        "scores": [one.answer.scores.tolist() for one in found],
        "labels": [one.answer.labels.tolist() for one in found],
    }


LEAST_SCORES = {"yolo": 0.1, "yolov3": 0.1, "one-object": 0.0, "darknet": 0.9}  # some boxes on each picture


def outcome(folder: Path) -> dict[str, Any]:
    """What a run has learnt, without its seconds."""
    import csv

    import foveal

    kept = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "learning_rate")
    rows = csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
    return {
        "history": [{key: float(row[key]) for key in kept} for row in rows],
        "sha256": digest(foveal.load(folder).network.state_dict()),
    }


def digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes."""
    told = sha256()
    for name, value in sorted(tensors.items()):
        told.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        told.update(value.contiguous().numpy().tobytes())
    return told.hexdigest()


def digits() -> Pictures:
    """Eight of the pictures that `digits` holds for the test, and the negative of the first."""
    from sklearn.datasets import load_digits

    pictures = np.rint(load_digits().images[:40:5] * (255 / 16)).astype(np.uint8)
    return [*pictures, 255 - pictures[0]]


def scenes() -> Pictures:
    """Four of the pictures that `scenes` holds for the test, drawn alone: all of them would take seconds."""
    from foveal.data.formats import scenes as drawing

    handwriting = drawing.glyphs_by_split()[2]
    sides = (4 * drawing.SIDE, 4 * drawing.SIDE)
    noise = np.random.default_rng(drawing.SEED).standard_normal(sides, dtype=np.float32)
    first = sum(drawing.COUNTS[:2])
    numbers = range(first, first + 4)
    return [drawing._scene(np.random.default_rng([drawing.SEED, i]), handwriting, noise).pixels for i in numbers]


def drawn() -> NDArray[np.uint8]:
    """(72, 120, 3): stripes of another width in each colour, in whole numbers, the same everywhere."""
    y, x = np.mgrid[:72, :120]
    return np.stack([(x * 5 + y * 3) % 256, (x * y // 16) % 256, (y * 11 - x * 2) % 256], axis=-1).astype(np.uint8)


def machine() -> dict[str, Any]:
    """What the bits of a training depend on."""
    import torch

    facts: dict[str, Any] = {
        "processor": processor(),
        "torch": torch.__version__,
        **{name: version(package) for name, package in (("numpy", "numpy"), ("opencv", "opencv-python-headless"))},
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "held to": AVX2 | ONE_THREAD if is_x86() else ONE_THREAD,
    }
    return facts


def processor() -> dict[str, str]:
    """Its model and its caches, by whose sizes kernels cut their work."""
    told = {"machine": platform.machine(), "name": platform.processor()}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("vendor_id", "cpu family", "model", "model name", "stepping"):
                told[key.strip()] = value.strip()
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError):
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
            told[f"cache {level} {kind}"] = size
    return told


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Numbers as Python writes them, which reads back as the same."""
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--here", folder]:
            record(Path(folder))
        case ["--again", folder]:
            again(Path(folder))
        case [folder]:
            main(Path(folder))
        case _:
            sys.exit(__doc__)
