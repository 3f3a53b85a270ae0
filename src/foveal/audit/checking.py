"""Is a data set fit to learn from? Looks at every picture and every label, and touches nothing."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from foveal.audit.duplicates import Pair, exact_pairs, near_pairs
from foveal.audit.findings import Duplicate, Findings, Odd, Outlier, Suspect
from foveal.audit.labels import Judgement, judge
from foveal.audit.map import on_a_map
from foveal.audit.outliers import outliers
from foveal.audit.several import judge_several
from foveal.data.dataset import ArrayPictures, Dataset
from foveal.data.sources import Reading, open_dataset
from foveal.data.store import PixelStore, open_store
from foveal.data.white import measured_white
from foveal.errors import BadData, BadPicture, shown
from foveal.files.headers import Header, header_of
from foveal.preprocess import Preprocess
from foveal.progress import SILENT, Progress

if TYPE_CHECKING:
    from foveal.audit.look import Look

__all__ = ["check"]

Indices = NDArray[np.int64]

LEAST_SIDE = 16  # pixels, of the stored pictures
TINY = 10  # pictures of a class below which neither training nor testing tells much
THIN = 3.0  # sides' ratio that is worth a look
APART = 4.0  # times smaller or larger than the median picture
FLAT = 2.0  # grey levels of spread below which a picture shows nothing
BLOCK = 1000


def check(
    source: str | Path | tuple[Any, Any],
    *,
    white: float | Literal["auto", "by type"] = "auto",
    progress: Progress = SILENT,
    **reading: Unpack[Reading],
) -> Findings:
    """Everything that is wrong with a data set, or may be.

    Args:   as of `open_dataset`; white, as of the recipe's `data.white`. Equal pictures under two labels are
            reported, not refused.
    Raises: Missing, BadData when it is no data set or no picture can be read; BadModel when weights that it looks
            with lie on this machine and are damaged; NoSpace, NotWritable.
    """
    started = time.perf_counter()
    reading["contradictions"] = "keep"  # they are told among the copies
    dataset = open_dataset(source, **reading, min_classes=1, progress=progress)
    from foveal.audit.boxes import odd_boxes  # with PyTorch: what is no data set is refused before
    from foveal.audit.look import SIDE, look

    if white == "auto" and (found := measured_white(dataset, np.arange(len(dataset)), progress=progress)):
        dataset, white = dataset.noted(found.sentence), found.value
    headers = _headers(dataset, progress)
    preprocess = _preprocess(headers, SIDE, None if isinstance(white, str) else white)
    store = open_store(dataset, preprocess, progress=progress)
    sound = np.setdiff1d(np.arange(len(dataset)), [index for index, _ in store.broken]).astype(np.int64)
    if not len(sound):
        raise BadData(f"{shown(dataset.origin.place)}: none of the {len(dataset)} pictures can be read.")
    seen = look(store, sound, progress)
    counts = _counts(dataset)
    places, placed = on_a_map(seen.features)
    judgement = _judgement(dataset, seen, sound, progress)
    return Findings(
        dataset=dataset,
        broken=_broken(dataset, store),
        odd=_odd(dataset, store, sound, headers),
        duplicates=_duplicates(dataset, store, sound, progress),
        wrong_labels=_suspects(judgement, sound),
        outliers=tuple(Outlier(int(sound[row]), score) for row, score in outliers(seen.features)),
        tiny=tuple(name for name, n in zip(dataset.classes, counts, strict=True) if n < TINY),
        imbalance=float(counts.max() / max(1, counts.min())),
        sizes=tuple(Counter(f"{h.height} × {h.width}" for h in headers.values()).most_common()),
        modes=tuple(Counter(f"{h.format} {h.mode}".strip() for h in headers.values()).most_common()),
        turned=sum(h.turned for h in headers.values()),
        by=seen.by,
        knows_things=seen.knows_things,
        seconds=time.perf_counter() - started,
        places=places,
        placed=sound[placed],
        odd_boxes=odd_boxes(dataset),
        judgement=judgement,
        white=preprocess.white,
    )


def _counts(dataset: Dataset) -> Indices:
    """(K,) pictures of each class; with boxes, boxes."""
    if dataset.boxes is None:
        return dataset.counts_of(np.arange(len(dataset)))
    return np.bincount(dataset.boxes.labels, minlength=len(dataset.classes)).astype(np.int64)


def _headers(dataset: Dataset, progress: Progress) -> dict[int, Header]:
    """What the header of each picture says that has one."""
    found = {}
    with progress.task("reading headers", len(dataset)) as advance:
        for index in range(len(dataset)):
            with suppress(BadPicture, OSError):  # the store tells why
                found[index] = header_of(dataset.pictures.content(index), dataset.pictures.name(index))
            advance(1)
    return found


def _preprocess(headers: dict[int, Header], most: int, white: float | None) -> Preprocess:
    """A square as large as most pictures are, at most as the network looks at."""
    sides = [min(h.height, h.width) for h in headers.values()]
    side = int(np.clip(np.median(sides), LEAST_SIDE, most)) if sides else most
    return Preprocess(side, side, white=white)


def _broken(dataset: Dataset, store: PixelStore) -> tuple[Odd, ...]:
    unread = [Odd(dataset.pictures.name(i), reason, _class(dataset, i), i) for i, reason in store.broken]
    return (*unread, *(Odd(skipped.name, skipped.reason) for skipped in dataset.skipped))


def _class(dataset: Dataset, index: int) -> str:
    return ", ".join(dataset.names(index))


def _odd(dataset: Dataset, store: PixelStore, sound: Indices, headers: dict[int, Header]) -> tuple[Odd, ...]:
    """Files that can be used and are not like the others."""
    usable = [headers[i] for i in sound.tolist() if i in headers]
    middle = float(np.median([np.sqrt(h.height * h.width) for h in usable])) if usable else 1.0
    usual = Counter(h.mode for h in usable).most_common(1)[0][0] if usable else ""
    flat = set(_flat(store, sound))
    odd = []
    for i in sound.tolist():
        reasons = _header_reasons(headers[i], middle, usual) if i in headers else []
        if i in flat:
            reasons.append("shows one color only")
        if not isinstance(dataset.pictures, ArrayPictures) and i in headers:
            reasons += _suffix_reasons(dataset.pictures.name(i), headers[i].format)
        if reasons:
            odd.append(Odd(dataset.pictures.name(i), "; ".join(reasons), _class(dataset, i), i))
    return tuple(odd)


def _header_reasons(header: Header, middle: float, usual: str) -> list[str]:
    reasons, side = [], float(np.sqrt(header.height * header.width))
    long, short = max(header.height, header.width), max(1, min(header.height, header.width))
    if long > THIN * short:
        reasons.append(f"is {long / short:.1f} times as long as wide")
    if not middle / APART <= side <= middle * APART:
        reasons.append(
            f"is much {'smaller' if side < middle else 'larger'} than most ({header.height} × {header.width})"
        )
    if header.mode != usual:
        reasons.append(f"is of mode {header.mode}, most are {usual}")
    return reasons


def _suffix_reasons(name: str, form: str) -> list[str]:
    suffix = Path(name).suffix.lower().removeprefix(".")
    called = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    return [f"is a {form} called .{shown(suffix)}"] if suffix and called != form else []


def _flat(store: PixelStore, sound: Indices) -> list[int]:
    found: list[int] = []
    for start in range(0, len(sound), BLOCK):
        part = sound[start : start + BLOCK]
        spread = store.rows(part).astype(np.float32).std(axis=(1, 2)).max(axis=1)
        found += part[spread < FLAT].tolist()
    return found


def _duplicates(dataset: Dataset, store: PixelStore, sound: Indices, progress: Progress) -> tuple[Duplicate, ...]:
    """Across splits first, then with two labels, then the most alike."""
    assert dataset.digests is not None
    usable = np.zeros(len(dataset), bool)
    usable[sound] = True
    exact = [pair for pair in exact_pairs(dataset.digests) if usable[pair.first] and usable[pair.second]]
    copies = {pair.second for pair in exact}
    near = near_pairs(store, np.array([i for i in sound.tolist() if i not in copies], np.int64), progress)
    pairs = [_told(dataset, pair) for pair in exact + near]
    return tuple(sorted(pairs, key=lambda p: (not p.across, not p.contradict, -p.agreement, p.first, p.second)))


def _told(dataset: Dataset, pair: Pair) -> Duplicate:
    """The one that training sees is named first."""
    a, b = sorted((pair.first, pair.second), key=lambda i: (int(dataset.splits[i]), i))
    across = bool(dataset.splits[a] != dataset.splits[b])
    return Duplicate(a, b, pair.exact, pair.agreement, across, _contradict(dataset, a, b, pair.exact))


def _contradict(dataset: Dataset, a: int, b: int, exact: bool) -> bool:
    """Whether two copies are labelled otherwise; of boxes, only whether other things are said to be there."""
    if dataset.boxes is None:
        return dataset.names(a) != dataset.names(b)
    things = [sorted(dataset.boxes.labels[dataset.boxes.of(i)].tolist()) for i in (a, b)]
    return exact and things[0] != things[1]


def _judgement(dataset: Dataset, seen: Look, sound: Indices, progress: Progress) -> Judgement | None:
    if dataset.boxes is not None:  # a class is one of several things on a picture: nothing to judge the whole by
        return None
    if dataset.multi_hot is not None:
        return judge_several(seen.features, dataset.multi_hot[sound], progress)
    return judge(seen.features, dataset.labels[sound], len(dataset.classes), progress)


def _suspects(judgement: Judgement | None, sound: Indices) -> tuple[Suspect, ...]:
    found = () if judgement is None else judgement.suspects
    return tuple(Suspect(int(sound[w.index]), w.label, w.likely, w.doubt, w.probably) for w in found)
