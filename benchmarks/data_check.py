"""How much of what is wrong with a data set does `foveal data check` find, and how long does it take?

Wrong labels: 5 % of the labels of real pictures are replaced by another class drawn at random, and the first
suggestions looked through. Near copies: of 100 photographs, a resized, a re-compressed, a cropped and a brightened
copy are planted in the other split. Time: whole checks of pictures in files, from an empty cache, the page included.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import Measure, Result, data_set, figures, parser, percent, say, scratch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

import foveal
from foveal.audit import Findings, check, write_check

SHARE = 0.05  # of the labels that are made wrong
PLANTED = 100  # photographs
KINDS = ("resized", "re-compressed", "cropped", "brightened")


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3, help="draws of the wrong labels")
    arguments.add_argument("--threads", type=int, default=2)
    asked = arguments.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    if asked.quick:
        asked.seeds = 1
    result = Result("data_check", "What `foveal data check` finds, and in how long.", ["what", "seen"])
    with scratch(asked) as place:
        for name, count in (("cifar10", 10_000), ("mnist", 5_000), ("clothing", 10_000)):
            wrong_labels(asked, result, name, 500 if asked.quick else count)
        copies(asked, result, place)
        for name, count, side in (("cifar10", 10_000, None), ("clothing", 1_000, 500)):
            timed(result, place, name, 200 if asked.quick else count, side)
    result.finish(asked)


def wrong_labels(asked: argparse.Namespace, result: Result, name: str, count: int) -> None:
    """The share of planted mistakes among the first twice as many suggestions."""
    dataset = foveal.open_dataset(str(data_set(name)))
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(dataset))[:count])
    pictures, labels = _pixels(dataset, chosen), dataset.labels[chosen]
    recalls = []
    for seed in range(asked.seeds):
        say(f"wrong labels in {name}, draw {seed + 1}")
        given, wrong = _flipped(labels, len(dataset.classes), seed)
        found = check((pictures, given))
        first = [int(found.name(s.index).partition("[")[2].rstrip("]")) for s in found.wrong_labels[: 2 * wrong.sum()]]
        recalls.append(float(wrong[first].sum() / wrong.sum()))
    seen = f"{figures([100 * r for r in recalls], digits=1)} % of {wrong.sum()}"
    wanted = "" if name == "clothing" else "at least 80 %"
    met = None if name == "clothing" or asked.quick else float(np.median(recalls)) >= 0.8
    result.measures.append(
        Measure(f"wrong labels in {len(chosen)} pictures of {name} among the first 2 × as many", seen, wanted, met)
    )
    result.raw[f"wrong labels, {name}"] = recalls


def _flipped(labels: NDArray[np.int64], K: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), bool)
    wrong[rng.permutation(len(labels))[: round(SHARE * len(labels))]] = True
    given = labels.copy()
    given[wrong] = (labels[wrong] + rng.integers(1, K, int(wrong.sum()))) % K
    return given, wrong


def _pixels(dataset: foveal.Dataset, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, H, W, 3): as they are where they are small, else 128 pixels a side."""
    from foveal.files.headers import shape_of

    height, width, _ = shape_of(dataset.pictures.content(0))
    side = foveal.Preprocess(min(128, height), min(128, width))
    return np.stack([side.pixels(dataset.pictures.content(int(i))) for i in indices])


def copies(asked: argparse.Namespace, result: Result, place: Path) -> None:
    """Copies of training pictures planted in the test split."""
    say("near copies")
    source, target = data_set("clothing"), place / "planted"
    rng, planted = np.random.default_rng(0), {}
    for path in sorted(source.glob("*/*/*.jpg")):
        link = target / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    originals = sorted(target.glob("train/*/*.jpg"))
    for number in rng.permutation(len(originals))[: 20 if asked.quick else PLANTED]:
        original = originals[number]
        for kind in KINDS:
            name = f"test/{original.parent.name}/{original.stem}-{kind}.jpg"
            _plant(original, target / name, kind, rng)
            planted[name] = original.relative_to(target).as_posix()
    found = check(target)
    pairs = [(found.name(p.first), found.name(p.second), p.across) for p in found.duplicates]
    sources = [(planted.get(a, a), planted.get(b, b), across) for a, b, across in pairs]
    known = {name for a, b, across in pairs for name in (a, b) if across and planted.get(a, a) == planted.get(b, b)}
    for kind in KINDS:
        ours = [name for name in planted if name.endswith(f"-{kind}.jpg")]
        result.rows.append([f"{kind} copies found across the split", f"{sum(n in known for n in ours)} of {len(ours)}"])
    share, false = np.mean([name in known for name in planted]), sum(a != b for a, b, _ in sources)
    result.measures += [
        Measure("near copies found across the split", percent(float(share)), "at least 95 %", bool(share >= 0.95)),
        Measure("reported pairs that are none", f"{false} of {len(pairs)}", "at most 1 %", false <= 0.01 * len(pairs)),
    ]


def _plant(original: Path, target: Path, kind: str, rng: np.random.Generator) -> None:
    image = Image.open(original).convert("RGB")
    width, height = image.size
    if kind == "resized":
        image = image.resize((int(width * 0.6), int(height * 0.6)), Image.Resampling.BILINEAR)
    elif kind == "cropped":
        left, top = rng.integers(0, int(0.05 * width) + 1), rng.integers(0, int(0.05 * height) + 1)
        image = image.crop((left, top, left + int(0.95 * width), top + int(0.95 * height)))
    elif kind == "brightened":
        image = ImageEnhance.Brightness(image).enhance(1.3)
    image.save(target, quality=30 if kind == "re-compressed" else 90)


def timed(result: Result, place: Path, name: str, count: int, side: int | None) -> None:
    """A whole check of `count` pictures in files, with an empty cache."""
    folder = _files(name, count, side, place / f"timed-{name}")
    before = os.environ["FOVEAL_CACHE"]
    os.environ["FOVEAL_CACHE"] = str(place / f"cache-{name}")
    say(f"time for {count} pictures of {name}")
    start = time.perf_counter()
    found: Findings = check(folder)
    (place / f"page-{name}").mkdir()
    write_check(found, place / f"page-{name}")
    took = time.perf_counter() - start
    os.environ["FOVEAL_CACHE"] = before
    sized = "" if side is None else f" of about {side} pixels a side"
    result.measures.append(
        Measure(
            f"seconds for {len(found.dataset)} pictures of {name}{sized}", f"{took:.1f} s", "at most 60 s", took <= 60
        )
    )


def _files(name: str, count: int, side: int | None, target: Path) -> Path:
    """`count` pictures as <class>/<number>.jpg or .png; where there are fewer, mirrored ones come in as well."""
    dataset: Any = foveal.open_dataset(str(data_set(name)))
    order = np.random.default_rng(0).permutation(len(dataset))
    for number in range(count):
        index = int(order[number % len(order)])
        folder = target / dataset.classes[dataset.labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = foveal.Preprocess(*((32, 32) if side is None else (side, side))).pixels(
            dataset.pictures.content(index)
        )
        image = Image.fromarray(pixels if number < len(order) else np.ascontiguousarray(pixels[:, ::-1]))
        image.save(folder / f"{number}.{'png' if side is None else 'jpg'}", quality=92)
    return target


if __name__ == "__main__":
    main()
