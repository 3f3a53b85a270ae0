"""How much of what is wrong with a data set does `foveal data check` find, and how long does it take?

Wrong labels: some labels of real pictures are replaced by another class drawn at random, and the first twice as many
suggestions looked through; and what is called probably wrong where none was replaced. Near copies: of 100 photographs,
a resized, a re-compressed, a cropped and a brightened copy are planted in the other split. Time: whole checks of
pictures in files, from an empty cache, the page included.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import Measure, Result, data_set, parser, percent, say, scratch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

import foveal
from foveal.audit import Findings, check, write_check
from foveal.audit.labels import judge
from foveal.audit.look import TRUNKS, Trunk, look

COPIED = 100  # photographs
KINDS = ("resized", "re-compressed", "cropped", "brightened")


@dataclass(frozen=True)
class Planted:
    """Wrong labels in so many pictures of a set, and the share that is to be found."""

    name: str
    pictures: int
    wrong: int
    wanted: float


SETS = (
    Planted("clothing/train", 341, 20, 0.75),
    Planted("cifar10", 300, 15, 0.7),
    Planted("cifar10", 1_000, 50, 0.8),
    Planted("cifar10", 10_000, 500, 0.92),
    Planted("mnist", 5_000, 250, 0.99),
)


def main() -> None:
    """Measure and tell."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=5, help="draws of the wrong labels")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument(
        "--trunk",
        nargs="*",
        choices=[trunk.network for trunk in TRUNKS],
        help="who looks for wrong labels [the best here]",
    )
    arguments.add_argument("--only-labels", action="store_true", help="neither copies nor time")
    asked = arguments.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    if asked.quick:
        asked.seeds = 1
    result = Result("data_check", "What `foveal data check` finds, and in how long.", ["what", "seen"])
    with scratch(asked) as place:
        for name in asked.trunk or [""]:
            for planted in SETS[:2] if asked.quick else SETS:
                trunks = [trunk for trunk in TRUNKS if name in ("", trunk.network)]
                wrong_labels(asked, result, planted, trunks)
        if not asked.only_labels:
            copies_and_time(asked, result, place)
    result.finish(asked)


def copies_and_time(asked: argparse.Namespace, result: Result, place: Path) -> None:
    """What takes whole checks of files."""
    copies(asked, result, place)
    for name, count, side in (("cifar10", 10_000, None), ("clothing", 1_000, 500)):
        timed(result, place, name, 200 if asked.quick else count, side)


def wrong_labels(asked: argparse.Namespace, result: Result, planted: Planted, trunks: Sequence[Trunk]) -> None:
    """The share of planted mistakes among the first twice as many suggestions, and what is said of no mistakes."""
    dataset = foveal.open_dataset(str(data_set(planted.name)), contradictions="keep")
    chosen = np.sort(np.random.default_rng(0).permutation(len(dataset))[: planted.pictures])
    labels, K = dataset.labels[chosen], len(dataset.classes)
    name, wanted = f"{len(chosen)} pictures of {planted.name}", planted.wanted
    seen = look(_InMemory(_pixels(dataset, chosen)), np.arange(len(chosen)), trunks=trunks)  # once: labels change only
    clean = judge(seen.features, labels, K)
    assert clean is not None
    called = sum(s.probably for s in clean.suspects) / len(chosen)
    recalls, right = [], []
    for seed in range(asked.seeds):
        say(f"wrong labels in {name}, draw {seed + 1}")
        given, wrong = _flipped(labels, K, seed, planted.wrong)
        found = judge(seen.features, given, K)
        assert found is not None
        first = [s.index for s in found.suspects[: 2 * planted.wrong]]
        recalls.append(float(wrong[first].sum() / wrong.sum()))
        right.append([bool(wrong[s.index]) for s in found.suspects if s.probably])
    mean, all_right = float(np.mean(recalls)), [known for each in right for known in each]
    lowest, highest = percent(min(recalls)), percent(max(recalls))
    result.measures += [
        Measure(
            f"of {planted.wrong} wrong labels in {name} among the first {2 * planted.wrong}, by {seen.by}",
            f"{percent(mean)} ({lowest}–{highest})", f"at least {percent(wanted)}", mean >= wanted,
        ),
        Measure(
            f"of {name} as they are, called probably wrong, by {seen.by}", percent(called), "below 6 %", called < 0.06
        ),
    ]  # fmt: skip
    called_each = f"{np.mean([len(each) for each in right]):.0f} called, {percent(float(np.mean(all_right or [0])))}"
    result.rows.append(
        [f"probably wrong in {name} with {planted.wrong} planted, by {seen.by}", f"{called_each} planted"]
    )
    result.raw[f"wrong labels, {name}, {seen.by}"] = recalls


@dataclass(frozen=True)
class _InMemory:
    pixels: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.pixels.shape  # type: ignore[return-value]

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


def _flipped(labels: NDArray[np.int64], K: int, seed: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), bool)
    wrong[rng.permutation(len(labels))[:count]] = True
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
    for number in rng.permutation(len(originals))[: 20 if asked.quick else COPIED]:
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
